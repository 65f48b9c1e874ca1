"""Passes through the network that compute only what differs from a reference image."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.relevance.conftest import make_backbone

from traitlens.features.reference_pass import ReferencePass

BACKBONE = make_backbone(np.random.default_rng(1))


@given(
    rows=st.integers(8, 21),
    columns=st.integers(8, 21),
    edges=st.tuples(*[st.floats(0, 1)] * 4),
    seed=st.integers(0, 100),
)
@settings(max_examples=60)
def test_local_passes_are_whole_passes(rows, columns, edges, seed):
    rng = np.random.default_rng(seed)
    layers = ["block1_conv1", "block1_pool", "block2_conv2", "block2_pool"]
    reference, other = rng.integers(0, 256, (2, rows, columns, 3), dtype=np.uint8)
    top, bottom = sorted(round(rows * edge) for edge in edges[:2])
    left, right = sorted(round(columns * edge) for edge in edges[2:])
    image = reference.copy()
    image[top:bottom, left:right] = other[top:bottom, left:right]
    found = ReferencePass(BACKBONE, reference, layers).activations(image)
    expected = BACKBONE.activations(image[None], layers)
    before = BACKBONE.activations(reference[None], layers)
    assert set(found) == set(layers)
    for name in layers:
        largest = float(expected[name].abs().max())
        np.testing.assert_allclose(found[name].numpy(), expected[name].numpy(), atol=1e-5 * largest)
    # A pooling halves, a convolution widens by one on each side.
    reach = found["block1_conv1"] != before["block1_conv1"]
    assert not reach[:, :, : max(top - 1, 0)].any()
    assert not reach[:, :, :, right + 1 :].any()


def test_deeper_layers_are_not_computed():
    pixels = np.zeros((16, 16, 3), np.uint8)
    found = ReferencePass(BACKBONE, pixels, ["block1_conv2"]).activations(pixels + np.uint8(9))
    assert list(found) == ["block1_conv2"]
