"""Targets of all groups together: groups weigh alike, whoever rated what."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from traitlens.ratings.targets import pool_groups


def make_targets(seed, missing, levels=(0.0, 1.0, -2.0)):
    """Mean ratings of three groups with levels of their own, some of them missing."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(20, 1))
    ratings = 5 + truth + np.array(levels) + 0.1 * rng.normal(size=(20, 3))
    gone = rng.random((20, 3)) < missing
    gone[np.arange(20), rng.integers(0, 3, 20)] = False
    ratings[gone] = np.nan
    rows = [
        (group, "warm", f"{image:02d}", ratings[image, place])
        for image in range(20)
        for place, group in enumerate("abc")
        if np.isfinite(ratings[image, place])
    ]
    return pd.DataFrame(rows, columns=["group", "trait", "image", "rating"]), ratings


def test_complete_ratings_are_averaged_over_groups():
    targets, ratings = make_targets(0, 0.0)
    pooled = pool_groups(targets)
    np.testing.assert_allclose(pooled["rating"], ratings.mean(axis=1))
    assert pooled["group"].unique().tolist() == ["all"]


@given(seed=st.integers(0, 50), missing=st.floats(0.1, 0.5))
def test_gaps_are_filled_as_least_squares_says(seed, missing):
    targets, ratings = make_targets(seed, missing)
    image, group = np.nonzero(np.isfinite(ratings))
    design = np.hstack([np.eye(20)[image], np.eye(3)[group]])
    fitted = np.linalg.lstsq(design, ratings[image, group], rcond=None)[0]
    levels = fitted[20:] - fitted[20:].mean()
    expected = np.nanmean(ratings - levels, axis=1)
    np.testing.assert_allclose(pool_groups(targets)["rating"], expected, atol=1e-8)


@given(seed=st.integers(0, 50))
def test_the_level_of_a_group_moves_all_images_alike(seed):
    before, _ = make_targets(seed, 0.3)
    after = before.assign(rating=before["rating"] + 3.0 * (before["group"] == "b"))
    moved = pool_groups(after)["rating"] - pool_groups(before)["rating"]
    np.testing.assert_allclose(moved, 1.0, atol=1e-8)
