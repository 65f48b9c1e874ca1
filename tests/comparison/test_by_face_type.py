"""Which faces drive a difference: against plain formulas, planted differences and studies without one."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from traitlens.comparison.by_face_type import compare_face_types, predict_difference
from traitlens.comparison.refitting import FeatureKernel, prediction_matrix


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def draw(rng, planted=0.0, numbers=(10, 12), images=40, noise=1.0):
    """Ratings of faces; raters of group a rate older faces higher by `planted` for each SD of age."""
    features = rng.normal(size=(images, 8))
    truth = features @ rng.normal(size=8) * 0.4
    age = features[:, 0]
    group = np.repeat(["a", "b"], numbers)
    tastes = 0.2 * rng.normal(size=len(group))
    rows = [
        pd.DataFrame({"rater": f"r{r:02d}", "group": own, "image": [f"i{j:02d}" for j in range(images)],
                      "trait": "warm", "rating": truth + rng.normal() + noise * rng.normal(size=images)
                      + (planted * (own == "a") + tastes[r]) * age})
        for r, own in enumerate(group)
    ]  # fmt: skip
    names = [f"i{j:02d}" for j in range(images)]
    measures = pd.DataFrame({"age": age, "other": rng.normal(size=images)}, index=names)
    kernel = FeatureKernel(tuple(names), np.arange(images) % 4, features @ features.T)
    return pd.concat(rows), measures, kernel, pd.Series(names, names)


def test_slopes_are_those_of_single_raters_and_their_test_is_that_of_welch(rng):
    ratings, measures, _, identities = draw(rng)
    table = compare_face_types(ratings, measures, identities, permutations=19).set_index("moderator")
    z = measures["age"] / measures["age"].std(ddof=0)
    wide = ratings.pivot_table(index="rater", columns="image", values="rating")
    slopes = wide.apply(lambda row: np.polyfit(z, row, 1)[0], axis=1)
    sides = [slopes[slopes.index < "r10"], slopes[slopes.index >= "r10"]]
    expected = stats.ttest_ind(*sides, equal_var=False)
    row = table.loc["age"]
    assert_allclose([row["value_1"], row["value_2"]], [side.mean() for side in sides], rtol=1e-9)
    assert_allclose(row["statistic"], expected.statistic, rtol=1e-9)
    low, high = expected.confidence_interval()
    assert_allclose([row["ci_low"], row["ci_high"]], [low, high], rtol=1e-9)
    assert row["crossed_low"] < row["ci_low"]
    assert row["crossed_high"] > row["ci_high"]


def test_raters_of_few_faces_and_faces_without_a_value_are_left_out(rng):
    ratings, measures, _, identities = draw(rng)
    ratings = ratings[(ratings["rater"] != "r00") | (ratings["image"] < "i04")]
    measures.loc["i00", "age"] = np.nan
    measures["constant"] = 1.0
    table = compare_face_types(ratings, measures, identities, permutations=19).set_index("moderator")
    assert set(table.index) == {"age", "other"}
    assert (table["n_1"] == 9).all()
    assert table["n_images"].to_dict() == {"age": 39, "other": 40}


def test_the_difference_is_predicted_out_of_fold_by_a_refit(rng):
    ratings, _, kernel, identities = draw(rng, planted=0.8)
    row = predict_difference(ratings, kernel, {"warm": 5.0}, identities, permutations=199).iloc[0]
    means = ratings.pivot_table(index="image", columns="group", values="rating")
    difference = (means["a"] - means["b"]).to_numpy()
    predicted = prediction_matrix(kernel, 5.0) @ difference
    assert_allclose(row["r"], np.corrcoef(difference, predicted)[0, 1], rtol=1e-9)
    assert_allclose(row["sd"], difference.std(ddof=1), rtol=1e-9)
    # Reliability by hand: noise is the interaction of raters and images within each group.
    noise = 0.0
    for _, own in ratings.groupby("group"):
        values = own.pivot_table(index="rater", columns="image", values="rating").to_numpy()
        left = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
        noise += (left**2).sum() / (len(values) - 1) / (values.shape[1] - 1) / len(values)
    assert_allclose(row["reliability"], 1 - noise / difference.var(ddof=1), rtol=1e-9)
    assert row["p_corrected"] <= 0.01
    assert row["ci_low"] > 0


def test_planted_types_of_faces_are_found_and_noise_is_not(rng):
    found = {0.0: [0, 0], 0.5: [0, 0]}
    for planted, counts in found.items():
        for study in range(12):
            ratings, measures, kernel, identities = draw(rng, planted, images=30)
            options = {"permutations": 99, "seed": study}
            slopes = compare_face_types(ratings, measures, identities, **options)
            counts[0] += slopes["p_corrected"].min() <= 0.05
            readout = predict_difference(ratings, kernel, {"warm": 5.0}, identities, **options)
            counts[1] += readout["p_corrected"].min() <= 0.05
    assert max(found[0.0]) <= 3  # 0.6 of 12 expected, Monte Carlo error
    assert min(found[0.5]) >= 8
