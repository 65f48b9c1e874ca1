"""Regional faces, and passes through the network that compute only what differs from a reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.relevance.conftest import make_backbone

from traitlens.faces.canonical import canonical_mesh
from traitlens.faces.masks import feathered_masks
from traitlens.faces.regions import region_labels
from traitlens.features.regional import ReferencePass, average_face, regional_faces

BACKBONE = make_backbone(np.random.default_rng(1))


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def masks():
    return feathered_masks(region_labels(canonical_mesh().points / 8, 64))


def test_average_face_is_the_rounded_mean(rng):
    images = rng.integers(0, 256, (7, 5, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(average_face(iter(images)), np.rint(images.mean(axis=0)))
    with pytest.raises(ValueError, match="at least one"):
        average_face([])


def test_regional_faces_mix_by_the_mask(rng, masks):
    image, average = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    faces = regional_faces(image, masks.values, average)
    exact = masks.values[..., None] * (image.astype(float) - average) + average
    assert np.abs(faces - exact).max() <= 0.5 + 1e-4
    # Taken together, the regions show the whole face.
    np.testing.assert_allclose((faces - average.astype(float)).sum(axis=0) + average, image, atol=2)


def test_pixels_outside_a_region_change_nothing(rng, masks):
    image, average = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    for mask in masks.values:
        other = np.where(mask[..., None] > 0, image, rng.integers(0, 256, image.shape, dtype=np.uint8))
        one, same = (regional_faces(seen, mask[None], average) for seen in (image, other))
        np.testing.assert_array_equal(one, same)


@given(
    rows=st.integers(8, 21),
    columns=st.integers(8, 21),
    edges=st.tuples(*[st.floats(0, 1)] * 4),
    seed=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
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
