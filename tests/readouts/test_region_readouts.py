"""Cues against kernel ridge regression of the summed kernel, and closed forms."""

import numpy as np
import pandas as pd
import pytest
from himalaya.kernel_ridge import MultipleKernelRidgeCV
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import PredefinedSplit

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.readouts.folds import inner_folds
from traitlens.readouts.inner_cv import random_mixes
from traitlens.readouts.kernels import linear_kernel
from traitlens.readouts.region_readouts import cross_fit_cues, fit_regional
from traitlens.readouts.ridge import PENALTIES

REGIONS = ("eyes", "mouth", "jaw")
SPACES = [FeatureSpace(Tap("block4_pool", 2), region=name) for name in REGIONS]
IDENTITIES = np.repeat(np.arange(20), 2)
FOLDS = IDENTITIES % 4


@pytest.fixture
def study():
    """Features by space, their kernels, and ratings of which two targets leave gaps."""
    rng = np.random.default_rng(3)
    scales = dict(zip(SPACES, (1, 5, 0.1), strict=True))
    features = {space: scale * rng.normal(size=(40, 3, 2, 2)) for space, scale in scales.items()}
    ratings = 4 + sum(
        values.reshape(40, -1) @ rng.normal(size=(12, 4)) / np.std(values) for values in features.values()
    )
    ratings += rng.normal(size=ratings.shape)
    ratings[:5, 1:3] = np.nan
    return features, {space: linear_kernel(values) for space, values in features.items()}, ratings


def by_hand(features, ratings, training, inside, penalty):
    """Fit the summed kernel with scikit-learn; give the prediction of each region and their sum."""
    scaled = []
    for values in features.values():
        flat = values.reshape(len(values), -1)
        flat = flat - flat[training].mean(axis=0)
        scaled.append(flat / np.sqrt((flat[training] ** 2).sum(axis=1).mean() * len(features)))
    total = np.concatenate(scaled, axis=1)
    mean = ratings[training].mean()
    ridge = KernelRidge(alpha=penalty, kernel="precomputed")
    ridge.fit(total[training] @ total[training].T, ratings[training] - mean)
    parts = [flat[inside] @ (flat[training].T @ ridge.dual_coef_) for flat in scaled]
    return mean, np.stack(parts), ridge.predict(total[inside] @ total[training].T) + mean


def test_cues_are_the_parts_of_kernel_ridge(study):
    features, kernels, ratings = study
    cues = cross_fit_cues(kernels, ratings, FOLDS, IDENTITIES)
    assert cues.regions == REGIONS
    for fold in range(4):
        inside = np.flatnonzero(fold == FOLDS)
        for target in range(4):
            training = np.flatnonzero((fold != FOLDS) & np.isfinite(ratings[:, target]))
            penalty = cues.penalties[target, fold]
            mean, parts, whole = by_hand(features, ratings[:, target], training, inside, penalty)
            np.testing.assert_allclose(cues.values[target][:, inside], parts, atol=1e-9)
            np.testing.assert_allclose(cues.intercepts[target, inside], mean)
            np.testing.assert_allclose(cues.predictions[target, inside], whole, atol=1e-9)


def _centred(kernel, rows):
    seen = kernel[rows][:, rows]
    centre = np.eye(len(seen)) - 1 / len(seen)
    return centre @ seen @ centre


def test_weights_are_searched_by_himalaya(study):
    _, kernels, ratings = study
    ratings = ratings[:, [0, 3]]
    cues = cross_fit_cues(kernels, ratings, FOLDS, IDENTITIES, PENALTIES, search=20, seed=2)
    np.testing.assert_allclose(cues.weights.sum(axis=2), 1)
    training = FOLDS != 1
    spread = [np.trace(_centred(kernel, training)) / training.sum() for kernel in kernels.values()]
    scaled = [_centred(kernel, training) / one for kernel, one in zip(kernels.values(), spread, strict=True)]
    tried = [list(mix.values()) for mix in random_mixes(list(kernels), 20, 2)]
    model = MultipleKernelRidgeCV(
        kernels="precomputed",
        solver_params={"n_iter": np.array(tried), "alphas": np.array(PENALTIES), "progress_bar": False},
        cv=PredefinedSplit(inner_folds(IDENTITIES[training], seed=2)),
    ).fit(np.stack(scaled), ratings[training] - ratings[training].mean(axis=0))
    np.testing.assert_allclose(
        np.exp(model.deltas_.T), cues.weights[:, 1] / cues.penalties[:, 1, None], rtol=1e-6
    )
    # himalaya's own prediction of the fold from its own coefficients.
    cross = []
    for kernel, one in zip(kernels.values(), spread, strict=True):
        across = kernel[np.ix_(FOLDS == 1, training)] - kernel[np.ix_(training, training)].mean(axis=0)
        cross.append((across - across.mean(axis=1, keepdims=True)) / one)
    predicted = model.predict(np.stack(cross)) + ratings[training].mean(axis=0)
    np.testing.assert_allclose(cues.predictions[:, FOLDS == 1], predicted.T, atol=1e-6)
    again = cross_fit_cues(kernels, ratings, FOLDS, IDENTITIES, cues.penalties, cues.weights)
    np.testing.assert_allclose(again.values, cues.values, atol=1e-10)


