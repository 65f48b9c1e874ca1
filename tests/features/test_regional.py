"""Regional faces: a region of one face on the average face."""

import numpy as np
import pytest

from traitlens.faces.canonical import canonical_mesh
from traitlens.faces.masks import feathered_masks
from traitlens.faces.regions import region_labels
from traitlens.features.regional import average_face, regional_faces


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
