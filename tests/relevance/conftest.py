import numpy as np
import pytest

from traitlens.features.backbone import build_backbone
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.preprocessing import VGG_CAFFE
from traitlens.features.taps import Tap
from traitlens.readouts.readout import DenseReadout, LinearPart, LinearReadout


@pytest.fixture
def rng():
    return np.random.default_rng(20261124)


def make_backbone(rng, widths=(("block1", (4, 5)), ("block2", (6, 7)))):
    tensors, channels = {}, 3
    for block, outs in widths:
        for number, out in enumerate(outs, 1):
            scale = 0.02 if channels == 3 else 1 / np.sqrt(4 * channels)
            name = f"{block}_conv{number}"
            weight = rng.normal(size=(out, channels, 3, 3)) * scale
            tensors[f"{name}.weight"] = weight.astype(np.float32)
            tensors[f"{name}.bias"] = (0.1 * rng.normal(size=out)).astype(np.float32)
            channels = out
    return build_backbone("tiny", tensors, VGG_CAFFE, "tiny")


@pytest.fixture
def backbone(rng):
    return make_backbone(rng)


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (2, 12, 12, 3), dtype=np.uint8)


@pytest.fixture
def make_linear(rng):
    def make(*spaces, channels, shapes, trait="warm"):
        parts = tuple(
            LinearPart(space, rng.normal(size=(count, *shape)), rng.random((count, *shape)))
            for space, count, shape in zip(spaces, channels, shapes, strict=True)
        )
        return LinearReadout("a", trait, -1, parts, mean=4.0)

    return make


@pytest.fixture
def linear(make_linear):
    return make_linear(FeatureSpace(Tap("block2_pool", 1)), channels=[7], shapes=[(1, 1)])


@pytest.fixture
def dense(rng):
    def make():
        return DenseReadout(
            "a",
            "strong",
            0,
            rng.normal(size=(9, 7)).astype(np.float32),
            rng.normal(size=9).astype(np.float32),
            rng.normal(size=(1, 9)).astype(np.float32),
            rng.normal(size=1).astype(np.float32),
            space=FeatureSpace(Tap("block2_pool", 1)),
        )

    return make
