"""The files of the results that the explorer hands out: a few kinds, and only from inside the folder."""

from pathlib import Path

from traitlens import artifacts as a

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
"""What is handed out, by ending."""

LINKED = tuple(one.path for one in (a.REPORT, a.PERFORMANCE, a.PREDICTIONS, a.REGION_TABLE, a.PROVENANCE))
"""What the page links to where it is there."""

POLICY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)
"""A report opens as a page of no origin: whatever is in it, it cannot reach the explorer."""


def list_files(results: Path) -> list[str]:
    """List the files that the page links to.

    Returns
    -------
    list of str
        Names of those that are there.
    """
    return [name for name in LINKED if find_file(results, name) is not None]


def find_file(results: Path, name: str) -> Path | None:
    """Find a file of the results.

    Parameters
    ----------
    name : str
        Its path below the folder, as a stranger may have written it.

    Returns
    -------
    Path or None
        The file; None where it is not there, of another kind, hidden, or outside the folder, also by a link.

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
        known = file.suffix.lower() in KINDS and file.is_relative_to(inside) and file.is_file()
    except OSError:  # a name that is too long, or a loop of links
        return None
    return file if known else None
