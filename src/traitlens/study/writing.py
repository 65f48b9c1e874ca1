"""Writers of tables, maps and datasets for other programs: CSV, Excel, SPSS, MATLAB, Psych-DS."""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from traitlens.artifacts import ARTIFACTS
from traitlens.columns import GROUP, IDENTITY, IMAGE, MAY_PUBLISH, RATER, RATING, REPEAT, TRAIT
from traitlens.problems import unknown_choice
from traitlens.records import consistent_outputs
from traitlens.spreadsheets import protect
from traitlens.storage import atomic_write, read_table, refuse_other_files
from traitlens.study.reading import Study

if TYPE_CHECKING:
    import xarray as xr

MEANINGS: dict[str, str] = {
    RATER: "Code of the person who gave the rating",
    GROUP: "Group that the rater belongs to",
    IMAGE: "Path of the image below images/",
    IDENTITY: "The person shown",
    TRAIT: "The impression that was asked for",
    RATING: "The rating given",
    REPEAT: "Number of the judgement, if a rater judged an image more than once",
    MAY_PUBLISH: "Whether the image may be shown in publications",
    "n": "Number of ratings that were averaged",
    "fold": "Fold in which the identity was predicted",
    "observed": "Mean rating",
    "predicted": "Prediction by a readout that did not see the identity",
    "r": "Correlation of observed and predicted ratings, out of fold",
    "r2": "Share of the variance of observed ratings that is predicted, out of fold",
    "rmse": "Root mean squared error, out of fold",
    "ci_low": "Lower end of the 95 % confidence interval",
    "ci_high": "Upper end of the 95 % confidence interval",
    "p": "p value",
    "region": "Part of the face",
    "relevance": "Sum of the relevance of the region's pixels, in rating units",
    "share": "Share of the absolute relevance that is in the region",
    "ceiling_r": "Noise ceiling of r",
    "ceiling_r2": "Noise ceiling of R squared",
    "x": "Pixels from the left",
    "y": "Pixels from the top",
    "point": "Number of the landmark in MediaPipe's face mesh",
}
"""Descriptions of columns, for data dictionaries."""


def widen(ratings: pd.DataFrame, layout: str = "images") -> pd.DataFrame:
    """Reshape ratings to a wide table.

    Parameters
    ----------
    ratings : DataFrame
        One row per judgement.
    layout : {"images", "raters"}, default "images"
        "images": a row per rater, trait and repeat, a column per image; "raters": a row per image, trait and
        repeat, a column per rater (or per group, if ratings are averages).

    Returns
    -------
    DataFrame
        The wide table, with NaN for missing ratings.

    Raises
    ------
    TraitlensError
        If the layout is unknown.

    Examples
    --------
    >>> table = pd.DataFrame({"rater": ["a", "b"], "group": "g", "image": "1.png", "trait": "warm",
    ...     "rating": [3.0, 5.0], "repeat": 1})
    >>> print(widen(table, "raters").to_string(index=False))
    image trait  repeat   a   b
    1.png  warm       1 3.0 5.0
    """
    who = [RATER] if RATER in ratings else []
    across = {"images": IMAGE, "raters": RATER if who else GROUP}
    if layout not in across:
        raise unknown_choice("layout", layout, across)
    if REPEAT not in ratings:
        ratings = ratings.assign(**{REPEAT: 1})
    rows = {"images": [*who, GROUP, TRAIT, REPEAT], "raters": [IMAGE, TRAIT, REPEAT]}[layout]
    wide = ratings.pivot_table(index=rows, columns=across[layout], values=RATING, aggfunc="first", sort=False)
    wide = wide.reset_index()
    wide.columns.name = None
    return wide


def write_ratings(study: Study, path: str | Path, layout: str = "long") -> None:
    """Write the ratings of a study in the format given by the suffix of the file.

    Parameters
    ----------
    study : Study
        The study.
    path : str or Path
        .csv, .tsv, .parquet, .xlsx, .sav (SPSS) or .mat (MATLAB).
    layout : {"long", "images", "raters"}, default "long"
        A row per judgement, a column per image, or a column per rater (see :func:`widen`).

    Raises
    ------
    TraitlensError
        If the layout or format is unknown.

    Examples
    --------
    >>> write_ratings(study, "ratings.sav", layout="raters")  # doctest: +SKIP
    """
    table = study.ratings if layout == "long" else widen(study.ratings, layout)
    write_table_as(table, path)


