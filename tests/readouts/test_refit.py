"""Refits against readouts that are solved anew, and the tests and intervals that rest on them."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge

from traitlens.features.taps import Tap
from traitlens.readouts.performance import correlation, jackknife_intervals, performance
from traitlens.readouts.readout import FeatureSpace
from traitlens.readouts.refit import Refit, refit_of
from traitlens.readouts.ridge import fit_ridge


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def make_study(rng, identities=20, each=2, signal=1.0):
    features = np.repeat(rng.normal(size=(identities, 8)), each, axis=0)
    features += 0.5 * rng.normal(size=features.shape)
    ratings = signal * features @ rng.normal(size=8) + rng.normal(size=len(features))
    identity = np.repeat(np.arange(identities), each)
    return features, ratings, identity % 5, identity


def predict(features, ratings, folds, weights, penalty):
    predicted = np.empty(len(ratings))
    for fold in np.unique(folds):
        train = folds != fold
        model = Ridge(alpha=penalty).fit(features[train], ratings[train], sample_weight=weights[train])
        predicted[~train] = model.predict(features[~train])
    return predicted


def weighted_statistics(ratings, predicted, folds, weights):
    def mean(values):
        return np.average(values, weights=weights)

    x, y = ratings - mean(ratings), predicted - mean(predicted)
    r = mean(x * y) / np.sqrt(mean(x**2) * mean(y**2))
    baseline = [np.average(ratings[folds != fold], weights=weights[folds != fold]) for fold in folds]
    return np.arctanh(r), np.log(mean((ratings - predicted) ** 2) / mean((ratings - baseline) ** 2))


def test_the_interval_is_that_of_derivatives_by_refitting_with_weights(rng):
    features, ratings, folds, identity = make_study(rng)
    scales = {}
    for fold in range(5):
        own = features[folds != fold]
        scales[fold] = ((own - own.mean(axis=0)) ** 2).sum() / len(own)
    penalty = 12.0
    relative = {fold: penalty / scale for fold, scale in scales.items()}
    refit = Refit.of(lambda fold: features @ features.T, ratings, folds, identity, relative)
    ones = np.ones(len(ratings))
    assert_allclose(refit.prediction @ ratings, predict(features, ratings, folds, ones, penalty), rtol=1e-8)
    squares = np.zeros(2)
    for one in range(identity.max() + 1):
        ends = []
        for step in (1e-4, -1e-4):
            weights = ones + step * (identity == one)
            predicted = predict(features, ratings, folds, weights, penalty)
            ends.append(weighted_statistics(ratings, predicted, folds, weights))
        squares += ((np.array(ends[0]) - np.array(ends[1])) / 2e-4) ** 2
    low, high, low_2, high_2 = jackknife_intervals(ratings, refit)
    from scipy import stats

    widths = np.sqrt(squares * 20 / 19) * stats.t.ppf(0.975, 19)
    assert_allclose((np.arctanh(high) - np.arctanh(low)) / 2, widths[0], rtol=1e-4)
    assert_allclose((np.log1p(-low_2) - np.log1p(-high_2)) / 2, widths[1], rtol=1e-4)


def test_readouts_of_a_fit_are_reproduced_and_others_are_not(rng):
    features, ratings, folds, identity = make_study(rng)
    table = pd.DataFrame({"image": range(40), "identity": identity, "fold": folds})
    spaces = {FeatureSpace(Tap("block4_pool", 1)): features[:, :, None, None]}
    targets = pd.concat(
        [table[["image"]].assign(group="all", trait=trait, rating=ratings) for trait in ("warm", "cold")]
    )
    targets.loc[targets.index < 2, "rating"] += 1
    fitted = fit_ridge(spaces, targets, table)
    refits = refit_of(fitted, spaces, table["image"])
    assert refits("all", "warm") is not None
    measured = performance(fitted.predictions, refits=refits, samples=99)
    assert (measured["interval"] == "new faces").all()
    assert (measured["p"] <= 0.02).all()
    assert (measured["p_corrected"] >= measured["p"]).all()
    borrowing = fit_ridge(spaces, targets, table, across_traits=True)
    assert refit_of(borrowing, spaces, table["image"])("all", "warm") is None


@pytest.mark.parametrize("each", [1, 4])
def test_p_is_uniform_where_there_is_nothing(rng, each):
    p = []
    for _ in range(200):
        features, ratings, folds, identity = make_study(rng, 20, each, signal=0.0)
        kernel = features @ features.T
        penalties = dict.fromkeys(range(5), 0.5)
        refit = Refit.of(lambda fold, kernel=kernel: kernel, ratings, folds, identity, penalties)
        predicted = refit.prediction @ ratings
        table = pd.DataFrame(
            {"identity": identity, "group": "all", "trait": "warm", "fold": folds, "observed": ratings,
             "predicted": predicted}
        )  # fmt: skip
        found = performance(table, refits=lambda group, trait, refit=refit: refit, samples=99)
        assert_allclose(found["r"], correlation(ratings, predicted), rtol=1e-9)
        p.append(found.loc[0, "p"])
    assert np.mean(np.array(p) <= 0.05) < 0.09
    assert 0.42 < np.mean(p) < 0.58
