"""Private taste and specificity against plain formulas and planted differences."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from traitlens.comparison.by_taste import Taste, compare_taste, cross_products


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def draw(rng, private=(0.6, 0.6), numbers=(10, 12), images=40, second=0.5):
    """Ratings, twice each, of two traits; the second shares `second` of its variance with the first."""
    shared = rng.normal(size=(2, images))
    shared[1] = np.sqrt(second) * shared[0] + np.sqrt(1 - second) * shared[1]
    group = np.repeat([0, 1], numbers)
    own = shared + np.array(private)[group][:, None, None] * rng.normal(size=(len(group), 2, images))
    rows = [
        pd.DataFrame({"rater": f"r{r:02d}", "group": "ab"[group[r]], "trait": trait, "image": range(images),
                      "repeat": turn, "rating": own[r, place] + 0.7 * rng.normal(size=images)})
        for r in range(len(group)) for place, trait in enumerate(("bold", "warm")) for turn in (1, 2)
    ]  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def test_covariances_of_raters_are_those_of_pandas(rng):
    values = rng.normal(size=(7, 15))
    values[rng.random(values.shape) < 0.3] = np.nan
    products, freedom = cross_products(values, values)
    assert_allclose(products / freedom, pd.DataFrame(values.T).cov(min_periods=2), rtol=1e-9)


def test_measures_are_those_of_plain_loops(rng):
    ratings, first = rng.normal(size=(2, 6, 20)), rng.normal(size=(6, 20))
    ratings += rng.normal(size=(2, 1, 20))
    taste = Taste({"bold": ratings[0], "warm": ratings[1]}, {"bold": np.stack([first, first + ratings[0]])})
    group = np.array([1.0, 1, 1, 0, 1, 0])
    members = np.flatnonzero(group)
    covariances = np.array(
        [[np.mean([np.cov(one[i], two[j])[0, 1] for i in members for j in members if i != j])
          for two in ratings] for one in ratings]
    )  # fmt: skip
    own = np.mean([np.cov(first[i], first[i] + ratings[0][i])[0, 1] for i in members])
    found = dict(zip(taste.names, taste.measures(group[None])[0], strict=True))
    assert_allclose(found["bold", "beholder index"], 1 - covariances[0, 0] / own, rtol=1e-9)
    r2 = covariances[0, 1] ** 2 / covariances[0, 0] / covariances[1, 1]
    assert_allclose(found["warm", "specificity"], 1 - r2, rtol=1e-9)


def test_planted_values_are_recovered_and_a_planted_difference_is_found(rng):
    table = compare_taste(draw(rng, (1.0, 0.4), images=150), permutations=199).set_index(["measure", "trait"])
    index = table.loc["beholder index"]
    assert_allclose(index["value_1"], 0.5, atol=0.1)
    assert_allclose(index["value_2"], 0.16 / 1.16, atol=0.1)
    assert (index["p_corrected"] <= 0.05).all()
    assert (index["ci_low"] > 0).all()
    assert_allclose(table.loc["specificity", "value_2"], 0.5, atol=0.15)
    assert (table.loc["specificity", "p_corrected"] > 0.01).all()


def test_repeats_of_one_group_give_no_index(rng):
    table = draw(rng)
    found = compare_taste(table[(table["group"] == "a") | (table["repeat"] == 1)], permutations=19)
    assert set(found["measure"]) == {"specificity"}
    few = table[table["rater"].isin(["r00", "r01", "r02", "r10", "r11", "r12", "r13"])]
    assert compare_taste(few, permutations=19).empty
