"""Landmarks from other programs' files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from traitlens.faces.landmark_files import (
    DLIB_TO_MESH,
    TEM_TO_MESH,
    read_dlib_xml,
    read_given_landmarks,
    read_pts,
    read_tem,
)
from traitlens.problems import TraitlensError


@pytest.mark.parametrize("table", [TEM_TO_MESH, DLIB_TO_MESH])
def test_every_point_of_the_mesh_is_named_once(table):
    assert len(set(table.values())) == len(table)
    assert set(table.values()) <= set(range(478))


def write_tem(path: Path) -> Path:
    rows = "\n".join(f"{k}.5\t{1000 - k}" for k in range(189))
    path.write_text(f"189\n{rows}\n1\n0\n2\n0 0\n")
    return path


def test_tem(tmp_path: Path):
    table = read_tem(write_tem(tmp_path / "a.tem")).set_index("point")
    assert table.loc["473"].tolist() == [1.5, 999.0]
    assert table.loc["152"].tolist() == [129.5, 871.0]
    assert len(table) == len(TEM_TO_MESH)


def test_pts_counts_pixels_from_one(tmp_path: Path):
    path = tmp_path / "a.pts"
    path.write_text(
        "version: 1\nn_points: 68\n{\n" + "\n".join(f"{k} {2 * k}" for k in range(1, 69)) + "\n}\n"
    )
    table = read_pts(path).set_index("point")
    assert table.loc["127"].tolist() == [0.5, 1.5]
    assert table.loc["152"].tolist() == [8.5, 17.5]


@pytest.mark.parametrize("form", ["{ %s }", "version: 1\n\n{\n\n%s\n}\n", "n_points: 68 {\n%s\n\n}"])
def test_pts_with_brackets_anywhere(tmp_path: Path, form: str):
    path = tmp_path / "a.pts"
    path.write_text(form % "\n".join(f"{k} {2 * k}" for k in range(1, 69)))
    assert read_pts(path).set_index("point").loc["127"].tolist() == [0.5, 1.5]


def test_dlib_xml_in_its_own_encoding_with_an_image_that_was_not_annotated(tmp_path: Path):
    parts = "".join(f"<part name='{k:02d}' x='{k}' y='{k}'/>" for k in range(68))
    text = (
        f"<?xml version='1.0' encoding='ISO-8859-1'?><dataset><images><image file='b\u00e4r.jpg'><box>{parts}"
    )
    text += "</box></image><image file='c.jpg'><box top='1'/></image></images></dataset>"
    (tmp_path / "a.xml").write_bytes(text.encode("latin-1"))
    assert set(read_dlib_xml(tmp_path / "a.xml")["image"]) == {"b\u00e4r.jpg"}


def test_dlib_xml_takes_the_largest_box(tmp_path: Path):
    def parts(shift: int) -> str:
        return "".join(
            f"<part name='{k:02d}' x='{k + shift}' y='{k}'/>"
            for k in np.random.default_rng(0).permutation(68)
        )

    path = tmp_path / "a.xml"
    path.write_text(
        "<dataset><images><image file='b.jpg'>"
        f"<box top='1' left='1' width='9' height='9'>{parts(500)}</box>"
        f"<box top='1' left='1' width='99' height='99'>{parts(100)}</box></image></images></dataset>"
    )
    table = read_dlib_xml(path)
    assert set(table["image"]) == {"b.jpg"}
    assert table.set_index("point").loc["152", ["x", "y"]].tolist() == [108.5, 8.5]


@pytest.mark.parametrize(
    ("reader", "text", "words"),
    [
        (read_tem, "", "is not a template of 189 points"),
        (read_tem, "106\n1 2\n", "is not a template of 189 points"),
        (read_tem, "189\n1 2\n", "has 1 points, not 189"),
        (read_tem, "189\n" + "1 x\n" * 189, "not numbers"),
        (read_tem, "189\n" + "1 2 3\n" * 189, "other than x and y"),
        (read_tem, "189\n" + "1 nan\n" * 189, "other than x and y"),
        (read_pts, "no", "curly brackets"),
        (read_pts, "{\n1 2\n}", "has 1 points, not 68"),
        (read_dlib_xml, "<a", "is not XML"),
        (read_dlib_xml, "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "entities"),
        (read_dlib_xml, "<a><image file='f.jpg'/></a>", "contains no annotated images"),
        (
            read_dlib_xml,
            "<a><image file='f.jpg'><box><part name='00' x='1' y='1'/></box></image></a>",
            "image 'f.jpg' has 1 points",
        ),
    ],
)
def test_faulty_files_are_named(tmp_path: Path, reader, text: str, words: str):
    path = tmp_path / "marks"
    path.write_text(text)
    with pytest.raises(TraitlensError, match=words) as caught:
        reader(path)
    assert str(path) in str(caught.value)
    with pytest.raises(TraitlensError, match="cannot be read"):
        reader(tmp_path / "missing")


def test_3dsk_templates_are_read(faces_3dsk: list[Path]):
    for file in faces_3dsk[:10]:
        table = read_tem(file.with_suffix(".tem")).set_index("point")
        distance = table.loc["473", "x"] - table.loc["468", "x"]
        assert 200 < distance < 500
        assert abs(table.loc["473", "y"] - table.loc["468", "y"]) < 0.1 * distance
        assert table.loc["152", "y"] > table.loc["17", "y"] > table.loc["2", "y"] > table.loc["33", "y"]


def test_files_beside_the_images_are_gathered_and_the_table_wins(tmp_path: Path):
    paths = {name: tmp_path / "images" / name for name in ("a.png", "b.png", "c.png", "d.png")}
    (tmp_path / "images").mkdir()
    places = np.random.default_rng(0).uniform(0, 100, (189, 2))
    for name in ("a", "b"):
        text = "\n".join(f"{x} {y}" for x, y in places)
        (tmp_path / "images" / f"{name}.tem").write_text(f"189\n{text}\n")
    points = "\n".join(f"{x} {y}" for x, y in places[:68])
    (tmp_path / "images" / "c.pts").write_text(f"version: 1\nn_points: 68\n{{\n{points}\n}}\n")
    parts = "".join(f"<part name='{i:02d}' x='{i}' y='{2 * i}'/>" for i in range(68))
    images = "".join(
        f"<image file='x/{n}'><box width='5' height='5'>{parts}</box></image>" for n in ("c", "d")
    )
    (tmp_path / "landmarks.xml").write_text(f"<dataset><images>{images}</images></dataset>")
    table = pd.DataFrame({"image": ["a.png"], "point": ["468"], "x": [1.0], "y": [2.0]})
    given = read_given_landmarks(tmp_path, paths, table).set_index(["image", "point"])
    assert given.loc["a.png"].to_numpy().tolist() == [[1.0, 2.0]]
    assert given.loc[("b.png", "468"), ["x", "y"]].tolist() == places[0].tolist()
    assert given.loc[("c.png", "152"), ["x", "y"]].tolist() == (places[8] - 0.5).tolist()
    assert given.loc[("d.png", "152"), ["x", "y"]].tolist() == [8.5, 16.5]
    assert read_given_landmarks(tmp_path / "images", {"e.png": tmp_path / "e.png"}) is None
    (tmp_path / "images" / "b.tem").write_text("189\n1 2\n")
    with pytest.raises(TraitlensError, match=r"b\.tem: has 1 points"):
        read_given_landmarks(tmp_path, paths, table)
