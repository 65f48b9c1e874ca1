"""Replication: prediction intervals by hand and their coverage, patterns found and not found."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from traitlens.comparison.by_study import compare_mean_ratings, compare_studies
from traitlens.problems import TraitlensError


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def draw(rng, effects, raters=20):
    """A study whose raters have given differences of use by trait and region, and levels."""
    group = np.repeat(["a", "b"], raters)
    names = [f"r{number:02d}" for number in range(2 * raters)]
    half = np.where(group == "a", 0.5, -0.5)
    rows = []
    for trait, by_region in enumerate(effects):
        for region, effect in enumerate(by_region):
            values = half * effect + rng.normal(size=len(group))
            rows.append(pd.DataFrame({"rater": names, "measure": "utilisation", "trait": f"t{trait}",
                                      "region": f"g{region}", "value": values}))  # fmt: skip
    ratings = pd.concat(
        [pd.DataFrame({"rater": names, "group": group, "image": f"i{image}", "trait": f"t{trait}",
                       "rating": rng.normal(size=len(group)) + image})
         for trait in range(len(effects)) for image in range(6)]
    )  # fmt: skip
    return ratings, pd.concat(rows)


def test_prediction_intervals_are_those_of_both_errors(rng):
    effects = rng.normal(size=(2, 4))
    first, second = draw(rng, effects), draw(rng, effects)
    table, patterns = compare_studies(first, second, permutations=49)
    row = table.iloc[0]
    sides = []
    for _, values in (first, second):
        own = values[(values["trait"] == row["trait"]) & (values["region"] == row["region"])][
            "value"
        ].to_numpy()
        sides.append((own[:20], own[20:]))
    differences = [one.mean() - two.mean() for one, two in sides]
    errors = [np.sqrt(one.var(ddof=1) / 20 + two.var(ddof=1) / 20) for one, two in sides]
    assert_allclose([row["estimate_1"], row["estimate_2"]], differences, rtol=1e-9)
    width = row["predicted_high"] - row["estimate_1"]
    assert 1.9 * np.hypot(*errors) < width < 2.1 * np.hypot(*errors)
    assert_allclose(row["low_1"], stats.ttest_ind(*sides[0], equal_var=False).confidence_interval().low)
    weights = 1 / np.array(errors) ** 2
    assert_allclose(row["pooled"], weights @ differences / weights.sum())
    assert patterns["n_effects"].tolist() == [8]


def test_the_same_truth_replicates_and_unrelated_truths_do_not(rng):
    found, null, inside = 0, 0, []
    for study in range(25):
        effects = 0.6 * rng.normal(size=(2, 5))
        first = draw(rng, effects)
        again, unrelated = draw(rng, effects), draw(rng, np.zeros((2, 5)))
        table, patterns = compare_studies(first, again, permutations=99, seed=study)
        found += patterns["p_corrected"].min() <= 0.05
        inside.append(table["inside"].mean())
        null += compare_studies(first, unrelated, permutations=99, seed=study)[1]["p"].min() <= 0.05
    assert found >= 20
    assert null <= 5  # 1.25 of 25 expected, Monte Carlo error
    assert 0.9 <= np.mean(inside) <= 0.99


def test_mean_ratings_of_common_images_are_correlated_with_their_ceilings(rng):
    ratings, _ = draw(rng, np.zeros((2, 3)))
    other, _ = draw(rng, np.zeros((2, 3)))
    other = other[other["image"] != "i5"]
    predicted = other[["image", "group", "trait"]].drop_duplicates()
    predicted = predicted.assign(predicted=predicted["image"].str[1:].astype(float))
    table = compare_mean_ratings(ratings, other, predicted).set_index(["group", "trait", "what"])
    means = [one.groupby(["group", "trait", "image"])["rating"].mean() for one in (ratings, other)]
    expected = pd.concat(means, axis=1, join="inner").loc["a", "t0"].corr().iloc[0, 1]
    assert_allclose(table.loc[("a", "t0", "mean ratings"), "r"], expected)
    assert (table["n_images"] == 5).all()
    assert (table["ceiling"] > 0.8).all()
    assert (table.loc[(slice(None), slice(None), "prediction"), "r"] > 0.9).all()


def test_studies_without_common_groups_are_refused(rng):
    first, second = draw(rng, np.zeros((1, 3))), draw(rng, np.zeros((1, 3)))
    renamed = second[0].assign(group=second[0]["group"] + "x"), second[1]
    with pytest.raises(TraitlensError, match="no two groups and no trait in common"):
        compare_studies(first, renamed, permutations=9)
