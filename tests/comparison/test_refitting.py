import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge

from traitlens.comparison.compared_groups import label_raters
from traitlens.comparison.permutation import draw_labels, find_strata
from traitlens.comparison.refitting import FeatureKernel, make_designs, prediction_matrix
from traitlens.problems import TraitlensError

IMAGES = tuple(f"i{number:03d}" for number in range(40))
FOLDS = np.arange(40) % 4


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def features(rng):
    return rng.normal(size=(40, 24))


@pytest.fixture
def kernel(features):
    return FeatureKernel(IMAGES, FOLDS, features @ features.T)


def make_ratings(rng, raters=6):
    rows = [
        (f"{group}{rater}", group, image, "warm", rng.normal())
        for group in "ab"
        for rater in range(raters)
        for image in IMAGES
    ]
    return pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating"])


def test_predictions_are_those_of_a_ridge_regression_out_of_fold(rng, features, kernel):
    targets = rng.normal(size=40) + 3
    expected = np.zeros(40)
    for fold in range(4):
        train = fold != FOLDS
        expected[~train] = Ridge(alpha=2.0).fit(features[train], targets[train]).predict(features[~train])
    assert_allclose(prediction_matrix(kernel, 2.0) @ targets, expected, rtol=1e-8, atol=1e-8)


def test_a_groups_ratings_are_the_mean_of_its_raters_and_what_they_add(rng, kernel):
    ratings = make_ratings(rng)
    raters, labels = label_raters(ratings, ("a", "b"))
    design = make_designs(ratings, raters, kernel, 2.0)["warm"]
    targets = design.targets((labels == 0)[None].astype(float))[0]
    expected = ratings[ratings["group"] == "a"].groupby("image")["rating"].mean()
    assert_allclose(targets, expected[list(IMAGES)], rtol=1e-12)
    assert_allclose(design.deviations(targets, labels == 0).mean(axis=0), 0, atol=1e-12)


def test_an_image_that_no_rater_of_a_set_rated_gets_the_pooled_mean_at_the_sets_level(rng, kernel):
    ratings = make_ratings(rng)
    ratings.loc[ratings["group"] == "a", "rating"] += 2
    ratings = ratings[(ratings["group"] == "b") | (ratings["image"] != IMAGES[0])]
    raters, labels = label_raters(ratings, ("a", "b"))
    design = make_designs(ratings, raters, kernel, 2.0)["warm"]
    targets = design.targets((labels == 0)[None].astype(float))[0]
    level = (targets - design.pooled)[1:].mean()
    assert_allclose(targets[0], design.pooled[0] + level, rtol=1e-12)


def test_raters_nested_in_traits_and_images_change_places_within(rng):
    ratings = pd.DataFrame(
        [
            (f"{group}{trait}{images}{rater}", group, f"{images}{i}", trait, 1.0)
            for group in "ab" for trait in ("warm", "strong") for images in "xy"
            for rater in range(3) for i in range(4)
        ],
        columns=["rater", "group", "image", "trait", "rating"],
    )  # fmt: skip
    raters, labels = label_raters(ratings, ("a", "b"))
    strata = find_strata(ratings, raters, labels)
    assert len(np.unique(strata)) == 4
    for block in draw_labels(labels, strata, 20, 0, block=7):
        for own in block:
            for stratum in np.unique(strata):
                assert own[strata == stratum].sum() == 3
    names = pd.Series(raters).str[1:-1]
    assert (pd.Series(strata).groupby(names).nunique() == 1).all()


def test_faults_are_told(rng, kernel):
    ratings = make_ratings(rng)
    raters = label_raters(ratings, ("a", "b"))[0]
    with pytest.raises(TraitlensError, match="no features"):
        make_designs(ratings.replace(IMAGES[0], "other"), raters, kernel, 2.0)
    with pytest.raises(TraitlensError, match="1 images have no rating"):
        make_designs(ratings[ratings["image"] != IMAGES[0]], raters, kernel, 2.0)
    with pytest.raises(TraitlensError, match="positive"):
        prediction_matrix(kernel, 0.0)
    with pytest.raises(TraitlensError, match=r"values has shape \(3, 3\)"):
        FeatureKernel(IMAGES, FOLDS, np.eye(3))
    assert kernel.take(set(IMAGES[:8])).values.shape == (8, 8)
