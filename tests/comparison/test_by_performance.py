import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from traitlens.comparison.by_performance import (
    compare_performance,
    match_reliability,
    transfer_table,
)
from traitlens.comparison.permutation import familywise_p, holm
from traitlens.comparison.refitting import FeatureKernel


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def make_predictions(rng, signal=1.0, per_identity=1):
    tables = []
    base = rng.normal(size=(2, 100))
    for group, noise in (("a", 0.3), ("b", 0.6)):
        for trait in (0, 1):
            observed = base[trait] + noise * rng.normal(size=100)
            tables.append(
                pd.DataFrame(
                    {
                        "image": [f"{i:03d}" for i in range(100)],
                        "identity": [f"p{i // per_identity}" for i in range(100)],
                        "group": group,
                        "trait": f"t{trait}",
                        "fold": np.arange(100) // per_identity % 5,
                        "observed": observed,
                        "predicted": signal * base[trait] + rng.normal(size=100),
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def test_statistics_without_error_do_not_overflow():
    observed, permuted = np.array([1e200, 1.0]), np.array([[-1e200, 2.0], [3.0, 0.5], [1.0, 0.2]])
    assert_allclose(familywise_p(observed, permuted), [0.5, 0.5], rtol=1e-12)


def test_holm():
    assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.9])), [0.04, 0.09, 0.09, 0.9], rtol=1e-12)


def make_rated(rng, noise_b):
    features = rng.normal(size=(60, 8))
    names = tuple(f"{i:03d}" for i in range(60))
    kernel = FeatureKernel(names, np.arange(60) % 5, features @ features.T)
    rows = []
    weights = rng.normal(size=8)
    for group, noise in (("a", 1.0), ("b", noise_b)):
        for rater in range(15):
            values = features @ weights + noise * 3 * rng.normal(size=60)
            rows += [(f"{group}{rater}", group, f"{i:03d}", "warm", v) for i, v in enumerate(values)]
    return pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating"]), kernel


def test_noisier_raters_are_predicted_worse_until_reliability_is_matched(rng):
    ratings, kernel = make_rated(rng, 4.0)
    table = compare_performance(ratings, kernel, 5.0, permutations=499)
    assert table.loc[0, "p_corrected"] < 0.01
    assert table.loc[0, "estimate"] > 0
    matched = match_reliability(ratings, kernel, 5.0, groups=("a", "b"))
    assert matched.loc[0, "n_1"] < 6
    assert matched.loc[0, "n_2"] == 15
    assert abs(matched.loc[0, "estimate"]) < table.loc[0, "estimate"] / 2
    assert matched.loc[0, "draws_low"] < matched.loc[0, "draws_high"]


def test_groups_without_reliability_are_matched_by_nothing(rng):
    features = rng.normal(size=(24, 5))
    kernel = FeatureKernel(tuple(f"{i:02d}" for i in range(24)), np.arange(24) % 3, features @ features.T)
    rows = [
        (f"{group}{i % 4}", group, f"{i:02d}", "warm", float(rng.integers(1, 8)))
        for group in "ab"
        for i in range(24)
    ]
    ratings = pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating"])
    (row,) = match_reliability(ratings, kernel, 5.0, groups=("a", "b")).to_dict("records")
    assert (row["n_1"], row["n_2"]) == (4, 4)
    assert np.isnan([row["reliability_1"], row["r_1"], row["estimate"], row["draws_low"]]).all()


def test_transfer(rng):
    predictions = make_predictions(rng)
    table = transfer_table(predictions, "trait").set_index(["group", "fitted_on", "predicting"])
    part = predictions.pivot_table(
        index="image", columns=["group", "trait"], values=["observed", "predicted"]
    )
    expected = part["predicted", "a", "t0"].corr(part["observed", "a", "t1"])
    assert_allclose(table.loc[("a", "t0", "t1"), "r"], expected, rtol=1e-12)
    assert not table["predicts_other_better"].any()
    ceilings = pd.DataFrame(
        [(g, t, 0.5) for g in "ab" for t in ("t0", "t1")], columns=["group", "trait", "ceiling_r"]
    )
    groups = transfer_table(predictions, "group", ceilings).set_index(["trait", "fitted_on", "predicting"])
    assert_allclose(groups["share_of_ceiling"], groups["r"] / 0.5, rtol=1e-12)
    assert groups.loc[("t0", "a", "b"), "ratings_r"] > 0.6


def test_raters_who_do_not_agree_at_all_leave_no_share_of_their_ceiling(rng):
    ceilings = pd.DataFrame(
        [(g, t, 0.0 if g == "b" else 0.5) for g in "ab" for t in ("t0", "t1")],
        columns=["group", "trait", "ceiling_r"],
    )
    table = transfer_table(make_predictions(rng), "group", ceilings).set_index(["fitted_on", "predicting"])
    assert table.loc[("a", "b"), ["share_of_ceiling", "ratings_r_corrected"]].isna().all(axis=None)
    assert table.loc[("a", "a"), "share_of_ceiling"].notna().all()
