"""Cues against kernel ridge regression of the summed kernel, and closed forms."""

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from traitlens.features.spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.readouts.kernels import linear_kernel
from traitlens.readouts.regional import cross_fit_cues

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


def test_images_that_count_twice_are_as_good_as_two(study):
    _, kernels, ratings = study
    ratings = ratings[:, [0, 3]]
    fitted = cross_fit_cues(kernels, ratings, FOLDS, IDENTITIES)
    counts = np.random.default_rng(0).integers(0, 3, len(ratings))
    rows = np.repeat(np.arange(len(ratings)), counts)
    weighted = cross_fit_cues(kernels, ratings, FOLDS, IDENTITIES, fitted.penalties, counts=counts)
    # Factors come from all training images, so that the repeated study gets them as weights.
    for fold in range(4):
        training = np.flatnonzero(fold != FOLDS)
        again = rows[FOLDS[rows] != fold]
        spread = {s: np.trace(_centred(k, training)) / len(training) for s, k in kernels.items()}
        total = sum(k / spread[s] / 3 for s, k in kernels.items())
        mean = ratings[again].mean(axis=0)
        size = len(again)
        centre = np.eye(size) - 1 / size
        inside = np.flatnonzero(fold == FOLDS)
        cross = (total[np.ix_(inside, again)] - total[np.ix_(again, again)].mean(axis=0)) @ centre
        for target in range(2):
            solved = np.linalg.solve(
                centre @ total[np.ix_(again, again)] @ centre + fitted.penalties[target, fold] * np.eye(size),
                ratings[again, target] - mean[target],
            )
            np.testing.assert_allclose(
                weighted.predictions[target, inside], mean[target] + cross @ solved, atol=1e-8
            )


def _centred(kernel, rows):
    centre = np.eye(len(rows)) - 1 / len(rows)
    return centre @ kernel[np.ix_(rows, rows)] @ centre


def test_counts_need_penalties_of_an_earlier_fit(study):
    _, kernels, ratings = study
    with pytest.raises(ValueError, match="earlier fit"):
        cross_fit_cues(kernels, ratings, FOLDS, IDENTITIES, counts=np.ones(40))


def test_several_spaces_of_a_region_make_one_cue(study):
    _, kernels, ratings = study
    other = FeatureSpace(Tap("block5_pool", 2), region="mouth")
    doubled = {**kernels, other: kernels[SPACES[0]]}
    cues = cross_fit_cues(doubled, ratings, FOLDS, IDENTITIES)
    assert cues.regions == REGIONS
    assert cues.values.shape == (4, 3, 40)
