"""Image names in tables matched to image files: with or without extension, whatever the case."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd

from traitlens.problems import Problem, nearest
from traitlens.study.tables import MOST_LINES
from traitlens.words import IMAGE


def match_images(table: pd.DataFrame, files: Sequence[str], file: str) -> tuple[pd.DataFrame, list[Problem]]:
    """Put the images' file names into a table.

    Parameters
    ----------
    table : DataFrame
        A table with a column image; its index counts rows from 0.
    files : sequence of str
        The images' paths below `images/`.
    file : str
        Name of the table's file, for messages.

    Returns
    -------
    table : DataFrame
        The table with full image paths; names that match no file are left as they are.
    problems : list of Problem
        One for each name that matches no image, or several.
    """
    names = table[IMAGE].astype(str).str.strip().str.replace("\\", "/")
    known = _names_of(files)
    matched: dict[str, str] = {}
    problems = []
    rows = names.groupby(names, sort=False)
    for name, part in rows:
        found = known.get(name) or known.get(name.lower()) or set()
        if len(found) == 1:
            matched[name] = next(iter(found))
            continue
        times = f" ({len(part)} rows)" if len(part) > 1 else ""
        if found:
            what = f"{name!r} matches several images{times}"
            advice = f"write the path: {', '.join(sorted(found)[:3])}"
        else:
            near = nearest(name, files)
            what = f"there is no image {name!r}{times}"
            advice = f"nearest: {', '.join(near)}" if near else "add the image or remove the row"
        problems.append(Problem(what, advice, file, int(part.index[0]) + 2, IMAGE))
    hidden = len(problems) - MOST_LINES
    if hidden > 0:
        problems = [*problems[:MOST_LINES], Problem(f"{hidden} further names match no image", file=file)]
    return table.assign(**{IMAGE: names.map(matched).fillna(names)}), problems


def _names_of(files: Sequence[str]) -> dict[str, set[str]]:
    """Map every way to write an image's name to the files that it could mean."""
    known: dict[str, set[str]] = {}
    for file in files:
        path = PurePosixPath(file)
        ways = {file, path.with_suffix("").as_posix(), path.name, path.stem}
        for way in ways | {way.lower() for way in ways}:
            known.setdefault(way, set()).add(file)
    for file in files:  # a full path always means itself
        known[file] = {file}
    return known
