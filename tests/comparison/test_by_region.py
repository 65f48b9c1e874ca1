import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from traitlens.comparison.by_region import (
    rater_regions,
)
from traitlens.comparison.exchange import draw_labels, find_strata, label_raters
from traitlens.comparison.operator import RegionOperator, solve_folds, summarise, summary_gradient
from traitlens.problems import TraitlensError


def make_operator(rng, images=40, regions=4, features=6, folds=4):
    blocks = rng.normal(size=(regions, images, features))
    region_kernels = blocks @ blocks.transpose(0, 2, 1)
    names = tuple(f"i{number:03d}" for number in range(images))
    return blocks, RegionOperator(
        names, tuple(f"r{g}" for g in range(regions)), np.arange(images) % folds,
        region_kernels.sum(axis=0), region_kernels,
    )  # fmt: skip


def make_ratings(rng, blocks, raters=12, traits=("warm", "strong"), difference=0.0, noise=1.0):
    _, images, features = blocks.shape
    rows = []
    for trait in traits:
        weights = rng.normal(size=(2, features)) * [[1.0], [0.5]]
        truth = blocks[0] @ weights[0] + blocks[1] @ weights[1]
        for group, shift in (("a", 0.0), ("b", difference)):
            for rater in range(raters):
                values = truth + shift * (blocks[2] @ weights[0]) + noise * rng.normal(size=images)
                rows += [
                    (f"{group}{rater}", group, f"i{i:03d}", trait, value) for i, value in enumerate(values)
                ]
    return pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating"])


def literal_relevance(blocks, operator, targets, penalty):
    """Out-of-fold relevance by region of a ridge readout with weights, written out."""
    features = np.concatenate(list(blocks), axis=1)
    relevance = np.zeros((len(blocks), len(targets)))
    predicted = np.zeros(len(targets))
    for fold in np.unique(operator.folds):
        held, train = operator.folds == fold, operator.folds != fold
        centre = features[train].mean(axis=0)
        x, y = features[train] - centre, targets[train] - targets[train].mean()
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
        predicted[held] = targets[train].mean() + (features[held] - centre) @ weights
        for g, (block, part) in enumerate(zip(blocks, np.split(weights, len(blocks)), strict=True)):
            relevance[g, held] = block[held] @ part
    return relevance, predicted


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_maps_equal_a_ridge_written_out(rng):
    blocks, operator = make_operator(rng)
    targets = rng.normal(size=40) + 3
    maps = solve_folds(operator, 2.0)
    relevance, predicted = literal_relevance(blocks, operator, targets, 2.0)
    assert_allclose(maps.prediction @ targets, predicted, rtol=1e-9, atol=1e-9)
    assert_allclose(maps.relevance @ targets, relevance, rtol=1e-9, atol=1e-9)
    standard = (predicted - predicted.mean()) / predicted.std()
    aligned = (relevance * standard).mean(axis=1)
    assert_allclose(summarise(targets[None], maps, "aligned")[0], aligned, rtol=1e-9, atol=1e-9)
    assert_allclose(summarise(targets[None], maps, "share")[0], aligned / aligned.sum(), rtol=1e-9, atol=1e-9)


def test_aligned_relevance_adds_up_to_the_spread_of_predictions(rng):
    # With features centred per fold relevance is conserved up to a constant, which alignment ignores
    # within one fold; leave one fold of everything but few images to see it.
    blocks, operator = make_operator(rng, images=60, folds=2)
    blocks = blocks - blocks[:, operator.folds == 0].mean(axis=1, keepdims=True)
    maps = solve_folds(operator, 2.0)
    targets = rng.normal(size=60)
    held = operator.folds == 1
    total = (maps.relevance @ targets).sum(axis=0)[held]
    predicted = (maps.prediction @ targets)[held]
    assert_allclose(total - total.mean(), predicted - predicted.mean(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("summary", ["aligned", "share", "mean"])
def test_gradient_is_the_derivative(rng, summary):
    _, operator = make_operator(rng, images=20)
    maps = solve_folds(operator, 2.0)
    targets = rng.normal(size=20)
    step = 1e-6
    moved = targets + step * np.vstack([np.eye(20), -np.eye(20)])
    values = summarise(moved, maps, summary)
    numeric = (values[:20] - values[20:]).T / (2 * step)
    assert_allclose(summary_gradient(targets, maps, summary), numeric, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("summary", ["aligned", "share", "mean"])
def test_a_groups_value_is_the_mean_of_its_raters(rng, summary):
    blocks, operator = make_operator(rng)
    ratings = make_ratings(rng, blocks)
    values = rater_regions(ratings, operator, 2.0, summary)
    means = values.groupby(["group", "trait", "region"])["value"].mean()
    maps = solve_folds(operator, 2.0)
    for (group, trait), part in ratings.groupby(["group", "trait"]):
        targets = part.groupby("image")["rating"].mean().to_numpy()
        expected = summarise(targets[None], maps, summary)[0]
        assert_allclose(means[group, trait].to_numpy(), expected, rtol=1e-9, atol=1e-9)


def test_a_raters_mean_relevance_is_that_of_a_readout_fitted_to_the_rater(rng):
    blocks, operator = make_operator(rng)
    ratings = make_ratings(rng, blocks, raters=3)
    values = (
        rater_regions(ratings, operator, 2.0, "mean")
        .set_index(["rater", "trait", "region"])["value"]
        .sort_index()
    )
    for (rater, trait), part in ratings.groupby(["rater", "trait"]):
        relevance, _ = literal_relevance(
            blocks, operator, part.sort_values("image")["rating"].to_numpy(), 2.0
        )
        assert_allclose(values[rater, trait].to_numpy(), relevance.mean(axis=1), rtol=1e-9, atol=1e-9)


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


def test_faults_are_told(rng):
    blocks, operator = make_operator(rng)
    ratings = make_ratings(rng, blocks)
    with pytest.raises(TraitlensError, match="no features"):
        rater_regions(ratings.replace("i000", "other"), operator, 2.0)
    with pytest.raises(TraitlensError, match="positive"):
        solve_folds(operator, 0.0)
    with pytest.raises(TraitlensError, match=r"kernel has shape \(3, 3\)"):
        RegionOperator(operator.images, operator.regions, operator.folds, np.eye(3), operator.region_kernels)
