"""Match the names of images in tables to image files, and record how each was matched."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote

import numpy as np
import pandas as pd

from traitlens.columns import IMAGE
from traitlens.problems import Problem, nearest
from traitlens.study.tables import MOST_LINES
from traitlens.study.vocabulary import CONDITIONS, name_words

EXACT, PART, SPELLING, NUMBER = "exact", "without folder or extension", "spelling", "number"
"""Ways to match a name: as written, without folder or extension, by letters and numbers only (upper and lower
case, signs and leading zeros do not matter), or by its number alone."""


def match_images(
    table: pd.DataFrame, files: Sequence[str], file: str, by_number: bool = False
) -> tuple[pd.DataFrame, list[Problem]]:
    """Replace the names of images in a table by the paths of their files.

    Parameters
    ----------
    table : DataFrame
        A table with a column image; its index counts rows from 0.
    files : sequence of str
        The images' paths below `images/`.
    file : str
        Name of the table's file, for messages.
    by_number : bool, default False
        Whether names that differ from the files' names are matched by their numbers, where
        :func:`numbers_agree` allows it.

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
    by_number = by_number and known.numbers_agree(names)
    matched = list(names)
    problems = []
    for place, name in enumerate(names):
        found = known.find(name, by_number)
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
    """Lookup of images by names in any form.

    Parameters
    ----------
    files : sequence of str
        The images' paths below `images/`.

    Examples
    --------
    >>> names = ImageNames(["faces/CFD-WF-001.jpg", "faces/CFD-WF-002.jpg"])
    >>> names.find("cfd.wf.001"), names.find("2"), names.find("2", by_number=True)
    ({'faces/CFD-WF-001.jpg'}, set(), {'faces/CFD-WF-002.jpg'})
    """

    def __init__(self, files: Sequence[str]):
        self._written: dict[str, set[str]] = {}
        self._parts: dict[str, set[str]] = {}
        self._spelled: dict[tuple[str, ...], set[str]] = {}
        self._numbered: dict[str, set[str]] = {}
        self._prefixes: set[str] = set()
        numbered = _number_stems([PurePosixPath(_normal(file)).stem for file in files])
        for file, (prefix, number) in zip(files, numbered, strict=True):
            path = PurePosixPath(_normal(file))
            self._written.setdefault(path.as_posix(), set()).add(file)
            for part in {path.with_suffix("").as_posix(), path.name, path.stem}:
                self._parts.setdefault(part, set()).add(file)
            for part in {path.with_suffix("").as_posix(), path.as_posix(), path.name, path.stem}:
                self._spelled.setdefault(_runs(part), set()).add(file)
            self._prefixes.add(prefix)
            self._numbered.setdefault(number, set()).add(file)

    def find(self, name: str, by_number: bool = False) -> set[str]:
        """Return the images that match a name.

        Parameters
        ----------
        name : str
            A path or name, with or without folder and extension; HTML with an image's source.
        by_number : bool, default False
            Whether the number alone may match, if nothing else does.

        Returns
        -------
        set of str
            The images; empty if nothing matches.
        """
        return self.find_with_way(name, by_number)[0]

    def find_with_way(self, name: str, by_number: bool = False) -> tuple[set[str], str]:
        """Return the images that match a name, and how.

        Parameters
        ----------
        name : str
            See :meth:`find`.
        by_number : bool, default False
            See :meth:`find`.

        Returns
        -------
        images : set of str
            The images; empty if nothing matches.
        way : {"exact", "without folder or extension", "spelling", "number", ""}
            How the name matched.
        """
        name = _normal(_source_of(name))
        path = PurePosixPath(name.split("?", 1)[0])
        stem = path.stem if path.suffix.lower() in _SUFFIXES else path.name
        if found := self._written.get(path.as_posix()):
            return found, EXACT
        folders = _conditions(path.parent)
        for part in (path.as_posix(), path.name, stem):
            if found := self._parts.get(part):
                return {file for file in found if _agree(folders, file)}, PART
        for part in (path.as_posix(), path.name, stem):
            runs = _runs(part)
            # R writes X before names that begin with a digit.
            without_x = runs[1:] if runs[:1] == ("x",) and len(runs) > 1 else ()
            for spelling in (runs, without_x):
                if spelling and (found := self._spelled.get(spelling)):
                    return {file for file in found if _agree(folders, file)}, SPELLING
        number = split_number(stem)[1]
        if by_number and number and (found := self._numbered.get(number)):
            return found, NUMBER
        return set(), ""

    def numbers_agree(self, names: Iterable[str]) -> bool:
        """Return whether names may be matched to the images by their numbers.

        They may where all have the same letters before the number, where all images have, and where these
        do not contradict one another: "1" may be face_01.jpg and Face_1 may be 001.jpg, but happy_1 is not
        neutral_01.jpg.
        """
        stems = (PurePosixPath(_normal(_source_of(name)).split("?", 1)[0]) for name in names)
        forms = {split_number(path.stem if path.suffix.lower() in _SUFFIXES else path.name) for path in stems}
        prefixes = {prefix for prefix, number in forms if number}
        if any(not number for _, number in forms) or len(prefixes) != 1 or len(self._prefixes) != 1:
            return False
        return "" in prefixes or "" in self._prefixes or prefixes == self._prefixes


