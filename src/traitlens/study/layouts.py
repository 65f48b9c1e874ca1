"""Layouts of ratings: from a table as it arrived to one row per judgement, by a mapping of its columns."""

import fnmatch
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from traitlens.problems import Problem, StudyError, nearest
from traitlens.study.settings import RatingsSettings
from traitlens.study.tables import cell_problems, numbers
from traitlens.words import GROUP, IMAGE, RATER, RATING, REPEAT, TRAIT

COLUMN = "column of the rating"
"""Name of the column that tells in which column of the original table a rating stood."""

WORDS = (RATER, GROUP, IMAGE, TRAIT, RATING, REPEAT)
"""What a mapping names columns for, in the order of the columns of `ratings.csv`."""


def to_long(cells: pd.DataFrame, mapping: RatingsSettings, file: str) -> pd.DataFrame:
    """Bring a table of ratings into one row per judgement.

    Parameters
    ----------
    cells : DataFrame of str
        The table, as :func:`~traitlens.study.formats.read_cells` gives it.
    mapping : RatingsSettings
        Which columns hold what.
    file : str
        The table's file, for messages.

    Returns
    -------
    DataFrame
        rater, group, image, trait, rating and repeat as far as they are known, the columns that the mapping
        keeps, all text; its index counts the rows of the original, and :data:`COLUMN` names the column that
        a rating stood in. Ratings may be empty.

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
    told = {TRAIT: mapping.trait_name, GROUP: mapping.group_pattern}
    needed |= {word: word for word in WORDS if word in cells and word not in needed and not told.get(word)}
    table = pd.DataFrame({word: cells[column] for word, column in needed.items()})
    for column in mapping.keep:
        table[column] = cells[column]
    if mapping.layout == "wide":
        table = _lengthen(table, cells, mapping, file)
    elif RATING in table:
        table[COLUMN] = needed[RATING]
    if mapping.group_pattern is not None and GROUP not in table:
        table[GROUP] = (
            table[RATER].str.extract(f"({mapping.group_pattern})", flags=re.IGNORECASE)[0].fillna("")
        )
    if TRAIT not in table and mapping.trait_name is not None:
        table[TRAIT] = mapping.trait_name
    if RATING not in table:
        raise StudyError(
            Problem("it is not known which column holds the ratings", "name it in [ratings]", file)
        )
    order = [word for word in WORDS if word in table]
    return table[[*order, *(column for column in table.columns if column not in order)]]


def parse_ratings(table: pd.DataFrame, file: str) -> tuple[pd.DataFrame, list[Problem]]:
    """Turn the ratings of a long table into numbers.

    Parameters
    ----------
    table : DataFrame
        What :func:`to_long` gives.
    file : str
        The table's file, for messages.

    Returns
    -------
    table : DataFrame
        The table without its empty ratings.
    problems : list of Problem
        The cells that are no numbers.
    """
    values, unreadable = numbers(table[RATING])
    wrong = unreadable.notna()
    advice = "correct it or leave it empty"
    columns = table[COLUMN][wrong]
    problems = cell_problems(unreadable[wrong], "{!r} is not a number", advice, file, columns)
    return table.assign(**{RATING: values})[values.notna() | wrong], problems


def _lengthen(table: pd.DataFrame, cells: pd.DataFrame, mapping: RatingsSettings, file: str) -> pd.DataFrame:
    """Give each cell of the spread columns a row of its own, in the order of the original rows."""
    spread = spread_columns(list(map(str, cells.columns)), mapping.spread)
    if not spread:
        patterns = ", ".join(mapping.spread)
        raise StudyError(Problem(f"no column matches {patterns!r}", "correct [ratings] spread", file))
    if RATER not in table and mapping.columns == "images":
        table = table.assign(**{RATER: [f"row {row + 2}" for row in cells.index]})
    rows, columns = np.repeat(cells.index, len(spread)), np.tile(spread, len(cells))
    table = table.loc[rows].assign(**{RATING: cells[spread].to_numpy().ravel(), COLUMN: columns})
    if mapping.pattern is not None:
        parts = table[COLUMN].str.extract(mapping.pattern)
        for word in parts.columns:
            table[word] = parts[word].fillna("")
    else:
        table[{"images": IMAGE, "raters": RATER, "traits": TRAIT}[mapping.columns]] = table[COLUMN]
    return table


def spread_columns(columns: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """List the columns that names or patterns (`X*`) mean.

    Parameters
    ----------
    columns : sequence of str
        All columns.
    patterns : sequence of str
        Names, or patterns with `*` and `?`.

    Returns
    -------
    list of str
        The columns, in the table's order.
    """
    exact = set(patterns)
    return [
        name for name in columns if name in exact or any(fnmatch.fnmatchcase(name, one) for one in patterns)
    ]


def data_rows(cells: pd.DataFrame) -> pd.DataFrame:
    """Pass over the two rows of questions and import codes below the header of a Qualtrics export.

    Parameters
    ----------
    cells : DataFrame of str
        The table.

    Returns
    -------
    DataFrame of str
        The rows of answers.
    """
    codes = [bool(row.str.contains('"ImportId"', regex=False).any()) for _, row in cells.head(3).iterrows()]
    return cells.iloc[codes.index(True) + 1 :] if any(codes) else cells


def _check_columns(cells: pd.DataFrame, names: Sequence[str], file: str) -> None:
    """Refuse a mapping that names columns which are not there."""
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
    """Share of the cells with content that are numbers.

    Parameters
    ----------
    values : Series of str
        The cells.

    Returns
    -------
    float
        0 to 1; 0 where every cell is empty.
    """
    filled = values[values != ""]
    return float(numbers(filled)[0].notna().mean()) if len(filled) else 0.0
