"""Matching of image names in tables to image files."""

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
"""How a name matches a file: as written; without folder or extension; by its letters and numbers, without
regard to case, punctuation and leading zeros; or by its number alone."""


def match_images(
    table: pd.DataFrame, files: Sequence[str], file: str, by_number: bool = False
) -> tuple[pd.DataFrame, list[Problem]]:
    """Replace the image names in a table by the paths of the image files.

    Parameters
    ----------
    table : DataFrame
        A table with the column image; the index counts rows from 0.
    files : sequence of str
        The images' paths below `images/`.
    file : str
        Name of the table's file, for messages.
    by_number : bool, default False
        Whether names without another match are matched by their numbers, if
        :meth:`ImageNames.numbers_agree` allows it.

    Returns
    -------
    table : DataFrame
        The table with the full paths of the images; names that match no file are not changed.
    problems : list of Problem
        A problem for each name that matches no image or several.
    """
    codes, written = pd.factorize(table[IMAGE], use_na_sentinel=False)
    # A table may have many rows for each image, so look up every name only once.
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
    """Lookup of image files by names in different notations.

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
        numbered = _split_numbers([PurePosixPath(_normalise_path(file)).stem for file in files])
        for file, (prefix, number) in zip(files, numbered, strict=True):
            path = PurePosixPath(_normalise_path(file))
            self._written.setdefault(path.as_posix(), set()).add(file)
            for part in {path.with_suffix("").as_posix(), path.name, path.stem}:
                self._parts.setdefault(part, set()).add(file)
            for part in {path.with_suffix("").as_posix(), path.as_posix(), path.name, path.stem}:
                self._spelled.setdefault(_split_runs(part), set()).add(file)
            self._prefixes.add(prefix)
            self._numbered.setdefault(number, set()).add(file)

    def find(self, name: str, by_number: bool = False) -> set[str]:
        """Return the images that match a name.

        Parameters
        ----------
        name : str
            A path or file name, with or without folder and extension, or an HTML <img> element.
        by_number : bool, default False
            Whether the number in the name may decide if nothing else matches.

        Returns
        -------
        set of str
            The images; empty if nothing matches.
        """
        return self.find_with_way(name, by_number)[0]

    def find_with_way(self, name: str, by_number: bool = False) -> tuple[set[str], str]:
        """Return the images that match a name, and how they match it.

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
            How the name matches; "" if nothing matches.
        """
        name = _normalise_path(_read_image_source(name))
        path = PurePosixPath(name.split("?", 1)[0])
        stem = path.stem if path.suffix.lower() in _SUFFIXES else path.name
        if found := self._written.get(path.as_posix()):
            return found, EXACT
        folders = _find_condition_words(path.parent)
        for part in (path.as_posix(), path.name, stem):
            if found := self._parts.get(part):
                return {file for file in found if _folder_agrees(folders, file)}, PART
        for part in (path.as_posix(), path.name, stem):
            runs = _split_runs(part)
            # R writes X before names that begin with a digit.
            without_x = runs[1:] if runs[:1] == ("x",) and len(runs) > 1 else ()
            for spelling in (runs, without_x):
                if spelling and (found := self._spelled.get(spelling)):
                    return {file for file in found if _folder_agrees(folders, file)}, SPELLING
        number = split_number(_drop_decimals(stem))[1]
        if number and stem != _drop_decimals(stem):  # a number that a program wrote with decimals
            return self.find_with_way(_drop_decimals(stem), by_number)
        if by_number and number and (found := self._numbered.get(number)):
            return found, NUMBER
        return set(), ""

    def numbers_agree(self, names: Iterable[str]) -> bool:
        """Return whether names may be matched to the images by their numbers.

        This requires that all names have the same letters before the number, that all images have, and that
        these letters are equal or missing in one of them: "1" may be face_01.jpg and Face_1 may be 001.jpg,
        but happy_1 is not neutral_01.jpg.
        """
        stems = (PurePosixPath(_normalise_path(_read_image_source(name)).split("?", 1)[0]) for name in names)
        forms = {
            split_number(_drop_decimals(path.stem if path.suffix.lower() in _SUFFIXES else path.name))
            for path in stems
        }
        prefixes = {prefix for prefix, number in forms if number}
        if any(not number for _, number in forms) or len(prefixes) != 1 or len(self._prefixes) != 1:
            return False
        return "" in prefixes or "" in self._prefixes or prefixes == self._prefixes


def find_shared(written: Sequence[str], names: ImageNames, by_number: bool) -> dict[str, list[str]]:
    """Find images that a table names by paths in several folders, such as happy/01.jpg and sad/01.jpg.

    Parameters
    ----------
    written : sequence of str
        The distinct image names of a table.
    names : ImageNames
        The images.
    by_number : bool
        Whether names may be matched by number.

    Returns
    -------
    dict of str to list of str
        For each such image, one of its names in each folder.
    """
    meant: dict[str, dict[str, str]] = {}
    for name in written:
        found = names.find(name, by_number)
        folder = PurePosixPath(_normalise_path(_read_image_source(name))).parent.name
        if len(found) == 1 and folder:
            meant.setdefault(next(iter(found)), {}).setdefault(folder, name)
    return {image: list(several.values()) for image, several in meant.items() if len(several) > 1}


def count_ways(
    written: Sequence[str], names: ImageNames, by_number: bool
) -> tuple[dict[str, int], dict[str, str]]:
    """Count how the image names of a table are matched.

    Parameters
    ----------
    written : sequence of str
        The distinct image names of a table.
    names : ImageNames
        The images.
    by_number : bool
        Whether names may be matched by number.

    Returns
    -------
    counts : dict of str to int
        Number of names matched exactly, without folder or extension, by spelling, and by number.
    pairs : dict of str to str
        Image of each name that is matched by spelling or number.
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


