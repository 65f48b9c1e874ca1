"""Reading of CSV and Parquet tables as strings, and checks whose messages name file, row and column."""

import csv
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
from pandas.api.types import union_categoricals

from traitlens.problems import Problem, StudyError
from traitlens.spreadsheets import unprotect
from traitlens.study.size_limits import check_parquet

THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
"""Numbers whose comma may separate thousands or decimals."""

MOST_LINES = 20
"""Maximum number of errors of one kind that are listed; further ones are counted."""

MOST_COLUMNS = 20_000
"""Maximum number of columns; a damaged file may declare millions."""

NO_VALUE = frozenset({"", "NA", "N/A", "NAN", "NULL", "NONE"})
"""Strings that mean an empty cell, in upper case."""

ROWS_AT_ONCE = 2**18
"""Number of rows that are read at once."""

MOST_HEADER = 2**20
"""Maximum length of the header of a table, in bytes."""


def read_table(path: Path, repeating: bool = False) -> tuple[pd.DataFrame | None, list[Problem]]:
    """Read a CSV table, with every cell as a string, or a Parquet table.

    Parameters
    ----------
    path : Path
        The file. CSV must be UTF-8, with or without a byte order mark, separated by comma, semicolon or tab.
    repeating : bool, default False
        Whether to store columns as categories, which saves memory if most cells repeat.

    Returns
    -------
    table : DataFrame or None
        The table, with empty cells of CSV as ""; row `i` of the index is line `i + 2` of the file. None if
        the file cannot be read.
    problems : list of Problem
        Reasons why the file cannot be read.
    """
    path = Path(path)
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            check_parquet(path)
            table = pd.read_parquet(path)
            if repeating:
                table = table.astype("category")
        else:
            separator, problem = _check_header(path)
            if problem is not None:
                return None, [problem]
            table = _read_csv(path, separator, repeating)
    except StudyError as error:
        return None, list(error.problems)
    except UnicodeDecodeError:
        return None, [_find_undecodable_line(path)]
    except (OSError, ValueError, MemoryError, pd.errors.ParserWarning, pyarrow.ArrowException) as error:
        message = " ".join(str(error).split())[:200]
        return None, [Problem(f"cannot be read as a table ({message})", "save it as CSV in UTF-8", path.name)]
    table.columns = [str(column).strip() for column in table.columns]
    table = unprotect(table)
    if table.empty:
        return None, [Problem("contains no rows", "add the data", path.name)]
    return table.reset_index(drop=True), []


