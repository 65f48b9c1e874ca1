"""Ratings in any layout and format, with a disturbance, are read as written, refused or accounted for."""

import csv
import io
import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from scipy.io import savemat
from tests.study.conftest import write_images

from traitlens.problems import TraitlensError
from traitlens.study.accounts import read_account
from traitlens.study.import_table import import_table

IMAGES = {
    "face": [f"face_{number:02d}.png" for number in range(1, 13)],
    "numbers": [f"{number:03d}.png" for number in range(1, 13)],
    "words": [
        f"{name}.png"
        for name in ["zoë", "ana", "bob", "cem", "dea", "eli", "fay", "gus", "hal", "ivo", "joe", "kim"]
    ],
    "database": [f"CFD-WF-{number:03d}.png" for number in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233)],
}
RATERS = {"p": "p{}", "R": "R{}", "long": "R_3h{}xYz", "words": "rater {}", "numbers": "{}"}
LAYOUTS = ("long", "images", "raters", "traits", "image_trait")
FORMATS = ("csv", "semicolon", "tsv", "spaces", "xlsx", "parquet", "json", "sav", "mat")
TEXT = ("csv", "semicolon", "tsv", "spaces")
DISTURBANCES = (
    "none",
    "extra cell",
    "cell less",
    "missing code",
    "renamed picture",
    "title",
    "short header",
    "header too long",
    "second sheet",
    "hidden sheet",
    "id with a space",
    "id as decimal",
    "word",
    "NFD",
    "CRLF",
    "CR",
    "BOM",
    "UTF-16",
    "latin-1",
    "row twice",
    "group in capitals",
    "quotation mark",
    "decimal commas",
    "further numbers",
    "rater without group",
    "summary",
)
IN_TEXT = frozenset(
    ("extra cell", "cell less", "title", "short header", "header too long", "CRLF", "CR", "BOM", "UTF-16")
) | {"latin-1", "quotation mark", "decimal commas"}


@dataclass
class Written:
    """A study as it was written, and what its table holds."""

    truth: dict
    layout: str
    form: str
    disturbance: str
    highest: int
    images: list
    table: pd.DataFrame


@st.composite
def written_studies(draw, disturbances=DISTURBANCES):
    """A random study in a random layout and format, with one disturbance."""
    disturbance = draw(st.sampled_from(disturbances))
    sheets = ("xlsx",) if "sheet" in disturbance else FORMATS
    layout = draw(st.sampled_from(LAYOUTS))
    form = draw(st.sampled_from(TEXT if disturbance in IN_TEXT else sheets))
    images = IMAGES[draw(st.sampled_from(sorted(IMAGES)))]
    called = RATERS[draw(st.sampled_from(sorted(RATERS)))]
    groups = ["a", "b"][: draw(st.integers(1, 2))]
    traits = (
        ["warm"] if layout in ("images", "raters") else ["warm", "very strong"][: draw(st.integers(1, 2))]
    )
    seed, gaps = draw(st.integers(0, 2**31)), draw(st.sampled_from([0.0, 0.05, 0.2]))
    lowest, highest = draw(st.sampled_from([(1, 7), (0, 100)]))
    rng = np.random.default_rng(seed)
    truth = {}
    for rater in range(1, draw(st.integers(2, 4)) * len(groups) + 1):
        for trait in traits:
            for image in images:
                if rng.random() >= gaps:
                    key = (called.format(rater), groups[rater % len(groups)], image, trait)
                    truth[key] = int(rng.integers(lowest, highest + 1))
    table = lay_out(truth, layout)
    study = Written(truth, layout, form, disturbance, highest, images, table)
    disturb_cells(study, rng)
    return study


