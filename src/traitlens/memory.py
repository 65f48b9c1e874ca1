"""Free memory, free disk space, and reuse of the memory of large arrays."""

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
"""Environment variables that configure malloc of glibc in new processes, with sizes in bytes. The memory of
arrays of 2**28 bytes and more is still returned to the system when they are freed."""

_NUMBERS = {"MALLOC_ARENA_MAX": -8, "MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_TRIM_THRESHOLD_": -1}
"""Parameter of mallopt for each environment variable, from malloc.h of glibc."""


def reuse_memory() -> bool:
    """Configure the C library to reuse the memory of large arrays, in the whole process.

    By default, glibc returns the memory of large arrays to the system and requests it again for each layer of
    a network. The system then fills it with zeros, which takes an eighth of the time of computing features.
    All threads are made to share one arena, so that a thread can reuse memory that another has freed. Threads
    that already have an arena would become slower, so this function must be called in the main thread before
    others start. New processes need the environment variables :data:`VARIABLES`.

    Returns
    -------
    bool
        Whether the configuration succeeded; False outside the main thread, and without glibc on Linux.

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
    """Return the memory of deleted arrays and tables to the system, as far as the system allows."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def free_memory() -> float | None:
    """Return the free memory in bytes, within the limit of a container or cluster job; None if unknown."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        found += [float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        pass
    try:  # Limit of a container or a cluster job.
        most = Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8").strip()
        now = Path("/sys/fs/cgroup/memory.current").read_text(encoding="utf-8")
        parts = dict(
            line.split()
            for line in Path("/sys/fs/cgroup/memory.stat").read_text(encoding="utf-8").splitlines()
        )
        if most != "max":  # The memory of cached files is released on demand.
            found.append(float(most) - float(now) + float(parts["file"]))
    except (OSError, ValueError, KeyError):
        pass
    return min(found, default=None)


def free_disk(results: Path) -> float:
    """Return the free disk space, in bytes, at a folder that need not exist."""
    there = next(folder for folder in (results.resolve(), *results.resolve().parents) if folder.exists())
    return float(shutil.disk_usage(there).free)
