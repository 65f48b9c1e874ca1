"""Residual networks read from state dicts, against modules with batch normalisation."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tests.oracles.residual import ArcFace, ResNet

from traitlens.features.backbone import load_backbone
from traitlens.features.backbone_catalogue import METADATA, describe_backbone
from traitlens.features.custom_backbones import add_backbone, custom_backbones_folder
from traitlens.problems import WeightsError


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TRAITLENS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 50, 44, 3), dtype=np.uint8)


def add(network, tmp_path, preprocessing="torchvision", prefix=""):
    state = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    torch.save(state, tmp_path / "network.pth")
    return add_backbone(tmp_path / "network.pth", "mine", preprocessing, "a test")


@pytest.mark.parametrize(
    ("network", "preprocessing"),
    [
        (ResNet((2, 1), False, 6), "torchvision"),
        (ResNet((1, 2, 1), True, 4), "torchvision"),
        (ArcFace(), "arcface"),
    ],
    ids=["resnet", "bottleneck", "arcface"],
)
def test_the_last_block_is_that_of_the_network(network, preprocessing, tmp_path, images):
    added = add(network, tmp_path, preprocessing, prefix="module.")
    backbone = load_backbone("mine")
    values = backbone.input(images)
    with torch.no_grad():
        want = network(values)
    tap = backbone.taps[-1]
    got = backbone.activations(images, [tap, "conv1"])
    scale = float(want.abs().max())
    np.testing.assert_allclose(got[tap], want, rtol=1e-5, atol=1e-5 * scale)
    described = describe_backbone("mine")
    assert described.shapes == backbone.shapes
    assert described.digest == backbone.digest == added.digest
    assert described.convolutions == added.convolutions
    channels, stride = backbone.shapes[tap]
    assert want.shape[1] == channels
    assert want.shape[2] == -(-50 // stride)


def test_layers_and_names_of_resnet18(tmp_path):
    add(ResNet((2, 2, 2, 2), False, 2), tmp_path)
    described = describe_backbone("mine")
    assert described.convolutions == 20
    assert described.shapes["layer4_2"] == (16, 32)
    assert described.taps[:4] == ("conv1", "pool1", "layer1_1_conv1", "layer1_1_conv2")


@pytest.mark.parametrize(
    ("name", "shape", "part"),
    [
        ("layer1.0.se.fc.weight", (2, 2), "also contains layer1.0.se.fc.weight"),
        ("layer1.0.conv1.weight", (4, 1, 3, 3), "unexpected shapes"),
        ("layer1.0.bn1.running_var", (3,), "not a batch normalisation"),
        ("layer1.0.conv2.weight", (4, 4, 2, 2), "square window"),
    ],
)
def test_other_residual_networks_are_refused(name, shape, part, tmp_path):
    state = ResNet((1,), False, 4).state_dict() | {name: torch.ones(shape)}
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=part):
        add_backbone(tmp_path / "other.pth", "mine", "torchvision")


def test_missing_tensors_are_named(tmp_path):
    state = ResNet((1,), False, 4).state_dict()
    del state["layer1.0.bn2.bias"]
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"layer1\.0\.bn2\.bias"):
        add_backbone(tmp_path / "other.pth", "mine", "torchvision")


def test_a_changed_layer_in_a_stored_file_is_noticed(tmp_path):
    add(ResNet((1,), False, 4), tmp_path)
    file = custom_backbones_folder() / "mine.safetensors"
    with safe_open(file, "numpy") as opened:
        facts = json.loads(opened.metadata()[METADATA])
    tensors = load_file(file)
    for change in (
        {"window": {"size": 3, "stride": 1, "padding": 1}},
        {"inputs": ["nowhere"]},
        {"kind": "x"},
    ):
        layers = [dict(layer) for layer in facts["layers"]]
        layers[1] |= change
        save_file(tensors, file, metadata={METADATA: json.dumps(facts | {"layers": layers})})
        with pytest.raises(WeightsError, match="damaged"):
            load_backbone("mine")
