"""Free memory and disk, and reuse of the memory of large arrays."""

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
"""Environment variables for new processes (glibc; bytes). Arrays of 2**28 bytes and more are still returned
to the system when they are freed."""

_NUMBERS = {"MALLOC_ARENA_MAX": -8, "MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_TRIM_THRESHOLD_": -1}
"""Numbers of these settings in glibc's malloc.h."""


def reuse_memory() -> bool:
    """Configure the C library to reuse the memory of large arrays, in the whole process.

    By default glibc returns the pages of large arrays to the system and requests them again at each layer of
    a network, and the system fills them with zeros: an eighth of the time of features. All threads share one
    arena, so that one reuses what another freed. Threads that already have an arena keep it and would be
    slower, so call this in the first thread, before others start. New processes get :data:`VARIABLES`.

    Returns
    -------
    bool
        Whether it had an effect: in the first thread, with glibc on Linux.

    References
    ----------
    mallopt(3), Linux Programmer's Manual.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    done = [mallopt(_NUMBERS[name], value) for name, value in VARIABLES.items()]
    return all(done)


def release_memory() -> None:
    """Return freed memory of arrays and tables to the system (that of the C library on Linux only)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def free_memory() -> float | None:
    """Return the free memory.

    Returns
    -------
    float or None
        Bytes; None if the system does not say.
    """
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        found += [float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        pass
    try:  # limit of a container or a cluster job
        most = Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8").strip()
        now = Path("/sys/fs/cgroup/memory.current").read_text(encoding="utf-8")
        parts = dict(
            line.split()
            for line in Path("/sys/fs/cgroup/memory.stat").read_text(encoding="utf-8").splitlines()
        )
        if most != "max":  # memory of cached files is released on demand
            found.append(float(most) - float(now) + float(parts["file"]))
    except (OSError, ValueError, KeyError):
        pass
    return min(found, default=None)


def free_disk(results: Path) -> float:
    """Return the free disk space.

    Parameters
    ----------
    results : Path
        A folder, which need not exist.

    Returns
    -------
    float
        Bytes.
    """
    there = next(folder for folder in (results.resolve(), *results.resolve().parents) if folder.exists())
    return float(shutil.disk_usage(there).free)
