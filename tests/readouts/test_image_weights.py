"""Images that count by their raters: scikit-learn's sample weights, and what they buy."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from tests.readouts.conftest import SPACE, make_study

from traitlens.readouts.fit_results import arrange_targets
from traitlens.readouts.folds import assign_folds
from traitlens.readouts.image_weights import weigh_images
from traitlens.readouts.ridge import fit_ridge


def uneven(seed=0, **options):
    """A study whose mean ratings rest on 2 to 200 raters, who disagree by 1.5."""
    features, targets, images = make_study(seed, noise=0.0, **options)
    rng = np.random.default_rng(seed)
    n = rng.choice([2, 5, 200], len(targets))
    rating = targets["rating"] + rng.normal(size=len(targets)) * 1.5 / np.sqrt(n)
    spread = 1.5 * np.sqrt(rng.chisquare(n - 1) / (n - 1))
    return features, targets.assign(rating=rating, n=n, sd=spread), images


@pytest.mark.parametrize("penalty", [1e-3, 1.0])
def test_weighted_readouts_agree_with_scikit_learn(penalty):
    features, targets, images = uneven()
    folds = assign_folds(images, 3)
    weights = weigh_images(targets, folds["image"], arrange_targets(targets, folds["image"]))
    assert np.ptp(weights) > 0.5
    fitted = fit_ridge(features, targets, folds, penalties=[penalty], weigh_images=True)
    names = list(dict.fromkeys(zip(targets["group"], targets["trait"], strict=True)))
    for readout, dual in zip(fitted.readouts, fitted.duals, strict=True):
        rows = np.flatnonzero(folds["fold"] != readout.fold)
        y = targets.query("group == @readout.group and trait == @readout.trait")["rating"].to_numpy()
        z = features[SPACE].reshape(len(y), -1).astype(float)
        counts = weights[rows, names.index((readout.group, readout.trait))]
        wanted = Ridge(penalty / dual.factors[SPACE]).fit(z[rows], y[rows], sample_weight=counts)
        scale = np.abs(wanted.coef_).max()
        np.testing.assert_allclose(readout.parts[0].weight.ravel(), wanted.coef_, rtol=0, atol=1e-6 * scale)
        np.testing.assert_allclose(readout.predict(features), wanted.predict(z), rtol=0, atol=1e-5)
        assert readout.mean == pytest.approx(np.average(y[rows], weights=counts))
        assert dual.coefficients.sum() == pytest.approx(0, abs=1e-9 * np.abs(dual.coefficients).sum())
        table = fitted.predictions.query(
            "group == @readout.group and trait == @readout.trait and fold == @readout.fold"
        )
        inside = np.flatnonzero(folds["fold"] == readout.fold)
        np.testing.assert_allclose(table["predicted"], wanted.predict(z[inside]), atol=1e-6)


def test_equal_weights_change_nothing_and_unknown_ones_are_equal(study):
    features, targets, images = study
    folds = assign_folds(images, 3)
    plain = fit_ridge(features, targets, folds).predictions
    for same in (targets.assign(sd=1.0), targets.drop(columns="n"), targets.assign(n=pd.NA, sd=np.nan)):
        weighed = fit_ridge(features, same, folds, weigh_images=True).predictions
        pd.testing.assert_frame_equal(weighed, plain, rtol=1e-9)


def test_few_raters_and_raters_who_disagree_count_less():
    _, targets, images = uneven()
    weights = weigh_images(targets, images["image"], arrange_targets(targets, images["image"]))
    first = targets.iloc[: len(images)].assign(weight=weights[:, 0])
    means = first.groupby("n")["weight"].mean()
    assert means[2] < means[5] < means[200]
    fives = first.query("n == 5")
    assert np.corrcoef(fives["sd"], fives["weight"])[0, 1] < -0.9
    np.testing.assert_allclose(weights.mean(axis=0), 1)


def test_weights_bring_predictions_nearer_to_the_truth_where_raters_are_uneven():
    gained = []
    for seed in range(6):
        features, targets, images = uneven(seed, identities=60, each=1, groups=("all",))
        _, truth, _ = make_study(seed, noise=0.0, identities=60, each=1, groups=("all",))
        folds = assign_folds(images, 3)
        errors = []
        for weighed in (False, True):
            table = fit_ridge(features, targets, folds, weigh_images=weighed).predictions
            both = table.merge(truth, on=["group", "trait", "image"])
            errors.append(((both["predicted"] - both["rating"]) ** 2).mean())
        gained.append(errors[0] - errors[1])
    assert np.mean(gained) > 0
    assert sum(gain > 0 for gain in gained) >= 5
