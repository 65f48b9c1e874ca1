"""PatternNet and PatternAttribution against iNNvestigate's formulas on patches, and on a known signal."""

import numpy as np
import pytest
import torch
from tests.oracles.residual import ResNet
from torch.nn import functional

from traitlens.features.backbone import Backbone, build_layers
from traitlens.features.patterns import Patterns, estimate_patterns
from traitlens.features.preprocessing import PREPROCESSINGS
from traitlens.features.residual_networks import read_residual
from traitlens.problems import TraitlensError
from traitlens.relevance.attribution import analyze
from traitlens.relevance.pattern_methods import pattern_attribution, pattern_net
from traitlens.relevance.propagation import propagator

TAP = "block2_pool"


def patterns_by_patches(backbone, images):
    """Every input patch of every unit that is active, in float64."""
    found, values = {}, backbone.input(images).double()
    for layer in backbone.layers:
        if layer.weight is None:
            values = functional.max_pool2d(values, 2, 2)
            continue
        weight, bias = layer.weight.double(), layer.bias.double()
        patches = functional.unfold(values, 3, padding=1).transpose(1, 2).flatten(0, 1)  # (place, input)
        outputs = patches @ weight.flatten(1).T + bias
        pattern = torch.zeros(weight.shape, dtype=torch.float64).flatten(1)
        for unit in range(len(weight)):
            active = outputs[:, unit] > 0
            x, y = patches[active], outputs[active, unit]
            if active.sum() < 3:
                continue
            covariance = (x * y[:, None]).mean(0) - x.mean(0) * y.mean()
            pattern[unit] = covariance / (weight[unit].flatten() @ covariance)
        found[layer.name] = pattern.view(weight.shape)
        values = functional.conv2d(values, weight, bias, padding=1).relu()
    return found


def back_by_autograd(backbone, image, weights, relevance):
    """Gradients of a network whose convolutions have other weights on the way back."""

    class Replaced(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight, bias, other):
            ctx.save_for_backward(other)
            ctx.shape = x.shape
            return functional.conv2d(x, weight, bias, padding=1)

        @staticmethod
        def backward(ctx, gradient):
            (other,) = ctx.saved_tensors
            return torch.nn.grad.conv2d_input(ctx.shape, other, gradient, padding=1), None, None, None

    start = backbone.input(image).double().requires_grad_()
    values = start
    for layer in backbone.layers:
        if layer.weight is None:
            values = functional.max_pool2d(values, 2, 2)
        else:
            other = weights[layer.name]
            values = Replaced.apply(values, layer.weight.double(), layer.bias.double(), other).relu()
    return torch.autograd.grad(values, start, relevance)[0].sum(1)


@pytest.fixture
def patterns(backbone, images):
    return estimate_patterns(backbone, images, TAP)


def test_patterns_are_those_of_all_patches(backbone, images, patterns):
    want = patterns_by_patches(backbone, images)
    assert list(patterns.tensors) == list(want)
    for name, tensor in want.items():
        np.testing.assert_allclose(
            patterns.tensors[name], tensor, rtol=0, atol=1e-3 * float(tensor.abs().max())
        )


@pytest.mark.parametrize("make", [pattern_net, pattern_attribution])
def test_maps_are_those_of_a_network_with_other_weights_on_the_way_back(backbone, images, patterns, make):
    values = backbone.input(images[:1])
    passage = propagator(backbone, make(patterns, backbone)).forward(values, {TAP})
    relevance = torch.randn(passage.activations[TAP].shape, generator=torch.Generator().manual_seed(0))
    own = {layer.name: layer.weight.double() for layer in backbone.layers if layer.weight is not None}
    weights = {name: torch.from_numpy(tensor).double() for name, tensor in patterns.tensors.items()}
    if make is pattern_attribution:
        weights = {name: weights[name] * own[name] for name in weights}
    want = back_by_autograd(backbone, images[:1], weights, relevance.double())
    np.testing.assert_allclose(
        passage.back({TAP: relevance}), want, rtol=0, atol=1e-5 * float(want.abs().max())
    )


def test_a_pattern_is_the_signal_and_not_the_filter(backbone):
    """Kindermans et al. (2018), section 2: a distractor that the filter cancels is not in the pattern."""
    weight = torch.zeros_like(backbone.layers[0].weight)
    weight[:, 0, 1, 1], weight[:, 1, 1, 1] = 1.0, -1.0  # the filter of a signal in the first colour
    first = backbone.layers[0].__class__("block1_conv1", "convolution", weight, torch.zeros(len(weight)))
    network = Backbone("toy", (first,), PREPROCESSINGS["arcface"], "toy")
    rng = np.random.default_rng(0)
    signal, distractor = rng.integers(20, 120, (2, 40, 8, 8))
    images = np.zeros((40, 8, 8, 3), np.uint8)
    images[..., 0], images[..., 1] = signal + distractor, distractor
    (pattern,) = estimate_patterns(network, images, "block1_conv1").tensors.values()
    assert pattern[0, 0, 1, 1] == pytest.approx(1, abs=0.1)
    assert pattern[0, 1, 1, 1] == pytest.approx(0, abs=0.1)


def test_patterns_are_stored_with_their_network(backbone, patterns, tmp_path):
    patterns.save(tmp_path / "patterns.safetensors")
    again = Patterns.load(tmp_path / "patterns.safetensors", backbone)
    for name, tensor in patterns.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], tensor)
    other = Backbone("other", backbone.layers, backbone.preprocessing, "another digest")
    with pytest.raises(TraitlensError, match="another network"):
        Patterns.load(tmp_path / "patterns.safetensors", other)
    (tmp_path / "patterns.safetensors").write_bytes(b"x")
    with pytest.raises(TraitlensError, match="cannot be read"):
        Patterns.load(tmp_path / "patterns.safetensors", backbone)


def test_readouts_are_explained_with_patterns(backbone, images, patterns, linear):
    for make in (pattern_net, pattern_attribution):
        maps = analyze(backbone, [linear], images, make(patterns, backbone))
        assert np.isfinite(maps).all()
        assert maps.attrs["method"].startswith("pattern.")


def test_residual_networks_have_patterns(images):
    state = {name: tensor.numpy() for name, tensor in ResNet((1, 1), False, 3).state_dict().items()}
    plans, tensors = read_residual(state)
    backbone = Backbone("tiny", build_layers(plans, tensors), PREPROCESSINGS["torchvision"], "tiny")
    images = np.repeat(np.repeat(images, 3, 1), 3, 2)
    tap = backbone.taps[-1]
    patterns = estimate_patterns(backbone, images, tap)
    for layer in backbone.layers:
        if layer.weight is not None:
            product = (patterns.tensors[layer.name] * layer.weight.numpy()).sum((1, 2, 3))
            np.testing.assert_allclose(product[product != 0], 1, rtol=1e-3)  # w'a = 1
    passage = propagator(backbone, pattern_attribution(patterns, backbone)).forward(
        backbone.input(images[:1]), {tap}
    )
    assert torch.isfinite(passage.back({tap: passage.activations[tap]})).all()