def _read_image_source(name: str) -> str:
    """Return the source of an HTML <img> element, as jsPsych writes it; other names unchanged."""
    if "<" in name and (source := _SOURCE.search(name)):
        return next(part for part in source.groups() if part is not None)
    return name


def _find_condition_words(folder: PurePosixPath) -> set[str]:
    """Return the words in a folder's path that distinguish images of one person, such as happy."""
    return {word for part in folder.parts for word in name_words(part)} & CONDITIONS


def _folder_agrees(conditions: set[str], file: str) -> bool:
    """Return whether the folder of a file has one of the condition words, or there are none to compare."""
    there = _find_condition_words(PurePosixPath(_normalise_path(file)).parent)
    return not conditions or not there or bool(conditions & there)


def _normalise_path(name: str) -> str:
    """Return a name in Unicode NFC, with forward slashes and URL escapes decoded."""
    name = unicodedata.normalize("NFC", name).strip().strip("\u200b\u200e\u200f\ufeff").replace("\\", "/")
    return unquote(name) if re.search(r"%[0-9A-Fa-f]{2}", name) else name


def _drop_decimals(name: str) -> str:
    """Return a name such as 3.0 without decimals, and other names unchanged."""
    return re.sub(r"^(\d+)\.0+$", r"\1", name)


def _split_runs(name: str) -> tuple[str, ...]:
    """Split a name into runs of letters and of digits, in lower case and without leading zeros."""
    runs = re.findall(r"[^\W\d_]+|\d+", name.casefold())
    return tuple(run.lstrip("0") or "0" if run.isdigit() else run for run in runs)


def _split_numbers(stems: Sequence[str]) -> list[tuple[str, str]]:
    """Split each name into letters and the number that differs between names.

    The numbers of 001_03 and 002_03 are 1 and 2. Names that differ in more than one number are split by
    :func:`split_number`.
    """
    runs = [_split_runs(stem) for stem in stems]
    if len({len(one) for one in runs}) == 1 and len(runs) > 1:
        varying = [place for place, parts in enumerate(zip(*runs, strict=True)) if len(set(parts)) > 1]
        if len(varying) == 1 and all(one[varying[0]].isdigit() for one in runs):
            letters = "".join(part for part in runs[0] if not part.isdigit())
            return [(letters, one[varying[0]]) for one in runs]
    return [split_number(stem) for stem in stems]


def split_number(name: str) -> tuple[str, str]:
    """Split a name into the letters before its number, and the number with the letter that may follow it.

    Returns
    -------
    letters, number : str
        Both in lower case, without punctuation and leading zeros; the number is "" if there is none.

    Examples
    --------
    >>> split_number("Face_012b"), split_number("anna")
    (('face', '12b'), ('anna', ''))
    """
    match = re.fullmatch(r"(\D*?)0*(\d+)([a-z]?)", name.casefold())
    letters = "".join(re.findall(r"[^\W\d_]+", match.group(1) if match else name.casefold()))
    return letters, (match.group(2) + match.group(3) if match else "")
