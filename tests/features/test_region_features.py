"""Regional faces, and regional features against whole passes of the regional faces."""

from dataclasses import replace

import numpy as np
import pytest
from tests.relevance.conftest import make_backbone

from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.faces.masks import joined_names
from traitlens.features.extraction import extract
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.region_features import RegionalExtractor, RegionalFaces, average_face
from traitlens.features.taps import Tap
from traitlens.features.views import View
from traitlens.problems import TraitlensError

VIEWS = {"middle": View("middle", (0.2, 0.2, 0.8, 0.9), (48, 40))}
SPACES = [
    FeatureSpace(Tap("block2_pool", 4)),
    FeatureSpace(Tap("block1_conv2", None), mirror=True),
    FeatureSpace(Tap("block2_conv1", (2, 3)), "middle", "sqrt", mirror=True),
]
REGIONAL = [replace(space, region=name) for name in joined_names() for space in SPACES]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def study(rng):
    """Backbone, a face, regional faces and the masks."""
    image, average = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    faces = RegionalFaces(average)
    return make_backbone(rng), image, faces, faces.masks(canonical_mesh().points / 8)


def test_features_are_those_of_regional_faces(study):
    backbone, image, faces, masks = study
    found = RegionalExtractor(backbone, [*REGIONAL, *SPACES], faces, VIEWS).extract(image, masks)
    base = extract(backbone, SPACES, faces.average[None], VIEWS)
    whole = extract(backbone, SPACES, image[None], VIEWS)
    for space in SPACES:
        np.testing.assert_allclose(found[space], whole[space][0], rtol=1e-5, atol=1e-5)
        for name in joined_names():
            face = faces.put_on(image, masks.sel(region=name).values)[None]
            naive = (extract(backbone, [space], face, VIEWS)[space] - base[space])[0]
            largest = np.abs(naive).max()
            assert largest > 0
            np.testing.assert_allclose(found[replace(space, region=name)], naive, atol=1e-5 * largest)


def test_pixels_outside_a_region_leave_its_features_to_the_bit(study, rng):
    backbone, image, faces, masks = study
    extractor = RegionalExtractor(backbone, REGIONAL, faces, VIEWS)
    before = extractor.extract(image, masks)
    for name in joined_names():
        outside = masks.sel(region=name).values[..., None] == 0
        other = np.where(outside, rng.integers(0, 256, image.shape, dtype=np.uint8), image)
        after = extractor.extract(other, masks)
        for space in SPACES:
            mine = replace(space, region=name)
            np.testing.assert_array_equal(after[mine], before[mine])


def test_the_average_face_has_no_regional_features(study):
    backbone, _, faces, masks = study
    for values in RegionalExtractor(backbone, REGIONAL, faces, VIEWS).extract(faces.average, masks).values():
        assert not values.any()


def test_unknown_views_are_refused(study):
    backbone, _, faces, _ = study
    with pytest.raises(TraitlensError, match="nowhere"):
        RegionalExtractor(backbone, [FeatureSpace(Tap("block1_pool"), "nowhere", region="jaw")], faces)


def test_average_face_is_the_rounded_mean(rng):
    images = rng.integers(0, 256, (7, 5, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(average_face(iter(images)), np.rint(images.mean(axis=0)))
    with pytest.raises(ValueError, match="at least one"):
        average_face([])


def test_regional_faces_mix_by_the_mask(study):
    _, image, faces, masks = study
    average = faces.average.astype(float)
    made = np.stack([faces.put_on(image, mask) for mask in masks.values])
    exact = masks.values[..., None] * (image - average) + average
    assert np.abs(made - exact).max() <= 0.5 + 1e-4
    # Taken together, the regions show the whole face.
    np.testing.assert_allclose((made - average).sum(axis=0) + average, image, atol=2)


def test_own_polygons_are_regions():
    faces = RegionalFaces(np.zeros((64, 64, 3), np.uint8), {"scar": [(200, 200), (260, 200), (230, 260)]})
    masks = faces.masks(canonical_mesh().points / 8)
    assert masks.region.values.tolist() == list(faces.regions)
    assert masks.sel(region="scar").max() > 0.9
