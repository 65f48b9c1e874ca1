"""Feathered masks: they add up to exactly 1 and join left and right."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_cdt

from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.faces.masks import feathered_masks, joined_names
from traitlens.faces.regions import region_labels, region_names

POLYGONS = {"left ear": [(20, 200), (60, 200), (60, 300)], "right ear": [(450, 200), (490, 200), (450, 300)]}
LABELS = region_labels(canonical_mesh().points / 4, 128, POLYGONS)
NAMES = region_names(POLYGONS)


@pytest.mark.parametrize("join_sides", [True, False])
def test_masks_add_up_to_one(join_sides):
    masks = feathered_masks(LABELS, NAMES, join_sides)
    assert masks.dtype == np.float32
    assert (masks.sum("region") == 1).all()
    assert masks.min() == 0
    assert masks.region.values.tolist() == list(joined_names(NAMES, join_sides))


def test_left_and_right_are_joined():
    joined, apart = (feathered_masks(LABELS, NAMES, join) for join in (True, False))
    for name in ("eye", "brow", "cheek", "ear"):
        sides = apart.sel(region=[f"left {name}", f"right {name}"]).sum("region")
        np.testing.assert_array_equal(joined.sel(region=f"{name}s"), sides)
    assert joined_names(("left lens", "right lens", "left out")) == ("lens", "left out")


def test_masks_change_within_two_pixels_of_an_edge():
    masks = feathered_masks(LABELS, NAMES, join_sides=False)
    for place, mask in enumerate(masks.values):
        inside = place == LABELS
        assert (mask[distance_transform_cdt(inside) > 2] == 1).all()
        assert (mask[distance_transform_cdt(~inside) > 2] == 0).all()
