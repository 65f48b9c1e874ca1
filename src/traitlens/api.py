"""Functions for notebooks: analyse a whole study, or fit, explain, compare and report step by step."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from traitlens.artifacts import (
    ARTIFACTS,
    FEATURES,
    MAPS,
    PERFORMANCE,
    PREDICTIONS,
    PREPARED,
    READOUTS,
    TARGETS,
    USE_TESTS,
    Artifact,
)
from traitlens.computing.machine import Machine
from traitlens.pipeline.context import Context
from traitlens.pipeline.estimate import check_resources, estimate
from traitlens.pipeline.run import Runner
from traitlens.pipeline.study_check import check_tables
from traitlens.problems import StudyError, TraitlensError
from traitlens.progress import Watcher
from traitlens.storage import read_table
from traitlens.study.reading import Study
from traitlens.study.setting_overrides import follow_protocol, override_kept_maps

if TYPE_CHECKING:
    import numpy as np

    from traitlens.features.backbone import Backbone
    from traitlens.features.feature_spaces import FeatureSpace
    from traitlens.readouts.readout import Readout


class Run:
    """The analysis of a study, stage by stage, with its results folder.

    Parameters
    ----------
    study : Study
        Images, ratings and settings.
    out : str, Path or None
        The results folder; if None, `results` in the study's folder.
    machine : Machine or None
        Device, precision and weights of the network.
    watcher : Watcher or None
        Shows the progress.

    Raises
    ------
    TraitlensError
        If the results folder cannot be written.
    """

    def __init__(
        self,
        study: Study,
        out: str | Path | None = None,
        machine: Machine | None = None,
        watcher: Watcher | None = None,
    ):
        self.context = Context(study, out, machine, watcher)
        self._runner = Runner(self.context)

    @property
    def study(self) -> Study:
        """The study."""
        return self.context.study

    @property
    def results(self) -> Path:
        """The results folder."""
        return self.context.results

    @property
    def machine(self) -> Machine:
        """Device, precision and weights of the network."""
        return self.context.machine

    @cached_property
    def backbone(self) -> "Backbone":
        """The network, which is loaded at the first access."""
        return self.machine.backbone(self.context.watcher.say)

    def make(self, until: str | None = None) -> None:
        """Run the stages whose results are missing or out of date.

        Parameters
        ----------
        until : str or None
            Name of the last stage to run; if None, all stages are run.
        """
        self._runner.make(until)

    def fit(self) -> None:
        """Fit the readouts, and save them as a model together with their performance."""
        self.make("models")

    def explain(self) -> None:
        """Compute the relevance maps of all images."""
        self.make("maps")

    def compare(self) -> None:
        """Run all tests of differences between groups."""
        self.make("answers")

    def report(self) -> Path:
        """Run all stages, including the report.

        Returns
        -------
        Path
            The file of the report.
        """
        self.make()
        return self.results / "report.html"

    def check_maps(self, images: int = 4) -> Path:
        """Check the relevance maps, and write a report that includes the checks.

        Parameters
        ----------
        images : int, default 4
            Number of images that are used for the checks.

        Returns
        -------
        Path
            The file of the report.
        """
        self.context.check_images = images
        self.make()
        return self.results / "report.html"

    def _read(self, artifact: Artifact, stage: str) -> Any:
        self.make(stage)
        return artifact.read(self.results)

    @property
    def performance(self) -> pd.DataFrame:
        """Performance of the readouts by group and trait."""
        table: pd.DataFrame = self._read(PERFORMANCE, "performance")
        return table

    @property
    def predictions(self) -> pd.DataFrame:
        """Out-of-fold predictions by image, group and trait."""
        table: pd.DataFrame = self._read(PREDICTIONS, "fit")
        return table

    @property
    def prepared(self) -> xr.Dataset:
        """The prepared images: pixels (image, y, x, colour) and points (image, point, xy)."""
        dataset: xr.Dataset = self._read(PREPARED, "prepare")
        return dataset

    @property
    def readouts(self) -> "tuple[Readout, ...]":
        """The readouts of every group, trait and fold."""
        from traitlens.readouts.trait_models import TraitModels

        self.make("fit")
        return TraitModels.load(READOUTS.of(self.results)).readouts

    @property
    def targets(self) -> pd.DataFrame:
        """Mean ratings: group, trait, image, rating, n, sd."""
        table: pd.DataFrame = self._read(TARGETS, "means")
        return table

    @property
    def features(self) -> "dict[FeatureSpace, np.ndarray]":
        """Features as an array (image, channel, row, column) for each feature space."""
        from traitlens.features.extraction import split_spaces

        spaces, shapes = list(self.context.spaces), self.context.backbone_facts.shapes
        return split_spaces(self._read(FEATURES, "features"), spaces, shapes)

    def close(self) -> None:
        """Stop the worker processes and unlock the results folder; results remain readable."""
        self._runner.close()


def run(
    folder: str | Path,
    out: str | Path | None = None,
    machine: Machine | None = None,
    watcher: Watcher | None = None,
    protocol: str = "default",
    keep_maps: str | None = None,
) -> Run:
    """Run the whole analysis of a study and write its report.

    Parameters
    ----------
    folder : str or Path
        The study's folder.
    out, machine, watcher
        As for :class:`Run`.
    protocol : str, default "default"
        "cao2023" for the readout of Cao et al. (2023), whose results are in a separate folder.
    keep_maps : {"all", "sample", "none"} or None
        Images whose maps are stored; if None, as set in `study.toml`.

    Returns
    -------
    Run
        The finished analysis; `Run.results` is the results folder.

    Raises
    ------
    TraitlensError
        If the study has errors, the weights cannot be loaded, or memory or disk space is insufficient.
    """
    study, problems = check_tables(Path(folder))
    if problems or study is None:
        raise StudyError(problems)
    study = follow_protocol(study, protocol)
    if keep_maps is not None:
        study = override_kept_maps(study, keep_maps)
    if out is None and protocol != "default":
        out = study.folder / f"results-{protocol}"
    done = Run(study, out, machine, watcher)
    try:
        needed = estimate(done.context)
        if needed.costs:
            done.context.watcher.say(str(needed))
        check_resources(needed, done.results)
        done.report()
    finally:
        done.close()
    return done


@dataclass(frozen=True, eq=False)
class Comparison(Mapping[str, pd.DataFrame]):
    """Mapping of names to tables with tests of differences between groups.

    Parameters
    ----------
    tables : dict of str to DataFrame
        The tables: "means", "performance" and other files of the folder `comparisons`, and "use" from
        `cues/tests.csv`.
    """

    tables: dict[str, pd.DataFrame]

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.tables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tables)

    def __len__(self) -> int:
        return len(self.tables)

    def __str__(self) -> str:
        rows = [f"{name}: {len(table)} rows" for name, table in self.tables.items()]
        return "\n".join(["Comparison of groups", *rows])


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
    out, machine, watcher
        As for :class:`Run`.

    Returns
    -------
    Run
        The analysis with fitted readouts; `performance` and `predictions` are tables.

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
    """Compute relevance maps of every image from readouts that were not fitted to its identity.

    Parameters
    ----------
    models : Run
        The result of :func:`fit`.
    study : Study
        The study that the models were fitted on.

    Returns
    -------
    Dataset
        relevance (group, trait, image, y, x) in rating points per pixel, loaded from disk on access.

    Raises
    ------
    TraitlensError
        If the models were fitted on another study, or maps are not stored.

    Examples
    --------
    >>> maps = tl.explain(models, study)  # doctest: +SKIP
    >>> maps.relevance.sel(trait="warm").mean("image")  # doctest: +SKIP
    """
    _check_study(models, study)
    models.explain()
    if not MAPS.of(models.results).exists():
        raise TraitlensError('run.keep_maps is "none" in study.toml; set it to "all" or "sample"')
    maps: xr.Dataset = MAPS.read(models.results)
    return maps


def compare(models: Run, maps: xr.Dataset, study: Study) -> Comparison:
    """Test whether groups of raters differ by permuting raters between groups.

    Parameters
    ----------
    models : Run
        The result of :func:`fit`.
    maps : Dataset
        The result of :func:`explain`.
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
    >>> difference["use"]  # doctest: +SKIP
    """
    _check_study(models, study)
    _check_maps(models, maps)
    models.compare()
    files = [one for path, one in ARTIFACTS.items() if path.startswith("comparisons/") and ".csv" in path]
    named = {**{one.name: one for one in files}, "use": USE_TESTS}
    made = {name: one.of(models.results) for name, one in named.items()}
    return Comparison({name: read_table(file) for name, file in made.items() if file.exists()})


def write_report(
    study: Study, models: Run, maps: xr.Dataset, difference: Comparison, out: str | Path = "report.html"
) -> Path:
    """Write the report of a study to a file, and its figures to the results folder.

    Parameters
    ----------
    study : Study
        The study.
    models : Run
        The result of :func:`fit`.
    maps : Dataset
        The result of :func:`explain`.
    difference : Comparison
        The result of :func:`compare`.
    out : str or Path, default "report.html"
        File of the report.

    Returns
    -------
    Path
        The report, as one HTML file that needs no network.

    Raises
    ------
    TraitlensError
        If study, models, maps and comparison do not belong together.

    Examples
    --------
    >>> tl.write_report(study, models, maps, difference, "report.html")  # doctest: +SKIP
    """
    from traitlens.report.page import write_report as write_page

    if compare(models, maps, study).keys() != difference.keys():
        raise TraitlensError("this comparison was made with other models; compare these models again")
    models.report()
    return write_page(models.results, Path(out))


def _check_study(models: Run, study: Study) -> None:
    """Raise an error if the models were fitted on another study, or with other settings."""
    if study.folder.resolve() != models.study.folder.resolve() or study.settings != models.study.settings:
        raise TraitlensError(
            f"these models were fitted on {models.study.folder}, not on {study.folder} with its current "
            "settings; fit models on this study first"
        )


def _check_maps(models: Run, maps: xr.Dataset) -> None:
    """Raise an error if maps have other images, groups or traits than those of the models."""
    own = MAPS.read(models.results)
    if any(list(own[name].values) != list(maps[name].values) for name in ("group", "trait", "image")):
        raise TraitlensError("these maps have other images, groups or traits; explain these models again")
