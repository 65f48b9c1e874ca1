"""Every rule against its formula written out."""

import numpy as np
import pytest
from tests.oracles.relevance import relevance_map

from traitlens.problems import TraitlensError
from traitlens.relevance.attribution import analyze
from traitlens.relevance.methods import METHODS, Method, find_method, register
from traitlens.relevance.rules import FLAT, alpha_beta, epsilon

RULES = {
    "lrp.z": ("z", "z", "z"),
    "lrp.epsilon": ("epsilon 1e-7", "epsilon 1e-7", "epsilon 1e-7"),
    "lrp.w_square": ("w_square", "w_square", "w_square"),
    "lrp.flat": ("flat", "flat", "flat"),
    "lrp.alpha_1_beta_0": ("alpha_1_beta_0",) * 3,
    "lrp.alpha_2_beta_1": ("alpha_2_beta_1",) * 3,
    "lrp.alpha_2_beta_1_ignore_bias": ("alpha_2_beta_1_ignore_bias",) * 3,
    "lrp.z_plus": ("z_plus",) * 3,
    "lrp.z_plus_fast": ("z_plus_fast",) * 3,
    "lrp.sequential_preset_a": ("alpha_1_beta_0", "alpha_1_beta_0", "epsilon 0.1"),
    "lrp.sequential_preset_b": ("alpha_2_beta_1", "alpha_2_beta_1", "epsilon 0.1"),
    "lrp.sequential_preset_a_flat": ("flat", "alpha_1_beta_0", "epsilon 0.1"),
    "lrp.sequential_preset_b_flat": ("flat", "alpha_2_beta_1", "epsilon 0.1"),
    "deep_taylor": ("z_plus",) * 3,
    "deep_taylor.bounded": ("z_box", "z_plus", "z_plus"),
}


def written_out(backbone, dense, image, first, rest, dense_rule, **options):
    values = backbone.preprocessing.to_input(image[None])[0].double().numpy()
    layers = [
        "pool"
        if layer.kind == "max_pool"
        else (layer.weight.double().contiguous().numpy(), layer.bias.double().numpy())
        for layer in backbone.layers
    ]
    count = sum(layer.kind == "convolution" for layer in backbone.layers)
    low, high = (np.repeat(bound, image[..., 0].size) for bound in backbone.preprocessing.bounds())
    head = [
        np.asarray(part, float)
        for part in (dense.fc1_weight, dense.fc1_bias, dense.fc2_weight, dense.fc2_bias)
    ]
    return relevance_map(
        values, layers, head, [first] + [rest] * (count - 1), dense_rule, (low, high), **options
    )


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
def test_map_equals_formula_written_out(backbone, dense, rng, name, size):
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    readout = dense()
    options = {}
    if name.startswith("deep_taylor"):
        options = {"average": "even", "start": lambda output: np.maximum(output, 0)}
    _, expected = written_out(backbone, readout, image, *RULES[name], **options)
    got = analyze(backbone, [readout], image[None], name).values[0, 0]
    # Inputs of both signs may cancel in this rule's denominators, so that float32 shows.
    tolerance = 3e-4 if name == "lrp.z_plus_fast" else 2e-5
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max() + 1e-12)


def test_gradient_is_the_derivative(backbone, dense, images):
    readout = dense()
    got = analyze(backbone, [readout], images[:1], "gradient").values[0, 0]
    total = 0.0
    for channel in range(3):
        for row, column in [(3, 4), (8, 2)]:
            values = []
            for sign in (-1, 1):
                shifted = backbone.preprocessing.to_input(images[:1]).double()
                shifted[0, channel, row, column] += sign * 1e-4
                values.append(_predict(backbone, readout, shifted))
            total += (values[1] - values[0]) / 2e-4
    np.testing.assert_allclose(got[3, 4] + got[8, 2], total, rtol=1e-4, atol=1e-7)


def _predict(backbone, readout, values):
    for layer in backbone.layers:
        if layer.kind == "max_pool":
            values = layer(values)
        else:
            import torch

            values = torch.nn.functional.conv2d(
                values, layer.weight.double(), layer.bias.double(), padding=1
            ).relu()
    return float(readout.predict({readout.space: values.mean((2, 3), keepdim=True).numpy()})[0])


def test_integrated_gradients_are_complete(backbone, dense, images):
    readout = dense()
    got = float(analyze(backbone, [readout], images[:1], "integrated_gradients").sum())
    values = backbone.preprocessing.to_input(images[:1]).double()
    expected = _predict(backbone, readout, values) - _predict(backbone, readout, 0 * values)
    np.testing.assert_allclose(got, expected, rtol=0.02, atol=0.02 * abs(expected))


def test_smoothgrad_is_near_the_gradient_on_average(backbone, dense, images):
    readout = dense()
    smooth = analyze(backbone, [readout], images[:1], "smoothgrad")
    again = analyze(backbone, [readout], images[:1], "smoothgrad")
    plain = analyze(backbone, [readout], images[:1], "gradient")
    np.testing.assert_array_equal(smooth.values, again.values)
    assert np.corrcoef(smooth.values.ravel(), plain.values.ravel())[0, 1] > 0.2


@pytest.mark.parametrize("name", ["guided_backprop", "deconvnet"])
def test_clipped_gradients_differ_from_plain_ones(backbone, dense, images, name):
    readout = dense()
    clipped = analyze(backbone, [readout], images[:1], name).values
    plain = analyze(backbone, [readout], images[:1], "gradient").values
    assert np.isfinite(clipped).all()
    assert not np.allclose(clipped, plain, rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_runs_for_both_kinds_of_readout(backbone, dense, linear, images, name):
    maps = analyze(backbone, [dense(), linear], images[:1], name)
    assert maps.dims == ("readout", "image", "y", "x")
    assert maps.dtype == np.float32
    assert np.isfinite(maps.values).all()
    assert np.abs(maps.sel(readout=1)).max() > 0 or name.startswith("deep_taylor")


def test_own_method_in_a_few_lines(backbone, dense, images):
    register(Method("mine", convolution=alpha_beta(1, 0), dense=epsilon(0.1), first=FLAT))
    try:
        readout = dense()
        mine = analyze(backbone, [readout], images, "mine")
        preset = analyze(backbone, [readout], images, "lrp.sequential_preset_a_flat")
        np.testing.assert_array_equal(mine.values, preset.values)
    finally:
        del METHODS["mine"]


def test_unknown_method_names_the_nearest():
    with pytest.raises(TraitlensError, match=r"lrp\.alpha_1_beta_0"):
        find_method("lrp.alpha1_beta0")


def test_alpha_beta_must_differ_by_one():
    with pytest.raises(ValueError, match="alpha - beta must be 1"):
        alpha_beta(2, 0.5)
