"""Sentences about tests: every p value, number and name that a table can hold."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traitlens.comparison.answers import answer_questions, corrected_p
from traitlens.report.findings import list_findings
from traitlens.report.numbers import p_value
from traitlens.report.paper_sentences import TESTS, write_tests
from traitlens.report.results import Results

TRAITS = ["St. Louis warmth", "a. b", "p = .5 (corrected)", "warm"]
REGIONS = ("mouth", "nose")
STUDY = {"groups": ["Mt. Sinai", "b. c"], "traits": TRAITS}
SECTIONS = ("ratings", "prediction", "comparison")


def make_table(name: str, p: list[float], size: float = -0.4) -> pd.DataFrame:
    table = pd.DataFrame({"trait": [TRAITS[i % len(TRAITS)] for i in range(len(p))], corrected_p(name): p})
    numbers = ("estimate", "ci_low", "ci_high", "statistic", "cohens_d", "cohens_d_low", "cohens_d_high",
               "hedges_g", "value_1", "value_2", "reliability_1", "reliability_2", "r_1", "r_2",
               "effect_size", "mean_1", "mean_2")  # fmt: skip
    fixed = {"region": "left eye", "variable": "age", "test": "t", "n_pixels": 1234, "p": p}
    pair = {} if name == "variables" else {"group_1": STUDY["groups"][0], "group_2": STUDY["groups"][1]}
    return table.assign(**dict.fromkeys(numbers, size), **fixed, **pair)


def paragraphs(tmp_path, name: str, table: pd.DataFrame) -> list[str]:
    results = Results(tmp_path, STUDY, comparisons={name: table})
    return [text for section in SECTIONS for text in write_tests(results, section)]


@pytest.mark.parametrize("name", sorted(TESTS))
@pytest.mark.parametrize(
    ("p", "written"),
    [(1.0, "p > .999"), (0.9996, "p > .999"), (0.9994, "p = .999"), (0.2, "p = .200"), (0.0004, "p < .001")],
)
def test_every_p_is_written_once_and_names_stay_whole(tmp_path, name, p, written):
    (told,) = paragraphs(tmp_path, name, make_table(name, [p] * len(TRAITS)))
    assert told.count(f"{written} (corrected)") == len(TRAITS)
    for trait in TRAITS:
        assert trait in told
    if name != "variables":
        assert "(Mt. Sinai, b. c)" in told
    assert re.search(r"[=≥] [<>]", told) is None
    assert re.search(r"(?<![\w])-\.?\d", told) is None  # true minus signs


@pytest.mark.parametrize("name", sorted(TESTS))
@pytest.mark.parametrize("p", [1.0, 0.9996, 0.3])
def test_of_many_tests_the_smallest_p_of_the_rest_is_written(tmp_path, name, p):
    (told,) = paragraphs(tmp_path, name, make_table(name, [p] * 30))
    end = "p > .999" if p > 0.9995 else "p ≥ .300"
    assert told.endswith(f"none of 30 tests was significant, corrected {end}.")


def test_an_area_of_pixels_has_the_p_of_its_family(tmp_path):
    table = make_table("pixels", [0.04]).assign(p_corrected=0.01)
    (told,) = paragraphs(tmp_path, "pixels", table)
    assert "p = .040 (corrected)" in told
    assert ".010" not in told


@pytest.mark.parametrize("p", [0.0001, 0.03, 0.9, 1.0])
def test_answers_say_what_differs(tmp_path, p):
    names = ("means", "reliability", "performance", "use", "pixels")
    tables = {name: make_table(name, [p] * 7) for name in names}
    tables["answers"] = answer_questions(tables, 7)
    findings = list_findings(Results(tmp_path, STUDY, comparisons=tables))
    begin = {
        0.0001: "Yes, in ",
        0.03: "Uncertain in ",
    }.get(p, "No difference was found")
    assert [finding.answer.startswith(begin) for finding in findings] == [True] * 5
    said = {1.0: "p > .999)."}
    assert all(said.get(p, ".") in finding.answer for finding in findings)


def test_what_could_not_be_found_is_said(tmp_path):
    table = make_table("means", [0.4] * 3).assign(estimate=[-0.1, 0.0, 0.2], ci_low=-0.3, ci_high=0.5)
    table = table.assign(detectable=[0.4, 0.5, 0.6], smallest_p=0.0002)
    for smallest in (0.0002, 0.1):
        tables = {"means": table.assign(smallest_p=smallest)}
        tables["answers"] = answer_questions(tables, 3)
        answer = list_findings(Results(tmp_path, STUDY, comparisons=tables))[0].answer
        if smallest < 0.05:
            assert answer.endswith(
                "the largest of 3 is 0.20 points (p = .5 (corrected), 95% CI [−0.30, 0.50]; "
                "corrected p = .400); a difference of 0.40 to 0.60 points would have been "
                "found with 80% power."
            )
        else:
            assert answer.endswith("with so few raters none can be found: p cannot fall below .100.")


def test_traits_that_are_not_predicted_are_named(tmp_path):
    performance = pd.DataFrame(
        {"group": "b. c", "trait": ["warm", "a. b"], "r": [0.5, -0.1], "p": [0.001, 0.7],
         "p_corrected": [0.002, 0.7], "ceiling_r": [0.8, 0.9]}
    )  # fmt: skip
    told = list_findings(Results(tmp_path, STUDY, performance=performance))
    assert told[0].detail == (
        "Among b. c raters: r = .50 (warm), 62% of the noise ceiling. "
        "Not better than chance: a. b (r = −.10)."
    )
    nothing = performance.assign(p_corrected=0.4)
    told = list_findings(Results(tmp_path, STUDY, performance=nothing))
    assert len(told) == 1
    assert "no trait was predicted better than chance" in told[0].answer


@given(st.floats(0, 1))
def test_p_values_are_never_zero_or_one(p):
    told = p_value(p)
    sign, value = told.split()[1:]
    if p < 0.001:
        assert told == "p < .001"
    elif p >= 0.9995:
        assert told == "p > .999"
    else:
        assert sign == "="
        assert np.isclose(float(value), p, atol=0.00051)
