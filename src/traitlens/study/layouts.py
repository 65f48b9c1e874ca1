"""Reshape a table of ratings to one row per judgement, according to a mapping of its columns."""

import fnmatch
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, IMAGE, RATER, RATING, REPEAT, TRAIT
from traitlens.problems import Problem, StudyError, nearest
from traitlens.study.expressions import extract, group_names
from traitlens.study.identifiers import normal_text
from traitlens.study.settings import RatingsSettings
from traitlens.study.tables import NO_VALUE, cell_problems, numbers

COLUMN = "column of the rating"
"""Name of the column that says which column of the original table a rating comes from."""

WORDS = (RATER, GROUP, IMAGE, TRAIT, RATING, REPEAT)
"""Columns that a mapping names, in the order of the columns of `ratings.csv`."""


def to_long(cells: pd.DataFrame, mapping: RatingsSettings, file: str) -> pd.DataFrame:
    """Reshape a table of ratings to one row per judgement.

    Parameters
    ----------
    cells : DataFrame of str
        The table, as returned by :func:`~traitlens.study.formats.read_cells`.
    mapping : RatingsSettings
        Mapping of columns.
    file : str
        Name of the table's file, for messages.

    Returns
    -------
    DataFrame of str
        rater, group, image, trait, rating and repeat as far as they are known, and the columns that the
        mapping keeps. The index and :data:`COLUMN` are row and column of the rating in the original table.
        Ratings may be empty.

    Raises
    ------
    StudyError
        If a column that the mapping names is missing.

    Examples
    --------
    >>> table = pd.DataFrame({"id": ["p1", "p2"], "sex": ["f", "m"], "X001": ["3", "4"], "X002": ["5", ""]})
    >>> mapping = RatingsSettings(
    ...     layout="wide", columns="images", rater="id", group="sex", spread=("X*",), trait_name="warm"
    ... )
    >>> print(to_long(table, mapping, "table.csv").head(3).drop(columns=COLUMN).to_string(index=False))
    rater group image trait rating
       p1     f  X001  warm      3
       p1     f  X002  warm      5
       p2     m  X001  warm      4
    """
    needed = {word: getattr(mapping, word) for word in WORDS if getattr(mapping, word) is not None}
    _check_columns(cells, [*needed.values(), *mapping.keep, *mapping.only], file)
    cells = data_rows(cells)
    for column, values in mapping.only.items():
        cells = cells[cells[column].isin(values)]
    known = {TRAIT: mapping.trait_name, GROUP: mapping.group_pattern}
    spread = spread_columns(list(map(str, cells.columns)), mapping.spread)
    needed |= {
        word: word
        for word in WORDS
        if word in cells and word not in needed and not known.get(word) and word not in spread
    }
    table = pd.DataFrame({word: cells[column] for word, column in needed.items()}, index=cells.index)
    for column in mapping.keep:
        table[column] = cells[column]
    if mapping.layout == "wide":
        table = _reshape_wide_table(table, cells, mapping, file)
    elif RATING in table:
        table[COLUMN] = needed[RATING]
    if mapping.group_pattern is not None and GROUP not in table:
        groups = extract_column(f"(?P<{GROUP}>{mapping.group_pattern})", table[RATER], ignore_case=True)
        table[GROUP] = groups[GROUP]
    if mapping.trait_name is not None:
        several = sorted(set(table[TRAIT])) if TRAIT in table else []
        if len(several) > 1:
            named = ", ".join(several[:8])
            what = f"the trait cannot be {mapping.trait_name!r} for all ratings: the table names {named}"
            raise StudyError(Problem(what, "do not name the trait, or select the columns of one trait", file))
        table[TRAIT] = mapping.trait_name
    if RATING not in table:
        found = ", ".join(map(str, cells.columns[:12]))
        raise StudyError(
            Problem("the column of the ratings was not found", f"name it; columns: {found}", file)
        )
    order = [word for word in WORDS if word in table]
    return table[[*order, *(column for column in table.columns if column not in order)]]


def parse_ratings(
    table: pd.DataFrame, file: str, missing: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[Problem]]:
    """Convert the ratings of a long table to numbers.

    Parameters
    ----------
    table : DataFrame
        Ratings as strings, as returned by :func:`to_long`.
    file : str
        Name of the table's file, for messages.
    missing : sequence of str
        Cells that mean that no rating was given.

    Returns
    -------
    table : DataFrame
        The table without empty ratings; cells that are not numbers are NaN.
    problems : list of Problem
        A problem for each cell that is not a number.
    """
    values, unreadable = numbers(table[RATING])
    coded = is_missing(table[RATING], missing)
    values, unreadable = values.mask(coded), unreadable.mask(coded)
    wrong = unreadable.notna()
    advice = "correct it or leave it empty"
    columns = table[COLUMN][wrong]
    problems = cell_problems(unreadable[wrong], "{!r} is not a number", advice, file, columns)
    return table.assign(**{RATING: values})[values.notna() | wrong], problems


def is_missing(ratings: pd.Series, missing: Sequence[str]) -> pd.Series:
    """Return which cells are codes for a missing rating.

    Parameters
    ----------
    ratings : Series of str
        The cells.
    missing : sequence of str
        The codes; numeric codes are compared as numbers, others without regard to case.

    Returns
    -------
    Series of bool
        True for the codes.
    """
    if not missing:
        return pd.Series(False, index=ratings.index)
    codes = numbers(pd.Series(list(missing), dtype=object))[0].dropna()
    words = {normal_text(code).casefold() for code in missing}
    cells = pd.Series(pd.unique(ratings.astype(object)), dtype=object).fillna("")
    coded = cells.map(lambda cell: normal_text(str(cell)).casefold() in words) | numbers(cells)[0].isin(codes)
    return ratings.isin(cells[coded])


