"""Region operators against sums of maps."""

import numpy as np
import pytest
import torch
from tests.relevance.test_attribution import MIDDLE, POOL, Crop, features_of

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.readouts.readout import LinearPart, LinearReadout
from traitlens.relevance.attribution import analyze
from traitlens.relevance.methods import METHODS, find_method
from traitlens.relevance.propagation import Propagator
from traitlens.relevance.region_operators import RegionPropagator, region_kernels

LINEAR = sorted(name for name, method in METHODS.items() if method.is_linear)


@pytest.fixture
def masks(rng):
    return rng.random((3, 12, 12))


@pytest.mark.parametrize("method", LINEAR)
@pytest.mark.parametrize("tap", ["block2_pool", "block2_conv1", "block1_conv2"])
def test_operator_is_the_transpose(backbone, images, masks, rng, method, tap):
    passage = Propagator(backbone, find_method(method)).read(backbone.input(images[:1]), {tap})
    operator = passage.forth(torch.from_numpy(masks.astype(np.float32)))[tap].numpy()
    relevance = torch.from_numpy(rng.normal(size=(2, *operator.shape[1:])).astype(np.float32))
    maps = passage.back({tap: relevance}).numpy()
    expected = np.einsum("gyx,nyx->gn", masks, maps)
    got = np.einsum("gcyx,ncyx->gn", operator, relevance.numpy())
    scale = np.einsum("gcyx,ncyx->gn", np.abs(operator), np.abs(relevance.numpy())).max()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("reference", ["mean", "zero"])
def test_region_relevance_equals_sums_of_maps(backbone, make_linear, images, masks, reference):
    mirrored = FeatureSpace(Tap("block2_pool", 2), transform="sqrt", mirror=True)
    eyes = FeatureSpace(Tap("block2_pool", 1), view="eyes")
    readouts = [
        make_linear(POOL, MIDDLE, channels=[7, 5], shapes=[(1, 1), (3, 3)]),
        make_linear(mirrored, eyes, channels=[7, 7], shapes=[(2, 2), (1, 1)]),
        make_linear(eyes, channels=[7], shapes=[(1, 1)]),
    ]
    part = readouts[0].parts[0]  # another readout of the same fit
    readouts.append(
        LinearReadout("b", "warm", -1, (LinearPart(POOL, -2 * part.weight, part.reference),), 4.0)
    )
    views = {"eyes": Crop()}
    operators = RegionPropagator(backbone, [POOL, MIDDLE, mirrored, eyes], views=views)
    maps = analyze(backbone, readouts, images, reference=reference, views=views).values
    for place, image in enumerate(images):
        got = operators.of(image, masks).relevance(readouts, reference)
        expected = np.einsum("gyx,nyx->gn", masks, maps[:, place])
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_kernels_give_the_relevance_of_dual_weights(backbone, images, masks, rng):
    training = rng.integers(0, 256, (5, 12, 12, 3), dtype=np.uint8)
    features = np.concatenate([features_of(backbone, image, MIDDLE) for image in training])
    reference = features.mean(0)
    dual = rng.normal(size=5)
    weight = np.einsum("j,jcyx->cyx", dual, features - reference)
    readout = LinearReadout("", "", -1, (LinearPart(MIDDLE, weight, reference),), 0.0)
    operators = RegionPropagator(backbone, [MIDDLE])
    kernels = region_kernels([operators.of(image, masks) for image in images], MIDDLE, features, reference)
    maps = analyze(backbone, [readout], images).values[0]
    expected = np.einsum("gyx,iyx->gi", masks, maps)
    assert kernels.dims == ("region", "image", "training_image")
    np.testing.assert_allclose(kernels.values @ dual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("method", ["guided_backprop", "smoothgrad", "gradient"])
def test_methods_without_shares_are_refused(backbone, method):
    with pytest.raises(ValueError, match="no region operator"):
        RegionPropagator(backbone, [POOL], method)


def test_a_space_is_read_once():
    part = LinearPart(FeatureSpace(Tap("block1_pool", 1)), np.ones((2, 1, 1)), np.ones((2, 1, 1)))
    with pytest.raises(ValueError, match="the same feature space"):
        LinearReadout("a", "warm", -1, (part, part), 4.0)
