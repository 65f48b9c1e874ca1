"""Valid file names for the names of groups, traits and images."""

import re
import unicodedata
from collections.abc import Iterable

_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in "123456789¹²³")]
)
"""Names that Windows reserves for devices."""


def file_names(names: Iterable[str], longest: int = 60) -> list[str]:
    """Convert names to file names that are valid and distinct on every file system.

    Parameters
    ----------
    names : iterable of str
        The names; equal names have equal file names.
    longest : int, default 60
        Maximum number of characters.

    Returns
    -------
    list of str
        File names of letters, digits, "_" and "-", in the order of `names`. Different names have file names
        that differ in more than case.

    Examples
    --------
    >>> file_names(["<30", ">30", "warm", "Warm", "con"])
    ['30', '30-2', 'warm', 'Warm-2', 'con-']
    """
    names = list(names)
    taken: set[str] = set()
    written: dict[str, str] = {}
    for name in names:
        if name in written:
            continue
        plain = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", name)).strip("-")[:longest] or "x"
        plain = f"{plain}-" if plain.casefold() in _RESERVED else plain
        candidate, number = plain, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{plain[: longest - len(str(number)) - 1]}-{number}"
        taken.add(candidate.casefold())
        written[name] = candidate
    return [written[name] for name in names]
