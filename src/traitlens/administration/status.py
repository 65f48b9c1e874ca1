"""Report the state of a results folder: which stages are current, and the time and disk space of each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traitlens.artifacts import ARTIFACTS
from traitlens.locking import read_lock
from traitlens.pipeline.flow import FLOW
from traitlens.pipeline.plan import plan
from traitlens.pipeline.request import read_request
from traitlens.storage import size_of


@dataclass(frozen=True)
class StageStatus:
    """State of one stage in a results folder.

    Parameters
    ----------
    name : str
        Name of the stage.
    state : {"current", "stale", "missing", "left out"}
        "stale" if inputs or settings have changed since the stage was made.
    reason : str
        Why the stage is stale or left out.
    seconds : float
        Time that the stage took.
    bytes : int
        Size of its files.
    """

    name: str
    state: str
    reason: str
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Status:
    """State of a results folder.

    Parameters
    ----------
    study : Path
        Folder of the study.
    stages : tuple of StageStatus
        All stages, in the order in which they run.
    unfinished : dict of str to int
        Number of finished blocks of images of each interrupted stage.
    bytes : int
        Size of the folder.
    holder : dict or None
        The process that has locked the folder.
    """

    study: Path
    stages: tuple[StageStatus, ...]
    unfinished: dict[str, int]
    bytes: int
    holder: dict[str, Any] | None


def examine_results(results: str | Path) -> Status:
    """Return the state of a results folder.

    The folder is not modified, and neither network weights nor an internet connection is required.

    Parameters
    ----------
    results : str or Path
        The results folder.

    Raises
    ------
    TraitlensError
        If the folder is not a results folder, or its study cannot be read.

    Examples
    --------
    >>> examine_results("mystudy/results").bytes  # doctest: +SKIP
    """
    results = Path(results)
    context = read_request(results)
    stages = []
    for one in plan(context):
        record = context.records.read(one.stage.name)
        files = [] if record is None else [ARTIFACTS[path] for path in record.outputs if path in ARTIFACTS]
        size = sum(size_of(file.of(results)) for file in files)
        seconds = 0.0 if record is None else record.seconds
        stages.append(StageStatus(one.stage.name, one.state, one.reason, seconds, size))
    blocks = {stage.name: len(list((results / ".cache" / stage.name).glob("*/*.npz"))) for stage in FLOW}
    unfinished = {name: number for name, number in blocks.items() if number}
    return Status(context.study.folder, tuple(stages), unfinished, size_of(results), read_lock(results))
