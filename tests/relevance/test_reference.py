"""Maps of real faces by the real network against maps that iNNvestigate 2.1.2 made."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from traitlens.features.backbone import load_backbone
from traitlens.problems import TraitlensError
from traitlens.readouts.readout import DenseReadout
from traitlens.relevance.attribution import explain_with_conservation

DATA = (
    Path(os.environ.get("TRAITLENS_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
    / "lrp_reference"
)
HEADS = ("raw", "centred")
OLD = torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX") or "SSE" in os.environ.get(
    "ONEDNN_MAX_CPU_ISA", ""
)
"""Whether this processor, or what it pretends to be, has no AVX2."""
MOST_TIES = 0.05 if OLD else 0.0
"""Share of pixels that a tie which rounding decides may reach (2 % seen without AVX2, none with it)."""
LARGEST_TIE = 1e-2
"""How far they may be apart, relative to the largest value of the map."""
SLOW = [
    "lrp.sequential_preset_b_flat",
    "lrp.sequential_preset_a",
    "lrp.sequential_preset_b",
    "lrp.sequential_preset_b_flat_until_idx",
    "lrp.epsilon",
    "lrp.z",
    "lrp.w_square",
    "lrp.flat",
    "lrp.alpha_1_beta_0",
    "lrp.alpha_2_beta_1",
    "lrp.z_plus",
    "lrp.z_plus_fast",
    "gradient",
    "input_t_gradient",
    "guided_backprop",
    "deconvnet",
    "deep_taylor",
]


@pytest.fixture(scope="module")
def backbone():
    try:
        return load_backbone("vgg16")
    except TraitlensError as problem:
        if "could not be downloaded" not in str(problem):
            raise
        pytest.skip(f"no VGG16 weights: {problem}")


def check(backbone, method, count, copies=1):
    if not DATA.is_dir():
        pytest.skip(f"no reference maps at {DATA}")
    images = np.load(DATA / "images_rgb.npy")[:count]
    heads = []
    for name in HEADS:
        with np.load(DATA / f"head_{name}.npz") as file:
            keys = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
            heads.append(DenseReadout.from_arrays(*(file[key] for key in keys)))
    got = explain_with_conservation(backbone, heads * copies, images, method)
    # Plain backgrounds make ties between neighbours in a maximum pooling, and rounding, which differs between
    # processors, decides where relevance goes: some pixels may differ. The flat rule sends relevance there
    # too: iNNvestigate itself comes back to these maps to 8e-4 only on another processor.
    tolerance = 1e-3 if method == "lrp.flat" else 1e-5
    for place, name in enumerate(HEADS * copies):
        with np.load(DATA / f"maps_{name}.npz") as file:
            expected, predicted = file[method][:count], file["prediction"][:count]
        np.testing.assert_allclose(got.prediction[:, place], predicted, rtol=0, atol=1e-4)
        largest = np.abs(expected).max((1, 2), keepdims=True)
        difference = np.abs(got.relevance.values[:, place] - expected) / np.where(largest > 0, largest, 1)
        apart = (difference > tolerance).mean()
        message = f"{method}, {name} head: {apart:.1e} of the pixels are apart, by {difference.max():.1e}"
        assert apart <= MOST_TIES, message
        assert difference.max() < LARGEST_TIE, message


@pytest.mark.weights
@pytest.mark.parametrize("copies", [1, 2], ids=["whole_layers", "active_units"])
def test_default_method_equals_innvestigate(backbone, copies):
    check(backbone, "lrp.sequential_preset_a_flat", 1, copies)


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.parametrize("copies", [1, 4], ids=["whole_layers", "active_units"])
@pytest.mark.parametrize("method", ["lrp.sequential_preset_a_flat", *SLOW])
def test_method_equals_innvestigate(backbone, method, copies):
    check(backbone, method, 4, copies)
