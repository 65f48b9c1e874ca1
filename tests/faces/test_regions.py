"""Regions: exact cover, polygons as a literal twin draws them, and outlines drawn by hand."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.faces.frames import apply_affine
from traitlens.faces.regions import (
    EYE_MARGIN,
    EYES,
    NOSE,
    REGIONS,
    UNIONS,
    _Canvas,
    region_labels,
    region_names,
)
from traitlens.problems import TraitlensError
from traitlens.relevance.region_table import sum_regions, tabulate_sums, unite_regions

ORACLE = Path(__file__).parents[1] / "oracles" / "faces.py"
spec = importlib.util.spec_from_file_location("faces_oracle", ORACLE)
oracle = importlib.util.module_from_spec(spec)
spec.loader.exec_module(oracle)

MESH = canonical_mesh().points


@given(
    scale=st.floats(0.05, 0.4),
    angle=st.floats(-3.0, 3.0),
    shift=st.tuples(*[st.floats(-50, 150)] * 2),
    noise=st.floats(0, 10),
)
@settings(max_examples=20)
def test_every_pixel_belongs_to_one_region(scale: float, angle: float, shift: tuple, noise: float):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    bent = MESH + np.random.default_rng(0).normal(0, noise, MESH.shape)
    labels = region_labels(apply_affine(np.column_stack([turn, shift]), bent), 64)
    assert labels.dtype == np.int8
    assert labels.shape == (64, 64)
    assert set(np.unique(labels)) <= set(range(len(REGIONS)))


def test_areas_of_the_mean_face():
    labels = region_labels(MESH, 512)
    share = {name: 100 * (labels == index).mean() for index, name in enumerate(REGIONS)}
    expected = {"left eye": 0.8, "left brow": 1.0, "nose": 2.3, "mouth": 2.5, "forehead": 8.8, "jaw": 4.2}
    for name, percent in expected.items():
        assert share[name] == pytest.approx(percent, rel=0.12), name
    for name in ("eye", "brow", "cheek"):
        assert share[f"left {name}"] == pytest.approx(share[f"right {name}"], rel=0.02)


def test_resolutions_agree():
    fine = region_labels(MESH, 448)
    coarse = region_labels(MESH / 2, 224)
    blocks = fine.reshape(224, 2, 224, 2)
    uniform = (blocks == blocks[:, :1, :, :1]).all(axis=(1, 3))
    assert (coarse == blocks[:, 0, :, 0])[uniform].mean() > 0.998


def test_polygons_are_drawn_as_the_literal_twin_draws_them():
    size = 48
    points = MESH * size / 512
    canvas = _Canvas(points, size)
    for indices, margin in ((EYES[0], EYE_MARGIN), (NOSE, 0.0)):
        drawn = canvas.fill(canvas.mesh[list(indices)], margin)[1::3, 1::3]
        distance = np.linalg.norm(points[473] - points[468])
        polygon = points[list(indices)]
        literal = oracle.widened_mask(polygon, margin * distance, size)
        assert (drawn & literal).sum() > 0.8 * literal.sum()
        for row, column in np.argwhere(drawn != literal):  # only where the outline cuts a pixel
            away = oracle.distance_to_outline((column + 0.5, row + 0.5), polygon)
            assert abs(away - margin * distance) < 0.4


def test_own_regions():
    own = {"chin tip": [152, 148, 377, 200], "nose": [(0, 0), (100, 0), (100, 100), (0, 100)]}
    labels = region_labels(MESH / 4, 128, own)
    names = region_names(own)
    assert names[-1] == "chin tip"
    assert (labels == names.index("chin tip")).any()
    assert labels[10, 10] == names.index("nose")


@pytest.mark.parametrize(
    "polygon", [[1, 2], [1, 2, 478], [(0, 0), (1, 1)], [(0, 0, 0)] * 3, "abc", [0.5, 1, 2]]
)
def test_what_is_no_polygon_is_named(polygon):
    with pytest.raises(TraitlensError, match="region 'mole' is not a polygon"):
        region_labels(MESH, 64, {"mole": polygon})


def test_own_regions_and_unions_of_a_studys_maps():
    maps = np.random.default_rng(0).normal(size=(2, 1, 3, 64, 64))  # group, trait, image, y, x
    own = {"chin tip": (152, 148, 377, 200)}
    names = region_names(own)
    sums = np.full((2, 1, 3, len(names), 2), np.nan)  # the third image has no landmarks
    for image, points in enumerate((MESH / 8, MESH / 8 + 2)):
        sums[:, 0, image] = sum_regions(maps[:, 0, image], region_labels(points, 64, own), len(names))
    table = tabulate_sums(sums, ["1", "2", "3"], ["a", "b"], ["warm"], names)
    assert list(table["region"].unique()) == [*REGIONS, "chin tip"]
    assert list(table["image"].unique()) == ["1", "2"]  # the third has no landmarks
    sums = table.groupby(["group", "image"])[["relevance", "share"]].sum()
    for (group, image), row in sums.iterrows():
        total = maps["ab".index(group), 0, int(image) - 1].sum()
        assert row["relevance"] == pytest.approx(total, rel=1e-9, abs=1e-9)
        assert row["share"] == pytest.approx(1)
    united = unite_regions(table).set_index(["region", "image", "group"])["relevance"]
    assert len(united) == len(UNIONS) * 2 * 2
    single = table.set_index(["region", "image", "group"])["relevance"]
    for union, parts in UNIONS.items():
        expected = sum(single[part, "2", "b"] for part in parts)
        assert united[union, "2", "b"] == pytest.approx(expected, rel=1e-9, abs=1e-9)