def write_table_as(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table atomically, in the format given by the suffix of the file.

    Parameters
    ----------
    table : DataFrame
        The table.
    path : str or Path
        .csv, .tsv, .parquet, .xlsx, .sav (SPSS) or .mat (MATLAB).

    Raises
    ------
    TraitlensError
        If the format is unknown.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise unknown_choice("format", path.suffix, WRITERS)
    with atomic_write(path) as temporary:
        # The writers need a suffix, which the temporary name does not have.
        named = temporary.with_name(f"{temporary.name}{path.suffix.lower()}")
        try:
            WRITERS[path.suffix.lower()](table, named)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)


def _write_excel(table: pd.DataFrame, path: Path) -> None:
    """Write an Excel workbook in which strings that begin with = are not formulas."""
    with pd.ExcelWriter(path, engine="openpyxl") as writer:
        table.to_excel(writer, index=False)
        for row in writer.book.active.iter_rows():
            for cell in row:
                if cell.data_type == "f":
                    cell.data_type = "s"


def _write_spss(table: pd.DataFrame, path: Path) -> None:
    """Write an SPSS file, with variable names that SPSS accepts and the meaning of the columns as labels."""
    import pyreadstat

    renamed = table.set_axis(plain_names(list(map(str, table.columns))), axis=1)
    for column in renamed.columns:
        if renamed[column].dtype == bool:
            renamed[column] = renamed[column].astype(int)
        elif not pd.api.types.is_numeric_dtype(renamed[column]):
            renamed[column] = renamed[column].astype(object)
    labels = [MEANINGS.get(str(column), str(column)) for column in table.columns]
    pyreadstat.write_sav(renamed, str(path), column_labels=labels)


def _write_matlab(table: pd.DataFrame, path: Path) -> None:
    """Write a MATLAB file with a variable for each column; columns of strings are cell arrays."""
    from scipy.io import savemat

    names = plain_names(list(map(str, table.columns)), longest=31)
    variables: dict[str, Any] = {}
    for name, column in zip(names, table.columns, strict=True):
        values = table[column]
        numeric = pd.api.types.is_numeric_dtype(values)
        variables[name] = values.to_numpy(dtype=float if numeric else object).reshape(-1, 1)
    savemat(path, variables, oned_as="column", do_compression=True)


WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": lambda table, path: protect(table).to_csv(path, index=False),
    ".tsv": lambda table, path: protect(table).to_csv(path, index=False, sep="\t"),
    ".parquet": lambda table, path: table.to_parquet(path, index=False),
    ".xlsx": _write_excel,
    ".sav": _write_spss,
    ".mat": _write_matlab,
}
"""Writer function for each file suffix."""


def plain_names(names: list[str], longest: int = 60) -> list[str]:
    """Convert names to distinct variable names for SPSS and MATLAB: a letter, then letters, digits and _.

    Parameters
    ----------
    names : list of str
        The names.
    longest : int, default 60
        Maximum number of characters.

    Returns
    -------
    list of str
        Variable names, in the order of `names`.

    Examples
    --------
    >>> plain_names(["001.png", "001_png", "rating"])
    ['x001_png', 'x001_png_2', 'rating']
    """
    taken: set[str] = set()
    plain = []
    for name in names:
        letters = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "x"
        stem = (letters if letters[0].isalpha() else f"x{letters}")[:longest]
        candidate, number = stem, 1
        while candidate.lower() in taken:
            number += 1
            candidate = f"{stem[: longest - len(str(number)) - 1]}_{number}"
        taken.add(candidate.lower())
        plain.append(candidate)
    return plain


