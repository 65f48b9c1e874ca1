"""Reading of landmark files of other programs, as points of the face mesh.

The column `point` of the tables is the index of a point of the 478-point mesh as a string, "0" to "477".
Points without a counterpart in the mesh are omitted. Coordinates are pixel-corner coordinates of the upright
image.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from traitlens.columns import IMAGE, POINT, X, Y
from traitlens.problems import Problem, TraitlensError
from traitlens.study.matching import match_images

TEM_TO_MESH: Final[Mapping[int, int]] = {
    **{0: 468, 1: 473},  # pupils
    **{18: 33, 19: 160, 20: 159, 21: 157, 22: 133, 28: 163, 29: 145, 30: 153},  # left lids
    **{27: 263, 26: 387, 25: 386, 24: 384, 23: 362, 33: 390, 32: 374, 31: 380},  # right lids
    **{71: 70, 72: 63, 73: 105, 74: 66, 75: 107, 76: 55, 83: 53, 84: 65},  # left brow
    **{82: 300, 81: 293, 80: 334, 79: 296, 78: 336, 77: 285, 86: 283, 85: 295},  # right brow
    **{55: 2, 62: 129, 67: 358},  # subnasale and alae
    **{87: 61, 88: 39, 89: 37, 90: 0, 91: 267, 92: 269, 93: 291},  # mouth corners and upper lip
    **{96: 13, 101: 14, 104: 91, 105: 84, 106: 17, 107: 314, 108: 321},  # lip line and lower lip
    **{125: 58, 127: 150, 128: 176, 129: 152, 130: 400, 131: 379, 133: 288},  # jaw and chin
}
"""Index in the mesh for points of WebMorph's 189-point template."""

DLIB_TO_MESH: Final[Mapping[int, int]] = {
    **{0: 127, 1: 234, 2: 93, 3: 132, 4: 58, 5: 136, 6: 150, 7: 176, 8: 152},  # jaw, left to chin
    **{9: 400, 10: 379, 11: 365, 12: 288, 13: 361, 14: 323, 15: 454, 16: 356},
    **{17: 70, 18: 63, 19: 105, 20: 66, 21: 107, 22: 336, 23: 296, 24: 334, 25: 293, 26: 300},  # brows
    **{27: 168, 30: 4, 31: 98, 32: 97, 33: 2, 34: 326, 35: 327},  # nose
    **{36: 33, 37: 160, 38: 158, 39: 133, 40: 153, 41: 144},  # left eye
    **{42: 362, 43: 385, 44: 387, 45: 263, 46: 373, 47: 380},  # right eye
    **{48: 61, 49: 39, 50: 37, 51: 0, 52: 267, 53: 269, 54: 291, 55: 405, 56: 314, 57: 17, 58: 84, 59: 181},
    **{60: 78, 61: 82, 62: 13, 63: 312, 64: 308, 65: 317, 66: 14, 67: 87},  # inner lips
}
"""Index in the mesh for points of the 68-point scheme of iBUG 300-W and dlib, counted from 0."""

TEM_POINTS: Final = 189
DLIB_POINTS: Final = 68


def read_tem(path: Path) -> pd.DataFrame:
    """Read a template of WebMorph or PsychoMorph with 189 points.

    Parameters
    ----------
    path : Path
        A `.tem` file: the number of points, a line with x and y of each point, then lines that connect
        points, which are ignored.

    Returns
    -------
    DataFrame
        point, x, y of the points with a counterpart in the mesh.

    Raises
    ------
    TraitlensError
        If the file cannot be read or has another number of points.

    Examples
    --------
    >>> read_tem(Path("face.tem")).head(2)  # doctest: +SKIP
      point        x        y
    0   468  496.969  825.700
    1   473  853.008  825.677
    """
    lines = _read_lines(path)
    count = lines[0].strip() if lines else ""
    if count != str(TEM_POINTS):
        raise _file_error(
            path, f"is not a template of {TEM_POINTS} points (its first line is {count[:20]!r})"
        )
    return _convert_to_mesh(_read_points(path, lines[1 : TEM_POINTS + 1], TEM_POINTS), TEM_TO_MESH)


def read_pts(path: Path) -> pd.DataFrame:
    """Read a `.pts` file of 68 points, as in iBUG 300-W.

    Parameters
    ----------
    path : Path
        A text file with the points between curly brackets; the centre of the first pixel is at (1, 1).

    Returns
    -------
    DataFrame
        point, x, y of the points with a counterpart in the mesh.

    Raises
    ------
    TraitlensError
        If the file cannot be read or has another number of points.
    """
    _, opened, rest = "\n".join(_read_lines(path)).partition("{")
    inside, closed, _ = rest.partition("}")
    if not opened or not closed:
        raise _file_error(path, "contains no points between curly brackets")
    lines = [line.strip() for line in inside.splitlines() if line.strip()]
    points = _read_points(path, lines, DLIB_POINTS)
    return _convert_to_mesh(points - 0.5, DLIB_TO_MESH)


