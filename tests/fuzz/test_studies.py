"""Studies of strangers: settings, tables of ratings in every format, landmarks."""

import random
import shutil

import pandas as pd
import pytest
from scipy.io import savemat
from tests.fuzz.hostile import (
    SECRET,
    SLOW,
    damage,
    inputs,
    random_of,
    read_or_refuse,
)
from tests.tiny import edit_settings, make_study

from traitlens.faces.landmark_files import read_dlib_xml, read_pts, read_tem
from traitlens.pipeline.study_check import check, check_tables
from traitlens.study.formats import read_sheets
from traitlens.study.import_table import import_table
from traitlens.study.writing import write_table_as

pytestmark = SLOW


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = make_study(tmp_path_factory.mktemp("fuzz") / "study", identities=6)
    edit_settings(folder, ('backbone = "tiny"\n', ""))
    (folder.parent / SECRET).write_text("1")
    return folder


KEYS = [
    "name",
    "seed",
    "scale",
    "groups",
    "traits",
    "step",
    "folds.number",
    "folds.column",
    "faces.size",
    "faces.crop",
    "readout.method",
    "readout.grid",
    "readout.tap",
    "readout.views",
    "readout.whiten",
    "relevance.method",
    "comparison.permutations",
    "comparison.pixels",
    "comparison.within",
    "cleaning.agreement",
    "ratings.rater",
    "collecting.repeats",
    "run.keep_maps",
    "faces.regions.nose",
]
TOML = [
    "inf",
    "-inf",
    "nan",
    "0",
    "-1",
    "1e308",
    "10000000000000",
    "1e-320",
    "true",
    '""',
    "[]",
    "{}",
    "[[1, 2], [3]]",
    "1979-05-27",
    "[-inf, inf]",
    "[1, 1]",
    "[9, 1]",
    "{image = inf}",
    '["a", "a"]',
    "'(a+)+$'",
    f'"../{SECRET}"',
    '"\\u001b[2J"',
    "[1, 2, 3]",
    "{a = {a = {a = 1}}}",
    "0x7fffffffffffffff",
    '"' + "x" * 3000 + '"',
]


def hostile_settings(content: bytes, chance: random.Random) -> bytes:
    """Damage study.toml, or give a setting that exists another value."""
    kind = chance.randrange(12)
    if kind in (0, 2, 3):
        return damage(content, chance)
    text = content.decode()
    if kind == 1:
        depth = chance.choice([50, 5000, 100_000])
        return (
            text + "\nx = " + chance.choice(["[" * depth, "{a=" * depth, ".".join(["a"] * depth) + "=1"])
        ).encode()
    for _ in range(chance.choice([1, 1, 3])):
        section, _, key = chance.choice(KEYS).rpartition(".")
        line = f"{key} = {chance.choice(TOML)}"
        lines = [one for one in text.splitlines() if not one.startswith(f"{key} =")]
        at = lines.index(f"[{section}]") + 1 if f"[{section}]" in lines else None
        if not section:
            lines.insert(0, line)
        elif at is not None:
            lines.insert(at, line)
        else:
            lines += [f"[{section}]", line]
        text = "\n".join(lines) + "\n"
    return text.encode()


@pytest.fixture(scope="module")
def bare(study, tmp_path_factory):
    """The study without landmarks, which is read in less time."""
    folder = tmp_path_factory.mktemp("bare") / "study"
    shutil.copytree(study, folder)
    (folder / "landmarks.csv").unlink()
    (folder.parent / SECRET).write_text("1")
    return folder


@inputs(900)
def test_settings(bare, number):
    chance = random_of(number)
    kept = (bare / "study.toml").read_bytes()
    try:
        (bare / "study.toml").write_bytes(hostile_settings(kept, chance))
        read_or_refuse(bare, lambda: check_tables(bare))
    finally:
        (bare / "study.toml").write_bytes(kept)


