"""Tables read from disk as text and checked, so that every message can name file, row and column."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from traitlens.problems import Problem

MOST_LINES = 20
"""How many faults of one kind are listed before they are only counted."""


def read_table(path: Path) -> tuple[pd.DataFrame | None, list[Problem]]:
    """Read a CSV (as text) or Parquet table.

    Parameters
    ----------
    path : Path
        The file. CSV: UTF-8 with or without a byte order mark; comma, semicolon or tab.

    Returns
    -------
    table : DataFrame or None
        Its cells; the index counts rows from 0, so that row `i` is line `i + 2` of the file. None where
        the file cannot be read.
    problems : list of Problem
        Why it cannot be read.
    """
    path = Path(path)
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path), []
        text = path.read_bytes()[:65536].decode("utf-8-sig", errors="replace")
        header = text.splitlines()[0] if text.strip() else ""
        separator = max(",;\t", key=header.count)
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, sep=separator, encoding="utf-8-sig", skipinitialspace=True
        )
    except (OSError, ValueError, IndexError) as error:
        return None, [Problem(f"cannot be read as a table ({error})", "save it as CSV in UTF-8", path.name)]
    table.columns = [str(column).strip() for column in table.columns]
    if table.empty:
        return None, [Problem("holds no row", "add the data", path.name)]
    return table, []


def find_missing_columns(table: pd.DataFrame, needed: Sequence[str], file: str) -> list[Problem]:
    """List the columns that a table lacks.

    Parameters
    ----------
    table : DataFrame
        The table.
    needed : sequence of str
        Columns that it must have.
    file : str
        Its file, for messages.

    Returns
    -------
    list of Problem
        One for each column that is missing.
    """
    found = ", ".join(map(str, table.columns))
    return [
        Problem(f"column {column!r} is missing", f"found: {found}", file)
        for column in needed
        if column not in table.columns
    ]


def numbers(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Turn text into numbers; a decimal comma counts as a point.

    Parameters
    ----------
    values : Series of str or numbers
        The cells.

    Returns
    -------
    numbers : Series of float
        Missing where a cell is empty or no finite number.
    unreadable : Series of str
        The cells that are neither empty nor a finite number; missing elsewhere.

    Examples
    --------
    >>> numbers(pd.Series(["1", "2,5", "", "many"]))[0].tolist()
    [1.0, 2.5, nan, nan]
    """
    text = values.astype(str).str.strip()
    empty = values.isna() | text.str.upper().isin({"", "NA", "N/A", "NAN", "NULL", "NONE"})
    parsed = pd.to_numeric(text.str.replace(",", "."), errors="coerce").astype(float)
    parsed = parsed.where(np.isfinite(parsed))
    return parsed, text.where(parsed.isna() & ~empty)


def truth_values(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Turn text into true and false; an empty cell is false.

    Parameters
    ----------
    values : Series of str
        The cells.

    Returns
    -------
    truths : Series of bool
        The values.
    unreadable : Series of str
        The cells that are neither; missing elsewhere.
    """
    text = values.astype(str).str.strip().str.lower()
    yes, no = {"true", "yes", "1", "1.0", "t", "y"}, {"false", "no", "0", "0.0", "f", "n", "", "nan", "na"}
    return text.isin(yes), text.where(~text.isin(yes | no))


def row_problems(
    rows: pd.DataFrame, what: Callable[[pd.Series], str], advice: str, file: str, column: str
) -> list[Problem]:
    """Make a problem for each faulty row; past twenty they are counted only.

    Parameters
    ----------
    rows : DataFrame
        The faulty rows, with the index that :func:`read_table` gave.
    what : callable
        Says what is wrong with a row.
    advice : str
        What to do.
    file : str
        The table's file.
    column : str
        The faulty column.

    Returns
    -------
    list of Problem
        The problems, in the order of the rows.
    """
    problems = [
        Problem(what(row), advice, file, int(index) + 2, column)
        for index, (_, row) in zip(rows.index, rows.head(MOST_LINES).iterrows(), strict=False)
    ]
    if len(rows) > MOST_LINES:
        problems.append(
            Problem(f"{len(rows) - MOST_LINES} further rows have this fault", advice, file, column=column)
        )
    return problems


def find_duplicates(table: pd.DataFrame, keys: Sequence[str], file: str) -> list[Problem]:
    """List the rows that repeat the keys of an earlier row.

    Parameters
    ----------
    table : DataFrame
        The table, with the index that :func:`read_table` gave.
    keys : sequence of str
        Columns that together must be unique.
    file : str
        The table's file.

    Returns
    -------
    list of Problem
        One for each repeated row.
    """
    keys = list(keys)
    again = table.duplicated(keys)
    if not again.any():
        return []
    involved = table[table.duplicated(keys, keep=False)]
    first = involved.groupby(keys, dropna=False)[keys[0]].transform(lambda part: part.index[0])
    rows = table[again].assign(first_row=[int(first[index]) + 2 for index in table.index[again]])
    named = " and ".join(keys) if len(keys) < 3 else ", ".join(keys[:-1]) + " and " + keys[-1]
    advice = "remove one, or number the judgements in a column 'repeat'" if len(keys) > 1 else "remove one"
    return [
        Problem(problem.what, advice, file, problem.row)
        for problem in row_problems(
            rows, lambda row: f"has the same {named} as row {row['first_row']}", advice, file, keys[0]
        )
    ]
