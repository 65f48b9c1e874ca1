"""Memory and disk: what is free, and memory that large arrays take again and again."""

import ctypes
import gc
import shutil
import sys
import threading
from pathlib import Path

VARIABLES = {
    "MALLOC_ARENA_MAX": 1,
    "MALLOC_MMAP_THRESHOLD_": 2**28,
    "MALLOC_TRIM_THRESHOLD_": 2**29,
}
"""What a process that starts is told by its environment (glibc; bytes). Arrays of 2**28 bytes and more are
still given back to the system when they go."""

_NUMBERS = {"MALLOC_ARENA_MAX": -8, "MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_TRIM_THRESHOLD_": -1}
"""The same settings in glibc's malloc.h."""


def keep_memory() -> bool:
    """Let the C library keep what large arrays leave, for the next ones, in the whole process.

    glibc gives pages of large arrays back to the system and takes them again at each layer of a network, and
    the system fills them with zeros each time: an eighth of the time that features take. All threads share
    one arena, so that what one leaves another finds; those that already have their own keep it, and would
    lose by it. So this is for the first thread, before others work; processes that others start
    get :data:`VARIABLES`.

    Returns
    -------
    bool
        Whether this is the first thread, and the C library one that can be told so (glibc on Linux).

    References
    ----------
    mallopt(3), Linux Programmer's Manual.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    told = [mallopt(_NUMBERS[name], value) for name, value in VARIABLES.items()]
    return all(told)


def give_memory_back() -> None:
    """Give the system what is kept of arrays and tables that are gone (of the C library's on Linux only)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


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
