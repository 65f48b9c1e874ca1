"""Alteration of one region: nothing else changes, and nothing jumps."""

import numpy as np
import pytest

from traitlens.experiment.altered_region import RegionEditor
from traitlens.experiment.region_change import (
    TEMPLATE_SIZE,
    RegionChange,
    align_faces,
    from_logarithm,
    to_logarithm,
)
from traitlens.experiment.strength_search import search_strength
from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.faces.frames import apply_affine
from traitlens.faces.masks import feathered_masks
from traitlens.faces.regions import LIPS, REGIONS, region_labels

SIZE = 300


@pytest.fixture(scope="module")
def face():
    """A photograph of noise and smooth colours, with a tilted mesh."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    photo = np.stack([120 + 60 * np.sin(9 * x), 110 + 50 * np.cos(7 * y), 90 + 60 * x * y], axis=-1)
    photo = np.clip(photo + rng.normal(0, 3, photo.shape), 0, 255).astype(np.uint8)
    turn = np.array([[0.55, -0.05, 12.0], [0.05, 0.55, -4.0]])
    return photo, apply_affine(turn, canonical_mesh().points)


def make_change(size=3.0, colour=0.05):
    """Lips move down, colours become redder in the middle of the template."""
    shape = np.zeros((478, 2))
    shape[list(LIPS)] = 0.0, size
    y, x = np.mgrid[:TEMPLATE_SIZE, :TEMPLATE_SIZE] / TEMPLATE_SIZE - 0.5
    red = colour * np.exp(-((x / 0.1) ** 2) - ((y - 0.2) / 0.1) ** 2)
    return RegionChange(shape, np.stack([red, -red, np.zeros_like(red)], axis=-1))


@pytest.mark.parametrize("region", ["mouth", "eyes", "jaw", "cheeks"])
@pytest.mark.parametrize("strength", [-1.0, 2.0])
def test_no_pixel_changes_outside_the_mask(face, region, strength):
    photo, points = face
    altered = RegionEditor(photo, points, region, make_change()).alter(strength)
    assert (altered.pixels == photo)[~altered.mask].all()
    assert altered.mask.mean() < 0.35


def test_the_mask_is_the_region_and_a_ring_around_it(face):
    photo, points = face
    altered = RegionEditor(photo, points, "mouth", make_change()).alter(1.0)
    labels = region_labels(points, SIZE)
    mouth = labels == REGIONS.index("mouth")
    assert altered.mask[mouth].mean() > 0.99
    eyes = feathered_masks(labels).sel(region="eyes").to_numpy() > 0
    assert not (altered.mask & eyes).any()


def test_strength_zero_is_the_photograph(face):
    photo, points = face
    altered = RegionEditor(photo, points, "mouth", make_change()).alter(0.0)
    np.testing.assert_array_equal(altered.pixels, photo)
    np.testing.assert_allclose(altered.points, points)


def test_points_of_the_region_move_and_others_stay(face):
    photo, points = face
    altered = RegionEditor(photo, points, "mouth", make_change(size=4.0, colour=0.0)).alter(1.5)
    moved = np.linalg.norm(altered.points - points, axis=1)
    scale = np.hypot(0.55, 0.05)
    np.testing.assert_allclose(moved[list(LIPS)], 1.5 * 4.0 * scale, rtol=0.02)
    assert moved[[33, 263, 10, 152, 70]].max() == 0
    assert altered.least_area > 0.4


def test_a_shift_moves_the_picture_by_as_much(face):
    """A bright spot on the lips is found where the mesh says that it went."""
    photo, points = face
    photo = np.full_like(photo, 90)
    spot = points[17]
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    photo[np.hypot(x - spot[0], y - spot[1]) < 3] = 220
    altered = RegionEditor(photo, points, "mouth", make_change(size=5.0, colour=0.0)).alter(1.0)
    bright = altered.pixels[..., 0] > 150
    found = np.array([x[bright].mean(), y[bright].mean()])
    np.testing.assert_allclose(found, altered.points[17], atol=0.7)


def test_the_border_has_no_seam(face):
    """On plain skin, neighbours differ by a few grey levels even at the border of a coloured region."""
    photo, points = face
    plain = np.full_like(photo, 128)
    change = RegionChange(np.zeros((478, 2)), np.full((TEMPLATE_SIZE, TEMPLATE_SIZE, 3), 0.2))
    altered = RegionEditor(plain, points, "cheeks", change).alter(1.0).pixels.astype(int)
    # The same colour all over the region is that of its border, which is taken out.
    assert np.abs(altered - 128).max() <= 2
    altered = RegionEditor(plain, points, "mouth", make_change(0.0, 0.3)).alter(1.0).pixels.astype(int)
    steps = max(np.abs(np.diff(altered, axis=axis)).max() for axis in (0, 1))
    assert np.abs(altered - 128).max() > 15
    assert steps <= 8


def test_a_region_without_pixels_is_an_error(face):
    photo, points = face
    with pytest.raises(ValueError, match="no pixel"):
        RegionEditor(photo, points, "scar", make_change())


def test_averages_find_what_goes_with_the_cue(face):
    photo, points = face
    rng = np.random.default_rng(1)
    cue = rng.normal(size=40)
    meshes = np.repeat(points[None], 40, axis=0)
    meshes[:, 17, 1] += 0.55 * 4.0 * cue
    faces = align_faces(tuple(f"{i}" for i in range(40)), np.repeat(photo[None], 40, axis=0), meshes, size=32)
    change = faces.change({f"{i}": value for i, value in enumerate(cue)})
    assert change.shape[17, 1] == pytest.approx(4.0, rel=0.15)
    # Pupils and mouth corners define the frame; other points do not move with the cue.
    assert np.abs(np.delete(change.shape, 17, axis=0)).max() < 0.1
    with pytest.raises(ValueError, match="8 with a low cue are needed"):
        faces.change({f"{i}": value for i, value in enumerate(cue[:9])})


def test_logarithms_are_undone():
    values = np.arange(256.0)
    np.testing.assert_allclose(from_logarithm(to_logarithm(values)), values, atol=1e-9)


@pytest.mark.parametrize("step", [-1.0, -0.5, 0.5, 1.0])
@pytest.mark.parametrize("rise", [0.45, 1.0, 3.0])
def test_the_search_finds_a_strength(step, rise):
    found = search_strength(lambda strength: 2 * np.tanh(rise * strength / 2), step)
    assert abs(found.change / step - 1) < 0.1


def test_the_search_ends_where_the_cue_does_not_move():
    assert search_strength(lambda strength: 0.0, 1.0).change == 0
