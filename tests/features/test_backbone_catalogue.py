"""Descriptions of backbones against the backbones themselves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.features.test_custom_backbones import make

import traitlens
from traitlens.features.backbone import load_backbone
from traitlens.features.backbone_catalogue import describe_backbone, describe_backbones
from traitlens.features.custom_backbones import add_backbone
from traitlens.problems import TraitlensError, WeightsError

BLOCKED = """
import sys
from importlib.abc import MetaPathFinder

class Blocker(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("torch is blocked")

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture
def added(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAITLENS_CACHE", str(tmp_path / "cache"))
    torch.save(make().state_dict(), tmp_path / "mine.pth")
    add_backbone(tmp_path / "mine.pth", "mine", "vgg_face")
    return tmp_path / "cache" / "backbones" / "mine.safetensors"


def assert_describes(description, backbone):
    assert list(description.shapes.items()) == list(backbone.shapes.items())
    assert description.taps == backbone.taps
    assert (description.digest, description.preprocessing) == (backbone.digest, backbone.preprocessing)


def test_an_added_network_is_described_as_it_is(added):
    assert_describes(describe_backbone("mine"), load_backbone("mine"))
    assert describe_backbone("mine").source == load_backbone("mine").source


@pytest.mark.weights
def test_vgg16_is_described_as_it_is():
    try:
        backbone = load_backbone("vgg16")
    except TraitlensError as problem:
        if "could not be downloaded" not in str(problem):
            raise
        pytest.skip(f"no VGG16 weights: {problem}")
    assert_describes(describe_backbone("vgg16"), backbone)


def test_unknown_names_and_damaged_files_are_refused(added):
    with pytest.raises(TraitlensError, match="unknown backbone 'mime'; did you mean 'mine'"):
        describe_backbone("mime")
    for content in (
        b"",
        b"\xff" * 20,
        added.read_bytes().replace(b"torch", b"t0rch").replace(b"129.1863", b"NaN     "),
    ):
        added.write_bytes(content)
        with pytest.raises(WeightsError, match="damaged"):
            describe_backbones()


def test_names_of_methods_and_layers_need_no_torch():
    code = """
from traitlens.features.backbone_catalogue import describe_backbone
from traitlens.readouts.registry import METHODS, find_readout
from traitlens.relevance.methods import METHODS as RULES
from traitlens.study.settings import ReadoutSettings

assert describe_backbone("vgg16").shapes["block4_pool"] == (512, 16)
for name in METHODS:
    settings = ReadoutSettings(method=name)
    assert find_readout(name).spaces(settings)
    assert find_readout(name).methods_text(settings)[0]
assert RULES["lrp.epsilon"].is_linear
assert not any(name.split(".")[0] in ("torch", "scipy", "numba") for name in sys.modules)
"""
    path = {"PYTHONPATH": str(Path(traitlens.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", BLOCKED + code], check=True, env={**os.environ, **path})