def lay_out(truth, layout) -> pd.DataFrame:
    """Lay ratings out."""
    rows = pd.DataFrame([(*key, value) for key, value in truth.items()])
    rows.columns = ["rater", "group", "image", "trait", "rating"]
    if layout == "long":
        return rows.astype(object)
    if layout == "images":
        wide = rows.pivot_table(index=["rater", "group"], columns="image", values="rating", sort=False)
    elif layout == "raters":
        wide = rows.pivot_table(index="image", columns="rater", values="rating", sort=False)
    elif layout == "traits":
        wide = rows.pivot_table(
            index=["rater", "group", "image"], columns="trait", values="rating", sort=False
        )
    else:
        rows["column"] = rows["image"].str.removesuffix(".png") + "_" + rows["trait"].str.replace(" ", "_")
        wide = rows.pivot_table(index=["rater", "group"], columns="column", values="rating", sort=False)
    wide = wide.reset_index()
    wide.columns.name = None
    return wide.astype(object).where(wide.notna(), "")


def rating_columns(study) -> list:
    names = ("rater", "group", "image", "trait")
    return ["rating"] if study.layout == "long" else [name for name in study.table if name not in names]


def disturb_cells(study, rng) -> None:
    """Change the cells of the table in one way."""
    table, kind = study.table, study.disturbance
    row, column = int(rng.integers(len(table))), str(rng.choice(rating_columns(study)))
    if kind == "missing code":
        codes = [-99, -9, -1, 999] if study.highest > 10 else [-99, -9, 99, 999]
        table.loc[row, column] = int(rng.choice(codes))
    elif kind == "word":
        table.loc[row, column] = str(rng.choice(["skip", "don't know", "?"]))
    elif kind == "id with a space" and "rater" in table:
        table.loc[row, "rater"] += str(rng.choice([" ", "\u00a0", "\u200b"]))
    elif kind == "id as decimal" and "rater" in table:
        numbers = {name: number + 1 for number, name in enumerate(dict.fromkeys(table["rater"]))}
        study.truth = {(str(numbers[key[0]]), *key[1:]): value for key, value in study.truth.items()}
        table["rater"] = [str(numbers[name]) for name in table["rater"]]
        table.loc[row, "rater"] += ".0"
    elif kind == "NFD":
        for name in [name for name in table if name in study.images]:
            table = table.rename(columns={name: unicodedata.normalize("NFD", name)})
        if "image" in table:
            table["image"] = [unicodedata.normalize("NFD", name) for name in table["image"]]
        study.table = table
    elif kind == "row twice":
        study.table = pd.concat([table, table.iloc[[row]]], ignore_index=True)
    elif kind == "group in capitals" and "group" in table:
        table.loc[row, "group"] = table.loc[row, "group"].upper()
    elif kind == "further numbers":
        table["age"] = rng.integers(18, 70, len(table))
        table["trial"] = np.arange(len(table))
        table["duration"] = rng.integers(100, 999, len(table))
    elif kind == "rater without group" and "group" in table and "rater" in table:
        rater = table.loc[row, "rater"]
        table.loc[table["rater"] == rater, "group"] = ""

    elif kind == "summary":
        ratings = table[rating_columns(study)].replace("", np.nan).astype(float)
        if study.layout == "raters":
            table["Mean"] = ratings.mean(axis=1).round(2)
        elif study.layout in ("images", "image_trait"):
            means = dict.fromkeys(table, "") | ratings.mean().round(2).to_dict()
            summary = pd.DataFrame([means | {"rater": "Mean", "group": table.loc[0, "group"]}])
            study.table = pd.concat([table, summary], ignore_index=True)


