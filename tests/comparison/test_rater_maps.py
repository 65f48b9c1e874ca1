import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from traitlens.comparison.by_region import make_designs
from traitlens.comparison.operator import RegionOperator
from traitlens.comparison.rater_maps import combine_components, common_directions, leading_components

SIDE, IMAGES = 4, 24


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def make(rng):
    """Faces whose features are their pixels: relevance is weight times pixel."""
    pixels = rng.normal(size=(IMAGES, SIDE * SIDE)) + rng.normal(size=(IMAGES, 1))
    names = tuple(f"i{number:02d}" for number in range(IMAGES))
    operator = RegionOperator(
        names, ("all",), np.arange(IMAGES) % 3, pixels @ pixels.T, (pixels @ pixels.T)[None]
    )
    ratings = pd.DataFrame(
        [
            (f"r{rater}", "ab"[rater % 2], image, trait, rng.normal() + pixels[place, :3].sum())
            for rater in range(8)
            for place, image in enumerate(names)
            for trait in ("strong", "warm")
        ],
        columns=["rater", "group", "image", "trait", "rating"],
    )
    return pixels, operator, ratings


def map_operator(pixels, operator, ratings, penalties, number):
    """What the pipeline does, with weight times pixel for propagation."""
    designs = make_designs(ratings, pd.Index(sorted(ratings["rater"].unique())), operator, penalties)
    directions = np.stack(list(common_directions(designs).values()))
    components = [leading_components(operator, fold, designs, penalties, number) for fold in range(3)]
    sums = np.zeros((2, 3, number, SIDE, SIDE))
    for fold, own in enumerate(components):
        seen = pixels[own.training]
        weights = own.duals.T @ (seen - seen.mean(axis=0))
        held = np.flatnonzero(operator.folds == fold)
        maps = (pixels[held] - seen.mean(axis=0))[:, None] * weights
        total = np.einsum("ti,ikp->tkp", directions[:, held], maps)
        sums[:, fold, : len(weights)] = total.reshape(2, -1, SIDE, SIDE)
    return designs, directions, combine_components(sums, components, IMAGES, list(designs))


def test_the_mean_of_raters_maps_is_the_map_of_their_mean_ratings(rng):
    pixels, operator, ratings = make(rng)
    penalties = {"strong": 3.0, "warm": 20.0}
    _, directions, found = map_operator(pixels, operator, ratings, penalties, IMAGES)
    assert_allclose(found.kept, 1.0, rtol=1e-9)
    maps = found.rater_maps(ratings, "warm", operator, penalties["warm"])
    for group in "ab":
        targets = ratings[(ratings["trait"] == "warm") & (ratings["group"] == group)]
        y = targets.groupby("image")["rating"].mean().to_numpy()
        expected = np.zeros(SIDE * SIDE)
        for fold in range(3):
            train, held = np.flatnonzero(operator.folds != fold), np.flatnonzero(operator.folds == fold)
            x = pixels[train] - pixels[train].mean(axis=0)
            weight = np.linalg.solve(
                x.T @ x + penalties["warm"] * np.eye(x.shape[1]), x.T @ (y[train] - y[train].mean())
            )
            relevance = (pixels[held] - pixels[train].mean(axis=0)) * weight
            expected += directions[1, held] @ relevance / IMAGES
        mean = maps.isel(rater=np.flatnonzero(maps["group"] == group)).mean("rater")
        assert_allclose(mean.to_numpy().ravel(), expected, rtol=1e-7, atol=1e-10)


def test_few_components_hold_most_of_what_is_predicted(rng):
    pixels, operator, ratings = make(rng)
    _, _, found = map_operator(pixels, operator, ratings, {"strong": 20.0, "warm": 20.0}, 6)
    assert 0.6 < found.kept < 1


def test_directions_are_standardised_and_blind_to_groups(rng):
    pixels, operator, ratings = make(rng)
    penalties = {"strong": 3.0, "warm": 3.0}
    _, directions, _ = map_operator(pixels, operator, ratings, penalties, 3)
    assert_allclose(directions.mean(axis=1), 0, atol=1e-12)
    assert_allclose(directions.std(axis=1), 1, rtol=1e-12)
    other = ratings.assign(group=ratings["group"].map({"a": "b", "b": "a"}))
    assert_allclose(map_operator(pixels, operator, other, penalties, 3)[1], directions, rtol=1e-12)
