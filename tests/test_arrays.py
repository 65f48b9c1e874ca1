"""Stores of arrays: only what was written by traitlens is opened."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from traitlens.arrays import open_arrays, write_arrays
from traitlens.problems import TraitlensError


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "maps.zarr"
    coordinates = {"image": np.array(["a", "b"], object), "y": [0.5], "x": [0.5]}
    write_arrays(path, xr.Dataset({"v": (("image", "y", "x"), np.ones((2, 1, 1)))}, coordinates))
    return path


def change(store, name, everywhere=True, **settings):
    """Change the metadata of an array, in the consolidated metadata and beside its chunks."""
    file = store / ".zmetadata"
    metadata = json.loads(file.read_text())
    array = metadata["metadata"].setdefault(f"{name}/.zarray", dict(metadata["metadata"]["v/.zarray"]))
    array.update(settings)
    file.write_text(json.dumps(metadata))
    if everywhere:
        (store / name).mkdir(parents=True, exist_ok=True)
        (store / name / ".zarray").write_text(json.dumps(array))


@pytest.mark.parametrize("name", ["v", "image", "deep/er/v"])
@pytest.mark.parametrize("where", ["compressor", "filters"])
def test_codecs_that_run_code_are_refused_before_anything_is_opened(store, tmp_path, name, where):
    evil = {"id": "pickle", "protocol": 5}
    change(store, name, **({"compressor": evil} if where == "compressor" else {"filters": [evil]}))
    for chunk in (store / name).iterdir():
        if not chunk.name.startswith("."):
            chunk.write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(TraitlensError, match="codec 'pickle'"):
        open_arrays(store)
    assert not (tmp_path / "ran").exists()


def test_metadata_beside_the_chunks_are_not_read(store, tmp_path):
    file = store / "v" / ".zarray"
    array = json.loads(file.read_text()) | {"compressor": {"id": "pickle", "protocol": 5}}
    file.write_text(json.dumps(array))
    assert float(open_arrays(store).v.sum()) == 2
    (store / ".zmetadata").unlink()
    with pytest.raises(TraitlensError, match=r"\.zmetadata: cannot be read"):
        open_arrays(store)


@pytest.mark.parametrize("codec", ["gzip", "zlib", "json2", "msgpack2", "crc32", "lzma", "nonsense", 5, None])
def test_only_codecs_that_are_written_are_opened(store, codec):
    change(store, "v", compressor={"id": codec})
    with pytest.raises(TraitlensError, match="codec"):
        open_arrays(store)


@pytest.mark.parametrize(
    "settings",
    [
        {"dtype": "|O", "filters": None},
        {"dtype": [["a", "<f8"]]},
        {"dtype": "<U4"},
        {"dtype": "nonsense"},
        {"shape": [10**12, 1, 1]},
        {"shape": [2, 1.5, 1]},
        {"chunks": [10**5, 10**5, 10]},
        {"chunks": [-1, 1, 1]},
        {"shape": 3},
        {"filters": "pickle"},
        {"compressor": "pickle"},
    ],
)
def test_types_and_sizes_have_bounds(store, settings):
    change(store, "v", **settings)
    with pytest.raises(TraitlensError):
        open_arrays(store)


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "[]", "5", "not json", '{"metadata": 3}', "\x00"])
def test_damaged_metadata_end_in_one_line(store, text):
    (store / ".zmetadata").write_text(text)
    with pytest.raises(TraitlensError, match="cannot be read"):
        open_arrays(store)
