"""Read the contents of a results folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from traitlens import artifacts as a
from traitlens.arrays import open_arrays
from traitlens.artifacts import ARTIFACTS, Artifact
from traitlens.columns import CUE, GROUP, IMAGE, OBSERVED, PREDICTED, REGION, SHARE, TRAIT
from traitlens.comparison.by_use import by_question
from traitlens.problems import Problem, TraitlensError
from traitlens.records import consistent_outputs

EXPERIMENT = (a.EXPERIMENT, a.EXPERIMENT_EFFECTS, a.EXPERIMENT_DIFFERENCES, a.EXPERIMENT_AGREEMENT)

DESCRIPTIONS = (a.STUDY, a.PROVENANCE, a.PLAN, a.PLANNED, *EXPERIMENT)
"""Files that no stage records: those that the report itself writes, and those of the experiment."""

USE_TABLES = (
    a.SHARES,
    a.UTILISATION_MEANS,
    a.RATER_FITS,
    a.CONFUSIONS,
    a.WITHIN_REGIONS,
    a.PREDICTABILITY,
    a.ACHIEVEMENT,
    a.GROUP_CUES,
)
"""Tables of `cues/` that the report shows."""


@dataclass(frozen=True)
class Results:
    """Contents of a results folder.

    Parameters
    ----------
    folder : Path
        The folder.
    study : dict
        Content of `study.json`.
    provenance : dict
        Content of `provenance.json`; empty where it is missing.
    predictions, performance, reliability, targets, regions : DataFrame or None
        The tables of these names.
    losses : DataFrame or None
        `learning_curves.csv`.
    correlations, components : DataFrame or None
        `ratings/trait_correlations.csv` and `ratings/trait_components.csv`.
    comparisons, checks : dict of DataFrame
        The tables of `comparisons/` and `checks/`, by name without ending.
    use : dict of DataFrame
        Tables of `cues/` by region or rater, by name without ending: shares, groups, raters, confusions,
        within_regions, predictability, achievement, group_cues. Its tests are among the comparisons, as
        "range", "noise" and "use".
    quality, quality_signs, cleaning, planned : DataFrame or None
        The tables of `ratings/`, and `planned.csv`.
    plan : dict or None
        The plan that was frozen before groups were compared.
    pixels : DataArray (image, y, x, colour) or None
        The prepared images, opened but not loaded.
    maps, averages : Dataset or None
        `maps.zarr` and `average_maps.zarr`, opened but not loaded.
    pixel_tests : Dataset or None
        `comparisons/pixels.zarr`, opened but not loaded.
    experiment : dict of DataFrame
        The tables of `experiment/`, by name without ending.
    experiment_facts : dict
        Content of `experiment/experiment.json`.
    """

    folder: Path
    study: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    predictions: pd.DataFrame | None = None
    performance: pd.DataFrame | None = None
    losses: pd.DataFrame | None = None
    reliability: pd.DataFrame | None = None
    targets: pd.DataFrame | None = None
    regions: pd.DataFrame | None = None
    variances: pd.DataFrame | None = None
    loadings: pd.DataFrame | None = None
    correlations: pd.DataFrame | None = None
    components: pd.DataFrame | None = None
    comparisons: dict[str, pd.DataFrame] = field(default_factory=dict)
    checks: dict[str, pd.DataFrame] = field(default_factory=dict)
    use: dict[str, pd.DataFrame] = field(default_factory=dict)
    quality: pd.DataFrame | None = None
    quality_signs: pd.DataFrame | None = None
    cleaning: pd.DataFrame | None = None
    planned: pd.DataFrame | None = None
    plan: dict[str, Any] | None = None
    pixels: xr.DataArray | None = None
    maps: xr.Dataset | None = None
    averages: xr.Dataset | None = None
    pixel_tests: xr.Dataset | None = None
    experiment: dict[str, pd.DataFrame] = field(default_factory=dict)
    experiment_facts: dict[str, Any] = field(default_factory=dict)

    @property
    def groups(self) -> list[str]:
        """Groups in the study's order."""
        return list(map(str, self.study.get("groups", [])))

    @property
    def compared(self) -> list[str]:
        """The study's first two groups, in the order in which the tables compare them."""
        pair, table = self.groups[:2], self.comparisons.get("use")
        if table is None or "group_1" not in table:
            return pair
        pairs = set(zip(table["group_1"], table["group_2"], strict=True))
        return pair if tuple(pair) in pairs else pair[::-1]

    @property
    def traits(self) -> list[str]:
        """Traits in the study's order."""
        return list(map(str, self.study.get("traits", [])))

    @property
    def publishable(self) -> list[str]:
        """Images that may be shown individually, in the order of the prepared images."""
        if self.pixels is None:
            return []
        allowed = self.study.get("may_publish", {})
        # Only `true` permits showing a face, not text or a number that looks like it.
        return [image for image in map(str, self.pixels[IMAGE].values) if allowed.get(image) is True]

    @property
    def region_order(self) -> list[str]:
        """Regions by the size of the group difference in their use, or of their share without groups."""
        tests, shares = self.comparisons.get("use"), self.use.get("shares")
        table, column = (tests, "estimate") if tests is not None else (shares, SHARE)
        if table is None or REGION not in table:
            return []
        sizes = table[column].abs().groupby(table[REGION], sort=False).max()
        return list(sizes.sort_values(ascending=False, kind="stable").index.astype(str))

    def in_order(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with its rows in the report's order of traits and regions."""
        if {"trait_1", "trait_2"} <= set(table):
            return self._order_pairs_of_traits(table)
        for column, names in ((REGION, self.region_order), (TRAIT, self.traits)):
            places = {name: place for place, name in enumerate(names)}
            if column in table and places:
                table = table.sort_values(
                    column, key=lambda own, at=places: own.map(at).fillna(-1), kind="stable"
                )
        return table

    def _order_pairs_of_traits(self, table: pd.DataFrame) -> pd.DataFrame:
        """Name the earlier trait of each pair first, and sort by both; correlations are symmetric."""
        places = {trait: place for place, trait in enumerate(self.traits)}
        first, second = table["trait_1"].map(places), table["trait_2"].map(places)
        swapped = first > second
        table = table.assign(
            trait_1=table["trait_1"].mask(swapped, table["trait_2"]),
            trait_2=table["trait_2"].mask(swapped, table["trait_1"]),
        )
        return table.sort_values(["trait_1", "trait_2"], key=lambda traits: traits.map(places), kind="stable")

    def with_own_r(self, table: pd.DataFrame) -> pd.DataFrame:
        """Replace r of models with a common penalty by r of `performance.csv` in tests of performance."""
        if self.performance is None:
            return table
        r = self.performance.set_index([GROUP, TRAIT])["r"].to_dict()
        for end in ("1", "2"):
            keys = zip(table[f"group_{end}"], table[TRAIT], strict=True)
            table = table.assign(**{f"r_{end}": [r.get(key) for key in keys]})
        return table

    def setting(self, *keys: str) -> Any:
        """Return the value of a setting of the study.

        Parameters
        ----------
        *keys : str
            The section's name, then the setting's.

        Returns
        -------
        any
            The value, or None where it is not recorded.
        """
        value: Any = self.study.get("settings", {})
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value


NEEDED = {
    a.USE_TESTS.path: ("question",),
    a.PERFORMANCE.path: (GROUP, TRAIT, "r"),
    a.PREDICTIONS.path: (GROUP, TRAIT, OBSERVED, PREDICTED),
    a.GROUP_CUES.path: (IMAGE, REGION, GROUP, TRAIT, CUE),
}
"""Columns that figures require, by file; columns other than names must be numeric."""


def read_results(folder: Path) -> Results:
    """Read a results folder.

    Parameters
    ----------
    folder : Path
        A results folder; it must contain `study.json`, all other files may be missing.

    Raises
    ------
    TraitlensError
        If `study.json` is missing or any file cannot be read.
    """
    folder = Path(folder)
    if not (folder / "study.json").is_file():
        raise TraitlensError(
            Problem(
                "is not a results folder: it contains no study.json",
                "name the folder that `traitlens run` wrote",
                str(folder),
            )
        )
    problems: list[Problem] = []
    recorded = consistent_outputs(folder)

    def read(artifact: Artifact) -> Any:
        """Read a file if it exists and is from the same run as the others; collect errors."""
        is_current = recorded is None or artifact in DESCRIPTIONS or artifact.path in recorded
        if not is_current or not artifact.of(folder).exists():
            return None
        try:
            return _read(artifact, folder)
        except TraitlensError as error:
            problems.extend(error.problems)
            return None
        # Parsers and codecs raise undocumented exceptions on damaged files.
        except Exception as error:
            text = " ".join(str(error).split())[:200] or type(error).__name__
            problems.append(Problem(f"cannot be read ({text})", "run the study again", artifact.path))
            return None

    def read_all(below: str) -> dict[str, pd.DataFrame]:
        """Read all tables of a folder that are not empty."""
        listed = [one for path, one in ARTIFACTS.items() if path.startswith(below) and path.endswith(".csv")]
        tables = {one.name: read(one) for one in listed}
        return {name: table for name, table in tables.items() if table is not None}

    prepared, tests = read(a.PREPARED), read(a.USE_TESTS)
    use = {one.name: read(one) for one in USE_TABLES}
    results = Results(
        folder=folder,
        study=read(a.STUDY) or {},
        provenance=read(a.PROVENANCE) or {},
        predictions=read(a.PREDICTIONS),
        performance=read(a.PERFORMANCE),
        losses=read(a.LEARNING_CURVES),
        reliability=read(a.RELIABILITY),
        targets=read(a.TARGETS),
        regions=read(a.REGION_TABLE),
        variances=read(a.VARIANCES),
        loadings=read(a.TRAIT_LOADINGS),
        correlations=read(a.TRAIT_CORRELATIONS),
        components=read(a.TRAIT_COMPONENTS),
        comparisons=read_all("comparisons/") | ({} if tests is None else by_question(tests)),
        use={name: table for name, table in use.items() if table is not None},
        checks=read_all("checks/"),
        quality=read(a.QUALITY),
        quality_signs=read(a.QUALITY_SIGNS),
        cleaning=read(a.CLEANING),
        planned=read(a.PLANNED),
        plan=read(a.PLAN),
        pixels=None if prepared is None else prepared["pixels"],
        maps=read(a.MAPS),
        averages=read(a.AVERAGE_MAPS),
        pixel_tests=read(a.PIXEL_MAPS),
        experiment=read_all("experiment/"),
        experiment_facts=read(a.EXPERIMENT) or {},
    )
    if problems:
        raise TraitlensError(problems)
    return results


def _read(artifact: Artifact, folder: Path) -> Any:
    """Read a file of a results folder; return None for an empty table."""
    if artifact.path.endswith(".zarr"):
        return _open(artifact.of(folder))
    value = artifact.read(folder)
    if fault := _find_fault(artifact, value):
        raise TraitlensError(Problem(fault, "run the study again", artifact.path))
    return value if not isinstance(value, pd.DataFrame) or len(value) else None


def _find_fault(artifact: Artifact, value: Any) -> str:
    """Return why the content of a file is invalid, or an empty string."""
    if artifact == a.STUDY:
        names = [value.get("groups", []), value.get("traits", [])] if isinstance(value, dict) else [None]
        if not all(isinstance(one, list) and all(isinstance(name, str) for name in one) for one in names):
            return "does not list groups and traits by name"
        if not isinstance(value.get("may_publish", {}), dict) or not isinstance(
            value.get("settings", {}), dict
        ):
            return "does not list settings and permissions by name"
    for column in NEEDED.get(artifact.path, ()):
        if column not in value:
            return f"has no column {column!r}"
        is_name = column in (GROUP, TRAIT, IMAGE, REGION, "question")
        # An empty table has no column types.
        if len(value) and not is_name and not pd.api.types.is_numeric_dtype(value[column]):
            return f"has text in the column {column!r}"
    return ""


def _open(path: Path) -> xr.Dataset:
    """Open a dataset lazily, with text coordinates as plain strings."""
    dataset = open_arrays(path)
    texts = {
        name: [str(value) for value in dataset[name].to_numpy()]
        for name in (GROUP, TRAIT, IMAGE, "comparison")
        if name in dataset.coords
    }
    named: xr.Dataset = dataset.assign_coords(
        {name: (name, pd.Index(values, dtype=object)) for name, values in texts.items()}
    )
    return named