@pytest.mark.parametrize("name", ["ratings.csv", "images.csv", "landmarks.csv"])
@inputs(200)
def test_tables_of_a_study(study, bare, name, number):
    chance = random_of(number)
    folder, read = (study, check) if name == "landmarks.csv" else (bare, check_tables)
    kept = (folder / name).read_bytes()
    try:
        (folder / name).write_bytes(damage(kept, chance))
        read_or_refuse(folder, lambda: read(folder))
    finally:
        (folder / name).write_bytes(kept)


def valid_table(study, suffix, folder):
    """The study's ratings in a format."""
    if suffix == ".plain.mat":  # not compressed, so that damage meets sizes and types
        file = folder / "valid.plain.mat"
        if not file.exists():
            ratings = pd.read_csv(study / "ratings.csv")
            savemat(file, {name: ratings[name].to_numpy() for name in ratings}, do_compression=False)
        return file.read_bytes()
    file = folder / f"valid{suffix}"
    if not file.exists():
        ratings = pd.read_csv(study / "ratings.csv")
        if suffix in (".json", ".txt"):
            text = (
                ratings.to_json(orient="records")
                if suffix == ".json"
                else ratings.to_csv(sep=";", index=False)
            )
            file.write_text(text, encoding="utf-8")
        else:
            write_table_as(ratings, file)
    return file.read_bytes()


FORMATS = [".csv", ".tsv", ".txt", ".xlsx", ".parquet", ".sav", ".mat", ".plain.mat", ".json"]


@pytest.mark.parametrize("suffix", FORMATS)
@inputs(150)
def test_tables_of_every_format(study, tmp_path_factory, suffix, number):
    chance = random_of(number)
    folder = tmp_path_factory.getbasetemp() / "formats"
    (folder / "inside").mkdir(parents=True, exist_ok=True)
    file = folder / "inside" / f"ratings{suffix}"
    file.write_bytes(damage(valid_table(study, suffix, folder), chance))
    read_or_refuse(folder / "inside", lambda: read_sheets(file))


@inputs(250)
def test_imports(study, tmp_path_factory, number):
    chance = random_of(number)
    folder = tmp_path_factory.getbasetemp() / "imports"
    (folder / "inside").mkdir(parents=True, exist_ok=True)
    suffix = chance.choice([".csv", ".xlsx", ".json"])
    file, out = folder / "inside" / f"ratings{suffix}", folder / "inside" / "out"
    content = valid_table(study, suffix, folder)
    file.write_bytes(damage(content, chance))
    shutil.rmtree(out, ignore_errors=True)
    read_or_refuse(
        folder / "inside", lambda: import_table(file, out, study / "images", confirm=lambda text: True)
    )


TEM = "3\n10.5 20.25\n30 40\n50 60\n1\n0 0\n3\n0 1 2\n"
PTS = "version: 1\nn_points: 3\n{\n10 20\n30.5 40\n50 60\n}\n"
XML = (
    "<?xml version='1.0'?><dataset><images><image file='a.png'><box top='1' left='1' width='50' height='50'>"
    + "".join(f"<part name='{place:02d}' x='{place}' y='{2 * place}'/>" for place in range(68))
    + "</box></image></images></dataset>"
)


@pytest.mark.parametrize(
    ("content", "read"), [(TEM, read_tem), (PTS, read_pts), (XML, read_dlib_xml)], ids=["tem", "pts", "xml"]
)
@inputs(150)
def test_landmarks_of_other_programs(tmp_path_factory, content, read, number):
    chance = random_of(number)
    folder = tmp_path_factory.getbasetemp() / "landmarks" / "inside"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"points.{read.__name__.removeprefix('read_')}"
    hostile = content.encode()
    if chance.random() < 0.1 and read is read_dlib_xml:
        entities = (
            "<!DOCTYPE x [<!ENTITY a '"
            + "b" * 99
            + "'>"
            + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10 if n else '&a;'}'>" for n in range(9))
            + f"<!ENTITY f SYSTEM 'file://{folder.parent / SECRET}'>]>"
        )
        hostile = hostile.replace(b"<dataset>", entities.encode() + b"<dataset>&a8;&f;")
    file.write_bytes(damage(hostile, chance))
    read_or_refuse(folder, lambda: read(file))
