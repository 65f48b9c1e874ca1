"""What a results folder holds, whether it is still right, and what it cost."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from traitlens import keeping
from traitlens.features.spaces import FeatureSpace
from traitlens.locking import read_lock
from traitlens.pipeline.machine import Machine
from traitlens.pipeline.protocols import machine_for, with_maps_kept
from traitlens.pipeline.run import Make, Run
from traitlens.problems import Problem, TraitlensError
from traitlens.study.reading import Study
from traitlens.watching import Silent


@dataclass(frozen=True)
class Stage:
    """State of one stage.

    Parameters
    ----------
    name : str
        Name of the stage.
    state : {"there", "stale", "missing"}
        "stale": made from other inputs or settings than the study has now.
    seconds : float
        What it cost.
    bytes : int
        Disk that its files take.
    """

    name: str
    state: str
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Status:
    """State of a results folder.

    Parameters
    ----------
    study : Path
        The study that the results are of.
    stages : tuple of Stage
        In the order in which they are made.
    unfinished : dict of str to int
        Blocks of images that are kept for a stage that is not finished.
    bytes : int
        Disk that the whole folder takes.
    holder : dict or None
        Who works in it now.
    """

    study: Path
    stages: tuple[Stage, ...]
    unfinished: dict[str, int]
    bytes: int
    holder: dict[str, Any] | None


def examine_results(results: str | Path) -> Status:
    """Look what a results folder holds, and whether the command that made it would make it again.

    Parameters
    ----------
    results : str or Path
        The results folder; only read.

    Returns
    -------
    Status
        Its state.

    Raises
    ------
    TraitlensError
        If it is no results folder, or its study cannot be read.

    Examples
    --------
    >>> examine_results("mystudy/results").bytes  # doctest: +SKIP
    """
    results = Path(results)
    try:
        origin = json.loads((results / ".kept" / "origin").read_text(encoding="utf-8"))
        study, precision = Path(origin["study"]), str(origin["precision"])
        keep = str(origin["keep_maps"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        advice = "give the folder that `traitlens run` wrote"
        raise TraitlensError(Problem("is no results folder of traitlens", advice, str(results))) from error
    look = Look(with_maps_kept(Study.load(study), keep), results, Machine(precision=precision))
    look.report()
    blocks = {
        folder.parent.name: len(list(folder.glob("*.npz"))) for folder in (results / ".kept").glob("*/*/")
    }
    done = {stage.name for stage in look.stages if stage.state == "there"}
    names = {"maps": "explain", "regions": "compare_readouts"}
    unfinished = {
        name: number for name, number in blocks.items() if number and names.get(name, name) not in done
    }
    return Status(study, tuple(look.stages), unfinished, keeping.size_of(results), read_lock(results))


class Look(Run):
    """A run that makes nothing: it walks through the stages and notes what it finds.

    Parameters
    ----------
    study : Study
        The study as it is now.
    results : Path
        The results folder.
    machine : Machine
        Precision.
    """

    def __init__(self, study: Study, results: Path, machine: Machine):
        self.study, self.results = study, results
        self.machine = machine_for(study.settings.readout, machine)
        self.watcher = Silent()
        self.ledger = keeping.Ledger(results)
        self.stages: list[Stage] = []

    def make_stage(
        self,
        stage: str,
        inputs: list[Any],
        files: list[str],  # noqa: ARG002
        label: str,  # noqa: ARG002
        total: int,  # noqa: ARG002
        make: Make,  # noqa: ARG002
    ) -> str:
        """Note the state of a stage.

        Parameters
        ----------
        stage : str
            Name of the stage.
        inputs : list
            Everything that its files depend on.
        files, label, total, make
            As :meth:`Run.make_stage` takes them; not used.

        Returns
        -------
        str
            Digest of the inputs.
        """
        key = self.stage_key(stage, inputs)
        self._note(stage, key)
        return key

    def _note(self, stage: str, key: str) -> None:
        """Note a stage once."""
        if any(noted.name == stage for noted in self.stages):
            return
        entry = self.ledger.entry(stage)
        there = self.ledger.holds(stage, key)
        state = "there" if there else "missing" if entry is None else "stale"
        files = [] if entry is None else entry["files"]
        size = sum(keeping.size_of(self.results / name) for name in files)
        if stage == "features":
            size = keeping.size_of(self.results / ".kept" / "features")
        self.stages.append(Stage(stage, state, 0.0 if entry is None else entry["seconds"], size))

    @cached_property
    def features(self) -> tuple[str, dict[FeatureSpace, np.ndarray]]:
        """The digest of what the features depend on; the features are not read."""
        key, _ = self._features_key()
        self._note("features", key)
        return key, {}

    @cached_property
    def has_points(self) -> bool:
        """Whether every face has its landmarks, as far as is known."""
        there = (self.results / "prepared.zarr").exists()
        return bool(np.isfinite(self.prepared["points"]).all()) if there else True
