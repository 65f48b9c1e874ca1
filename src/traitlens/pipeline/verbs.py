"""The verbs for notebooks: fit, explain, compare, write a report.

Each takes what the verb before it returned, so that a notebook reads as a study runs. What they make is kept
in the results folder as by ``traitlens run``, and is not made twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import xarray as xr

from traitlens.arrays import open_arrays
from traitlens.keeping import read_table
from traitlens.pipeline.machine import Machine
from traitlens.pipeline.run import Run
from traitlens.problems import TraitlensError
from traitlens.report.page import write_report as write_page
from traitlens.study.reading import Study
from traitlens.watching import Watcher

MAPS = "maps.zarr"


@dataclass(frozen=True, eq=False)
class Comparison(Mapping[str, pd.DataFrame]):
    """Tables of tests between groups, by what was compared.

    Parameters
    ----------
    tables : dict of str to DataFrame
        By name: means, regions, performance and so on, as in the folder `comparisons`.
    """

    tables: dict[str, pd.DataFrame]

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.tables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tables)

    def __len__(self) -> int:
        return len(self.tables)

    def __str__(self) -> str:
        return "\n\n".join(f"{name}\n{table.to_string(index=False)}" for name, table in self.tables.items())


def fit(
    study: Study,
    out: str | Path | None = None,
    machine: Machine | None = None,
    watcher: Watcher | None = None,
) -> Run:
    """Fit a readout for every group, trait and fold of a study.

    Parameters
    ----------
    study : Study
        Images, ratings and settings.
    out : str, Path or None
        The results folder; `results` in the study's folder where None.
    machine : Machine or None
        Device, precision, weights.
    watcher : Watcher or None
        Who is told of the progress.

    Returns
    -------
    Run
        Its `performance` is a table, as are its `predictions`, out of fold.

    Examples
    --------
    >>> import traitlens as tl
    >>> models = tl.fit(tl.Study.load("mystudy"))  # doctest: +SKIP
    >>> models.performance  # doctest: +SKIP
    """
    models = Run(study, out, machine, watcher)
    models.fit()
    return models


def explain(models: Run, study: Study) -> xr.Dataset:
    """Explain every image of a study by the readouts that did not see its identity.

    Parameters
    ----------
    models : Run
        What :func:`fit` returned.
    study : Study
        The study that the models were fitted on.

    Returns
    -------
    Dataset
        relevance (group, trait, image, y, x) in rating points per pixel, read from disk when used.

    Raises
    ------
    TraitlensError
        If the models were fitted on another study.

    Examples
    --------
    >>> maps = tl.explain(models, study)  # doctest: +SKIP
    >>> maps.relevance.sel(trait="warm").mean("image")  # doctest: +SKIP
    """
    _same_study(models, study)
    models.explain()
    return open_arrays(models.results / MAPS)


def compare(models: Run, maps: xr.Dataset, study: Study) -> Comparison:
    """Test whether groups of raters differ, by exchanging raters between them.

    Parameters
    ----------
    models : Run
        What :func:`fit` returned.
    maps : Dataset
        What :func:`explain` returned.
    study : Study
        The study that the models were fitted on.

    Returns
    -------
    Comparison
        Tidy tables with estimate, interval, statistic, p and corrected p.

    Raises
    ------
    TraitlensError
        If models, maps and study do not belong together.

    Examples
    --------
    >>> difference = tl.compare(models, maps, study)  # doctest: +SKIP
    >>> difference["regions"]  # doctest: +SKIP
    """
    _same_study(models, study)
    _own_maps(models, maps)
    models.compare()
    files = sorted((models.results / "comparisons").glob("*.csv"))
    return Comparison({file.stem: read_table(file) for file in files})


def write_report(
    study: Study, models: Run, maps: xr.Dataset, difference: Comparison, out: str | Path = "report.html"
) -> Path:
    """Write the report of a study, and its figures into the results folder.

    Parameters
    ----------
    study : Study
        The study.
    models : Run
        What :func:`fit` returned.
    maps : Dataset
        What :func:`explain` returned.
    difference : Comparison
        What :func:`compare` returned.
    out : str or Path, default "report.html"
        The page.

    Returns
    -------
    Path
        The page: one HTML file that needs no network.

    Raises
    ------
    TraitlensError
        If study, models, maps and comparison do not belong together.

    Examples
    --------
    >>> tl.write_report(study, models, maps, difference, "report.html")  # doctest: +SKIP
    """
    if compare(models, maps, study).keys() != difference.keys():
        raise TraitlensError("this comparison is of other models; compare these models again")
    models.report()
    return write_page(models.results, Path(out))


def _same_study(models: Run, study: Study) -> None:
    """Refuse a study that the models were not fitted on."""
    if study.folder.resolve() != models.study.folder.resolve() or study.settings != models.study.settings:
        raise TraitlensError(
            f"these models were fitted on {models.study.folder}, not on {study.folder} as it is now; "
            "fit models of this study first"
        )


def _own_maps(models: Run, maps: xr.Dataset) -> None:
    """Refuse maps that are not of these models' images, groups and traits."""
    own = open_arrays(models.results / MAPS)
    if any(list(own[name].values) != list(maps[name].values) for name in ("group", "trait", "image")):
        raise TraitlensError("these maps are of other images, groups or traits; explain these models again")
