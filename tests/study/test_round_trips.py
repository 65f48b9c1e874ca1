"""Ratings come back the same from every layout and format; damaged tables end in a message or right data."""

import random
import string
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat

from traitlens.problems import StudyError, TraitlensError
from traitlens.study.formats import read_cells
from traitlens.study.guessing import guess_mapping
from traitlens.study.layouts import to_long
from traitlens.study.reading import Study, read_study
from traitlens.study.settings import RatingsSettings
from traitlens.study.tables import read_table
from traitlens.study.writing import (
    plain_names,
    widen,
    write_maps,
    write_psych_ds,
    write_ratings,
    write_table_as,
)

WORDS = st.text(string.ascii_letters + "äéßñ -", min_size=1, max_size=8).map(str.strip).filter(bool)
MAPPINGS = {
    "long": RatingsSettings(
        rater="rater", group="group", image="image", trait="trait", rating="rating", repeat="repeat"
    ),
    "images": RatingsSettings(
        layout="wide",
        columns="images",
        rater="rater",
        group="group",
        trait="trait",
        repeat="repeat",
        spread=("f*.png",),
    ),
    "raters": RatingsSettings(
        layout="wide", columns="raters", image="image", trait="trait", repeat="repeat", spread=("p*",)
    ),
}


@st.composite
def random_ratings(draw):
    """Ratings with gaps: any numbers of raters, images, traits and decimals."""
    images = [f"f{number:02d}.png" for number in range(draw(st.integers(2, 6)))]
    raters = [f"p{number}" for number in range(draw(st.integers(1, 4)))]
    traits = draw(st.lists(WORDS, min_size=1, max_size=3, unique_by=str.lower))
    groups = draw(st.lists(WORDS, min_size=1, max_size=2, unique_by=str.lower))
    decimals = draw(st.sampled_from([0, 1, 3]))
    rows = [
        (rater, groups[index % len(groups)], image, trait, value, 1)
        for index, rater in enumerate(raters)
        for image in images
        for trait in traits
        if (value := draw(st.none() | st.floats(-50, 100).map(lambda x: round(x, decimals) + 0.0)))
        is not None
    ]
    rows = rows or [("p0", groups[0], images[0], traits[0], 1.0, 1)]
    return pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating", "repeat"])


def filled(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["rating"] != ""]


def in_order(table: pd.DataFrame, columns) -> pd.DataFrame:
    table = table[list(columns)].assign(rating=pd.to_numeric(table["rating"].astype(str)))
    return table.astype({name: str for name in columns if name != "rating"}).sort_values(
        [name for name in columns if name != "rating"], ignore_index=True
    )


@pytest.mark.parametrize("layout", ["long", "images", "raters"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".xlsx", ".sav", ".mat"])
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ratings=random_ratings())
def test_ratings_come_back_from_every_layout_and_format(tmp_path_factory, layout, suffix, ratings):
    path = tmp_path_factory.mktemp("trip") / f"ratings{suffix}"
    table = ratings if layout == "long" else widen(ratings, layout)
    write_table_as(table, path)
    cells = read_cells(path)
    mapping = MAPPINGS[layout]
    if suffix in (".sav", ".mat") and layout == "images":  # these formats have no points in names
        cells.columns = [str(name).replace("_png", ".png") for name in cells.columns]
    read = filled(to_long(cells, mapping, path.name))
    columns = [name for name in ("rater", "group", "image", "trait", "rating", "repeat") if name in read]
    assert set(columns) >= {"rater", "image", "trait", "rating"}
    pd.testing.assert_frame_equal(
        in_order(read, columns), in_order(ratings, columns), check_dtype=False, rtol=0, atol=1e-9
    )


