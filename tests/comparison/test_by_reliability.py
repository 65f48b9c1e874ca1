import numpy as np
import pandas as pd
import pingouin
import pytest
from numpy.testing import assert_allclose

from traitlens.comparison.by_reliability import ReliabilityDesign, compare_reliability
from traitlens.problems import TraitlensError
from traitlens.ratings.rating_matrix import RatingMatrix


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def as_matrix(values):
    return RatingMatrix(values, pd.RangeIndex(values.shape[0]), pd.RangeIndex(values.shape[1]))


def simulate(rng, raters, images, noise=1.5):
    values = rng.normal(size=images) + 0.8 * rng.normal(size=(raters, 1))
    return values + noise * rng.normal(size=(raters, images))


def two_groups(rng, noise_b, raters=20, images=40):
    truth = rng.normal(size=(2, images))
    rows = []
    for group, noise in (("a", 1.0), ("b", noise_b)):
        for rater in range(raters):
            values = truth + rng.normal() + noise * rng.normal(size=truth.shape)
            rows += [
                (f"{group}{rater}", group, f"i{image:02d}", f"t{trait}", values[trait, image])
                for trait in (0, 1)
                for image in range(images)
            ]
    return pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating"])


def test_the_closed_form_is_cronbachs_alpha_where_the_design_is_complete(rng):
    values = simulate(rng, 12, 30)
    weights = np.ones((2, 12))
    weights[1, 7:] = 0
    shares = ReliabilityDesign(as_matrix(values)).noise_share(weights)
    alphas = [pingouin.cronbach_alpha(pd.DataFrame(part.T))[0] for part in (values, values[:7])]
    assert_allclose(1 - shares, alphas, rtol=0, atol=1e-6)


def test_gaps_leave_the_noise_share_right_on_average(rng):
    found = []
    for _ in range(200):
        values = simulate(rng, 20, 60)
        values[rng.random(values.shape) < 0.3] = np.nan
        found.append(ReliabilityDesign(as_matrix(values)).noise_share(np.ones((1, 20)))[0])
    raters = 20 * 0.7
    assert abs(np.mean(found) - 1.5**2 / raters / (1 + 1.5**2 / raters)) < 0.012


def test_a_noisier_group_is_found_and_equal_groups_are_not(rng):
    table = compare_reliability(two_groups(rng, 3.0), permutations=199)
    assert (table["p_corrected"] <= 0.02).all()
    assert (table["noise_ratio"] < 0.5).all()
    assert (table["ci_low"] > 0).all()
    assert compare_reliability(two_groups(rng, 1.0), permutations=199)["p_corrected"].min() > 0.05


def test_false_positives_are_held(rng):
    hits = [
        compare_reliability(two_groups(rng, 1.0, 8, 25), permutations=39, splits=10)["p_corrected"].min()
        <= 0.05
        for _ in range(60)
    ]
    assert sum(hits) <= 9


def test_groups_without_a_common_trait_are_refused(rng):
    ratings = two_groups(rng, 1.0, 4, 10)
    ratings["trait"] = ratings["group"] + ratings["trait"]
    with pytest.raises(TraitlensError, match="no trait that two raters of each rated"):
        compare_reliability(ratings, permutations=9)