def write(study, folder) -> Path:
    """Write the table in its format."""
    table, kind = study.table, study.disturbance
    if study.form in TEXT:
        path = folder / "ratings.csv"
        path.write_bytes(as_text(study))
    elif study.form == "xlsx":
        path = folder / "ratings.xlsx"
        with pd.ExcelWriter(path) as writer:
            other = table.copy()
            for name in rating_columns(study):
                other[name] = [
                    8 - value if isinstance(value, int | np.integer) else value for value in other[name]
                ]
            if kind == "hidden sheet":
                other.to_excel(writer, sheet_name="old", index=False)
                writer.sheets["old"].sheet_state = "hidden"
            table.to_excel(writer, sheet_name="data", index=False)
            if kind == "second sheet":
                other.to_excel(writer, sheet_name="more", index=False)
    elif study.form == "parquet":
        path = folder / "ratings.parquet"
        table.astype(str).to_parquet(path)
    elif study.form == "json":
        path = folder / "ratings.json"
        rows = [{k: v for k, v in row.items() if v != ""} for row in table.to_dict("records")]
        path.write_text(json.dumps(rows, default=int), encoding="utf-8")
    elif study.form == "sav":
        import pyreadstat

        path = folder / "ratings.sav"
        names = [name.replace(".", "_").replace("-", "_").replace(" ", "_") for name in table.columns]
        names = [name if name[0].isalpha() else f"X{name}" for name in names]
        pyreadstat.write_sav(table.set_axis(names, axis=1).apply(plain), str(path))
    else:
        path = folder / "ratings.mat"
        names = [name.replace(".", "_").replace("-", "_").replace(" ", "_") for name in table.columns]
        names = [name if name[0].isalpha() else f"X{name}" for name in names]
        cells = {
            name: np.array(plain(table[old]).fillna(np.nan), dtype=float if is_plain(table[old]) else object)
            for name, old in zip(names, table.columns, strict=True)
        }
        savemat(
            path, {"data": {name: cell.reshape(-1, 1) for name, cell in cells.items()}}, long_field_names=True
        )
    return path


def is_plain(values) -> bool:
    return all(isinstance(value, int | np.integer) or value == "" for value in values)


def plain(values) -> pd.Series:
    """Numbers where a column holds nothing else."""
    if is_plain(values):
        return pd.to_numeric(values.replace("", np.nan)).astype(float)
    return values.astype(str).astype(object)


