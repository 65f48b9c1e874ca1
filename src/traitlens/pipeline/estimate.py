"""What a run will take, told before it starts; a run that cannot fit is refused with what to change.

The rates are rough, from single images: every kind of work is told in forward passes of one image, and one
forward pass is timed here.
"""

import math
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from traitlens.faces.regions import REGIONS
from traitlens.pipeline.engines import cores
from traitlens.pipeline.explaining import kept_images
from traitlens.pipeline.machine import Machine
from traitlens.pipeline.pixels import COMPONENTS
from traitlens.pipeline.reading import weigh_spaces
from traitlens.pipeline.status import Look
from traitlens.problems import Problem, TraitlensError
from traitlens.readouts.registry import find_readout
from traitlens.relevance.active_units import cost_of_lists
from traitlens.study.reading import Study

BASE = 1.1e9
"""Bytes of a process that has loaded everything and modified the network's weights."""

PER_WORKER = 0.4e9
"""Bytes that a block of images of 224 pixels takes while it is worked on; grows with the pixels."""

ACTIVE = 0.15
"""Share of the products of whole layers that is between units that are on, for photographs of faces."""

GIGA = 1e9


@dataclass(frozen=True)
class Need:
    """What a part of a run takes.

    Parameters
    ----------
    part : str
        Which.
    passes : float
        Work, in forward passes of one image.
    memory : float
        Bytes, while it runs.
    disk : float
        Bytes that it leaves.
    advice : str
        What to change where it does not fit.
    seconds : float
        Time beside the passes, of work that is not shared out.
    """

    part: str
    passes: float = 0.0
    memory: float = 0.0
    disk: float = 0.0
    advice: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Parameters
    ----------
    needs : tuple of Need
        By part; what is there already needs nothing.
    seconds : float
        Time.
    memory : float
        Bytes at most.
    disk : float
        Bytes.
    """

    needs: tuple[Need, ...]
    seconds: float
    memory: float
    disk: float

    def __str__(self) -> str:
        return (
            f"About {_duration(self.seconds)}, {self.memory / GIGA:.1f} GB of memory and "
            f"{self.disk / GIGA:.1f} GB of disk are needed."
        )


def estimate(study: Study, results: Path, machine: Machine) -> Estimate:
    """Estimate what is still to be done.

    Parameters
    ----------
    study : Study
        The study.
    results : Path
        Its results folder; only read.
    machine : Machine
        Where it will run.

    Returns
    -------
    Estimate
        Time, memory and disk.

    Raises
    ------
    TraitlensError
        If the weights cannot be had.
    """
    look = Look(study, results, machine)
    look.report()
    there = {stage.name for stage in look.stages if stage.state == "there"}
    needs = tuple(need for stage, need in list_needs(study).items() if stage not in there)
    workers = machine.workers or (cores() if machine.device == "cpu" and not machine.scheduler else 1)
    size = study.settings.faces.size
    alive = workers if machine.workers is None else 0  # processes have their own share
    memory = BASE + alive * PER_WORKER * (size / 224) ** 2
    memory += (machine.workers or 0) * (BASE + PER_WORKER * (size / 224) ** 2)
    passes = sum(need.passes for need in needs)
    layers = {space.tap.layer for space in weigh_spaces(study.settings.readout)}
    seconds = passes * time_forward(look.machine, size, layers) / workers if passes else 0.0
    seconds += sum(need.seconds for need in needs)
    largest = max((need.memory for need in needs), default=0.0)
    return Estimate(needs, seconds, memory + largest, sum(need.disk for need in needs))


def list_needs(study: Study) -> dict[str, Need]:
    """List what each stage of a run needs.

    Parameters
    ----------
    study : Study
        The study.

    Returns
    -------
    dict of str to Need
        By stage.
    """
    settings = study.settings
    n, side = len(study.images), settings.faces.size
    pairs = len(study.groups) * len(study.traits)
    blocks = math.ceil(n / 8) + settings.folds.number
    spaces = weigh_spaces(settings.readout)
    readout = find_readout(settings.readout.method)
    views = len({(space.view, mirrored) for space in spaces for mirrored in (False, space.mirror)})
    width = sum(
        512 * math.prod(np.broadcast_to(space.tap.grid or side // 16, 2).tolist()) for space in spaces
    )
    cost = readout.cost(settings.readout, n, settings.folds.number, width)
    fewer = "set readout.grid lower"
    kept = int(kept_images(n, settings.run.keep_maps).sum())
    maps = kept * pairs * side**2 * 2.0
    sums = blocks * pairs * side**2 * 8.0
    needs = {
        "prepare": Need("preparing", 0.5 * n, 0, n * side**2 * 3.0),
        "features": Need("features", views * n, 0, n * width * 4.0, fewer),
        "fit": Need("readouts", 0, cost.memory, cost.disk, cost.advice, cost.seconds),
        "explain": Need(
            "maps", (2 + _passes_back(pairs)) * n, 0, maps + sums, 'set run.keep_maps = "sample" or "none"'
        ),
    }
    one_space = readout.reads_one_space(settings.readout)
    linear = one_space and settings.comparison.permutations > 0 and study.has_raters
    if one_space and settings.comparison.cues:
        needs["cues"] = Need("cues", 3 * n, 4 * n * width * 4.0, 0, "set comparison.cues = false")
    if linear and settings.comparison.regions:
        pixels = settings.comparison.pixels if len(study.groups) > 1 else 0
        components = (2 + _passes_back(COMPONENTS)) * n if pixels else 0
        kernels = len(REGIONS) * n**2
        disk = kernels * 4.0 + n * COMPONENTS * pixels**2 * 4.0
        advice = "set comparison.regions = false"
        passes = (2 + _passes_back(len(REGIONS))) * n + components
        needs["compare_readouts"] = Need("comparison", passes, kernels * 8.0 * 2, disk, advice)
    return needs


def _passes_back(maps: int) -> float:
    """Tell how many forward passes it takes to send maps back: one by one, or along active units."""
    return 1.1 * min(maps, ACTIVE * cost_of_lists(maps))


def time_forward(machine: Machine, size: int, layers: Collection[str]) -> float:
    """Time a forward pass of one image by one thread.

    Parameters
    ----------
    machine : Machine
        Where.
    size : int
        Side of the image.
    layers : collection of str
        What is read.

    Returns
    -------
    float
        Seconds.
    """
    import torch

    backbone = machine.backbone()
    image = np.zeros((1, size, size, 3), np.uint8)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = []
        for _ in range(2):
            start = time.perf_counter()
            backbone.activations(image, layers)
            times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return min(times)


def refuse_what_cannot_fit(estimate: Estimate, results: Path) -> None:
    """Refuse a run that would end in a full memory or disk.

    Parameters
    ----------
    estimate : Estimate
        What it will take.
    results : Path
        Where it will write.

    Raises
    ------
    TraitlensError
        That says what to change.
    """
    problems = []
    memory = free_memory()
    if memory is not None and estimate.memory > memory:
        worst = max(estimate.needs, key=lambda need: need.memory)
        needed = f"the run needs about {estimate.memory / GIGA:.1f} GB of memory"
        what = f"{needed}, but {memory / GIGA:.1f} GB are free"
        most = f" (most of it for the {worst.part})" if worst.memory > estimate.memory / 2 else ""
        problems.append(Problem(what + most, worst.advice if most else "use fewer --workers"))
    disk = free_disk(results)
    if estimate.disk > disk:
        worst = max(estimate.needs, key=lambda need: need.disk)
        what = f"the run needs about {estimate.disk / GIGA:.1f} GB of disk, but {disk / GIGA:.1f} GB are free"
        problems.append(Problem(what, f"choose another --out, or {worst.advice}", str(results)))
    if problems:
        raise TraitlensError(problems)


def free_memory() -> float | None:
    """Find how much memory is free.

    Returns
    -------
    float or None
        Bytes; None where the system does not tell.
    """
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        found += [float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        pass
    try:  # what a container, or a job on a cluster, may take
        most = Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8").strip()
        now = Path("/sys/fs/cgroup/memory.current").read_text(encoding="utf-8")
        parts = dict(
            line.split()
            for line in Path("/sys/fs/cgroup/memory.stat").read_text(encoding="utf-8").splitlines()
        )
        if most != "max":  # what files take in it is given back when asked for
            found.append(float(most) - float(now) + float(parts["file"]))
    except (OSError, ValueError, KeyError):
        pass
    return min(found, default=None)


def free_disk(results: Path) -> float:
    """Find how much disk is free.

    Parameters
    ----------
    results : Path
        Where; need not be there yet.

    Returns
    -------
    float
        Bytes.
    """
    there = next(folder for folder in (results.resolve(), *results.resolve().parents) if folder.exists())
    return float(shutil.disk_usage(there).free)


def _duration(seconds: float) -> str:
    """Write a duration roughly."""
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(seconds, 1):.0f} seconds"
