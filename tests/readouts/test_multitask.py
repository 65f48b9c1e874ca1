"""Cues that are learnt together, against dense linear algebra and simulations whose truth is known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.readouts import multitask
from traitlens.readouts.multitask import _TrainingFold, cross_fit_joint_cues, leave_out
from traitlens.readouts.region_readouts import cross_fit_cues

REGIONS = ("eyes", "mouth", "jaw")
FOLDS = np.arange(60) % 5


def make_faces(rng, images=60, features=4):
    values = {
        FeatureSpace(Tap("block4_pool", 1), region=region): rng.normal(size=(images, features))
        for region in REGIONS
    }
    return values, {space: one @ one.T for space, one in values.items()}


def random_covariances(rng, traits, folds=5):
    roots = rng.normal(size=(folds, len(REGIONS) + 1, traits, traits))
    return roots @ roots.swapaxes(2, 3) / traits + 0.1 * np.eye(traits)


def solve_densely(features, ratings, covariances, fold):
    """Posterior means of regions by the covariance of all judgements, without the tricks of the module."""
    training = fold != FOLDS
    kernels = []
    for values in features.values():
        centred = values - values[training].mean(axis=0)
        kernels.append(centred @ centred.T / (centred[training] ** 2).sum(axis=1).mean())
    traits = ratings.shape[1]
    image, trait = np.nonzero(np.isfinite(ratings) & training[:, None])
    standard, scales, means = np.zeros_like(ratings), np.zeros(traits), np.zeros(traits)
    for one in range(traits):
        rows = image[trait == one]
        means[one], scales[one] = ratings[rows, one].mean(), ratings[rows, one].std()
        standard[:, one] = (ratings[:, one] - means[one]) / scales[one]
    pairs = np.ix_(image, image), np.ix_(trait, trait)
    total = sum(c[pairs[1]] * k[pairs[0]] for c, k in zip(covariances, kernels, strict=False))
    residual = covariances[-1][pairs[1]] * (image[:, None] == image)
    duals = np.linalg.solve(total + residual, standard[image, trait])
    cues = [
        [scales[t] * (k[:, image] * c[t][trait]) @ duals for c, k in zip(covariances, kernels, strict=False)]
        for t in range(traits)
    ]
    return np.array(cues), means


@pytest.mark.parametrize("missing", [False, True])
def test_cues_are_those_of_dense_normal_equations(missing):
    rng = np.random.default_rng(1)
    features, kernels = make_faces(rng)
    ratings = rng.normal(size=(60, 3)) * [1.0, 20.0, 0.1] + 5
    if missing:
        ratings[rng.random(ratings.shape) < 0.2] = np.nan
    given = random_covariances(rng, 3)
    cues = cross_fit_joint_cues(kernels, ratings, FOLDS, given)
    for fold in range(5):
        dense, means = solve_densely(features, ratings, given[fold], fold)
        inside = fold == FOLDS
        scale = np.abs(dense).max(axis=(1, 2), keepdims=True)
        assert_allclose(cues.values[..., inside] / scale, dense[..., inside] / scale, atol=1e-6)
        assert_allclose(cues.intercepts[:, inside], np.tile(means[:, None], inside.sum()))
    assert_allclose(cues.predictions, cues.intercepts + cues.values.sum(axis=1))


def test_uncorrelated_traits_of_equal_weights_give_ridge_regression():
    rng = np.random.default_rng(2)
    _, kernels = make_faces(rng)
    ratings = rng.normal(size=(60, 2))
    given = np.tile(np.array([1 / 3, 1 / 3, 1 / 3, 0.5])[:, None, None] * np.eye(2), (5, 1, 1, 1))
    cues = cross_fit_joint_cues(kernels, ratings, FOLDS, given)
    # The penalty of ridge regression is relative to the mean diagonal, which is 1 here.
    alone = cross_fit_cues(kernels, ratings, FOLDS, np.arange(60), np.full((2, 5), 0.5))
    assert_allclose(cues.values, alone.values, atol=1e-6)


def test_leaving_images_out_is_leaving_their_ratings_out():
    """Where kernels and ratings are scaled as with all images: ratings of standard deviation 1 and mean 0."""
    rng = np.random.default_rng(8)
    _, kernels = make_faces(rng)
    ratings = rng.normal(size=(60, 2))
    given = random_covariances(rng, 2)
    kept = rng.random((3, 60)) < 0.8
    kept[0] = True
    found = leave_out(kernels, ratings, FOLDS, given, kept)
    assert_allclose(found[0], cross_fit_joint_cues(kernels, ratings, FOLDS, given).values, atol=0.01)
    fold = _TrainingFold.of(kernels, ratings, FOLDS != 2)
    for one, images in zip(found, kept, strict=True):
        trained = images[fold.training]
        total = sum(
            np.kron(c, k[np.ix_(trained, trained)]) for c, k in zip(given[2], fold.kernels, strict=False)
        )
        total += np.kron(given[2][-1], np.eye(trained.sum()))
        duals = np.linalg.solve(total, fold.ratings[:, trained].ravel()).reshape(2, -1)
        dense = [
            c @ duals @ rows[FOLDS == 2][:, trained].T for c, rows in zip(given[2], fold.rows, strict=False)
        ]
        dense = np.stack(dense, axis=1) * fold.scales[:, None, None]
        assert_allclose(one[..., FOLDS == 2], dense, atol=0.01 * np.abs(dense).max())


def log_likelihood(covariances, kernels, ratings):
    total = sum(np.kron(c, k) for c, k in zip(covariances, kernels, strict=True))
    return -0.5 * (np.linalg.slogdet(total)[1] + ratings.ravel() @ np.linalg.solve(total, ratings.ravel()))


def test_each_step_raises_the_likelihood_and_leads_to_its_maximum(monkeypatch):
    """Kernels with common eigenvectors, for which no trace is approximated."""
    rng = np.random.default_rng(3)
    # The first eigenvector is constant, and of eigenvalue 0: centring changes nothing.
    basis = np.linalg.qr(np.column_stack([np.ones(40), rng.normal(size=(40, 39))]))[0]
    spectra = rng.exponential(size=(2, 40)) ** 2
    spectra[:, 0] = 0
    kernels = np.array([(basis * s) @ basis.T for s in spectra])
    roots = rng.normal(size=(2, 2, 2))
    truth = [*(roots @ roots.swapaxes(1, 2)), 0.3 * np.eye(2)]
    everything = sum(np.kron(c, k) for c, k in zip(truth, [*kernels, np.eye(40)], strict=True))
    ratings = (np.linalg.cholesky(everything) @ rng.normal(size=80)).reshape(2, 40)
    spaces = [FeatureSpace(Tap("block4_pool", 1), region=region) for region in REGIONS[:2]]
    fold = _TrainingFold.of(dict(zip(spaces, kernels, strict=True)), ratings.T, np.ones(40, bool))
    kernels = fold.kernels
    full, found = [*kernels, np.eye(40)], []
    for steps in (0, 1, 2, 4, 8, 16, 400):
        monkeypatch.setattr(multitask, "STEPS", steps)
        found.append(log_likelihood(fold.estimate()[0], full, fold.ratings))
    assert (np.diff(found) > -1e-6).all()
    best = fold.estimate()[0]
    for place in range(3):
        for sign in (-1, 1):
            moved = best.copy()
            moved[place] = moved[place] * (1 + 0.02 * sign)
            assert log_likelihood(moved, full, fold.ratings) < found[-1] + 0.01


def shared_study(rng, traits=3):
    """Traits weigh the same feature of each region differently; ratings are noisy."""
    features, kernels = make_faces(rng)
    shown = np.stack([values[:, 0] for values in features.values()], axis=1)
    weights = rng.normal(size=(len(REGIONS), traits))
    return shown, weights, kernels, shown @ weights + rng.normal(size=(60, traits))


def test_traits_that_rest_on_the_same_features_learn_from_one_another():
    """Cues come closer to what the raters see than those of each trait by itself."""
    rng = np.random.default_rng(4)
    together, alone = [], []
    for _ in range(12):
        shown, weights, kernels, ratings = shared_study(rng)
        truth = (weights.T[:, :, None] * shown.T).ravel()
        for cues, found in (
            (cross_fit_joint_cues(kernels, ratings, FOLDS), together),
            (cross_fit_cues(kernels, ratings, FOLDS, np.arange(60)), alone),
        ):
            found.append(np.corrcoef(cues.values.ravel(), truth)[0, 1])
    assert np.mean(together) > np.mean(alone) + 0.015


def test_a_trait_of_noise_gets_no_cues_and_takes_nothing_from_others():
    rng = np.random.default_rng(5)
    shown, weights, kernels, ratings = shared_study(rng)
    ratings[:, 0] = rng.normal(size=60)
    cues = cross_fit_joint_cues(kernels, ratings, FOLDS)
    assert cues.values[0].sum(axis=0).std() < 0.5 * cues.values[1].sum(axis=0).std()
    r = np.corrcoef(cues.predictions[2], shown @ weights[:, 2])[0, 1]
    assert r > 0.6


def test_an_image_is_predicted_without_its_own_fold():
    rng = np.random.default_rng(6)
    _, _, kernels, ratings = shared_study(rng)
    changed = ratings.copy()
    changed[FOLDS == 2] += rng.normal(size=(12, 3))
    one, other = (cross_fit_joint_cues(kernels, values, FOLDS) for values in (ratings, changed))
    assert_allclose(one.values[..., FOLDS == 2], other.values[..., FOLDS == 2])
    assert np.abs(one.values - other.values)[..., FOLDS != 2].max() > 0.01


def test_a_trait_that_is_rated_in_one_fold_only_has_no_cues_there():
    rng = np.random.default_rng(9)
    _, _, kernels, ratings = shared_study(rng)
    ratings[FOLDS != 1, 0] = np.nan
    cues = cross_fit_joint_cues(kernels, ratings, FOLDS)
    assert np.isfinite(cues.values).all()
    assert_allclose(cues.values[0][:, FOLDS == 1], 0, atol=1e-3)


def test_constant_regions_and_ratings_have_no_cues():
    rng = np.random.default_rng(7)
    _, kernels = make_faces(rng)
    space = next(iter(kernels))
    kernels[space] = np.zeros((60, 60))
    ratings = np.column_stack([np.full(60, 4.0), rng.normal(size=60)])
    cues = cross_fit_joint_cues(kernels, ratings, FOLDS)
    assert (cues.values[:, 0] == 0).all()
    assert_allclose(cues.predictions[0], 4)
