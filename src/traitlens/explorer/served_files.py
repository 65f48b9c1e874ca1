"""Files that the servers may send: only certain types, and only from inside the results folder."""

from collections.abc import Container
from pathlib import Path

from traitlens import artifacts as a

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
"""Content types of served files, by suffix."""

LINKED = tuple(one.path for one in (a.REPORT, a.PERFORMANCE, a.PREDICTIONS, a.REGION_TABLE, a.PROVENANCE))
"""Result files that the page links to, if they exist."""

POLICY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)
"""Content security policy of served files: scripts run in an opaque origin, cut off from the server."""


def list_files(results: Path) -> list[str]:
    """Return the existing result files that the page links to."""
    return [name for name in LINKED if find_file(results, name) is not None]


def find_file(results: Path, name: str, kinds: Container[str] = KINDS) -> Path | None:
    """Find a file by an untrusted path inside a results folder.

    Parameters
    ----------
    name : str
        Path of the file relative to the folder, from an untrusted source.
    kinds : container of str
        Suffixes of files that may be served.

    Returns
    -------
    Path or None
        The file; None if it is missing, hidden, of another type, or outside the folder (also through a link).

    Examples
    --------
    >>> find_file(Path("results"), "../study.toml") is None
    True
    """
    parts = name.split("/")
    if "\0" in name or "\\" in name or any(not part or part.startswith(".") for part in parts):
        return None
    inside = Path(results).resolve()
    try:
        file = inside.joinpath(*parts).resolve()
        known = file.suffix.lower() in kinds and file.is_relative_to(inside) and file.is_file()
    except (OSError, ValueError):  # too long, not a valid name on this system, or links that form a loop
        return None
    return file if known else None