def find_shared(written: Sequence[str], names: ImageNames, by_number: bool) -> dict[str, list[str]]:
    """Find images that names in several folders mean, such as happy/01.jpg and sad/01.jpg.

    Parameters
    ----------
    written : sequence of str
        The different names of a table.
    names : ImageNames
        The images.
    by_number : bool
        Whether numbers were allowed to decide.

    Returns
    -------
    dict of str to list of str
        One name of each folder, keyed by image, if there are several.
    """
    meant: dict[str, dict[str, str]] = {}
    for name in written:
        found = names.find(name, by_number)
        folder = PurePosixPath(_normal(_source_of(name))).parent.name
        if len(found) == 1 and folder:
            meant.setdefault(next(iter(found)), {}).setdefault(folder, name)
    return {image: list(several.values()) for image, several in meant.items() if len(several) > 1}


def count_ways(
    written: Sequence[str], names: ImageNames, by_number: bool
) -> tuple[dict[str, int], dict[str, str]]:
    """Return how the names of a table were matched.

    Parameters
    ----------
    written : sequence of str
        The different names of a table.
    names : ImageNames
        The images.
    by_number : bool
        Whether numbers were allowed to decide.

    Returns
    -------
    counts : dict of str to int
        Number of names matched in each way.
    pairs : dict of str to str
        The names that were matched by spelling or number, and their images.
    """
    counts: Counter[str] = Counter()
    pairs = {}
    for name in written:
        found, way = names.find_with_way(name, by_number)
        if len(found) == 1:
            counts[way] += 1
            if way in (SPELLING, NUMBER):
                pairs[name] = next(iter(found))
    return dict(counts), pairs


_SOURCE = re.compile(r"""<img[^>]*\bsrc\s*=\s*(?:"([^"]+)"|'([^']+)'|([^"'>\s]+))""", re.IGNORECASE)
_SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".heic", ".avif"}


def _source_of(name: str) -> str:
    """Return the source of an image that a name shows as HTML, as jsPsych writes it."""
    if "<" in name and (source := _SOURCE.search(name)):
        return next(part for part in source.groups() if part is not None)
    return name


def _conditions(folder: PurePosixPath) -> set[str]:
    """Return the words of a folder that distinguish pictures of one person, such as happy."""
    return {word for part in folder.parts for word in name_words(part)} & CONDITIONS


def _agree(conditions: set[str], file: str) -> bool:
    """Return whether a file's folder agrees with the conditions in a name, or names none."""
    there = _conditions(PurePosixPath(_normal(file)).parent)
    return not conditions or not there or bool(conditions & there)


def _normal(name: str) -> str:
    """Return a name in NFC, with forward slashes and without the escapes of web addresses."""
    name = unicodedata.normalize("NFC", name).strip().strip("\u200b\u200e\u200f\ufeff").replace("\\", "/")
    return unquote(name) if re.search(r"%[0-9A-Fa-f]{2}", name) else name


def _runs(name: str) -> tuple[str, ...]:
    """Split a name into its runs of letters and of digits, without signs, case and leading zeros."""
    runs = re.findall(r"[^\W\d_]+|\d+", name.casefold())
    return tuple(run.lstrip("0") or "0" if run.isdigit() else run for run in runs)


def _number_stems(stems: Sequence[str]) -> list[tuple[str, str]]:
    """Split names into letters and number: the number is what varies where the rest is the same.

    So 001_03 and 002_03 are numbers 1 and 2; other names are split by :func:`split_number`.
    """
    runs = [_runs(stem) for stem in stems]
    if len({len(one) for one in runs}) == 1 and len(runs) > 1:
        varying = [place for place, parts in enumerate(zip(*runs, strict=True)) if len(set(parts)) > 1]
        if len(varying) == 1 and all(one[varying[0]].isdigit() for one in runs):
            letters = "".join(part for part in runs[0] if not part.isdigit())
            return [(letters, one[varying[0]]) for one in runs]
    return [split_number(stem) for stem in stems]


def split_number(name: str) -> tuple[str, str]:
    """Split a name into the letters before its number, and the number with any letter behind it.

    Returns
    -------
    letters, number : str
        In lower case, without signs and leading zeros; the number is "" where the name has another form.

    Examples
    --------
    >>> split_number("Face_012b"), split_number("anna")
    (('face', '12b'), ('anna', ''))
    """
    match = re.fullmatch(r"(\D*?)0*(\d+)([a-z]?)", name.casefold())
    letters = "".join(re.findall(r"[^\W\d_]+", match.group(1) if match else name.casefold()))
    return letters, (match.group(2) + match.group(3) if match else "")