def as_text(study) -> bytes:
    """Write separated text with the disturbances of text."""
    kind = study.disturbance
    separator = {"csv": ",", "semicolon": ";", "tsv": "\t", "spaces": " "}[study.form]
    rows = [list(map(str, study.table.columns)), *study.table.astype(str).to_numpy().tolist()]
    place = len(rows) // 2
    if kind == "extra cell":
        rows[place].insert(len(rows[place]) // 2, "4")
    elif kind == "cell less":
        del rows[place][len(rows[place]) // 2]
    elif kind == "title":
        rows = [["Ratings of study 1"], [], *rows]
    elif kind == "short header":
        rows = [rows[0], *([str(number + 1), *row] for number, row in enumerate(rows[1:]))]
    elif kind == "header too long":
        rows[0].insert(0, "number")
    elif kind == "decimal commas":
        rows = [
            rows[0],
            *(
                [cell + ",0" if cell.isdigit() and len(cell) == 1 else cell for cell in row]
                for row in rows[1:]
            ),
        ]
    stream = io.StringIO()
    end = {"CRLF": "\r\n", "CR": "\r"}.get(kind, "\n")
    if kind in ("quotation mark", "decimal commas"):
        if kind == "quotation mark":
            rows = [[*row, "" if number else "comment"] for number, row in enumerate(rows)]
            rows[place][-1] = '"I think'
            if place + 1 < len(rows):
                rows[min(place + 3, len(rows) - 1)][-1] = 'so"'
        stream.write("\n".join(separator.join(row) for row in rows) + "\n")
    else:
        csv.writer(stream, delimiter=separator, lineterminator=end).writerows(rows)
    encoding = {"UTF-16": "utf-16", "latin-1": "latin-1", "BOM": "utf-8-sig"}.get(kind, "utf-8")
    return stream.getvalue().encode(encoding, errors="replace" if encoding == "latin-1" else "strict")


def applies(study) -> bool:
    """Whether the disturbance can be written in this layout and format."""
    if study.disturbance in IN_TEXT and study.form not in TEXT:
        return False
    if study.disturbance in ("second sheet", "hidden sheet") and study.form != "xlsx":
        return False
    if study.form == "spaces" and study.disturbance == "title":
        return False
    if study.disturbance == "NFD" and study.form in ("sav", "mat"):
        return False
    odd = any(not name.isascii() for name in study.images) or "\u200b" in "".join(
        map(str, study.table.get("rater", []))
    )
    return not (odd and study.form in ("sav", "mat", "latin-1"))


def check(study, folder) -> str:
    """Import a written study; return what became of it, and fail where something is silent."""
    if not applies(study):
        study.disturbance, study.table = "none", lay_out(study.truth, study.layout)
        if any(not name.isascii() for name in study.images) and study.form in ("sav", "mat"):
            study.form = "csv"
    files = list(study.images)
    if study.disturbance == "renamed picture":
        files[3] = f"other_{files[3]}"
    if study.disturbance == "NFD":
        files = [unicodedata.normalize("NFC", name) for name in files]
    write_images(folder, files)
    path = write(study, folder)
    note(f"{study.layout} {study.form} {study.disturbance} {study.images[0]}")
    done, refusal = None, ""
    try:
        done = import_table(path, folder / "study", folder / "images", columns=hint(study))
    except TraitlensError as error:
        refusal = str(error)
    if done is None:
        gaps = len(study.truth) < len(study.table) * len(rating_columns(study))
        assert study.disturbance in REFUSED or (study.form == "spaces" and gaps), refusal
        assert not (folder / "study").exists()
        return "refused"
    account = read_account(folder / "study")
    assert account == done.account
    note("\n".join(account.lines()))
    ratings = done.study.ratings
    keys = zip(ratings["rater"], ratings["image"], ratings["trait"], strict=True)
    got = dict(zip(keys, ratings["rating"], strict=True))
    assert len(got) == len(ratings)
    wanted = {
        (rater_as_read(study, key[0]), key[2], trait_as_read(study, key[3])): value
        for key, value in study.truth.items()
    }
    assert account.read == account.used + account.empty + account.left_out_cells
    assert account.used == len(ratings)
    assert not set(got) - set(wanted), sorted(set(got) - set(wanted))[:5]
    wrong = {key for key in wanted if got.get(key) != wanted[key]}
    unnamed = {key for key in wrong if not is_named(key, account, study)}
    assert not unnamed, sorted(unnamed)[:5]
    return "accounted" if wrong else "exact"


def hint(study):
    """Names of raters without a number are told from traits by the user."""
    return "raters" if study.layout == "raters" else None


def trait_as_read(study, trait) -> str:
    if study.layout in ("images", "raters"):
        return "ratings"
    if study.layout == "image_trait" or (study.layout == "traits" and study.form in ("sav", "mat")):
        return trait.replace(" ", "_")
    return trait


def rater_as_read(study, rater) -> str:
    """SPSS and MATLAB have no spaces in names of columns, which begin with a letter."""
    if study.layout != "raters" or study.form not in ("sav", "mat"):
        return rater
    return rater.replace(" ", "_") if rater[0].isalpha() else f"X{rater}"


def is_named(key, account, study) -> bool:
    """Whether the account names a rating that is not as written, by its cell or its rater."""
    rater, image, _ = key
    for entry in account.left_out:
        if entry.what == "rater" and entry.name == rater:
            return True
        if entry.what == "cell" and entry.row is not None:
            row = study.table.iloc[entry.row - 2]
            shown = [str(value) for value in (row.get("rater", entry.column), row.get("image", entry.column))]
            if rater in shown[0] and Path(image).stem.split("-")[-1] in shown[1]:
                return True
    return False


REFUSED = frozenset(DISTURBANCES) - {
    "none",
    "title",
    "id with a space",
    "id as decimal",
    "NFD",
    "CRLF",
    "CR",
    "BOM",
    "UTF-16",
    "further numbers",
    "hidden sheet",
}
"""Disturbances that may be refused; the others must be read."""


@settings(max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(study=written_studies())
def test_nothing_is_silent(tmp_path_factory, study):
    check(study, tmp_path_factory.mktemp("import"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
@given(study=written_studies())
def test_nothing_is_silent_in_two_thousand_studies(tmp_path_factory, study):
    check(study, tmp_path_factory.mktemp("import"))
