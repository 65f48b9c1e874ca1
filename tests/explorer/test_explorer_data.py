"""What the explorer shows of a results folder."""

import base64
import importlib.util
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from traitlens.explorer.explorer_data import open_explorer_data
from traitlens.explorer.explorer_page import describe_maps, describe_study, draw_map
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
    pd.testing.assert_frame_equal(face.impressions, album.results.predictions.query("image == @name"))
    row = table[(table.image == name) & (table.group == "autistic") & (table.trait == "warm")].iloc[0]
    shown = describe_study(album)["images"][3]
    assert shown["cells"][0][0] == pytest.approx([row.observed, row.predicted], abs=5e-4)
    assert shown["hidden"]
    assert face.pixels.shape == (96, 96, 3)
    maps = album.maps(face, "warm", album.own_method)
    stored = album.results.maps["relevance"].sel(image=name, trait="warm")
    for group in album.results.groups:
        np.testing.assert_array_equal(maps[group], stored.sel(group=group).values)
    assert not album.may_publish(name)


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


def decode(address):
    content = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content))).astype(int)


def test_the_threshold_whitens_what_lies_below_and_leaves_the_rest():
    relevance = np.zeros((40, 40))
    relevance[:, :20], relevance[:, 20:] = 0.2, -0.9
    bare, cut = decode(draw_map(relevance, 1.0)), decode(draw_map(relevance, 1.0, threshold=0.5))
    white = decode(draw_map(np.zeros((40, 40)), 1.0))
    assert (np.abs(bare[:, :8] - white[:, :8]).max(-1) > 20).all()
    np.testing.assert_allclose(cut[:, :8], white[:, :8], atol=3)
    np.testing.assert_allclose(cut[:, 32:], bare[:, 32:], atol=3)


def test_a_face_is_described_with_its_maps_difference_and_cues(album):
    face = album.face(album.images[0])
    answer = describe_maps(album, face, "warm", album.own_method, 0.0, False)
    maps = [album.maps(face, "warm", album.own_method)[group] for group in album.results.groups]
    limit = album.limit("warm", album.own_method, {})
    assert answer["maps"] == [draw_map(one, limit) for one in maps]
    assert answer["difference"] == draw_map(maps[0] - maps[1], limit)
    assert answer["command"] == []  # the face may not be published: there is no figure of it
    assert len(answer["near"]) == 4
    table = album.results.use["group_cues"].query("image == @face.name and trait == 'warm'")
    expected = table.groupby("region")["cue"].apply(list).to_dict()
    shown = {region: values for region, *values in answer["cues"]}
    assert set(shown) == set(expected)
    assert all(sorted(shown[one]) == pytest.approx(sorted(expected[one]), abs=5e-4) for one in shown)
