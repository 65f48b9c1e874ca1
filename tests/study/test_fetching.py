"""Public sets arrive whole and right, or not at all."""

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from traitlens.problems import TraitlensError
from traitlens.progress import SilentWatcher
from traitlens.study import fetching
from traitlens.study.fetching import SETS, PublicFile, PublicSet, fetch, has_digest
from traitlens.study.import_3dsk import import_3dsk

DATA = Path(os.environ.get("TRAITLENS_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
CONTENTS = {"ratings.csv": b"image,rating\n", "faces/a.jpg": b"pixels", "faces/b.jpg": b"other pixels"}


@pytest.fixture
def fetched(monkeypatch):
    """A set of three files, and the network that has them; lists what was downloaded."""
    served = {f"https://home/{name}": content for name, content in CONTENTS.items()}
    asked: list[str] = []

    def download(url):
        asked.append(url)
        if url not in served:
            raise OSError("no such page")
        return served[url]

    files = [
        PublicFile(name, f"https://home/{name}", f"sha256:{hashlib.sha256(content).hexdigest()}")
        for name, content in CONTENTS.items()
    ]
    monkeypatch.setattr(fetching, "_download", download)
    monkeypatch.setitem(SETS, "small", PublicSet("Small set", "https://home", "CC0", "Nobody", lambda: files))
    return served, asked


class Counting(SilentWatcher):
    """Counts the steps of every stage."""

    def __init__(self):
        self.done = {}

    @contextmanager
    def stage(self, name, total):
        self.done[name] = 0

        def advance(steps):
            self.done[name] += steps

        yield advance
        assert self.done[name] == total


def test_a_set_is_fetched_once(tmp_path, fetched):
    _, asked = fetched
    watcher = Counting()
    shown: list[str] = []
    folder = fetch("small", tmp_path / "set", accept=lambda text: shown.append(text) is None, watcher=watcher)
    assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert "Licence: CC0" in shown[0]
    assert watcher.done == {"Fetching small": 3}
    assert "Cite: Nobody" in (folder / "SOURCE.txt").read_text()
    (folder / "faces" / "a.jpg").write_bytes(b"spoilt")
    asked.clear()
    fetch("small", tmp_path / "set")
    assert asked == ["https://home/faces/a.jpg"]
    assert (folder / "faces" / "a.jpg").read_bytes() == b"pixels"


def test_wrong_and_missing_files_are_told_and_not_kept(tmp_path, fetched):
    served, _ = fetched
    served["https://home/faces/a.jpg"] = b"something else"
    del served["https://home/faces/b.jpg"]
    with pytest.raises(TraitlensError) as caught:
        fetch("small", tmp_path / "set")
    assert "faces/a.jpg: the download differs from the published file" in str(caught.value)
    assert "faces/b.jpg: cannot be downloaded (no such page)" in str(caught.value)
    assert [path.name for path in (tmp_path / "set").rglob("*") if path.is_file()] == ["ratings.csv"]


def test_a_copy_on_disk_is_taken_and_checked(tmp_path, fetched):
    _, asked = fetched
    for name, content in CONTENTS.items():
        path = tmp_path / "copy" / "deep" / Path(name).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder = fetch("small", tmp_path / "set", source=tmp_path / "copy")
    assert asked == []
    assert (folder / "faces" / "b.jpg").read_bytes() == b"other pixels"
    (tmp_path / "copy" / "deep" / "a.jpg").write_bytes(b"changed")
    (tmp_path / "copy" / "deep" / "b.jpg").unlink()
    with pytest.raises(TraitlensError) as caught:
        fetch("small", tmp_path / "other", source=tmp_path / "copy")
    assert "faces/a.jpg: the copy differs from the published file" in str(caught.value)
    assert "faces/b.jpg: the copy lacks this file" in str(caught.value)


def test_refusals(tmp_path, fetched):
    with pytest.raises(TraitlensError, match="the licence must be accepted"):
        fetch("small", tmp_path / "set", accept=lambda text: False)
    with pytest.raises(TraitlensError, match="unknown set 'smal'; did you mean 'small'"):
        fetch("smal", tmp_path / "set")
    with pytest.raises(TraitlensError, match="there is no such folder"):
        fetch("small", tmp_path / "set", source=tmp_path / "nowhere")
    assert not (tmp_path / "set").exists()


def test_digests_of_every_kind(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"hello\n")
    assert has_digest(path, "md5:b1946ac92492d2347c6235b4d2611184")
    assert not has_digest(path, "sha256:" + "0" * 64)


def test_the_registry_of_3dsk_lists_all_faces():
    names = [file.name for file in SETS["3dsk"].list_files()]
    assert len(names) == len(set(names)) == 201
    assert sum(name.endswith(".jpg") for name in names) == 100


def test_the_registry_of_one_million_impressions_lists_all_faces_and_their_ratings():
    files = {file.name: file for file in SETS["omi"].list_files()}
    assert len(files) == 1006
    assert sum(name.startswith("images/") for name in files) == 1004
    assert all(file.digest.startswith("sha256:") for file in files.values())
    assert files["attribute_means.csv"].url.endswith("/attribute_means.csv")


@pytest.mark.skipif(not (DATA / "omi").exists(), reason="One Million Impressions is not on this machine")
def test_the_ratings_of_one_million_impressions_are_the_registered_ones():
    [means] = [file for file in SETS["omi"].list_files() if file.name == "attribute_means.csv"]
    assert has_digest(DATA / "omi" / means.name, means.digest)


@pytest.mark.parametrize("name", ["../../x", "london_faces/../../x", "/etc/x", "london_faces\\x"])
def test_no_listing_of_a_server_names_files_outside_of_the_folder(monkeypatch, name):
    entries = [
        {"name": one, "download_url": "https://home/x", "computed_md5": "0"}
        for one in (name, "london_faces.zip")
    ]
    monkeypatch.setattr(fetching, "_download_json", lambda url: {"files": entries})
    assert [file.name for file in SETS["london"].list_files()] == ["london_faces.zip"]


@pytest.mark.skipif(not (DATA / "3dsk").exists(), reason="the 3DSK set is not on this machine")
def test_3dsk_from_a_copy_becomes_a_study(tmp_path):
    folder = fetch("3dsk", tmp_path / "3dsk", source=DATA / "3dsk")
    assert len(import_3dsk(folder, tmp_path / "study").images) == 100