def write_maps(maps: "xr.Dataset", path: str | Path) -> None:
    """Write maps to a MATLAB file, with the names of each variable's dimensions and the coordinates.

    Parameters
    ----------
    maps : xarray.Dataset
        Maps, such as those of `average_maps.zarr`.
    path : str or Path
        The .mat file.

    Examples
    --------
    >>> write_maps(averages, "maps.mat")  # doctest: +SKIP
    """
    from scipy.io import savemat

    variables: dict[str, Any] = {}
    for name, values in [*maps.data_vars.items(), *maps.coords.items()]:
        array = values.to_numpy()
        numeric = array.dtype.kind in "biuf"
        variables[str(name)] = array.astype(np.float32) if array.dtype.kind == "f" else array
        if not numeric:
            variables[str(name)] = array.astype(object)
        variables[f"{name}_dims"] = np.array([str(one) for one in values.dims], dtype=object)
    with atomic_write(Path(path)) as temporary, temporary.open("wb") as file:
        savemat(file, variables, oned_as="column", do_compression=True, long_field_names=True)


def write_psych_ds(
    study: Study,
    out: str | Path,
    results: str | Path | None = None,
    meanings: Mapping[str, str] | None = None,
) -> None:
    """Write a study and its results as a Psych-DS dataset.

    Images are not copied, because researchers often have no right to share them.

    Parameters
    ----------
    study : Study
        The study.
    out : str or Path
        Folder of the dataset, which must be new or empty.
    results : str or Path, optional
        A results folder, whose tables are written as well.
    meanings : mapping, optional
        Descriptions of further columns, for the data dictionary.

    Raises
    ------
    TraitlensError
        If the folder is not empty.

    References
    ----------
    Psych-DS, "Rules and conventions". https://psychds-docs.readthedocs.io

    Examples
    --------
    >>> write_psych_ds(study, "dataset", results="mystudy/results")  # doctest: +SKIP
    """
    tables = {"task-rating_data": study.ratings, "desc-images_data": study.images}
    if study.landmarks is not None:
        tables["desc-landmarks_data"] = study.landmarks
    for name, table in read_results(Path(results)) if results is not None else ():
        short = re.sub(r"[^A-Za-z0-9]", "", name.title())
        tables[f"result-{short[:1].lower()}{short[1:]}_data"] = table
    words = {**MEANINGS, **(meanings or {})}
    variables: dict[str, dict[str, Any]] = {}
    for table in tables.values():
        for column in map(str, table.columns):
            described = _describe_column(table[column], column, words.get(column, column.replace("_", " ")))
            known = variables.setdefault(column, described)
            for key, choose in (("minValue", min), ("maxValue", max)):
                if key in known and key in described:
                    known[key] = choose(known[key], described[key])
    text = study.settings.description or f"Ratings of faces on {', '.join(study.traits)}."
    description = {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "name": study.settings.name,
        "description": text,
        "variableMeasured": list(variables.values()),
    }
    refuse_other_files(Path(out), ())
    with atomic_write(Path(out)) as folder:
        (folder / "data").mkdir(parents=True)
        for name, table in tables.items():
            protect(table).to_csv(folder / "data" / f"{name}.csv", index=False)
        content = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        (folder / "dataset_description.json").write_text(content, encoding="utf-8")
        readme = f"# {study.settings.name}\n\n{text}\n\nImages are not part of this dataset.\n"
        (folder / "README.md").write_text(readme, encoding="utf-8")
        settings = study.folder / "study.toml"
        if settings.exists():
            shutil.copyfile(settings, folder / "study.toml")


def read_results(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Read the tables of a results folder, except those computed from other inputs than the rest.

    Yields
    ------
    name : str
        Name of the table with its folder, such as "ratings_reliability".
    table : DataFrame
        The table.
    """
    current = consistent_outputs(folder)
    for path in sorted(path for path in ARTIFACTS if path.endswith(".csv") and not path.startswith(".")):
        file = ARTIFACTS[path].of(folder)
        if (current is None or path in current) and file.exists() and file.stat().st_size > 1:
            yield path.removesuffix(".csv").replace("/", "_"), read_table(file)


def _describe_column(values: pd.Series, name: str, meaning: str) -> dict[str, Any]:
    """Describe a column as a PropertyValue of schema.org."""
    described: dict[str, Any] = {"@type": "PropertyValue", "name": name, "description": meaning}
    if pd.api.types.is_numeric_dtype(values) and values.dtype != bool and values.notna().any():
        described |= {"minValue": float(values.min()), "maxValue": float(values.max())}
    elif values.nunique() <= 20:
        described["valueReference"] = sorted(map(str, values.dropna().unique()))
    return described