@settings(max_examples=25)
@given(
    ratings=random_ratings(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    comma=st.booleans(),
)
def test_text_comes_back_from_every_encoding_and_separator(tmp_path_factory, ratings, encoding, comma):
    path = tmp_path_factory.mktemp("trip") / "ratings.csv"
    separator, decimal = (";", ",") if comma else (",", ".")
    ratings.to_csv(path, index=False, sep=separator, decimal=decimal, encoding=encoding)
    read = filled(to_long(read_cells(path), MAPPINGS["long"], "ratings.csv"))
    read["rating"] = read["rating"].str.replace(",", ".")
    columns = list(ratings.columns)
    pd.testing.assert_frame_equal(
        in_order(read, columns), in_order(ratings, columns), check_dtype=False, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("layout", ["long", "images", "raters"])
def test_a_written_layout_is_guessed(tmp_path, study_folder, layout):
    study = Study.load(study_folder)
    write_ratings(study, tmp_path / "out.csv", layout)
    cells = read_cells(tmp_path / "out.csv")
    mapping = guess_mapping(cells, study.images["image"].tolist())
    read = to_long(cells, mapping, "out.csv")
    columns = [name for name in ("rater", "image", "trait", "rating") if name in read]
    assert columns == ["rater", "image", "trait", "rating"]
    pd.testing.assert_frame_equal(
        in_order(read, columns), in_order(study.ratings, columns), check_dtype=False, rtol=0, atol=0
    )


DAMAGES = (
    "flip",
    "cut",
    "drop column",
    "twice",
    "mix",
    "formula",
    "no rows",
    "many columns",
    "binary",
    "shuffle",
)


def damage(content: bytes, kind: str, chance: random.Random) -> bytes:
    """Damage a table's bytes in one way."""
    data = bytearray(content)
    lines = content.split(b"\n")
    place = chance.randrange(len(data))
    if kind == "flip":
        for _ in range(chance.randrange(1, 30)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        return bytes(data)
    if kind == "cut":
        return bytes(data[:place])
    if kind == "drop column":
        column = chance.randrange(5)
        return b"\n".join(
            b",".join(c for i, c in enumerate(line.split(b",")) if i != column) for line in lines
        )
    if kind == "twice":
        return b"\n".join([lines[0] + b",rating", *(line + b",3" for line in lines[1:])])
    if kind == "mix":
        return (
            content[:place] + "é;ß\t".encode(chance.choice(["utf-16", "latin-1", "utf-32"])) + content[place:]
        )
    if kind == "formula":
        return content.replace(b",3", b',"=HYPERLINK(""http://x"")"', 2)
    if kind == "no rows":
        return lines[0]
    if kind == "many columns":
        return b"," * 10_000_000 + content
    if kind == "binary":
        return bytes(chance.randrange(256) for _ in range(chance.randrange(1, 3000)))
    return bytes(chance.sample(list(data), len(data)))


@pytest.fixture
def two_gigabytes():
    """Let the process grow by two gigabytes and no more, where the system can bound it."""
    resource = pytest.importorskip("resource")
    pages = (
        int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    )
    before = resource.getrlimit(resource.RLIMIT_AS)
    if pages is not None:
        bound = pages * resource.getpagesize() + 2 * 2**30
        resource.setrlimit(resource.RLIMIT_AS, (bound, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("count", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_damaged_tables_end_in_a_message_or_the_right_data(
    tmp_path, study_folder, make_ratings, two_gigabytes, count
):
    chance = random.Random(0)
    sound = make_ratings()
    originals = {}
    for suffix in (".csv", ".xlsx", ".parquet", ".sav", ".mat"):
        write_table_as(sound, tmp_path / f"sound{suffix}")
        originals[suffix] = (tmp_path / f"sound{suffix}").read_bytes()
    messages = []
    for number in range(count):
        suffix = ".csv" if number % 2 else chance.choice([".xlsx", ".parquet", ".sav", ".mat"])
        kind = (
            DAMAGES[number // 2 % len(DAMAGES)]
            if suffix == ".csv"
            else chance.choice(["flip", "cut", "binary"])
        )
        content = damage(originals[suffix], kind, chance)
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(content)
        try:
            read = to_long(read_cells(path), MAPPINGS["long"].model_copy(update={"repeat": None}), path.name)
            assert len(read) <= 4 * len(sound)
        except StudyError as error:
            messages.append(str(error))
        if suffix == ".csv":
            (study_folder / "ratings.csv").write_bytes(content)
            study, problems = read_study(study_folder)
            assert (study is not None) or problems
            if study is not None and not problems:
                assert set(study.ratings["image"]) <= set(sound["image"])
                assert study.ratings["rating"].between(1, 7).all()
            assert all(len(str(problem)) < 1000 for problem in problems)
            messages += [f"damaged.csv: {problem}" for problem in problems]
    assert len(messages) > 0.3 * count
    assert not [message for message in messages if "MemoryError" in message or "allocate" in message]
    assert all(message.startswith("damaged.") and len(message) < 4000 for message in messages)


@pytest.mark.slow
def test_a_million_ratings_are_read(tmp_path, make_images, two_gigabytes):
    make_images(tmp_path, [f"{number:03d}.png" for number in range(500)])
    numbers = np.arange(1_000_000)
    table = pd.DataFrame(
        {
            "rater": [f"R{number:03d}" for number in numbers // 5000],
            "group": np.where(numbers // 5000 % 2, "a", "b"),
            "image": [f"{number:03d}.png" for number in numbers % 500],
            "trait": [f"t{number}" for number in numbers // 500 % 10],
            "rating": np.random.default_rng(0).integers(1, 8, 1_000_000),
        }
    )
    table.to_csv(tmp_path / "ratings.csv", index=False)
    study = Study.load(tmp_path)
    means, expected = (
        part.groupby(["group", "trait", "image"])["rating"].mean() for part in (study.ratings, table)
    )
    assert len(means) == 10_000
    pd.testing.assert_series_equal(means, expected, rtol=1e-12, atol=0)


def test_psych_ds_describes_every_column(study_folder, tmp_path):
    import json

    study = Study.load(study_folder)
    results = tmp_path / "results"
    (results / "ratings").mkdir(parents=True)
    pd.DataFrame({"group": ["A"], "r": [0.5], "odd": [1]}).to_csv(
        results / "ratings" / "reliability.csv", index=False
    )
    write_psych_ds(study, tmp_path / "dataset", results)
    described = json.loads((tmp_path / "dataset" / "dataset_description.json").read_text())
    assert described["@type"] == "Dataset"
    names = {variable["name"] for variable in described["variableMeasured"]}
    files = sorted((tmp_path / "dataset" / "data").iterdir())
    assert [file.name for file in files] == [
        "desc-images_data.csv",
        "result-ratingsReliability_data.csv",
        "task-rating_data.csv",
    ]
    for file in files:
        assert set(pd.read_csv(file).columns) <= names
    rating = next(one for one in described["variableMeasured"] if one["name"] == "rating")
    assert (rating["minValue"], rating["maxValue"]) == (1, 7)
    again = pd.read_csv(tmp_path / "dataset" / "data" / "task-rating_data.csv")
    assert again["rating"].tolist() == study.ratings["rating"].tolist()


def test_maps_come_back_in_matlab(tmp_path):
    values = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    coordinates = {"group": ["a", "b"], "trait": ["x", "y", "z"]}
    maps = xr.Dataset({"relevance": (("group", "trait", "y", "x"), values)}, coordinates)
    write_maps(maps, tmp_path / "maps.mat")
    read = loadmat(tmp_path / "maps.mat", simplify_cells=True)
    np.testing.assert_array_equal(read["relevance"], values)
    assert list(read["relevance_dims"]) == ["group", "trait", "y", "x"]
    assert list(read["trait"]) == ["x", "y", "z"]


def test_unknown_formats_and_layouts_are_told(study_folder, tmp_path):
    study = Study.load(study_folder)
    with pytest.raises(TraitlensError, match=r"unknown format '\.doc'"):
        write_ratings(study, tmp_path / "ratings.doc")
    with pytest.raises(TraitlensError, match="unknown layout 'tall'"):
        write_ratings(study, tmp_path / "ratings.csv", "tall")
    assert not list(Path(tmp_path).glob("ratings*"))
    assert plain_names(["a b", "a_b", "1"]) == ["a_b", "a_b_2", "x1"]
    assert read_table(study_folder / "ratings.csv")[1] == []
