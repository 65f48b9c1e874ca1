"""Relevance of differences: conserved, only where pixels differ, and as the rule says unit by unit."""

import numpy as np
import pytest
import torch
from tests.relevance.conftest import make_backbone

from traitlens.features.reference_pass import ReferencePass
from traitlens.relevance.difference_propagation import DifferencePropagator

LAYERS = ["block1_conv2", "block2_pool"]


@pytest.mark.parametrize("box", [(3, 9, 2, 5), (0, 17, 0, 14), (16, 17, 13, 14), (5, 6, 0, 1)])
def test_relevance_is_conserved_and_stays_where_pixels_differ(rng, box):
    backbone = make_backbone(rng)
    top, bottom, left, right = box
    base, other = rng.integers(0, 256, (2, 17, 14, 3), dtype=np.uint8)
    image = base.copy()
    image[top:bottom, left:right] = other[top:bottom, left:right]
    reference = ReferencePass(backbone, base, LAYERS)
    steps = list(reference.steps(image))
    now, before = reference.collect(steps), reference.collect(())
    slopes = {name: torch.from_numpy(rng.normal(size=(3, *now[name].shape[1:]))).float() for name in LAYERS}
    maps = DifferencePropagator().propagate(steps, slopes, (17, 14)).numpy()
    entered = sum(
        (slopes[name] * (now[name] - before[name])).double().sum((1, 2, 3)).numpy() for name in LAYERS
    )
    np.testing.assert_allclose(maps.sum((1, 2)), entered, atol=1e-5 * np.abs(maps).sum((1, 2)).max())
    same = (image == base).all(axis=2)
    assert not maps[:, same].any()


def test_an_image_like_the_reference_has_no_relevance(rng):
    base = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    reference = ReferencePass(make_backbone(rng), base, LAYERS)
    slopes = {name: torch.ones(2, *values.shape[1:]) for name, values in reference.collect(()).items()}
    maps = DifferencePropagator().propagate(list(reference.steps(base)), slopes, (12, 12))
    assert maps.shape == (2, 12, 12)
    assert not maps.any()


def test_one_layer_by_hand(rng):
    backbone = make_backbone(rng, (("block1", (5,)),))
    base, image = rng.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    reference = ReferencePass(backbone, base, ["block1_conv1", "block1_pool"])
    steps = list(reference.steps(image))
    layer = backbone.layers[0]
    weight, bias = layer.weight.double().numpy(), layer.bias.double().numpy()
    x, a = (
        np.pad(backbone.input(one[None])[0].double().numpy(), ((0, 0), (1, 1), (1, 1)))
        for one in (image, base)
    )
    slope = rng.normal(size=(5, 2, 2))
    expected = np.zeros((4, 4))
    change = x - a

    def parts(channel, row, column):
        return weight[channel] * change[:, row : row + 3, column : column + 3]

    def rectified(values, channel, row, column):
        return max(
            0.0, (weight[channel] * values[:, row : row + 3, column : column + 3]).sum() + bias[channel]
        )

    for channel in range(5):
        for top in range(2):
            for left in range(2):
                window = [(2 * top + row, 2 * left + column) for row in (0, 1) for column in (0, 1)]
                now, before = ([rectified(one, channel, *place) for place in window] for one in (x, a))
                grown = max(now) - max(before)
                if grown == 0:
                    continue
                row, column = window[int(np.argmax(now if grown > 0 else before))]
                share = parts(channel, row, column)
                share = np.clip(share, 0, None) if grown > 0 else np.clip(share, None, 0)
                sent = np.zeros((6, 6))
                sent[row : row + 3, column : column + 3] = (share / share.sum()).sum(axis=0)
                expected += slope[channel, top, left] * grown * sent[1:5, 1:5]
                # What falls on the padding is nothing: it does not change.
                assert not sent[[0, 5]].any()
    slopes = {"block1_pool": torch.from_numpy(slope)[None].float()}
    maps = DifferencePropagator().propagate(steps, slopes, (4, 4))[0].numpy()
    np.testing.assert_allclose(maps, expected, atol=1e-4 * np.abs(expected).max())
