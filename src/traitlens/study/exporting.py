"""Export of a study and its results in the formats of other programs."""

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
"""Rows and columns of wide results."""

RECORD = ".traitlens-export.json"
"""File of an export that lists its files and their digests: only those are deleted by the next export."""


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
        The folder to write: a new or empty one, or an unchanged earlier export, which is replaced.
    form : str, default "psych-ds"
        One of :data:`FORMS`: a Psych-DS dataset; CSV with a row per judgement or wide CSV; SPSS tables; or
        MATLAB tables and maps.
    results : str or Path, optional
        A results folder, whose tables (and, for MATLAB, maps) are added.
    watcher : Watcher, optional
        Shows the progress.

    Raises
    ------
    TraitlensError
        If the form is unknown, the results are missing, or the folder holds files that no export wrote or
        that were changed since.

    Examples
    --------
    >>> export_study(study, "for_spss", "sav", results="mystudy/results")  # doctest: +SKIP
    """
    # Resolved, so that the checked folder is the one that is replaced.
    out, found = Path(out).resolve(), Path(results) if results is not None else None
    if form not in FORMS:
        raise unknown_choice("form", form, FORMS)
    if found is not None and not found.is_dir():
        raise TraitlensError(Problem("there is no such folder", "give a results folder", str(found)))
    refuse_other_files(out, _recorded(out))
    with atomic_write(out) as folder:
        folder.mkdir()
        FORMS[form](study, folder, found, watcher or SilentWatcher())
        written = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in written]
        digests = map(digest_file, written)
        write_json(folder / RECORD, {"files": dict(zip(names, digests, strict=True))})
    return [out / name for name in names]


def _recorded(out: Path) -> set[str]:
    """Return the unchanged files of an earlier export, with its record."""
    try:
        files = json.loads((out / RECORD).read_text(encoding="utf-8"))["files"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()
    unchanged = {
        name for name, digest in files if (out / name).is_file() and digest_file(out / name) == digest
    }
    return {*unchanged, RECORD}


def _map_files(images: Iterable[str]) -> list[Path]:
    """Return the file of each image's map: the image's path with another suffix, unique for each image."""
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
        what = f"names files outside the folder of the export ({', '.join(map(repr, outside[:3]))})"
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
    """Return the tables of the study and of the results."""
    yield "ratings", study.ratings
    yield "images", study.images
    if results is not None:
        yield from read_results(results)


def _wide_tables(study: Study, results: Path | None) -> Tables:
    """Return ratings by rater and by image, and results with a row for each image."""
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


def _write(tables: Callable[[Study, Path | None], Tables], suffix: str) -> Callable[..., None]:
    """Return the function that writes tables in the format of a suffix."""

    def write(study: Study, folder: Path, results: Path | None, watcher: Watcher) -> None:
        with watcher.stage("Writing tables", 1):
            for name, table in tables(study, results):
                write_table_as(table, folder / f"{name}{suffix}")

    return write


def _write_matlab(study: Study, folder: Path, results: Path | None, watcher: Watcher) -> None:
    """Write tables, average maps, and a file of maps for each image."""
    _write(_long_tables, ".mat")(study, folder, results, watcher)
    if results is not None and AVERAGE_MAPS.of(results).exists():
        write_maps(AVERAGE_MAPS.read(results), folder / "average_maps.mat")
    if results is not None and MAPS.of(results).exists():
        maps = MAPS.read(results)
        with watcher.stage("Writing maps", maps.sizes[IMAGE]) as advance:
            for number, file in enumerate(_map_files(map(str, maps[IMAGE].to_numpy()))):
                write_maps(maps.isel({IMAGE: number}), folder / "maps" / file)
                advance(1)


FORMS: dict[str, Callable[..., None]] = {
    "psych-ds": _write_psych_ds,
    "csv-long": _write(_long_tables, ".csv"),
    "csv-wide": _write(_wide_tables, ".csv"),
    "mat": _write_matlab,
    "sav": _write(_long_tables, ".sav"),
}
"""Forms of an export, and the function that writes each."""
