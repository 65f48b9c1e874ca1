import json
import multiprocessing
import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traitlens.digests import digest
from traitlens.storage import PARTIAL, BlockStore, atomic_write, read_table, remove_partial, write_table

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(values, values)
def test_digests_agree_exactly_where_values_do(first, second):
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (digest(first) == digest(second)) is same


def test_digest_tells_types_and_borders_apart():
    told_apart = [1, 1.0, "1", True, None, [1], b"1", np.array([1]), np.array([1.0]), [[1], []], [[], [1]]]
    assert len({digest(value) for value in told_apart}) == len(told_apart)
    assert digest("ab", "c") != digest("a", "bc")


def test_digest_sees_every_cell_of_a_table():
    table = pd.DataFrame({"image": ["a", "b"], "rating": [1.0, 2.0]})
    other = table.assign(rating=[1.0, 2.5])
    assert digest(table) == digest(table.copy())
    assert digest(table) != digest(other)
    assert digest(table) != digest(table.rename(columns={"rating": "x"}))


@given(st.lists(st.sampled_from(["a", "b", "", "nan", None]), min_size=2, max_size=4), st.integers(0, 3))
def test_digest_sees_every_cell_of_a_long_table(texts, place):
    column = pd.Series(texts * 600, dtype=object)
    other = column.copy()
    other[place] = "another"
    assert digest(column) == digest(column.copy())
    assert digest(column) != digest(other)
    assert digest(column) != digest(column[::-1].reset_index(drop=True)) or texts == texts[::-1]


def test_digest_is_the_same_for_every_machine():
    assert digest({"b": [1, 2.5], "a": "x"}, np.arange(3, dtype="<i8"))[:16] == "50f990a3a68bcbc5"


def test_digest_refuses_what_it_cannot_read():
    with pytest.raises(TypeError, match="cannot digest a object"):
        digest(object())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")

    def stop_half_way():
        with atomic_write(target) as temporary:
            temporary.write_text("new, hal")
            raise RuntimeError("stopped half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        stop_half_way()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "maps"
    for content in ("first", "second"):
        with atomic_write(target) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [path.name for path in target.iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]


def _write_forever(folder):
    number = 0
    while True:
        write_table(folder / "table.csv", pd.DataFrame({"number": [number] * 5000}))
        number += 1


@pytest.mark.skipif(os.name == "nt", reason="kills with SIGKILL")
def test_a_killed_writer_leaves_a_whole_table(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=_write_forever, args=(tmp_path,))
    process.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "table.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    table = pd.read_csv(tmp_path / "table.csv")
    assert len(table) == 5000
    assert table["number"].nunique() == 1
    remove_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_remove_partial_spares_everything_else(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / f".x{PARTIAL}1").write_text("")
    (tmp_path / f".folder{PARTIAL}2").mkdir()
    (tmp_path / ".cache").mkdir()
    remove_partial(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".cache", "deep"]


def test_blocks_are_read_as_they_were_written_until_they_are_damaged(tmp_path):
    blocks = BlockStore(tmp_path, "features", "first")
    blocks.write(4, {"a": np.arange(3.0), "b": np.eye(2, dtype=np.float32)})
    np.testing.assert_array_equal(blocks.read(4)["b"], np.eye(2))
    assert blocks.holds(4)
    assert not BlockStore(tmp_path, "features", "second").holds(4)
    (file,) = tmp_path.rglob("*.npz")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert not blocks.holds(4)
    assert not file.exists()


def test_blocks_of_other_inputs_are_removed(tmp_path):
    for key in ("first", "second"):
        blocks = BlockStore(tmp_path, "features", key)
        blocks.write(0, {"a": np.arange(3)})
    blocks.remove_others()
    assert [file.parent.name for file in tmp_path.rglob("*.npz")] == ["second"]


def test_blocks_are_joined_in_their_order(tmp_path):
    blocks = BlockStore(tmp_path, "features", "key")
    for number in (1, 0):
        blocks.write(number, {"a": np.full((2, 3), number, np.float32)})
    blocks.join(2, "a", tmp_path / "joined.npy")
    joined = np.load(tmp_path / "joined.npy")
    assert joined.dtype == np.float32
    assert joined[:, 0].tolist() == [0, 0, 1, 1]


@given(st.lists(st.tuples(st.sampled_from(["NA", "None", "1", "01", "nan", "null", ""]), st.floats(-9, 9))))
def test_names_that_look_like_numbers_or_like_nothing_stay_names(rows):
    table = pd.DataFrame(rows, columns=["group", "predicted"]).astype({"group": str, "predicted": float})
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "table.csv", table)
        again = read_table(Path(folder) / "table.csv")
    assert list(again["group"]) == list(table["group"])
    np.testing.assert_allclose(again["predicted"], table["predicted"], rtol=1e-15, atol=1e-300)
