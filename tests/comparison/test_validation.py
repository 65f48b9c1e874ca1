import numpy as np
import pytest
from numpy.testing import assert_allclose

from traitlens.comparison.operator import solve_folds
from traitlens.comparison.validation import Design, power, simulate_faces, simulate_ratings, validate


def test_simulated_relevance_adds_up_to_predictions():
    design = Design(images=30)
    operator, _ = simulate_faces(design)
    targets = np.random.default_rng(0).normal(size=30)
    maps = solve_folds(operator, design.penalty)
    total, predicted = (maps.relevance @ targets).sum(axis=0), maps.prediction @ targets
    for fold in np.unique(operator.folds):
        offset = (predicted - total)[operator.folds == fold]
        assert_allclose(offset, offset[0], rtol=0, atol=1e-9)


def test_simulated_raters_have_the_planted_difference():
    design = Design(raters=(400, 400), noise=0.1, taste=0.1, level=0.0, traits=1, difference=0.8)
    _, features = simulate_faces(design)
    means = simulate_ratings(design, features, 1).groupby(["group", "image"])["rating"].mean()
    assert_allclose((means["b"] - means["a"]).std(ddof=0), 0.8, rtol=0, atol=0.03)


def test_a_few_studies():
    table = validate(Design(difference=1.0, traits=1), studies=3, permutations=59).set_index("test")
    assert table.loc["region", "right_region"] == 1.0
    assert table.loc["region", "estimate"] == 1.0
    assert table.loc["region", "ci_low"] < 1.0


def test_power_rises_with_raters():
    table = power((4, 16), (0.2,), Design(traits=1, images=40), studies=12, permutations=39)
    regions = table[table["test"] == "region"].set_index("n_1")["estimate"]
    assert regions[16] >= regions[4]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_error_rates_are_held():
    table = validate(Design(difference=0.0), studies=200, permutations=199).set_index("test")
    assert 0.02 <= table.loc["region", "estimate"] <= 0.08
    assert 0.01 <= table.loc["performance", "estimate"] <= 0.08


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_power_and_place():
    row = validate(Design(), studies=100, permutations=199).set_index("test").loc["region"]
    assert row["estimate"] > 0.8
    assert row["right_region"] >= 0.9
