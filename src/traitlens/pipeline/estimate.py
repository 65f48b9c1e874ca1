"""Estimate the time, memory and disk that a run needs, and refuse runs that would not fit."""

from dataclasses import dataclass
from pathlib import Path

from traitlens.computing.machine import time_forward
from traitlens.memory import free_disk, free_memory
from traitlens.pipeline.context import Context
from traitlens.pipeline.plan import plan
from traitlens.pipeline.stage import Cost, Stage
from traitlens.problems import Problem, TraitlensError

BASE = 1.1e9
"""Memory in bytes of a process that has loaded the network and its weights modified for LRP."""

PER_WORKER = 0.4e9
"""Memory in bytes to compute a block of images of 224 x 224 pixels; proportional to the number of pixels."""

GIGA = 1e9


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of a run.

    Parameters
    ----------
    costs : dict of Stage to Cost
        Cost of each stage that the run will make.
    seconds : float
        Total time.
    memory, disk : float
        Largest memory and total disk space, in bytes.
    """

    costs: dict[Stage, Cost]
    seconds: float
    memory: float
    disk: float

    def __str__(self) -> str:
        return (
            f"About {_format_duration(self.seconds)}, {self.memory / GIGA:.1f} GB of memory and "
            f"{self.disk / GIGA:.1f} GB of disk are needed."
        )


def estimate(context: Context) -> Estimate:
    """Estimate the cost of the stages that a run will make.

    Parameters
    ----------
    context : Context
        Study and results, which are not changed. The network is loaded to time a forward pass.

    Raises
    ------
    TraitlensError
        If the weights are not available.
    """
    wanted = [one.stage for one in plan(context) if one.will_be_made]
    costs = {stage: stage.cost(context) for stage in wanted}
    machine, size = context.machine, context.study.settings.faces.size
    alive = context.workers if machine.workers is None else 0  # each worker process loads its own network
    each = PER_WORKER * (size / 224) ** 2
    memory = BASE + alive * each + (machine.workers or 0) * (BASE + each)
    passes = sum(cost.passes for cost in costs.values())
    seconds = passes * _time_forward(context) / context.workers if passes else 0.0
    seconds += sum(cost.seconds for cost in costs.values())
    largest = max((cost.memory for cost in costs.values()), default=0.0)
    return Estimate(costs, seconds, memory + largest, sum(cost.disk for cost in costs.values()))


def _time_forward(context: Context) -> float:
    context.machine.backbone(context.watcher.say)
    layers = {space.tap.layer for space in context.spaces}
    return time_forward(context.machine, context.study.settings.faces.size, layers)


def check_resources(estimate: Estimate, results: Path) -> None:
    """Raise an error if a run would not fit into memory or disk.

    Raises
    ------
    TraitlensError
        If memory or disk do not suffice; says which settings to change.
    """
    problems = []
    memory = free_memory()
    if memory is not None and estimate.memory > memory:
        worst, cost = max(estimate.costs.items(), key=lambda item: item[1].memory)
        needed = f"the run needs about {_format_size(estimate.memory)} of memory"
        what = f"{needed}, but {_format_size(memory)} are free"
        mostly = cost.memory > estimate.memory / 2
        most = f" (most of it for: {worst.label.lower()})" if mostly else ""
        problems.append(Problem(what + most, cost.advice if mostly else "use fewer --workers"))
    disk = free_disk(results)
    if estimate.disk > disk:
        cost = max(estimate.costs.values(), key=lambda cost: cost.disk)
        what = f"the run needs about {_format_size(estimate.disk)} of disk, but {_format_size(disk)} are free"
        problems.append(Problem(what, f"choose another --out, or {cost.advice}", str(results)))
    if problems:
        raise TraitlensError(problems)


def _format_size(number: float) -> str:
    """Format a number of bytes as GB or MB."""
    return f"{number / GIGA:.1f} GB" if number >= 0.1 * GIGA else f"{number / 1e6:.1f} MB"


def _format_duration(seconds: float) -> str:
    """Format a duration in its largest unit, such as "3 hours"."""
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(seconds, 1):.0f} seconds"
