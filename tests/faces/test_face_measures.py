"""Measures of faces: planted changes of a mesh, and columns of images.csv."""

import numpy as np
import pandas as pd
import pytest

from traitlens.faces.face_measures import MEASURES, describe_columns, measure_light, measure_points
from traitlens.faces.frames import CANONICAL_SIZE
from traitlens.faces.template import Template


@pytest.fixture
def face():
    return np.array(Template.fixed().points, float)


def test_each_measure_rises_with_what_it_measures(face):
    moved = {
        name: face.copy() for name in ("smile", "mouth opening", "eye opening", "brow height", "head turn")
    }
    size = np.linalg.norm(face[263] - face[33])
    moved["smile"][[61, 291], 1] -= 0.1 * size
    moved["mouth opening"][14, 1] += 0.2 * size
    moved["eye opening"][[145, 374], 1] += 0.1 * size
    moved["brow height"][[105, 334], 1] -= 0.1 * size
    moved["head turn"][1, 0] += 0.2 * size
    before = measure_points(face[None])
    assert set(before) | {"brightness", "contrast"} == set(MEASURES)
    for name, points in moved.items():
        assert measure_points(points[None])[name] > before[name] + 0.01, name


def test_measures_do_not_depend_on_size_and_rotation(face):
    turn = np.deg2rad(20)
    matrix = 1.7 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    before, after = measure_points(face[None]), measure_points((face @ matrix.T + 30)[None])
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_light_is_that_of_the_face_alone(face):
    points = face / CANONICAL_SIZE * 64
    pixels = np.full((64, 64, 3), 255, np.uint8)
    from PIL import Image, ImageDraw

    from traitlens.faces.regions import OVAL

    drawn = Image.fromarray(pixels)
    ImageDraw.Draw(drawn).polygon(
        [tuple(map(float, point)) for point in points[list(OVAL)]], fill=(51, 51, 51)
    )
    brightness, contrast = measure_light(np.asarray(drawn), points)
    np.testing.assert_allclose([brightness, contrast], [0.2, 0], atol=1e-9)
    assert np.isnan(measure_light(pixels, np.full((478, 2), np.nan))).all()


def test_columns_of_images_become_numbers():
    images = pd.DataFrame(
        {"image": list("abcdef"), "age": ["20", "31", "", "40", "50", "61"], "sex": list("fmfmfm"),
         "kind": ["x", "y", "z", "x", "y", "z"], "name": list("uvwxyz"), "same": ["1"] * 6}
    )  # fmt: skip
    found = describe_columns(images, ())
    assert list(found) == ["age", "sex: f", "kind: x", "kind: y", "kind: z"]
    assert found["age"].isna().tolist() == [False, False, True, False, False, False]
    assert found["sex: f"].tolist() == [1, 0, 1, 0, 1, 0]
