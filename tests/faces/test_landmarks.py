"""The landmarks of a study: given points win, the rest is found, fitted or named; and the face sheet."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.faces.face_sheet import KEY_POINTS, make_face_sheet
from traitlens.faces.frames import apply_affine
from traitlens.faces.landmarks import deform_mesh, find_landmarks, to_table
from traitlens.problems import TraitlensError

MESH = canonical_mesh().points


@given(st.lists(st.integers(0, 477), min_size=1, max_size=60, unique=True), st.integers(0, 99))
def test_bent_meshes_pass_through_the_given_points(indices: list[int], seed: int):
    chosen = np.array(indices)
    places = MESH[chosen] + np.random.default_rng(seed).normal(0, 8, (len(chosen), 2))
    bent = deform_mesh(MESH, chosen, places)
    np.testing.assert_allclose(bent[chosen], places, rtol=0, atol=1e-9)
    assert np.isfinite(bent).all()


def test_bending_is_local_and_does_nothing_without_a_shift():
    np.testing.assert_allclose(deform_mesh(MESH, np.arange(0, 478, 9), MESH[::9]), MESH, rtol=0, atol=1e-9)
    moved = deform_mesh(MESH, np.array([61]), MESH[[61]] + [6, 0]) - MESH
    assert moved[146, 0] > 4  # beside the mouth corner
    assert np.abs(moved[[33, 263, 291]]).max() < 1.0


@pytest.fixture
def empty_image(tmp_path: Path) -> Path:
    Image.new("RGB", (300, 300), "white").save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_whole_given_mesh_is_taken_as_it_is(empty_image: Path):
    table = to_table("a.png", MESH / 2).sample(frac=1, random_state=0)
    landmarks = find_landmarks({"a.png": empty_image}, table)
    np.testing.assert_array_equal(landmarks.points("a.png"), MESH / 2)
    assert landmarks.found["source"].tolist() == ["given"]
    assert landmarks.notices == ()


@pytest.mark.parametrize("detect", [True, False])
def test_some_given_points_place_the_mean_face(empty_image: Path, detect: bool):
    truth = apply_affine(np.array([[0.3, -0.1, 40.0], [0.1, 0.3, 30.0]]), MESH)
    chosen = [468, 473, 33, 263, 61, 291]
    table = to_table("a.png", truth).iloc[chosen]
    landmarks = find_landmarks({"a.png": empty_image}, table, detect=detect)
    np.testing.assert_allclose(landmarks.points("a.png"), truth, rtol=0, atol=1e-6)
    assert landmarks.found["source"].tolist() == ["given and mean face"]


def test_what_is_missing_is_named(empty_image: Path):
    landmarks = find_landmarks({"a.png": empty_image})
    assert landmarks.points("a.png") is None
    assert str(landmarks.notices[0]).startswith("a.png: no face was found")
    one = to_table("a.png", MESH).head(1)
    assert "too few landmarks" in str(find_landmarks({"a.png": empty_image}, one).notices[0])
    unknown = one.assign(point="nose")
    with pytest.raises(TraitlensError, match="unknown points 'nose'; use the point numbers"):
        find_landmarks({"a.png": empty_image}, unknown)
    with pytest.raises(TraitlensError) as caught:
        find_landmarks({name: empty_image.parent / name for name in ("b.png", "c.png")})
    assert [problem.file for problem in caught.value.problems] == ["b.png", "c.png"]


def test_faces_are_found_and_drawn(faces_3dsk: list[Path], empty_image: Path, tmp_path: Path):
    paths = {path.name: path for path in faces_3dsk[:3]} | {"none.png": empty_image}
    done: list[int] = []
    landmarks = find_landmarks(paths, progress=done.append)
    assert sum(done) == 4
    assert landmarks.found["source"].tolist() == ["detected"] * 3 + ["none"]
    sheet = make_face_sheet(paths, landmarks, tmp_path / "sheet")
    assert sheet.order["image"].iloc[0] == "none.png"
    with Image.open(sheet.pages[0]) as page:
        assert page.size == (6 * 224, 254)
    assert list(sheet.averages) == ["all"]
    written = pd.read_csv(sheet.landmarks, dtype={"point": str})
    assert written.groupby("image").size().tolist() == [len(KEY_POINTS)] * 3
    # What was written and not edited leaves the landmarks where they were.
    name = faces_3dsk[0].name
    again = find_landmarks({name: paths[name]}, written)
    np.testing.assert_allclose(again.points(name), landmarks.points(name), rtol=0, atol=0.02)
    # One corrected point is obeyed.
    written.loc[(written["image"] == name) & (written["point"] == "61"), "x"] += 30
    moved = find_landmarks({name: paths[name]}, written).points(name) - landmarks.points(name)
    assert moved[61, 0] == pytest.approx(30, abs=0.02)
    assert np.abs(moved[263]).max() < 1