def read_dlib_xml(path: Path) -> pd.DataFrame:
    """Read landmarks of many images in the format of dlib's imglab.

    Parameters
    ----------
    path : Path
        An XML file with `image`, `box` and `part` elements and 68 parts in each box; the centre of the first
        pixel is at (0, 0). If an image has several boxes, the largest is used.

    Returns
    -------
    DataFrame
        image, point, x, y of the points with a counterpart in the mesh; without images that have no points.

    Raises
    ------
    TraitlensError
        If the file cannot be read, or images have another number of points.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _file_error(path, f"cannot be read ({error.strerror})") from None
    codes = ("ascii", "utf-16-le", "utf-16-be")
    if any(mark.encode(code) in content for mark in ("<!DOCTYPE", "<!ENTITY") for code in codes):
        raise _file_error(path, "defines XML entities, which are not allowed")
    try:
        root = ElementTree.fromstring(content)  # The encoding is declared in the file, often as ISO-8859-1.
    except ElementTree.ParseError as error:
        raise _file_error(path, f"is not XML ({error})") from None
    tables: list[pd.DataFrame] = []
    problems: list[Problem] = []
    for image in root.iter("image"):
        name = image.get("file", "")
        boxes = sorted(image.findall("box"), key=_box_area)
        parts = boxes[-1].findall("part") if boxes else []
        if not parts:
            continue
        lines = [f"{part.get('x')} {part.get('y')}" for part in sorted(parts, key=_sort_key)]
        try:
            points = _read_points(path, lines, DLIB_POINTS, f"image {name!r} ")
        except TraitlensError as error:
            problems += error.problems
            continue
        tables.append(_convert_to_mesh(points + 0.5, DLIB_TO_MESH).assign(**{IMAGE: name}))
    if problems or not tables:
        raise TraitlensError(problems or Problem("contains no annotated images", "check the file", str(path)))
    return pd.concat(tables, ignore_index=True)[[IMAGE, POINT, X, Y]]


def read_given_landmarks(
    folder: Path, paths: Mapping[str, Path], table: pd.DataFrame | None = None
) -> pd.DataFrame | None:
    """Read the landmarks that a study provides: `landmarks.csv`, and landmark files of other programs.

    Parameters
    ----------
    folder : Path
        The study's folder, which may contain a `landmarks.xml` of dlib.
    paths : mapping of str to Path
        Image files by name; a `.tem` or `.pts` file of the same name may be in the same folder.
    table : DataFrame, optional
        image, point, x, y of `landmarks.csv`; images in this table need no other landmarks.

    Returns
    -------
    DataFrame or None
        image, point, x, y; None if the study provides no landmarks.

    Raises
    ------
    TraitlensError
        With a problem for each file that cannot be read.
    """
    problems: list[Problem] = []
    in_table = set() if table is None else set(table[IMAGE].unique())
    found: dict[str, pd.DataFrame] = {}
    for image, path in paths.items():
        for suffix, read in ((".tem", read_tem), (".pts", read_pts)):
            spellings = (path.with_suffix(one) for one in (suffix, suffix.upper(), suffix.capitalize()))
            file = next((one for one in spellings if one.exists()), None)
            if image not in in_table and image not in found and file is not None:
                try:
                    found[image] = read(file).assign(**{IMAGE: image})
                except TraitlensError as error:
                    problems += error.problems
    xml = folder / "landmarks.xml"
    if xml.exists():
        try:
            named, unmatched = match_images(read_dlib_xml(xml), list(paths), xml.name)
            problems += [Problem(one.what, one.advice, one.file) for one in unmatched]
            named = named[~named[IMAGE].isin([*in_table, *found])]
            found |= {str(image): rows for image, rows in named.groupby(IMAGE)}
        except TraitlensError as error:
            problems += error.problems
    if problems:
        raise TraitlensError(problems)
    if not found:
        return table
    parts = [*found.values()] if table is None else [table, *found.values()]
    return pd.concat(parts, ignore_index=True)[[IMAGE, POINT, X, Y]]


def _box_area(box: ElementTree.Element) -> float:
    """Return the area of a `box` element; 0 if its size is missing or invalid."""
    try:
        return float(box.get("width", "0")) * float(box.get("height", "0"))
    except ValueError:
        return 0.0


def _sort_key(part: ElementTree.Element) -> str:
    """Return the name of a `part` element with leading zeros, so that names sort like numbers."""
    return part.get("name", "").zfill(4)


def _read_lines(path: Path) -> list[str]:
    """Read the lines of a text file; raise an error if it cannot be opened."""
    try:
        return Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise _file_error(path, f"cannot be read ({error.strerror})") from None


def _read_points(path: Path, lines: list[str], count: int, where: str = "") -> np.ndarray:
    """Parse x and y from each line, as an array (count, 2); raise an error if the lines have another form."""
    if len(lines) != count:
        raise _file_error(path, f"{where}has {len(lines)} points, not {count}")
    try:
        points = np.array([[float(number) for number in line.split()] for line in lines])
    except ValueError:
        raise _file_error(path, f"{where}contains points that are not numbers") from None
    if points.shape != (count, 2) or not np.isfinite(points).all():
        raise _file_error(path, f"{where}contains lines other than x and y")
    return points


def _convert_to_mesh(points: np.ndarray, to_mesh: Mapping[int, int]) -> pd.DataFrame:
    """Return a table of the points that have a counterpart in the mesh, with their index in the mesh."""
    table = pd.DataFrame(points[list(to_mesh)], columns=[X, Y])
    table.insert(0, POINT, [str(index) for index in to_mesh.values()])
    return table


def _file_error(path: Path, what: str) -> TraitlensError:
    return TraitlensError(Problem(what, "check the file", str(path)))
