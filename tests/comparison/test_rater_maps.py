import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from traitlens.comparison.by_pixel import compare_pixels
from traitlens.comparison.rater_maps import (
    combine_components,
    common_directions,
    halve_raters,
    leading_components,
)
from traitlens.comparison.refitting import FeatureKernel, make_designs

SIDE, IMAGES = 4, 24


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def make(rng):
    """Faces whose features are their pixels: relevance is weight times pixel."""
    pixels = rng.normal(size=(IMAGES, SIDE * SIDE)) + rng.normal(size=(IMAGES, 1))
    names = tuple(f"i{number:02d}" for number in range(IMAGES))
    kernel = FeatureKernel(names, np.arange(IMAGES) % 3, pixels @ pixels.T)
    ratings = pd.DataFrame(
        [
            (f"r{rater}", "ab"[rater % 2], image, trait, rng.normal() + pixels[place, :3].sum())
            for rater in range(8)
            for place, image in enumerate(names)
            for trait in ("strong", "warm")
        ],
        columns=["rater", "group", "image", "trait", "rating"],
    )
    return pixels, kernel, ratings


def map_operator(pixels, kernel, ratings, penalties, number):
    """What the pipeline does, with weight times pixel for propagation."""
    halves = halve_raters(ratings)
    groups = ratings.drop_duplicates("rater").set_index("rater")["group"][halves.index].to_numpy()
    designs = make_designs(ratings, halves.index, kernel, penalties)
    found = common_directions(designs, groups, halves.to_numpy())
    directions = np.stack(list(found.values()), axis=1)
    components = [leading_components(kernel, fold, designs, penalties, number) for fold in range(3)]
    sums = np.zeros((2, len(designs), 3, number, SIDE, SIDE))
    for fold, own in enumerate(components):
        seen = pixels[own.training]
        weights = own.duals.T @ (seen - seen.mean(axis=0))
        held = np.flatnonzero(kernel.folds == fold)
        maps = (pixels[held] - seen.mean(axis=0))[:, None] * weights
        total = np.einsum("hti,ikp->htkp", directions[:, :, held], maps)
        sums[:, :, fold, : len(weights)] = total.reshape(2, len(designs), -1, SIDE, SIDE)
    return designs, directions, combine_components(sums, components, len(pixels), list(designs), halves)


def test_the_mean_of_a_half_s_maps_is_the_map_of_its_mean_ratings(rng):
    pixels, kernel, ratings = make(rng)
    penalties = {"strong": 3.0, "warm": 20.0}
    _, directions, found = map_operator(pixels, kernel, ratings, penalties, IMAGES)
    assert_allclose(found.kept, 1.0, rtol=1e-9)
    maps = found.rater_maps(ratings, "warm", kernel, penalties["warm"])
    for half in (0, 1):
        members = found.halves.index[found.halves == half]
        targets = ratings[(ratings["trait"] == "warm") & ratings["rater"].isin(members)]
        y = targets.groupby("image")["rating"].mean().to_numpy()
        expected = np.zeros(SIDE * SIDE)
        for fold in range(3):
            train, held = np.flatnonzero(kernel.folds != fold), np.flatnonzero(kernel.folds == fold)
            x = pixels[train] - pixels[train].mean(axis=0)
            weight = np.linalg.solve(
                x.T @ x + penalties["warm"] * np.eye(x.shape[1]), x.T @ (y[train] - y[train].mean())
            )
            relevance = (pixels[held] - pixels[train].mean(axis=0)) * weight
            expected += directions[half, 1, held] @ relevance / IMAGES
        mean = maps.sel(rater=list(members)).mean("rater")
        assert_allclose(mean.to_numpy().ravel(), expected, rtol=1e-7, atol=1e-10)


def test_few_components_hold_most_of_what_is_predicted(rng):
    pixels, kernel, ratings = make(rng)
    _, _, found = map_operator(pixels, kernel, ratings, {"strong": 20.0, "warm": 20.0}, 6)
    assert 0.6 < found.kept < 1


def test_directions_are_standardised_and_blind_to_groups(rng):
    pixels, kernel, ratings = make(rng)
    penalties = {"strong": 3.0, "warm": 3.0}
    _, directions, _ = map_operator(pixels, kernel, ratings, penalties, 3)
    assert_allclose(directions.mean(axis=2), 0, atol=1e-12)
    assert_allclose(directions.std(axis=2), 1, rtol=1e-12)
    other = ratings.assign(group=ratings["group"].map({"a": "b", "b": "a"}))
    assert_allclose(map_operator(pixels, kernel, other, penalties, 3)[1], directions, rtol=1e-12)


def rate_by_two_pixels(rng, pixels, names, raters, noise):
    """Group a rests on pixel 0, group b on pixel 1."""
    rows = []
    for rater in range(sum(raters)):
        first = rater < raters[0]
        values = pixels[:, 0 if first else 1] + noise * rng.normal(size=len(pixels))
        rows += [
            (f"r{rater:02d}", "ba"[first], name, "warm", v) for name, v in zip(names, values, strict=True)
        ]
    return pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating"])


def test_maps_do_not_run_along_the_larger_group():
    rng = np.random.default_rng(2)
    pixels = rng.normal(size=(90, SIDE * SIDE))
    names = tuple(f"i{number:02d}" for number in range(90))
    kernel = FeatureKernel(names, np.arange(90) % 3, pixels @ pixels.T)
    found = {}
    for raters in ((12, 60), (60, 12)):
        ratings = rate_by_two_pixels(rng, pixels, names, raters, 0.3)
        _, _, maps = map_operator(pixels, kernel, ratings, {"warm": 3.0}, 20)
        of_raters = maps.rater_maps(ratings, "warm", kernel, 3.0)
        found[raters] = of_raters.groupby("group").mean().to_numpy().reshape(2, -1)
    uses = [found[12, 60][0][0], found[12, 60][1][1], found[60, 12][0][0], found[60, 12][1][1]]
    assert_allclose(uses, np.mean(uses), rtol=0.1)


@pytest.mark.slow
def test_pixels_err_no_more_often_with_unequal_groups():
    rng = np.random.default_rng(3)
    pixels = rng.normal(size=(30, SIDE * SIDE))
    names = tuple(f"i{number:02d}" for number in range(30))
    kernel = FeatureKernel(names, np.arange(30) % 3, pixels @ pixels.T)
    errors = 0
    for seed in range(120):
        rows = []
        for rater in range(72):
            values = pixels[:, :2].sum(axis=1) + 1.5 * rng.normal(size=30)
            group = "ab"[rater >= 12]
            rows += [(f"r{rater:02d}", group, n, "warm", v) for n, v in zip(names, values, strict=True)]
        ratings = pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating"])
        _, _, maps = map_operator(pixels, kernel, ratings, {"warm": 5.0}, 16)
        of_raters = maps.rater_maps(ratings, "warm", kernel, 5.0)
        groups = pd.Series(of_raters["group"].to_numpy(), of_raters["rater"].to_numpy())
        found = compare_pixels(of_raters, groups, permutations=99, seed=seed)
        errors += float(found.maps["p_corrected"].min()) <= 0.05
    assert errors <= 12  # 5 % of 120 within Monte Carlo error
