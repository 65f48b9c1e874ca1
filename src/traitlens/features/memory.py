"""Memory that large arrays take again and again, kept instead of given back each time."""

import ctypes
import sys
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Names of settings in glibc's malloc.h."""

LARGEST_KEPT = 2**28
"""Arrays of so many bytes, and more, are still given back to the system when they go."""


@cache
def keep_memory() -> bool:
    """Let the C library keep what large arrays leave, for the next ones; once for the whole process.

    glibc gives pages of large arrays back to the system and takes them again at each layer of a network, and
    the system fills them with zeros each time: an eighth of the time that features take. All threads share
    one arena, so that what one leaves another finds.

    Returns
    -------
    bool
        Whether the C library is one that can be told so (glibc on Linux).

    References
    ----------
    mallopt(3), Linux Programmer's Manual.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = {_MMAP_THRESHOLD: LARGEST_KEPT, _TRIM_THRESHOLD: 2 * LARGEST_KEPT, _ARENA_MAX: 1}
    told = [mallopt(name, value) for name, value in wanted.items()]
    return all(told)
