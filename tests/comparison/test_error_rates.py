"""Error rates in simulated studies: every printed test is counted, and some rates are held here."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from traitlens.comparison.answers import EXPLORATORY, QUESTIONS
from traitlens.comparison.error_rates import CALIBRATED, SUITES, count_errors, monte_carlo
from traitlens.comparison.simulated_ratings import DESIGNS, PLANTED, Faces, StudyDesign, draw_ratings
from traitlens.report.known_tables import COMPARISONS, INTERVAL
from traitlens.report.paper_sentences import TESTS

TESTED = {"p", "p_corrected", "p_family", "crossed_p", INTERVAL}
COUNTED_ELSEWHERE = {"use", "range", "noise"}
"""Tests that `traitlens validate` counts on drawn faces."""


def test_every_test_and_interval_that_is_printed_is_counted():
    printed = {name for name, how in COMPARISONS.items() if TESTED & set(how.values)}
    printed |= {*TESTS, *QUESTIONS, *EXPLORATORY}
    assert printed - COUNTED_ELSEWHERE <= set(CALIBRATED)


def test_each_counted_test_is_made():
    tables = [count_errors((DESIGNS[0],), 2, 19, suite=suite) for suite in SUITES]
    made = {test for table in tables for test in table["test"]}
    assert {test for tests in CALIBRATED.values() for test in tests} <= made
    counted = pd.concat(tables)
    assert counted["rate"].between(counted["low"], counted["high"]).all()


def test_monte_carlo_intervals_are_those_of_scipy():
    found = monte_carlo([1.0] * 7 + [0.0] * 93)
    expected = stats.binomtest(7, 100).proportion_ci(method="exact")
    assert_allclose([found["low"], found["high"]], [expected.low, expected.high], rtol=1e-9)


def test_designs_are_drawn_as_they_say():
    rng = np.random.default_rng(0)
    faces = Faces.draw(rng)
    assert np.corrcoef(faces.cues.sum("region").values.ravel(), faces.truth.ravel())[0, 1] > 0.8
    for design in (*DESIGNS, *PLANTED):
        ratings = draw_ratings(design, faces, rng)
        raters = ratings.groupby("group")["rater"].nunique()
        assert (raters["a"], raters["b"]) == design.raters
        each = ratings.groupby(["rater", "trait"]).size()
        assert (each == 60 * design.seen / (2 if design.sets else 1)).all()
        if design.floor:
            assert set(ratings["rating"]) <= set(range(1, 8))
            assert (ratings["rating"] == 1).mean() > 0.3
        if design.traits_each:
            assert (ratings.groupby("rater")["trait"].nunique() == 1).all()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("design", DESIGNS[:3], ids=lambda design: design.name)
def test_tests_err_as_often_as_they_say(design: StudyDesign):
    table = count_errors((design,), 60, 99).set_index(["measure", "test"])
    assert (table.loc["false positives", "low"] <= 0.05).all()
    assert (table.loc["coverage", "high"] >= 0.95).all()
