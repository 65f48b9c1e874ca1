"""What the explorer shows of a results folder."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from traitlens.explorer.explorer_data import open_explorer_data
from traitlens.explorer.face_view import draw_map
from traitlens.problems import TraitlensError
from traitlens.report.colouring import PERCENTILE, smooth

_path = Path(__file__).parents[1] / "report" / "results_folder.py"
_spec = importlib.util.spec_from_file_location("results_folder_of_the_report", _path)
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return _module.make_results(tmp_path_factory.mktemp("study") / "results", n_images=20, may_publish=False)


@pytest.fixture(scope="module")
def album(folder):
    return open_explorer_data(folder)


def test_a_study_is_opened_by_its_results(folder):
    assert open_explorer_data(folder.parent).images == open_explorer_data(folder).images


def test_a_face_has_its_pixels_ratings_and_maps(album, folder):
    name = album.images[3]
    assert name == _module.HOSTILE_IMAGE
    face = album.face(name)
    table = pd.read_csv(folder / "predictions.csv")
    row = table[(table.image == name) & (table.group == "autistic") & (table.trait == "warm")].iloc[0]
    assert face.rating("observed", "autistic", "warm") == pytest.approx(row.observed)
    assert face.rating("predicted", "autistic", "warm") == pytest.approx(row.predicted)
    assert face.rating("predicted", "nobody", "warm") is None
    assert face.pixels.shape == (96, 96, 3)
    maps = album.maps(face, "warm", album.own_method)
    stored = album.results.maps["relevance"].sel(image=name, trait="warm")
    for group in album.results.groups:
        np.testing.assert_array_equal(maps[group], stored.sel(group=group).values)
    assert not album.may_publish(face)


def test_the_nearest_faces_are_those_of_the_smallest_distance(album):
    table = album.results.predictions
    wide = table.pivot_table(index="image", columns=["group", "trait"], values="predicted").loc[album.images]
    z = ((wide - wide.mean()) / wide.std(ddof=0)).to_numpy()
    for place, name in enumerate(album.images[:5]):
        distances = np.sqrt(((z - z[place]) ** 2).mean(1))
        expected = [album.images[i] for i in np.argsort(distances) if i != place][:4]
        assert album.nearest(album.face(name)) == expected


def test_all_groups_share_the_scale_of_a_trait(album):
    view = album.make_view(album.face(album.images[0]), "warm", album.own_method)
    maps = smooth(album.results.maps["relevance"].sel(trait="warm").values)
    assert view.limit == view.near_limit == pytest.approx(np.percentile(np.abs(maps), PERCENTILE), rel=1e-6)
    assert len(view.near) == 4
    assert set(view.near[0][1]) == set(album.results.groups)


def test_without_readouts_only_the_maps_that_are_there_can_be_chosen(album, tmp_path):
    assert album.methods == [album.own_method]
    with pytest.raises(TraitlensError, match="contain no readouts"):
        album.predict_new_face(tmp_path / "face.png", "face.png")


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(TraitlensError, match="is not a results folder"):
        open_explorer_data(tmp_path)


def test_the_threshold_whitens_what_lies_below_and_leaves_the_rest():
    face = np.full((40, 40, 3), 90, np.uint8)
    relevance = np.zeros((40, 40))
    relevance[:, :20], relevance[:, 20:] = 0.2, -0.9
    bare = draw_map(face, relevance, 1.0, opacity=0.0)
    cut = draw_map(face, relevance, 1.0, opacity=0.0, threshold=0.5)
    white = draw_map(face, np.zeros((40, 40)), 1.0, opacity=0.0)
    assert (bare[:, :10] != white[:, :10]).any(-1).all()
    np.testing.assert_array_equal(cut[:, :10], white[:, :10])
    np.testing.assert_array_equal(cut[:, 30:], bare[:, 30:])


def test_the_opacity_shows_the_face_through():
    face = np.zeros((40, 40, 3), np.uint8)
    relevance = np.full((40, 40), 0.5)
    brightness = [draw_map(face, relevance, 1.0, opacity).mean() for opacity in (0, 0.5, 1)]
    assert brightness[0] > brightness[1] > brightness[2] == 0