def test_several_spaces_of_a_region_make_one_cue(study):
    _, kernels, ratings = study
    other = FeatureSpace(Tap("block5_pool", 2), region="mouth")
    doubled = {**kernels, other: kernels[SPACES[0]]}
    cues = cross_fit_cues(doubled, ratings, FOLDS, IDENTITIES)
    assert cues.regions == REGIONS
    assert cues.values.shape == (4, 3, 40)


@pytest.fixture
def tables(study):
    """Targets of two groups, of which one left images out, and folds."""
    _, _, ratings = study
    names = [f"{place:02d}.png" for place in range(40)]
    folds = pd.DataFrame({"image": names, "identity": IDENTITIES, "fold": FOLDS})
    columns = dict(
        zip([("a", "warm"), ("a", "strong"), ("b", "warm"), ("b", "strong")], ratings.T, strict=True)
    )
    targets = pd.concat(
        pd.DataFrame({"group": group, "trait": trait, "image": names, "rating": values})
        for (group, trait), values in columns.items()
    )
    return targets.dropna(), folds


def test_regional_readouts_have_the_cues_of_their_predictions(study, tables):
    features, kernels, ratings = study
    targets, folds = tables
    fitted = fit_regional(features, targets, folds)
    assert fitted.method == "regional"
    wide = fitted.cues.pivot_table(index=["group", "trait", "image"], columns="region", values="cue")
    predictions = fitted.predictions.set_index(["group", "trait", "image"])
    assert len(wide) == len(predictions) == np.isfinite(ratings).sum()
    means = {(dual.group, dual.trait, dual.fold): dual.mean for dual in fitted.duals}
    sums = wide.sum(axis=1)[predictions.index]
    intercepts = [means[group, trait, fold] for (group, trait, _), fold in predictions["fold"].items()]
    np.testing.assert_allclose(sums + intercepts, predictions["predicted"], atol=1e-6)
    cues = cross_fit_cues(kernels, ratings, FOLDS, IDENTITIES)
    for place, (group, trait) in enumerate([("a", "warm"), ("a", "strong"), ("b", "warm"), ("b", "strong")]):
        rated = np.isfinite(ratings[:, place])
        np.testing.assert_allclose(
            wide.loc[group, trait][list(REGIONS)].to_numpy(), cues.values[place][:, rated].T, atol=1e-9
        )
    # The readouts' weights say the same.
    readout = fitted.find("b", "warm", 2)
    inside = FOLDS == 2
    parts = readout.contributions({space: values[inside] for space, values in features.items()})
    for space, part in parts.items():
        mine = wide.loc["b", "warm"].reindex(folds["image"][inside])[space.region]
        known = mine.notna().to_numpy()
        np.testing.assert_allclose(part[known], mine[known], atol=1e-4)


def test_cues_of_permuted_images_are_permuted(study, tables):
    features, _, _ = study
    targets, folds = tables
    order = np.random.default_rng(1).permutation(40)
    fitted, moved = (
        fit_regional(values, targets, table).cues.set_index(["image", "group", "trait", "region"])["cue"]
        for values, table in (
            (features, folds),
            ({space: values[order] for space, values in features.items()}, folds.iloc[order]),
        )
    )
    # Inner folds are drawn in the order of the images, so that penalties may differ a little.
    assert np.corrcoef(fitted, moved[fitted.index])[0, 1] > 0.99
