import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from traitlens.comparison.known_faces import Design, KnownFaces, simulate_faces, simulate_ratings
from traitlens.comparison.operator import solve_folds
from traitlens.comparison.validation import design_of_pilot, power, validate
from traitlens.ratings.reliability import reliability_table


def test_simulated_relevance_adds_up_to_predictions():
    design = Design(images=30)
    operator, _ = simulate_faces(design)
    targets = np.random.default_rng(0).normal(size=30)
    maps = solve_folds(operator, 20.0)
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
    faces = KnownFaces.of(Design(traits=1))
    found = validate(faces, 1.0, studies=3, permutations=59)
    rates = found.rates.set_index("test")
    assert rates.loc["region", "right_region"] == 1.0
    assert rates.loc["region", "estimate"] == 1.0
    assert rates.loc["region", "ci_low"] < 1.0
    places = found.places.set_index("region")
    assert places["planted"].idxmax() == "mouth"
    assert places.loc["mouth", "largest"] == places["largest"].sum() == 3


def test_power_rises_with_raters():
    table = power(KnownFaces.of(Design(traits=1, images=40)), (0.2,), (4, 16), studies=5, permutations=39)
    regions = table[table["test"] == "region"].set_index("n_1")["estimate"]
    assert regions[16] >= regions[4]


def test_a_pilot_tells_noise_and_levels():
    design = Design(raters=(60, 60), noise=2.0, taste=0.5, level=1.5, traits=1, difference=0.0)
    _, features = simulate_faces(design)
    found = design_of_pilot(reliability_table(simulate_ratings(design, features, 3), splits=10))
    assert_allclose(found.noise**2 + found.taste**2, 4.25, rtol=0.1)
    assert_allclose(found.level, 1.5, rtol=0.2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_error_rates_are_held():
    found = validate(studies=200, permutations=199).rates["significant"]
    low, high = stats.binom.ppf([0.001, 0.999], 200, 0.05)
    assert found.between(low, high).all()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_power_and_place():
    row = validate(None, 0.5, studies=100, permutations=199).rates.set_index("test").loc["region"]
    assert row["estimate"] > 0.8
    assert row["right_region"] >= 0.9
