"""Memory that large arrays take again and again: kept for the next ones, or given back."""

import ctypes
import gc
import sys
import threading

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
