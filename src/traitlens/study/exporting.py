"""A study and its results written in the formats of other programs, a folder of files for each."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from traitlens.arrays import open_arrays
from traitlens.keeping import write_whole
from traitlens.problems import Problem, TraitlensError, unknown_choice
from traitlens.study.reading import Study
from traitlens.study.writing import read_results, widen, write_maps, write_psych_ds, write_table_as
from traitlens.watching import Silent, Watcher
from traitlens.words import GROUP, IDENTITY, IMAGE, REGION, TRAIT

Tables = Iterator[tuple[str, pd.DataFrame]]

ROWS = [IMAGE, IDENTITY]
COLUMNS = [GROUP, TRAIT, REGION]
"""What makes the rows and the columns of wide results."""


def export_study(
    study: Study,
    out: str | Path,
    form: str = "psych-ds",
    results: str | Path | None = None,
    watcher: Watcher | None = None,
) -> list[Path]:
    """Write a study, and its results, for another program.

    Parameters
    ----------
    study : Study
        The study.
    out : str or Path
        The folder to write; replaced if an earlier export made it.
    form : str, default "psych-ds"
        One of :data:`FORMS`: a Psych-DS dataset; CSV with a row per judgement or wide CSV; SPSS tables; or
        MATLAB tables and maps.
    results : str or Path, optional
        A results folder, whose tables (and, for MATLAB, maps) are added.
    watcher : Watcher, optional
        Is told of the progress.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    TraitlensError
        If the form is unknown, the results are missing, or the folder holds other things.

    Examples
    --------
    >>> export_study(study, "for_spss", "sav", results="mystudy/results")  # doctest: +SKIP
    """
    out, found = Path(out), Path(results) if results is not None else None
    if form not in FORMS:
        raise unknown_choice("form", form, FORMS)
    if found is not None and not found.is_dir():
        raise TraitlensError(Problem("there is no such folder", "give a results folder", str(found)))
    ours = {".csv", ".sav", ".mat", ".json", ".md", ".toml", ""}
    if out.exists() and (not out.is_dir() or any(path.suffix not in ours for path in out.rglob("*"))):
        raise TraitlensError(Problem("holds other files", "name a new folder", str(out)))
    if form == "psych-ds":
        write_psych_ds(study, out, found)
    else:
        with write_whole(out) as folder:
            folder.mkdir()
            FORMS[form](study, folder, found, watcher or Silent())
    return sorted(path for path in out.rglob("*") if path.is_file())


def _long_tables(study: Study, results: Path | None) -> Tables:
    """Give the study's tables and the results' as they are."""
    yield "ratings", study.ratings
    yield "images", study.images
    if results is not None:
        yield from read_results(results)


def _wide_tables(study: Study, results: Path | None) -> Tables:
    """Give ratings by rater and by image, and results with a row for each image."""
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
    """Make the function that writes tables in the format of a suffix."""

    def write(study: Study, folder: Path, results: Path | None, watcher: Watcher) -> None:
        with watcher.stage("Writing tables", 1):
            for name, table in tables(study, results):
                write_table_as(table, folder / f"{name}{suffix}")

    return write


def _write_matlab(study: Study, folder: Path, results: Path | None, watcher: Watcher) -> None:
    """Write tables, average maps, and a file of maps for each image."""
    _write(_long_tables, ".mat")(study, folder, results, watcher)
    if results is not None and (results / "average_maps.zarr").exists():
        write_maps(open_arrays(results / "average_maps.zarr"), folder / "average_maps.mat")
    if results is not None and (results / "maps.zarr").exists():
        maps = open_arrays(results / "maps.zarr")
        with watcher.stage("Writing maps", maps.sizes[IMAGE]) as advance:
            for number, image in enumerate(maps[IMAGE].to_numpy()):
                path = folder / "maps" / Path(str(image)).with_suffix(".mat")
                write_maps(maps.isel({IMAGE: number}), path)
                advance(1)


FORMS: dict[str, Callable[..., None]] = {
    "psych-ds": write_psych_ds,
    "csv-long": _write(_long_tables, ".csv"),
    "csv-wide": _write(_wide_tables, ".csv"),
    "mat": _write_matlab,
    "sav": _write(_long_tables, ".sav"),
}
"""Forms of an export, and the function that writes each."""