def _check_header(path: Path) -> tuple[str, Problem | None]:
    """Return the separator of a CSV file, and a problem if its header is invalid."""
    with path.open("rb") as file:
        line = file.readline(MOST_HEADER)
    if line[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in line:
        advice = "save it as CSV in UTF-8, or use 'traitlens import table'"
        return ",", Problem("is not UTF-8 text", advice, path.name, 1)
    header = line.decode("utf-8-sig")
    if len(line) == MOST_HEADER and not header.endswith("\n"):
        return ",", Problem("the header is too long", "save it as CSV in UTF-8", path.name, 1)
    separator = max(",;\t", key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
    if not any(names):
        empty = path.stat().st_size == 0
        return ",", Problem("is empty" if empty else "has no header", "add the data", path.name)
    if len(names) > MOST_COLUMNS:
        return ",", Problem(
            f"declares {len(names):,} columns", f"at most {MOST_COLUMNS:,} are read", path.name, 1
        )
    twice = sorted({name for name in names if names.count(name) > 1}) if len(names) < 1000 else []
    if twice:
        named = ", ".join(repr(name) for name in twice[:5])
        return ",", Problem(
            f"has several columns of the same name: {named}", "give each column its own name", path.name, 1
        )
    return separator, None


def _read_csv(path: Path, separator: str, repeating: bool) -> pd.DataFrame:
    """Read a CSV file with every cell as a string; a row with too many cells is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        reader = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            sep=separator,
            encoding="utf-8-sig",
            skipinitialspace=True,
            skip_blank_lines=False,
            index_col=False,
            chunksize=ROWS_AT_ONCE,
        )
        with reader:
            parts = [part.fillna("").astype("category") if repeating else part.fillna("") for part in reader]
    if not repeating or not parts:
        return pd.concat(parts) if parts else pd.DataFrame()
    return pd.DataFrame({name: union_categoricals([part[name] for part in parts]) for name in parts[0]})


def map_cells(cells: pd.Series, change: Callable[[str], object]) -> pd.Series:
    """Apply a function to the distinct cells of a categorical column.

    Parameters
    ----------
    cells : Series of category
        The cells; missing cells become "".
    change : callable
        Function of a cell that returns the new cell.

    Examples
    --------
    >>> map_cells(pd.Series([" a", "a"], dtype="category"), str.strip).cat.categories.tolist()
    ['a']
    """
    changed = pd.Categorical([*map(change, cells.cat.categories), ""])  # The code -1 of missing cells is "".
    taken = pd.Categorical.from_codes(changed.codes[cells.cat.codes], dtype=changed.dtype)
    return pd.Series(taken.remove_unused_categories(), cells.index)


def _find_undecodable_line(path: Path) -> Problem:
    """Return a problem that names the first line of a file that is not UTF-8."""
    row = 1
    with path.open("rb") as file:
        for row, line in enumerate(file, start=1):  # noqa: B007
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                break
    return Problem(
        "is not in UTF-8", "save it as CSV in UTF-8, or use 'traitlens import table'", path.name, row
    )


def check_columns(number: int, file: str) -> None:
    """Raise a :class:`StudyError` if a table has more than :data:`MOST_COLUMNS` columns."""
    if number > MOST_COLUMNS:
        advice = f"at most {MOST_COLUMNS:,} are read"
        raise StudyError(Problem(f"declares {number:,} columns", advice, file, 1))


def find_missing_columns(table: pd.DataFrame, needed: Sequence[str], file: str) -> list[Problem]:
    """Return a problem for each needed column that a table lacks."""
    found = ", ".join(map(str, table.columns))
    return [
        Problem(f"column {column!r} is missing", f"found: {found}", file)
        for column in needed
        if column not in table.columns
    ]


def numbers(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Convert strings to numbers, with decimal point or decimal comma.

    A comma is ambiguous if every cell with a comma is like "1,500" and some cells are whole numbers of 100 or
    more. It may then separate thousands, and these cells are not converted.

    Returns
    -------
    numbers : Series of float
        The numbers; NaN for cells that are empty or not a finite number.
    unreadable : Series of str
        The cells that are neither empty nor a finite number; NaN for all others.

    Examples
    --------
    >>> numbers(pd.Series(["1", "2,5", "", "many"]))[0].tolist()
    [1.0, 2.5, nan, nan]
    """
    if isinstance(values.dtype, pd.CategoricalDtype):  # Convert only the distinct cells.
        codes = values.cat.codes.to_numpy()
        parts = numbers(pd.Series([*values.cat.categories, ""], dtype=object))
        parsed, unreadable = (part.iloc[codes].set_axis(values.index) for part in parts)
        return parsed, unreadable
    text = values.astype(str).str.strip()
    empty = values.isna() | text.str.upper().isin(NO_VALUE)
    parsed = pd.to_numeric(text.str.replace(",", "."), errors="coerce").astype(float)
    parsed = parsed.where(np.isfinite(parsed))
    with_comma = text.str.contains(",", regex=False)
    if with_comma.any():
        thousands = text.str.fullmatch(THOUSANDS)
        hundreds = text.str.fullmatch(r"[+-]?[1-9]\d{2,}")
        if hundreds.any() and bool(thousands[with_comma & ~empty].all()):
            parsed = parsed.mask(thousands)
    return parsed, text.where(parsed.isna() & ~empty)


def as_text(cell: object) -> str:
    """Format a cell of any type as a spreadsheet shows it.

    Returns
    -------
    str
        The cell as a string: whole numbers without a decimal point, and "" for missing values.

    Examples
    --------
    >>> as_text(3.0), as_text(float("nan"))
    ('3', '')
    """
    if cell is None or cell is pd.NA or cell is pd.NaT:
        return ""
    if isinstance(cell, bytes):
        return cell.decode("utf-8", errors="replace").strip()
    if isinstance(cell, float | np.floating):
        number = float(cell)
        if np.isnan(number):
            return ""
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    return str(cell).strip()


def texts(values: pd.Series) -> pd.Series:
    """Convert a column of any type to strings by :func:`as_text`."""
    if values.dtype == object:
        return values.map(as_text)
    codes, cells = pd.factorize(values)
    written = np.array([*map(as_text, cells), ""], dtype=object)  # The code -1 of missing cells is "".
    return pd.Series(written[codes], index=values.index)


def truth_values(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Convert strings such as "true" and "no" to Booleans; an empty cell is False.

    Returns
    -------
    truths : Series of bool
        The Booleans.
    unreadable : Series of str
        The cells that are neither true nor false; NaN for all others.
    """
    text = values.astype(str).str.strip().str.lower()
    yes, no = {"true", "yes", "1", "1.0", "t", "y"}, {"false", "no", "0", "0.0", "f", "n", "", "nan", "na"}
    return text.isin(yes), text.where(~text.isin(yes | no))


def cell_problems(
    cells: pd.Series, what: str, advice: str, file: str, column: str | pd.Series
) -> list[Problem]:
    """Return a problem for each of the first twenty invalid cells, and one with the number of further ones.

    Parameters
    ----------
    cells : Series
        The invalid cells, with the index of the table that :func:`read_table` returned.
    what : str
        Description of the problem; `{}` is replaced by the cell.
    advice : str
        Advice on how to correct the problem.
    file : str
        Name of the table's file.
    column : str or Series of str
        Name of the column, or the name for each cell.

    Returns
    -------
    list of Problem
        The problems, in the order of the cells.

    Examples
    --------
    >>> print(*cell_problems(pd.Series(["many"]), "{!r} is not a number", "", "ratings.csv", "rating"))
    ratings.csv, row 2, column 'rating': 'many' is not a number
    """
    columns = [column] * len(cells) if isinstance(column, str) else list(column)
    problems = [
        Problem(what.format(_shorten(cell)), advice, file, int(index) + 2, name)
        for (index, cell), name in zip(cells.iloc[:MOST_LINES].items(), columns, strict=False)
    ]
    if len(cells) > MOST_LINES:
        further = more_rows(len(cells) - MOST_LINES)
        problems.append(Problem(further, advice, file, column=column if isinstance(column, str) else None))
    return problems


def more_rows(number: int) -> str:
    """Return a message that counts the rows whose problem is not listed.

    Examples
    --------
    >>> more_rows(1)
    '1 more row has this problem'
    """
    return f"{number} more row has this problem" if number == 1 else f"{number} more rows have this problem"


def _shorten(cell: object) -> object:
    """Shorten strings of more than 60 characters."""
    return f"{cell[:60]}..." if isinstance(cell, str) and len(cell) > 60 else cell


def find_duplicates(table: pd.DataFrame, keys: Sequence[str], file: str) -> list[Problem]:
    """Return a problem for each row that has the same keys as an earlier row.

    Parameters
    ----------
    table : DataFrame
        The table, with the index that :func:`read_table` returned.
    keys : sequence of str
        Columns whose values together must be unique.
    file : str
        Name of the table's file.
    """
    keys = list(keys)
    if _all_differ(table[keys]):
        return []
    involved = table.loc[table.duplicated(keys, keep=False), keys].astype(object)
    # The index is not unique if rows of a wide table contained several judgements.
    same = involved.groupby(keys, dropna=False).ngroup().to_numpy()
    first = pd.Series(involved.index.to_numpy()).groupby(same).transform("first").to_numpy()
    again = involved.duplicated(keys).to_numpy()
    earlier = pd.Series(first[again] + 2, index=involved.index[again])
    named = " and ".join(keys) if len(keys) < 3 else ", ".join(keys[:-1]) + " and " + keys[-1]
    advice = "remove one, or number the judgements in a column 'repeat'" if len(keys) > 1 else "remove one"
    return [
        Problem(problem.what, advice, file, problem.row)
        for problem in cell_problems(earlier, f"has the same {named} as row {{}}", advice, file, keys[0])
    ]


def _all_differ(rows: pd.DataFrame) -> bool:
    """Return whether all rows of a table are different, using little memory."""
    numbered = np.zeros(len(rows), np.int64)
    for column in rows:
        codes, cells = pd.factorize(rows[column], use_na_sentinel=False)
        numbered *= len(cells)
        numbered += codes
    numbered.sort()
    return bool((numbered[1:] != numbered[:-1]).all())
