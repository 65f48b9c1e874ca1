"""The template: sums kept, forth and back, piecewise affine as a literal twin, and the pose guard."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.faces.frames import apply_affine, to_canonical
from traitlens.faces.landmarks import deform_mesh
from traitlens.faces.template import ANCHORS, Template, _frame_points
from traitlens.problems import TraitlensError

ORACLE = Path(__file__).parents[1] / "oracles" / "faces.py"
spec = importlib.util.spec_from_file_location("faces_oracle", ORACLE)
oracle = importlib.util.module_from_spec(spec)
spec.loader.exec_module(oracle)

SIZE = 96


@pytest.fixture(scope="module")
def template() -> Template:
    return Template.fixed(SIZE)


def some_face(seed: int, size: int = SIZE) -> np.ndarray:
    """A face of another shape than the mean, laid in the canonical frame."""
    rng = np.random.default_rng(seed)
    mean = canonical_mesh().points
    chosen = np.array([33, 263, 61, 291, 1, 152, 10, 234, 454, 105, 334])
    bent = deform_mesh(mean, chosen, mean[chosen] + rng.normal(0, 6, (len(chosen), 2)))
    return apply_affine(to_canonical(bent), bent) * size / 512


def test_a_thousand_random_maps_keep_their_sums(template: Template):
    rng = np.random.default_rng(0)
    for seed in range(10):
        maps = rng.exponential(size=(100, SIZE, SIZE)) * rng.choice([-1, 1], size=(100, 1, 1))
        alignment = template.align(some_face(seed), (SIZE, SIZE))
        assert alignment.piecewise
        np.testing.assert_allclose(alignment.warp(maps).sum((1, 2)), maps.sum((1, 2)), rtol=0.01, atol=0)
        np.testing.assert_allclose(alignment.warp_back(maps).sum((1, 2)), maps.sum((1, 2)), rtol=0.01, atol=0)


def test_smooth_maps_come_back(template: Template):
    rng = np.random.default_rng(1)
    maps = gaussian_filter(rng.normal(size=(5, SIZE, SIZE)), (0, 4, 4))
    for conserve in (True, False):
        alignment = template.align(some_face(3), (SIZE, SIZE))
        back = alignment.warp_back(alignment.warp(maps, conserve), conserve)
        known = np.isfinite(back)
        assert known.mean() > 0.97
        assert np.corrcoef(back[known], maps[known])[0, 1] > 0.98


def test_the_mean_face_stays_where_it_is(template: Template):
    rng = np.random.default_rng(2)
    maps = gaussian_filter(rng.normal(size=(SIZE, SIZE)), 3)
    warped = template.warp(maps, template.points_on_map)
    np.testing.assert_allclose(warped, maps, rtol=0, atol=0.06 * np.abs(maps).max())


def test_warps_equal_the_literal_piecewise_affine_map(template: Template):
    points = some_face(5, 200)
    y, x = np.mgrid[:200, :200] + 0.5
    ramp = np.stack([x, y])  # intensities that say where they come from
    warped = template.warp(ramp, points, conserve=False)
    to_frame = to_canonical(points)
    outside = np.linalg.solve(to_frame[:, :2], (_frame_points() - to_frame[:, 2]).T).T
    target = np.vstack([points[list(ANCHORS)], outside])
    triangles = template._triangles.simplices
    for row, column in ((48, 48), (42, 36), (68, 48), (20, 50), (60, 60)):
        place = np.array([column + 0.5, row + 0.5]) * 512 / SIZE
        expected = oracle.piecewise_affine(place, template._nodes, target, triangles)
        np.testing.assert_allclose(warped[:, row, column], expected, rtol=0, atol=0.6)


def test_landmarks_go_to_the_templates(template: Template):
    points = some_face(7, 200)
    y, x = np.mgrid[:200, :200] + 0.5
    for index in (1, 61, 263):
        spot = np.exp(-((x - points[index, 0]) ** 2 + (y - points[index, 1]) ** 2) / (2 * 3**2))
        warped = template.warp(spot, points)
        y2, x2 = np.mgrid[:SIZE, :SIZE] + 0.5
        centre = np.array([(warped * x2).sum(), (warped * y2).sum()]) / warped.sum()
        np.testing.assert_allclose(centre, template.points_on_map[index], rtol=0, atol=0.5)


def test_mean_shape_undoes_rotation_scale_and_shift():
    rng = np.random.default_rng(4)
    faces = [some_face(seed, 512) for seed in range(6)]
    moved = []
    for face in faces:
        angle, scale = rng.uniform(-1, 1), rng.uniform(0.2, 3)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        moved.append(apply_affine(np.column_stack([turn, rng.uniform(-99, 99, 2)]), face))
    first, second = Template.mean(faces, symmetric=False), Template.mean(moved, symmetric=False)
    np.testing.assert_allclose(first.points, second.points, rtol=0, atol=1e-2)
    symmetric = Template.mean(moved).points
    mirrored = np.array([512.0, 0.0]) + symmetric[canonical_mesh().twins] * [-1, 1]
    np.testing.assert_allclose(symmetric, mirrored, rtol=0, atol=1e-6)


def test_heads_turned_too_far_get_the_similarity_only(template: Template):
    points = canonical_mesh().points * SIZE / 512
    turned = points.copy()
    turned[1] += [0.5 * 128 * SIZE / 512, 0]
    alignment = template.align(turned, (SIZE, SIZE))
    assert alignment.pose == pytest.approx(0.5, abs=0.01)
    assert not alignment.piecewise
    assert alignment.warp(np.ones((SIZE, SIZE))).sum() == pytest.approx(SIZE**2, rel=0.01)


def test_points_must_be_there_and_maps_must_fit(template: Template):
    with pytest.raises(TraitlensError, match="needs all 478 landmarks"):
        template.align(np.full((478, 2), np.nan), (SIZE, SIZE))
    with pytest.raises(ValueError, match="do not match"):
        template.align(some_face(0), (SIZE, SIZE)).warp(np.zeros((SIZE, SIZE + 1)))


def test_warped_faces_are_more_alike_than_unwarped_ones(faces_3dsk: list[Path], template: Template):
    from traitlens.faces.cropping import prepare_image
    from traitlens.faces.images import load_image
    from traitlens.faces.landmarks import detect_landmarks

    before, after = [], []
    for path in faces_3dsk[:50:5]:
        pixels = load_image(path)
        prepared = prepare_image(pixels, SIZE, "face", points := detect_landmarks(pixels).points)
        grey = prepared.pixels.mean(axis=2)
        before.append(grey)
        after.append(template.warp(grey, prepared.frame.map_points(points), conserve=False))
    inner = (slice(SIZE // 4, -SIZE // 8), slice(SIZE // 4, -SIZE // 4))

    def likeness(faces: list[np.ndarray]) -> float:
        average = np.mean(faces, axis=0)[inner].ravel()
        return float(np.mean([np.corrcoef(face[inner].ravel(), average)[0, 1] for face in faces]))

    assert likeness(after) > likeness(before) + 0.02
