"""Regions of drawn faces against the regions that were drawn, and the face sheet of a study."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from traitlens.faces.face_check import check_faces
from traitlens.faces.landmarks import find_landmarks
from traitlens.faces.regions import REGIONS, region_labels
from traitlens.problems import StudyError
from traitlens.study.simulated_study import simulate_study

FACES = 12


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "study"
    simulate_study(folder, identities=FACES, images=1, traits=1, raters=2, seed=5)
    return folder


@pytest.mark.parametrize(("source", "least"), [("given", 0.9), ("detected", 0.6)])
def test_regions_agree_with_those_that_were_drawn(drawn: Path, source: str, least: float):
    names = pd.read_csv(drawn / "truth" / "regions.csv").set_index("label")["region"]
    paths = {
        path.relative_to(drawn / "images").as_posix(): path for path in (drawn / "images").rglob("*.png")
    }
    given = pd.read_csv(drawn / "landmarks.csv", dtype={"image": str, "point": str})
    landmarks = find_landmarks(paths, given if source == "given" else None)
    overlaps = []
    for image in paths:
        truth = np.asarray(Image.open(drawn / "truth" / "regions" / image))
        labels = region_labels(landmarks.points(image), len(truth))
        overlap = {}
        for label, name in names.items():
            if name.split()[-1] in ("eye", "brow", "nose", "mouth"):
                first, second = truth == label, labels == REGIONS.index(name)
                overlap[name] = (first & second).sum() / (first | second).sum()
        overlaps.append(overlap)
    means = pd.DataFrame(overlaps).mean()
    assert len(means) == 6
    assert means.min() > least, means


@pytest.fixture
def mixed(drawn: Path, tmp_path: Path) -> Path:
    """A folder without ratings: two good images, and one of every fault."""
    folder = tmp_path / "mixed"
    (folder / "images").mkdir(parents=True)
    faces = [np.asarray(Image.open(path)) for path in sorted((drawn / "images").rglob("*.png"))[:3]]
    for name, pixels in {
        "a.png": faces[0],
        "b.png": faces[1],
        "none.png": np.full((200, 200, 3), 255, np.uint8),
        "three.png": np.hstack(faces),
        "turned.png": faces[0][::-1, ::-1],
        "tiny.png": np.asarray(Image.fromarray(faces[0]).resize((20, 20))),
    }.items():
        Image.fromarray(pixels).save(folder / "images" / name)
    whole = (folder / "images" / "a.png").read_bytes()
    (folder / "images" / "cut.png").write_bytes(whole[: len(whole) // 2])
    names = sorted(path.name for path in (folder / "images").iterdir())
    table = pd.DataFrame({"image": names, "sex": ["f" if name == "a.png" else "m" for name in names]})
    table.to_csv(folder / "images.csv", index=False)
    (folder / "study.toml").write_text("[faces.regions]\nchin = [152, 148, 377, 200]\n")
    return folder


def test_every_doubtful_image_has_one_line_and_all_are_listed(mixed: Path):
    done = check_faces(mixed, by="sex")
    told = {problem.file: problem.what for problem in (*done.unreadable, *done.notices)}
    assert len(told) == len(done.unreadable) + len(done.notices)
    expected = {
        "cut.png": "is damaged",
        "none.png": "no face was found",
        "three.png": "3 faces were found; the largest central one is used",
        "tiny.png": "is only 20 x 20 pixels",
        "turned.png": "the face is upside down",
    }
    assert set(told) == set(expected)
    assert all(told[name].startswith(words) for name, words in expected.items())
    folder = mixed / "faces"
    listed = pd.read_csv(folder / "notices.csv")
    assert sorted(listed["image"]) == sorted(expected)
    files = sorted(path.name for path in folder.iterdir())
    assert files == [
        "average_f.png",
        "average_m.png",
        "faces_01.png",
        "landmarks.csv",
        "notices.csv",
        "photos_01.png",
    ]
    assert done.sheet.order["image"].tolist()[-2:] in (["a.png", "b.png"], ["b.png", "a.png"])
    # What was written can be edited and used.
    table = pd.read_csv(folder / "landmarks.csv", dtype={"point": str})
    assert set(table["image"]) == {"a.png", "b.png", "three.png"}


def test_faces_command_tells_and_ends_with_2(mixed: Path, monkeypatch, capsys):
    from traitlens import cli

    monkeypatch.setattr("sys.argv", ["traitlens", "faces", str(mixed), "--json"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    cli.print_only_json(False)
    done = capsys.readouterr()
    assert end.value.code == 2
    facts = json.loads(done.out)
    assert len(facts["unreadable"]) == 2
    assert len(facts["notices"]) == 3
    assert "none.png: no face was found" in done.err


def test_what_cannot_be_looked_at_is_told(mixed: Path, tmp_path: Path):
    with pytest.raises(StudyError, match="column 'age' is missing; found: image, sex"):
        check_faces(mixed, by="age")
    with pytest.raises(StudyError, match="there is no such folder"):
        check_faces(tmp_path / "nowhere")
    (mixed / "study.toml").write_text("[faces.regions]\nchin = [152, 500, 377]\nnose = [[1, 2], [3, 4]]\n")
    with pytest.raises(StudyError, match="the points of 'chin' must be between 0 and 477"):
        check_faces(mixed)


def test_landmarks_are_checked_by_another_method(drawn: Path):
    pytest.importorskip("dlib")
    from traitlens.faces.cross_check import cross_check

    paths = {path.parent.name: path for path in sorted((drawn / "images").rglob("*.png"))[:3]}
    landmarks = find_landmarks(paths)
    table, notices = cross_check(paths, landmarks)
    assert notices == []
    assert (table["apart"] < 15).all()
    shifted = landmarks.table.assign(x=landmarks.table["x"] + 40)
    moved = type(landmarks)(shifted, landmarks.found, ())
    _, notices = cross_check(paths, moved)
    assert len(notices) == 3
    assert "dlib's landmarks differ" in str(notices[0])
