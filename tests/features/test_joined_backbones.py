"""Networks side by side: the activations and maps of each, whatever their preprocessing."""

import numpy as np
import pytest
import torch
from tests.features.test_custom_backbones import make
from tests.oracles.residual import ArcFace, ResNet

from traitlens.features.backbone import load_backbone
from traitlens.features.custom_backbones import add_backbone
from traitlens.features.joined_backbones import join_backbones
from traitlens.problems import WeightsError
from traitlens.relevance.methods import METHODS
from traitlens.relevance.propagation import propagator

PARTS = {
    "sequence": (lambda: make(), "caffe", "block3_pool"),
    "resnet": (lambda: ResNet((1, 1), False, 4), "torchvision", "layer2_1"),
    "arcface": (lambda: ArcFace((1,), 4), "arcface", "layer1_1"),
}


@pytest.fixture
def joined(monkeypatch, tmp_path):
    monkeypatch.setenv("TRAITLENS_CACHE", str(tmp_path / "cache"))
    for name, (network, preprocessing, _) in PARTS.items():
        torch.save(network().state_dict(), tmp_path / f"{name}.pth")
        add_backbone(tmp_path / f"{name}.pth", name, preprocessing)
    join_backbones(list(PARTS), "both")
    return load_backbone("both")


def test_activations_are_those_of_each_network(joined):
    image = np.random.default_rng(0).integers(0, 256, (1, 40, 36, 3), dtype=np.uint8)
    for name, (_, _, tap) in PARTS.items():
        own = load_backbone(name)
        want = own.activations(image, [tap])[tap]
        got = joined.activations(image, [f"{name}-{tap}"])[f"{name}-{tap}"]
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * float(want.abs().max()))
        assert joined.shapes[f"{name}-{tap}"] == own.shapes[tap]


@pytest.mark.parametrize("method", ["lrp.sequential_preset_a_flat", "zennit.epsilon_plus_flat"])
def test_maps_are_those_of_each_network(joined, method):
    image = np.random.default_rng(0).integers(0, 256, (1, 40, 36, 3), dtype=np.uint8)
    taps = {name: f"{name}-{tap}" for name, (_, _, tap) in PARTS.items()}
    together = propagator(joined, METHODS[method]).forward(joined.input(image), set(taps.values()))
    total = together.back({tap: together.activations[tap] for tap in taps.values()})
    want = torch.zeros_like(total)
    for name, (_, _, tap) in PARTS.items():
        own = load_backbone(name)
        passage = propagator(own, METHODS[method]).forward(own.input(image), {tap})
        want += passage.back({tap: passage.activations[tap]})
    np.testing.assert_allclose(total, want, rtol=0, atol=1e-3 * float(want.abs().max()))


def test_reserved_names_are_refused():
    with pytest.raises(WeightsError, match="cannot be the name"):
        join_backbones(["vgg16"], "vgg16")
