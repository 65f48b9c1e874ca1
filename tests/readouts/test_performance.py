import numpy as np
import pandas as pd
from sklearn.metrics import r2_score
from tests.oracles import readouts_by_hand as by_hand

from traitlens.readouts.performance import outside_means, performance


def make_predictions(rng, identities=30, each=1, strength=1.0):
    number = identities * each
    person = np.repeat(rng.normal(size=identities), each)
    observed = person + 0.2 * rng.normal(size=number)
    other = np.repeat(rng.normal(size=identities), each)
    return pd.DataFrame(
        {
            "identity": np.repeat(np.arange(identities), each),
            "group": "all",
            "trait": "warm",
            "fold": np.repeat(np.arange(identities), each) % 5,
            "observed": 4 + observed,
            "predicted": 4 + strength * observed + other,
        }
    )


def test_numbers_against_hand_and_scikit_learn():
    table = make_predictions(np.random.default_rng(0), each=2)
    got = performance(table, samples=100).loc[0]
    np.testing.assert_allclose(
        got["r"], by_hand.correlation(table["observed"], table["predicted"]), rtol=1e-12
    )
    residual = ((table["observed"] - table["predicted"]) ** 2).sum()
    means = [table.loc[table["fold"] != fold, "observed"].mean() for fold in table["fold"]]
    np.testing.assert_allclose(got["r2"], 1 - residual / ((table["observed"] - means) ** 2).sum(), rtol=1e-12)
    np.testing.assert_allclose(got["rmse"], np.sqrt(residual / len(table)), rtol=1e-12)
    assert (got["n_images"], got["n_identities"]) == (60, 30)
    # Nearly what scikit-learn calls R², whose mean is that of the images tested.
    assert abs(got["r2"] - r2_score(table["observed"], table["predicted"])) < 0.2


def test_predicting_the_training_mean_has_r2_zero():
    table = make_predictions(np.random.default_rng(1))
    table["predicted"] = outside_means(table["observed"].to_numpy(), table["fold"].to_numpy())
    got = performance(table, samples=50).loc[0]
    np.testing.assert_allclose(got["r2"], 0, atol=1e-12)


def test_constant_predictions_have_no_r():
    table = make_predictions(np.random.default_rng(1)).assign(predicted=4.0)
    got = performance(table, samples=50).loc[0]
    assert np.isnan(got["r"])
    assert np.isnan(got["p"])
    assert np.isfinite(got["r2"])


def test_the_interval_of_given_readouts_covers_the_truth():
    rng = np.random.default_rng(6)
    truth = by_hand.correlation(*make_predictions(rng, 20_000, 2)[["observed", "predicted"]].to_numpy().T)
    got = pd.concat([performance(make_predictions(rng, 60, 2), samples=300) for _ in range(80)])
    covered = ((got["ci_low"] <= truth) & (truth <= got["ci_high"])).mean()
    assert 0.87 < covered < 0.99
    assert (got["interval"] == "these readouts").all()
    assert got["p"].isna().all()


def test_ceiling_and_seed():
    table = make_predictions(np.random.default_rng(2))
    ceiling = pd.DataFrame({"group": ["all"], "trait": ["warm"], "ceiling_r": [0.9], "ceiling_r2": [0.81]})
    got = performance(table, ceiling, seed=3, samples=100)
    np.testing.assert_allclose(got["share_r"], got["r"] / 0.9, rtol=1e-12)
    pd.testing.assert_frame_equal(got, performance(table, ceiling, seed=3, samples=100))
    assert got.loc[0, "ci_low"] != performance(table, ceiling, seed=4, samples=100).loc[0, "ci_low"]
    pd.testing.assert_frame_equal(
        performance(table.sample(frac=1, random_state=0), samples=50).round(9),
        performance(table, samples=50).round(9),
    )
