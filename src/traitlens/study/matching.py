"""Image names in tables matched to image files: with or without extension and prefix, whatever the case."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
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
    codes, written = pd.factorize(table[IMAGE], use_na_sentinel=False)
    # A table may have many rows of each image: every name is looked up once.
    of_written, names = pd.factorize(
        np.array([str(name).strip().replace("\\", "/") for name in written], object)
    )
    codes = of_written[codes]
    first, times_in_table = pd.Series(codes).drop_duplicates().index, np.bincount(codes)
    known = ImageNames(files)
    matched = list(names)
    problems = []
    for place, name in enumerate(names):
        found = known.find(name)
        if len(found) == 1:
            matched[place] = next(iter(found))
            continue
        count = times_in_table[place]
        times = f" ({count} rows)" if count > 1 else ""
        if found:
            what = f"{name!r} matches several images{times}"
            advice = f"write the path: {', '.join(sorted(found)[:3])}"
        else:
            near = nearest(name, files)
            what = f"there is no image {name!r}{times}"
            advice = f"nearest: {', '.join(near)}" if near else "add the image or remove the row"
        problems.append(Problem(what, advice, file, int(table.index[first[place]]) + 2, IMAGE))
    hidden = len(problems) - MOST_LINES
    if hidden > 0:
        problems = [*problems[:MOST_LINES], Problem(f"{hidden} further names match no image", file=file)]
    full: pd.Series = pd.Series(matched, dtype=str)
    if isinstance(table[IMAGE].dtype, pd.CategoricalDtype):
        full = full.astype("category")
    return table.assign(**{IMAGE: full.iloc[codes].set_axis(table.index)}), problems


class ImageNames:
    """Every way to write the images' names.

    Parameters
    ----------
    files : sequence of str
        The images' paths below `images/`.

    Examples
    --------
    >>> names = ImageNames(["faces/face_001.jpg", "faces/face_002.jpg"])
    >>> names.find("FACE_001"), names.find("X001"), names.find("2")
    ({'faces/face_001.jpg'}, {'faces/face_001.jpg'}, {'faces/face_002.jpg'})
    """

    def __init__(self, files: Sequence[str]):
        self._written: dict[str, set[str]] = {}
        self._numbered: dict[str, set[str]] = {}
        for file in files:
            path = PurePosixPath(file)
            for way in {file, path.with_suffix("").as_posix(), path.name, path.stem}:
                for spelling in {way, way.lower()}:
                    self._written.setdefault(spelling, set()).add(file)
            self._numbered.setdefault(_number_of(path.stem), set()).add(file)
        for file in files:  # a full path always means itself
            self._written[file] = {file}

    def find(self, name: str) -> set[str]:
        """Find the images that a name may mean.

        Parameters
        ----------
        name : str
            A path, name or number; a prefix is passed over where the number alone decides.

        Returns
        -------
        set of str
            The images; empty where nothing matches.
        """
        if "<" in name:  # jsPsych shows HTML
            source = _SOURCE.search(name)
            name = source.group(1) if source else name
        path = PurePosixPath(name.split("?", 1)[0])
        stem = path.stem if path.suffix.lower() in _SUFFIXES else path.name
        for way in (name, name.lower(), path.name.lower(), stem.lower()):
            if found := self._written.get(way):
                return found
        number = _number_of(stem)
        return self._numbered.get(number, set()) if number else set()


_SOURCE = re.compile(r"""<img[^>]*\bsrc\s*=\s*["']?([^"'>\s]+)""", re.IGNORECASE)
_SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"}


def _number_of(name: str) -> str:
    """Keep what follows a prefix of letters: its digits without leading zeros, and any letters after them."""
    match = re.fullmatch(r"[^\W\d]*?[\W_]*0*(\d+)([a-z]?)", name.lower())
    return match.group(1) + match.group(2) if match else ""
