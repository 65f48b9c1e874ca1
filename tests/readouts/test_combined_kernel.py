"""One kernel for several feature spaces, against ridge regression on scaled and whitened features."""

import numpy as np
import pytest
from scipy import linalg
from sklearn.linear_model import Ridge

from traitlens.comparison.rater_maps import component_readouts, leading_components
from traitlens.comparison.refitting import FeatureKernel, prediction_matrix
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.readouts.combined_kernel import combine_kernels
from traitlens.readouts.methods_text import ridge_text
from traitlens.study.settings import ReadoutSettings

IMAGES = 30
FOLDS = np.arange(IMAGES) % 3


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return {
        FeatureSpace(Tap("block1_pool", 2)): rng.normal(size=(IMAGES, 4, 2, 2)).astype(np.float32),
        FeatureSpace(Tap("block2_pool", 1), view="eyes"): 50
        * rng.random((IMAGES, 6, 1, 1)).astype(np.float32),
    }


def scaled(features, weights, whiten):
    """Features as a plain ridge regression takes them."""
    columns = []
    for space, values in features.items():
        values = values.astype(float) - values.mean(axis=0)
        if whiten is not None:
            flat = values.transpose(0, 2, 3, 1).reshape(-1, values.shape[1])
            covariance = flat.T @ flat
            shrunk = covariance + whiten * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
            values = np.einsum("ncyx,cd->ndyx", values, linalg.inv(linalg.sqrtm(shrunk)).real)
        flat = values.reshape(len(values), -1)
        columns.append(flat * np.sqrt(weights[space] / (flat**2).sum(1).mean()))
    return np.concatenate(columns, axis=1) / np.sqrt(sum(weights.values()))


@pytest.mark.parametrize("whiten", [None, 0.1])
def test_predictions_are_those_of_ridge_on_the_scaled_features(features, whiten):
    weights = dict(zip(features, (1.0, 0.5), strict=True))
    combined = combine_kernels(features, weights, whiten)
    kernel = FeatureKernel(tuple(map(str, range(IMAGES))), FOLDS, combined.values)
    targets = np.random.default_rng(1).normal(size=IMAGES) + 3
    plain = scaled(features, weights, whiten)
    want = np.zeros(IMAGES)
    for fold in range(3):
        train = fold != FOLDS
        want[~train] = Ridge(alpha=0.7).fit(plain[train], targets[train]).predict(plain[~train])
    np.testing.assert_allclose(prediction_matrix(kernel, 0.7) @ targets, want, rtol=1e-4)


def test_one_space_has_the_units_of_its_features(features):
    (space, values) = next(iter(features.items()))
    flat = values.reshape(IMAGES, -1).astype(float)
    flat -= flat.mean(axis=0)
    got = combine_kernels({space: values}, {space: 0.3}).values
    got = got - got.mean(axis=0) - (got.mean(axis=1) - got.mean())[:, None]
    np.testing.assert_allclose(got, flat @ flat.T, rtol=0, atol=1e-4)


@pytest.mark.parametrize("whiten", [None, 0.1])
def test_readouts_of_components_are_orthogonal_with_length_one(features, whiten):
    """In the space of the kernel; their predictions are those of the dual coefficients."""
    combined = combine_kernels(features, {}, whiten)
    kernel = FeatureKernel(tuple(map(str, range(IMAGES))), FOLDS, combined.values)

    class Design:
        pooled = np.random.default_rng(2).normal(size=IMAGES)

        @staticmethod
        def deviations(targets):
            return np.random.default_rng(3).normal(size=(5, IMAGES))

    components = leading_components(kernel, 0, {"warm": Design}, {"warm": 1.0}, 4)
    readouts = component_readouts(components, combined, features, 0)
    together = {space: values.astype(float) for space, values in features.items()}
    own = combined.values - combined.values[:, components.training].mean(axis=1, keepdims=True)
    want = (combined.values[:, components.training] @ components.duals).T
    for readout, predicted in zip(readouts, want, strict=True):
        got = sum(readout.contributions(together).values())
        np.testing.assert_allclose(
            got, predicted - predicted[components.training].mean(), rtol=1e-3, atol=1e-4
        )
    assert own.shape == (IMAGES, IMAGES)


def test_the_methods_section_says_what_tests_leave_out():
    assert "Tests that refit" not in ridge_text(ReadoutSettings(whiten=0.1))[0]
    told = ridge_text(ReadoutSettings(across_traits=True, mixes=10))[0]
    assert "leave out borrowing across traits and the choice of weights of layers and crops" in told
