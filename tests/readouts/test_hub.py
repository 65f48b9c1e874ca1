"""Models shared on and fetched from a small hub of our own, which speaks what is used of the protocol."""

import base64
import hashlib
import json
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from traitlens.features.backbone import build_backbone
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.preprocessing import VGG_CAFFE
from traitlens.features.taps import Tap
from traitlens.problems import ModelError
from traitlens.readouts.hub import fetch, find_models, share
from traitlens.readouts.readout import LinearPart, LinearReadout
from traitlens.readouts.trait_models import TraitModels

pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")

TOKEN = "secret"
FILES = ["README.md", "manifest.json", "readouts.safetensors"]


class Repository:
    """Commits, newest last: each its files by name."""

    def __init__(self, private, files=None):
        self.private = private
        self.commits = {}
        self.commit({".gitattributes": b"", **(files or {})})

    def commit(self, files):
        kept = {**(list(self.commits.values()) or [{}])[-1], **files}
        name = hashlib.sha1(repr((len(self.commits), sorted(kept.items()))).encode()).hexdigest()
        self.commits[name] = kept
        return name

    @property
    def newest(self):
        return list(self.commits)[-1]


class Answers(BaseHTTPRequestHandler):
    """Answers as the hub does."""

    def log_message(self, *_):
        pass

    def answer(self, status, value=None, content=None, **headers):
        content = json.dumps(value or {}).encode() if content is None else content
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def repository(self, name):
        """The repository that may be seen with the token that was sent, or None, and the client is told."""
        found = self.server.repositories.get(name)
        if found is None or (found.private and not self.known):
            self.answer(401, X_Error_Code="RepoNotFound")
            return None
        return found

    @property
    def known(self):
        return self.headers.get("authorization") == f"Bearer {TOKEN}"

    def do_GET(self):
        self.server.asked.append(f"{self.command} {self.path}")
        path = urlsplit(self.path).path.strip("/").split("/")
        if path[:2] == ["api", "models"]:
            self.tell_of("/".join(path[2:4]), path[5] if len(path) > 5 else None)
        else:
            owner, name, _, commit, file = path
            if found := self.repository(f"{owner}/{name}"):
                content = found.commits[commit][file]
                etag = f'"{hashlib.sha1(content).hexdigest()}"'
                self.answer(200, content=content, X_Repo_Commit=commit, ETag=etag)

    do_HEAD = do_GET

    def tell_of(self, name, revision):
        if found := self.repository(name):
            commit = found.newest if revision in (None, "main") else revision
            if commit not in found.commits:
                self.answer(404, X_Error_Code="RevisionNotFound")
                return
            files = found.commits[commit].items()
            listed = [
                {"rfilename": file, "size": self.server.sizes.get(file, len(content))}
                for file, content in files
            ]
            told = {"id": name, "private": found.private, "sha": commit, "siblings": listed}
            self.answer(200, told)

    def do_POST(self):
        self.server.asked.append(f"{self.command} {self.path}")
        content = self.rfile.read(int(self.headers["Content-Length"]))
        path = urlsplit(self.path).path.strip("/").split("/")
        if path[-1] == "validate-yaml":
            self.answer(200)
        elif not self.known:
            self.answer(401)
        elif path[-1] == "create":
            self.create(json.loads(content))
        elif path[-2] == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(content)["files"]
            ]
            self.answer(200, {"files": files})
        elif found := self.repository("/".join(path[2:4])):
            lines = [json.loads(line) for line in content.splitlines()]
            files = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            commit = found.commit(files)
            self.answer(
                200,
                {
                    "commitUrl": f"{self.server.address}/{path[2]}/{path[3]}/commit/{commit}",
                    "commitOid": commit,
                },
            )

    def create(self, wanted):
        name = f"{wanted['organization']}/{wanted['name']}"
        there = name in self.server.repositories
        if wanted["organization"] != "owner":
            self.answer(403)
            return
        if not there:
            self.server.repositories[name] = Repository(wanted["visibility"] == "private")
        self.answer(409 if there else 200, {"url": f"{self.server.address}/{name}"})


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A hub at this computer, a token that it knows, and a cache of our own."""
    from huggingface_hub import constants

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as made:
        made.daemon_threads = True
        made.address = f"http://127.0.0.1:{made.server_port}"
        made.repositories, made.asked, made.sizes = {}, [], {}
        Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", made.address)
        files = f"{made.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("TRAITLENS_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("TRAITLENS_OFFLINE", raising=False)
        yield made
        made.shutdown()


@pytest.fixture
def backbone():
    rng = np.random.default_rng(0)
    tensors = {
        "block1_conv1.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "block1_conv1.bias": rng.normal(size=4).astype(np.float32),
    }
    return build_backbone("tiny", tensors, VGG_CAFFE, "ab" * 32)


@pytest.fixture
def models(backbone):
    rng = np.random.default_rng(1)
    space = FeatureSpace(Tap("block1_pool", 2))

    def draw():
        return rng.normal(size=(4, 2, 2)).astype(np.float32)

    readouts = [
        LinearReadout(group, "warm", 0, (LinearPart(space, draw(), draw()),), 4.0)
        for group in ("autistic", "non-autistic")
    ]
    return TraitModels.of(readouts, backbone, prepared={"crop": "full", "size": 32})


@pytest.fixture
def folder(models, tmp_path):
    models.save(tmp_path / "models")
    return tmp_path / "models"


def refused(*patterns):
    """Expect one refusal of one line that says what is wrong and what to do."""

    @contextmanager
    def expect():
        with pytest.raises(ModelError) as caught:
            yield
        told = str(caught.value)
        assert "\n" not in told
        for pattern in patterns:
            assert pattern in told

    return expect()


def test_a_model_that_was_shared_and_fetched_predicts_the_same_to_the_bit(server, folder, models, backbone):
    images = list(np.random.default_rng(2).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8))
    address = share(folder, "owner/name")
    assert address == f"{server.address}/owner/name"
    there = server.repositories["owner/name"]
    assert there.private
    assert sorted(there.commits[there.newest]) == [".gitattributes", *FILES]
    fetched = fetch("owner/name")
    assert sorted(path.name for path in fetched.iterdir()) == FILES
    assert not any(path.is_symlink() for path in fetched.iterdir())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in fetched.iterdir()
    }
    before, after = (made.predict(backbone, images) for made in (models, TraitModels.load(fetched)))
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    assert share(fetched, "owner/name") == address


def test_each_commit_is_fetched_once_and_then_needs_no_network(server, folder, monkeypatch):
    share(folder, "owner/name")
    told = []
    first = fetch("owner/name", announce=told.append)
    assert first.name == server.repositories["owner/name"].newest
    assert "hf://owner/name" in told[0]
    asked = len([line for line in server.asked if "/resolve/" in line])
    assert fetch("owner/name", announce=told.append) == first
    assert len([line for line in server.asked if "/resolve/" in line]) == asked
    assert len(told) == 1
    newer = server.repositories["owner/name"].commit({"README.md": b"another card"})
    assert fetch("owner/name").name == newer
    server.asked.clear()
    monkeypatch.setenv("TRAITLENS_OFFLINE", "1")
    assert find_models(f"hf://owner/name@{first.name}") == first
    with refused("downloads are switched off", "use a commit that was downloaded before"):
        fetch("owner/name")
    assert server.asked == []


def test_a_file_that_was_tampered_with_is_refused(server, folder):
    tensors = (folder / "readouts.safetensors").read_bytes()
    share(folder, "owner/name")
    server.repositories["owner/name"].commit({"readouts.safetensors": tensors[:-1] + b"\x00"})
    with refused("its digest differs from the manifest", "download the model again"):
        TraitModels.load(fetch("owner/name"))
    (folder / "readouts.safetensors").write_bytes(tensors[:-1] + b"\x00")
    server.asked.clear()
    with refused("its digest differs from the manifest"):
        share(folder, "owner/other")
    assert server.asked == []


@pytest.mark.parametrize(
    ("file", "size"), [("manifest.json", 2**40), ("README.md", 2**21), ("README.md", None)]
)
def test_what_is_too_large_is_refused_before_it_is_fetched(server, folder, tmp_path, file, size):
    share(folder, "owner/name")
    server.sizes[file] = size
    server.asked.clear()
    with refused(f"hf://owner/name/{file}", "ask the person who shared it"):
        fetch("owner/name")
    assert [line for line in server.asked if "/resolve/" in line] == []
    assert not (tmp_path / "cache").exists()


def test_what_is_no_model_is_refused_before_it_is_fetched(server, folder):
    server.repositories["owner/name"] = Repository(False, {"model.bin": b"pickle", "README.md": b""})
    with pytest.raises(ModelError) as caught:
        fetch("owner/name")
    assert [str(problem).partition(";")[0] for problem in caught.value.problems] == [
        "hf://owner/name: it does not contain manifest.json",
        "hf://owner/name: it does not contain readouts.safetensors",
    ]
    assert [line for line in server.asked if "/resolve/" in line] == []


def test_other_files_are_refused_in_the_folder_and_in_the_repository(server, folder):
    server.repositories["owner/name"] = Repository(True, {"model.bin": b"somebody's work"})
    with refused(
        "hf://owner/name: it contains files that are not part of a model: model.bin", "a separate folder"
    ):
        share(folder, "owner/name")
    (folder / "face.jpg").write_bytes(b"a face")
    (folder / "ratings.csv").write_text("ratings")
    with refused(
        "it contains files that are not part of a model: face.jpg, ratings.csv", "a separate folder"
    ):
        share(folder, "owner/other")
    assert list(server.repositories) == ["owner/name"]
    assert len(server.repositories["owner/name"].commits) == 1


def test_a_link_in_place_of_the_card_is_refused(server, folder, tmp_path):
    (tmp_path / "secret.txt").write_text("not to be shared")
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(tmp_path / "secret.txt")
    with refused("there is no regular file README.md"):
        share(folder, "owner/name")
    assert server.asked == []


@pytest.mark.parametrize("private", [True, False])
def test_nothing_goes_where_more_or_fewer_people_see_it_than_was_meant(server, folder, private):
    server.repositories["owner/name"] = Repository(not private)
    now, other = ("public", "private") if private else ("private", "public")
    with refused(f"it exists and is {now}, not {other}", "on its page"):
        share(folder, "owner/name", private=private)
    assert len(server.repositories["owner/name"].commits) == 1


@pytest.mark.parametrize(
    "name", ["name", "a/b/c", "../name", "owner/..", "owner/a--b", "/name", "owner/", "a b/c"]
)
def test_what_is_no_name_is_refused(server, folder, name):
    for use in (lambda: share(folder, name), lambda: fetch(name)):
        with refused("is not a name on the hub; write it as owner/name"):
            use()
    assert server.asked == []


def test_what_the_hub_refuses_is_told_in_one_line(server, folder, monkeypatch):
    with refused("hf://owner/nothing: it does not exist", "check the name"):
        fetch("owner/nothing")
    with refused("you have no permission", "as owner"):
        share(folder, "somebody/name")
    share(folder, "owner/name")
    with refused("it has no such revision"):
        fetch("owner/name", "first")
    monkeypatch.delenv("HF_TOKEN")
    with refused("you are not logged in to the hub", "hf auth login"):
        share(folder, "owner/another")
    with refused("it does not exist, or you have no access", "hf auth login"):
        fetch("owner/name")
    assert fetch("owner/name", token=TOKEN).is_dir()


def test_a_hub_that_cannot_be_reached_is_told_in_one_line(server, folder, monkeypatch):
    share(folder, "owner/name")
    server.shutdown()
    server.server_close()
    for use in (lambda: share(folder, "owner/name"), lambda: fetch("owner/name")):
        with refused("hf://owner/name: the hub cannot be reached (ConnectError)", "check the network"):
            use()


def test_without_the_extra_it_is_said_how_to_install_it(folder, monkeypatch, traitlens):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    code, out, err = traitlens("share", folder, "owner/name", "--yes")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "pip install 'traitlens[hub]'" in err
    code, out, err = traitlens("predict", "hf://owner/name", "face.jpg")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "pip install 'traitlens[hub]'" in err


def test_the_command_shows_what_goes_and_asks(server, folder, traitlens, monkeypatch):
    seen = []
    monkeypatch.setattr("traitlens.cli.models.confirm", lambda text: bool(seen.append(text)))
    code, out, err = traitlens("share", folder, "owner/name")
    assert (code, out) == (2, "")
    assert "nothing was shared" in err
    assert server.asked == []
    for words in (
        *FILES,
        " kB",
        "private",
        "autistic, non-autistic",
        "warm",
        "tiny",
        "never facts",
        "agreed",
    ):
        assert words in seen[0]
    code, out, _ = traitlens("share", folder, "owner/name", "--public", "--yes", "--json")
    assert code == 0
    assert json.loads(out) == {"address": f"{server.address}/owner/name", "name": "hf://owner/name"}
    assert len(seen) == 1
    assert not server.repositories["owner/name"].private


def test_a_new_face_is_predicted_and_explained_by_a_model_on_the_hub(
    server, folder, backbone, traitlens, monkeypatch, tmp_path
):
    monkeypatch.setattr("traitlens.prediction.new_faces.load_backbone", lambda *_: backbone)
    pixels = np.random.default_rng(3).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    share(folder, "owner/name")
    newest = server.repositories["owner/name"].newest
    from_folder, *from_hub = (
        json.loads(traitlens("predict", name, tmp_path / "face.png", "--json")[1])["predictions"]
        for name in (folder, "hf://owner/name", "hf://owner/name@main", f"hf://owner/name@{newest}")
    )
    assert [row["group"] for row in from_folder] == ["autistic", "non-autistic"]
    assert from_hub == [from_folder] * 3
    code, out, err = traitlens(
        "explain", "hf://owner/name", tmp_path / "face.png", "--out", tmp_path / "maps", "--json"
    )
    assert code == 0, err
    assert len(json.loads(out)["maps"]) == 3