def _reshape_wide_table(
    table: pd.DataFrame, cells: pd.DataFrame, mapping: RatingsSettings, file: str
) -> pd.DataFrame:
    """Reshape the rating columns of a wide table to rows, keeping the order of the original rows."""
    spread = spread_columns(list(map(str, cells.columns)), mapping.spread)
    if not spread:
        patterns = ", ".join(mapping.spread)
        found = ", ".join(map(str, cells.columns[:12]))
        raise StudyError(Problem(f"no column of ratings matches {patterns!r}", f"columns: {found}", file))
    if RATER not in table and mapping.columns == "images":
        table = table.assign(**{RATER: [f"row {row + 2}" for row in cells.index]})
    rows, columns = np.repeat(cells.index, len(spread)), np.tile(spread, len(cells))
    table = table.loc[rows].assign(**{RATING: cells[spread].to_numpy().ravel(), COLUMN: columns})
    if mapping.pattern is not None:
        parts = extract_column(mapping.pattern, table[COLUMN])
        for word in parts:
            table[word] = parts[word]
        if mapping.loop and IMAGE in parts:
            table[IMAGE] = table[IMAGE].map(lambda number: mapping.loop.get(number, number))
    else:
        table[{"images": IMAGE, "raters": RATER, "traits": TRAIT}[mapping.columns]] = table[COLUMN]
    return table


def extract_column(pattern: str, texts: pd.Series, ignore_case: bool = False) -> pd.DataFrame:
    """Extract the groups of a regular expression from the cells of a column.

    Parameters
    ----------
    pattern : str
        The regular expression, with named groups.
    texts : Series of str
        The cells.
    ignore_case : bool, default False
        Whether to ignore the difference between upper and lower case.

    Returns
    -------
    DataFrame of str
        A column for each group; "" in the rows of cells that do not match.
    """
    codes, written = pd.factorize(texts.astype(object), use_na_sentinel=False)
    found = extract(pattern, list(map(str, written)), ignore_case)
    names = group_names(pattern)
    cells = np.array([[one[name] if one else "" for name in names] for one in found], object)
    return pd.DataFrame(cells.reshape(len(found), len(names))[codes], index=texts.index, columns=names)


def spread_columns(columns: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the columns that match any of several names or patterns, such as `X*`.

    Parameters
    ----------
    columns : sequence of str
        All columns.
    patterns : sequence of str
        Names, or patterns with `*` and `?`.

    Returns
    -------
    list of str
        The matching columns, in the order of `columns`.
    """
    exact = set(patterns)
    return [
        name for name in columns if name in exact or any(fnmatch.fnmatchcase(name, one) for one in patterns)
    ]


def data_rows(cells: pd.DataFrame) -> pd.DataFrame:
    """Remove rows below the header that contain questions and import codes (Qualtrics) or labels (SoSci)."""
    codes = [any('"ImportId"' in str(cell) for cell in row) for row in cells.head(3).to_numpy()]
    if any(codes):
        return cells.iloc[codes.index(True) + 1 :]
    return cells.iloc[1:] if _has_label_row(cells) else cells


def _has_label_row(cells: pd.DataFrame) -> bool:
    """Return whether the first row contains the labels of the columns, as SoSci Survey writes them."""
    if len(cells) < 3:
        return False
    words = [name for name, cell in zip(cells, cells.iloc[0], strict=True) if cell and not _is_number(cell)]
    if len(words) < 3:
        return False
    numeric = [name for name in cells if share_of_numbers(cells[name].iloc[1:]) > 0.9]
    labels = [str(cells[name].iloc[0]) for name in numeric]
    # Short words that recur, such as the raters' groups, are data.
    groups = 1 < len(set(labels)) <= len(labels) / 2 and not any(" " in label for label in labels)
    return len(numeric) > 2 and set(numeric) <= set(words) and not groups


def _check_columns(cells: pd.DataFrame, names: Sequence[str], file: str) -> None:
    """Raise an error if the table lacks columns that the mapping names."""
    missing = [name for name in names if name not in cells.columns]
    problems = []
    for name in missing:
        near = nearest(name, map(str, cells.columns))
        advice = (
            f"nearest: {', '.join(near)}" if near else f"found: {', '.join(map(str, cells.columns[:12]))}"
        )
        problems.append(Problem(f"column {name!r} is missing", advice, file))
    if problems:
        raise StudyError(problems)


def share_of_numbers(values: pd.Series) -> float:
    """Compute the share (0 to 1) of numbers among the filled cells of a column; 0 if every cell is empty."""
    found = [_is_number(str(cell)) for cell in values if cell != ""]
    values = [one for one in found if one is not None]
    return sum(values) / len(values) if values else 0.0


@lru_cache(2**17)
def _is_number(cell: str) -> bool | None:
    """Return whether a cell is a finite number; None if the cell means that there is no value, such as NA."""
    cell = cell.strip().replace(",", ".")
    if cell.upper() in NO_VALUE:
        return None
    try:
        return math.isfinite(float(cell)) and "_" not in cell
    except ValueError:
        return False
