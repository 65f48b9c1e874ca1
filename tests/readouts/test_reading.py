"""Regional features against whole passes of the regional faces."""

from dataclasses import replace

import numpy as np
import pytest
from tests.relevance.conftest import make_backbone

from traitlens.faces.canonical import canonical_mesh
from traitlens.faces.masks import feathered_masks, joined_names
from traitlens.faces.regions import region_labels
from traitlens.features.extraction import extract
from traitlens.features.regional import regional_faces
from traitlens.features.spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.features.views import View
from traitlens.problems import TraitlensError
from traitlens.readouts.regional import RegionalReader

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
    """Backbone, a face, an average face and the masks."""
    faces = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    masks = feathered_masks(region_labels(canonical_mesh().points / 8, 64))
    return make_backbone(rng), *faces, masks


def test_features_are_those_of_regional_faces(study):
    backbone, image, average, masks = study
    found = RegionalReader(backbone, [*REGIONAL, *SPACES], average, VIEWS).read(image, masks)
    base = extract(backbone, SPACES, average[None], VIEWS)
    whole = extract(backbone, SPACES, image[None], VIEWS)
    for space in SPACES:
        np.testing.assert_allclose(found[space], whole[space][0], rtol=1e-5, atol=1e-5)
        for name in joined_names():
            face = regional_faces(image, masks.sel(region=[name]).values, average)
            naive = (extract(backbone, [space], face, VIEWS)[space] - base[space])[0]
            largest = np.abs(naive).max()
            assert largest > 0
            np.testing.assert_allclose(found[replace(space, region=name)], naive, atol=1e-5 * largest)


def test_pixels_outside_a_region_leave_its_features_to_the_bit(study, rng):
    backbone, image, average, masks = study
    reader = RegionalReader(backbone, REGIONAL, average, VIEWS)
    before = reader.read(image, masks)
    for name in joined_names():
        outside = masks.sel(region=name).values[..., None] == 0
        other = np.where(outside, rng.integers(0, 256, image.shape, dtype=np.uint8), image)
        after = reader.read(other, masks)
        for space in SPACES:
            mine = replace(space, region=name)
            np.testing.assert_array_equal(after[mine], before[mine])


def test_the_average_face_has_no_regional_features(study):
    backbone, _, average, masks = study
    for values in RegionalReader(backbone, REGIONAL, average, VIEWS).read(average, masks).values():
        assert not values.any()


def test_unknown_views_are_refused(study):
    backbone, _, average, _ = study
    with pytest.raises(TraitlensError, match="nowhere"):
        RegionalReader(backbone, [FeatureSpace(Tap("block1_pool"), "nowhere", region="jaw")], average)
