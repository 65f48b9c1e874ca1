"""Predict, explain and backbones on a model made by hand."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from traitlens import cli
from traitlens.features.backbone import load_backbone
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.readouts.readout import LinearPart, LinearReadout
from traitlens.readouts.trait_models import TraitModels

pytestmark = pytest.mark.weights


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    space = FeatureSpace(Tap("block2_pool", 2))
    readouts = [
        LinearReadout(
            group,
            "warm",
            0,
            (LinearPart(space, rng.normal(size=(128, 2, 2)).astype("f4"), np.ones((128, 2, 2), "f4")),),
            4.0,
        )
        for group in ("autistic", "non-autistic")
    ]
    models = TraitModels.of(readouts, load_backbone("vgg16"), prepared={"crop": "full", "size": 32})
    models.save(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    return tmp_path / "face.png"


def ask(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["traitlens", *map(str, arguments), "--json"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    captured = capsys.readouterr()
    cli.print_only_json(False)
    return left.value.code, json.loads(captured.out), captured.err


def test_new_faces_are_predicted_and_the_table_is_written(monkeypatch, capsys, model, image, tmp_path):
    table = tmp_path / "predicted.csv"
    code, facts, _ = ask(monkeypatch, capsys, "predict", model, image, "--csv", table)
    assert code == 0
    assert [row["group"] for row in facts["predictions"]] == ["autistic", "non-autistic"]
    lines = table.read_text().splitlines()
    assert lines[0] == "image,group,trait,predicted"
    assert float(lines[1].rsplit(",", 1)[1]) == pytest.approx(facts["predictions"][0]["predicted"])


def test_folders_of_new_faces(monkeypatch, capsys, model, image, tmp_path):
    (tmp_path / "faces" / "more").mkdir(parents=True)
    for name in ("b.png", "a.PNG", "more/c.png", ".hidden.png"):
        (tmp_path / "faces" / name).write_bytes(image.read_bytes())
    (tmp_path / "faces" / "notes.txt").write_text("x")
    code, facts, _ = ask(monkeypatch, capsys, "predict", model, tmp_path / "faces", image)
    assert code == 0
    names = list(dict.fromkeys(row["image"] for row in facts["predictions"]))
    faces = [str(tmp_path / "faces" / name) for name in ("a.PNG", "b.png", "more/c.png")]
    assert names == [*faces, str(image)]
    (tmp_path / "none").mkdir()
    code, facts, _ = ask(monkeypatch, capsys, "predict", model, tmp_path / "none")
    assert code == 2
    assert "contains no image" in facts["problems"][0]["what"]


def test_a_new_face_is_explained_in_a_picture_for_each_group(monkeypatch, capsys, model, image, tmp_path):
    code, facts, _ = ask(monkeypatch, capsys, "explain", model, image, "--out", tmp_path / "maps")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        "01_warm_autistic.png",
        "01_warm_non-autistic.png",
        "maps.npz",
    ]
    assert len(facts["maps"]) == 3
    with np.load(tmp_path / "maps" / "maps.npz", allow_pickle=False) as numbers:
        assert numbers["warm, autistic"].shape == (32, 32)
        assert np.abs(numbers["warm, autistic"]).max() > 0


def test_what_is_no_model_and_no_image_is_refused_in_one_line_each(monkeypatch, capsys, model, tmp_path):
    code, facts, error = ask(monkeypatch, capsys, "predict", tmp_path, "x.png")
    assert code == 2
    assert "manifest.json" in error
    (tmp_path / "a.png").write_bytes(b"no image")
    (tmp_path / "b.png").write_bytes(b"nor this")
    code, facts, error = ask(monkeypatch, capsys, "predict", model, tmp_path / "a.png", tmp_path / "b.png")
    assert code == 2
    assert len(facts["problems"]) == 2
    assert "Traceback" not in error


def test_backbones_say_where_they_came_from(monkeypatch, capsys):
    code, facts, _ = ask(monkeypatch, capsys, "backbones")
    assert code == 0
    (vgg16,) = facts["backbones"]
    assert vgg16["name"] == "vgg16"
    assert vgg16["convolutions"] == 13
    assert "Oxford" in vgg16["source"]
