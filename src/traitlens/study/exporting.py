"""Export of a study and its results for other programs."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import pandas as pd

from traitlens.artifacts import AVERAGE_MAPS, MAPS
from traitlens.columns import GROUP, IDENTITY, IMAGE, REGION, TRAIT
from traitlens.digests import digest_file
from traitlens.problems import Problem, TraitlensError, unknown_choice
from traitlens.progress import SilentWatcher, Watcher
from traitlens.storage import atomic_write, refuse_other_files, write_json
from traitlens.study.reading import Study
from traitlens.study.writing import read_results, widen, write_maps, write_psych_ds, write_table_as

Tables = Iterator[tuple[str, pd.DataFrame]]

ROWS = [IMAGE, IDENTITY]
COLUMNS = [GROUP, TRAIT, REGION]
"""Columns of a results table that become the rows and the columns of a wide table."""

RECORD = ".traitlens-export.json"
"""File in the folder of an export with the names and digests of the exported files; a later export into the
same folder deletes only these."""


def export_study(
    study: Study,
    out: str | Path,
    form: str = "psych-ds",
    results: str | Path | None = None,
    watcher: Watcher | None = None,
) -> list[Path]:
    """Export a study and its results for another program.

    Parameters
    ----------
    study : Study
        The study.
    out : str or Path
        Folder to write to: new, empty, or with an unchanged earlier export, which is replaced.
    form : str, default "psych-ds"
        One of :data:`FORMS`: a Psych-DS dataset; CSV with a row per judgement or wide CSV; SPSS tables; or
        MATLAB tables and maps.
    results : str or Path, optional
        A results folder, whose tables (and, for MATLAB, maps) are exported as well.
    watcher : Watcher, optional
        Shows the progress.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    TraitlensError
        If the form is unknown, the results are missing, or the folder contains files that were not written
        by an export or were changed since.

    Examples
    --------
    >>> export_study(study, "for_spss", "sav", results="mystudy/results")  # doctest: +SKIP
    """
    # Resolve links, so that the folder that is checked is the folder that is replaced.
    out, found = Path(out).resolve(), Path(results) if results is not None else None
    if form not in FORMS:
        raise unknown_choice("form", form, FORMS)
    if found is not None and not found.is_dir():
        raise TraitlensError(Problem("there is no such folder", "give a results folder", str(found)))
    refuse_other_files(out, _list_unchanged_files(out))
    with atomic_write(out) as folder:
        folder.mkdir()
        FORMS[form](study, folder, found, watcher or SilentWatcher())
        written = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in written]
        digests = map(digest_file, written)
        write_json(folder / RECORD, {"files": dict(zip(names, digests, strict=True))})
    return [out / name for name in names]


def _list_unchanged_files(out: Path) -> set[str]:
    """Return the names of the unchanged files of an earlier export, including its record."""
    try:
        files = json.loads((out / RECORD).read_text(encoding="utf-8"))["files"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()
    unchanged = {
        name for name, digest in files if (out / name).is_file() and digest_file(out / name) == digest
    }
    return {*unchanged, RECORD}


def _name_map_files(images: Iterable[str]) -> list[Path]:
    """Return a distinct .mat file name for each image: the image's path with the suffix replaced or added."""
    images = list(images)
    outside = [
        image
        for image in images
        if any(
            path.is_absolute() or path.drive or path.root or ".." in path.parts
            for path in (PurePosixPath(image), PureWindowsPath(image))
        )
    ]
    if outside:
        named = ", ".join(map(repr, outside[:3]))
        what = f"contains image names that lead outside the folder of the export ({named})"
        raise TraitlensError(Problem(what, "do not use results that you cannot trust", MAPS.path))
    short = [Path(image).with_suffix(".mat") for image in images]
    # Some file systems do not distinguish upper from lower case.
    distinct = len({str(path).casefold() for path in short}) == len(short)
    return short if distinct else [Path(f"{image}.mat") for image in images]


def _write_psych_ds(study: Study, folder: Path, results: Path | None, watcher: Watcher) -> None:
    """Write a Psych-DS dataset."""
    with watcher.stage("Writing tables", 1):
        write_psych_ds(study, folder, results)


def _long_tables(study: Study, results: Path | None) -> Tables:
    """Yield the name and content of each table of the study and of the results."""
    yield "ratings", study.ratings
    yield "images", study.images
    if results is not None:
        yield from read_results(results)


def _wide_tables(study: Study, results: Path | None) -> Tables:
    """Yield the name and content of wide tables: ratings by rater and by image, and results by image."""
    yield "ratings_by_rater", widen(study.ratings, "images")
    yield "ratings_by_image", widen(study.ratings, "raters")
    yield "images", study.images
    for name, table in read_results(results) if results is not None else ():
        across = [column for column in COLUMNS if column in table]
        if IMAGE in table and across:
            rows = [column for column in ROWS if column in table]
            values = [column for column in table.select_dtypes("number") if column not in [*rows, "fold"]]
            wide = table.pivot_table(index=rows, columns=across, values=values, aggfunc="first", sort=False)
            wide.columns = pd.Index(["_".join(map(str, (*parts, name))) for name, *parts in wide.columns])
            yield f"{name}_by_image", wide.reset_index()
        elif IMAGE not in table:
            yield name, table


def _make_table_writer(tables: Callable[[Study, Path | None], Tables], suffix: str) -> Callable[..., None]:
    """Return an export function that writes each table to a file with the given suffix."""

    def write(study: Study, folder: Path, results: Path | None, watcher: Watcher) -> None:
        with watcher.stage("Writing tables", 1):
            for name, table in tables(study, results):
                write_table_as(table, folder / f"{name}{suffix}")

    return write


def _write_matlab(study: Study, folder: Path, results: Path | None, watcher: Watcher) -> None:
    """Write MATLAB files: the tables, the average maps, and the maps of each image."""
    _make_table_writer(_long_tables, ".mat")(study, folder, results, watcher)
    if results is not None and AVERAGE_MAPS.of(results).exists():
        write_maps(AVERAGE_MAPS.read(results), folder / "average_maps.mat")
    if results is not None and MAPS.of(results).exists():
        maps = MAPS.read(results)
        with watcher.stage("Writing maps", maps.sizes[IMAGE]) as advance:
            for number, file in enumerate(_name_map_files(map(str, maps[IMAGE].to_numpy()))):
                write_maps(maps.isel({IMAGE: number}), folder / "maps" / file)
                advance(1)


FORMS: dict[str, Callable[..., None]] = {
    "psych-ds": _write_psych_ds,
    "csv-long": _make_table_writer(_long_tables, ".csv"),
    "csv-wide": _make_table_writer(_wide_tables, ".csv"),
    "mat": _write_matlab,
    "sav": _make_table_writer(_long_tables, ".sav"),
}
"""Export function for each form of an export."""
