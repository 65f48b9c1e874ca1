"""Reader of tables as text, with checks whose messages name file, row and column."""

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
from traitlens.study.unpacked import check_parquet

THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
"""A number whose comma may mark thousands or decimals."""

MOST_LINES = 20
"""Number of faults of one kind that are listed; further ones are counted."""

MOST_COLUMNS = 20_000
"""More columns than any table of ratings has; a damaged file may declare millions."""

NO_VALUE = frozenset({"", "NA", "N/A", "NAN", "NULL", "NONE"})
"""Contents of an empty cell, in capitals."""

ROWS_AT_ONCE = 2**18
"""Number of rows of a table read at once."""

MOST_HEADER = 2**20
"""The longest header, in bytes, that a table of a study may have."""


def read_table(path: Path, repeating: bool = False) -> tuple[pd.DataFrame | None, list[Problem]]:
    """Read a CSV (as text) or Parquet table.

    Parameters
    ----------
    path : Path
        The file. CSV: UTF-8 with or without a byte order mark; comma, semicolon or tab.
    repeating : bool, default False
        Whether cells repeat in many rows: columns are then categories, with a tenth of the memory.

    Returns
    -------
    table : DataFrame or None
        Its cells, empty ones as ""; the index counts rows from 0, so row `i` is line `i + 2` of the
        file. None where the file cannot be read.
    problems : list of Problem
        Why it cannot be read.
    """
    path = Path(path)
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            check_parquet(path)
            table = pd.read_parquet(path)
            if repeating:
                table = table.astype("category")
        else:
            separator, problem = _look_at_header(path)
            if problem is not None:
                return None, [problem]
            table = _read_csv(path, separator, repeating)
    except StudyError as error:
        return None, list(error.problems)
    except UnicodeDecodeError:
        return None, [_undecodable(path)]
    except (OSError, ValueError, MemoryError, pd.errors.ParserWarning, pyarrow.ArrowException) as error:
        message = " ".join(str(error).split())[:200]
        return None, [Problem(f"cannot be read as a table ({message})", "save it as CSV in UTF-8", path.name)]
    table.columns = [str(column).strip() for column in table.columns]
    table = unprotect(table)
    if table.empty:
        return None, [Problem("contains no rows", "add the data", path.name)]
    return table.reset_index(drop=True), []


def _look_at_header(path: Path) -> tuple[str, Problem | None]:
    """Return the separator, and faults of the column names."""
    with path.open("rb") as file:
        line = file.readline(MOST_HEADER)
    if line[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in line:
        advice = "save it as CSV in UTF-8, or use 'traitlens import table'"
        return ",", Problem("is not UTF-8 text", advice, path.name, 1)
    header = line.decode("utf-8-sig")
    if len(line) == MOST_HEADER and not header.endswith("\n"):
        return ",", Problem("the header never ends", "save it as CSV in UTF-8", path.name, 1)
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
    """Read every cell as text; a row with too many cells is an error."""
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
    """Apply a function to the distinct cells of a column.

    Parameters
    ----------
    cells : Series
        Categories; missing cells become "".
    change : callable
        Returns the new cell.

    Examples
    --------
    >>> map_cells(pd.Series([" a", "a"], dtype="category"), str.strip).cat.categories.tolist()
    ['a']
    """
    changed = pd.Categorical([*map(change, cells.cat.categories), ""])  # pandas codes missing values as -1
    taken = pd.Categorical.from_codes(changed.codes[cells.cat.codes], dtype=changed.dtype)
    return pd.Series(taken.remove_unused_categories(), cells.index)


def _undecodable(path: Path) -> Problem:
    """Return the problem of the first byte that is not UTF-8."""
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
    """Raise an error for a table with an implausible number of columns.

    Parameters
    ----------
    number : int
        Number of columns.
    file : str
        The table's file, for messages.

    Raises
    ------
    StudyError
        If there are more than 20,000.
    """
    if number > MOST_COLUMNS:
        advice = f"at most {MOST_COLUMNS:,} are read"
        raise StudyError(Problem(f"declares {number:,} columns", advice, file, 1))


def find_missing_columns(table: pd.DataFrame, needed: Sequence[str], file: str) -> list[Problem]:
    """Return problems of missing columns.

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
    """Convert text to numbers; a decimal comma counts as a point.

    Cells such as "1,500" are refused where whole numbers from 100 on stand beside them, and none with another
    comma: the comma may then mark thousands.

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
    if isinstance(values.dtype, pd.CategoricalDtype):  # distinct cells only
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
    """Format a cell as a spreadsheet shows it.

    Returns
    -------
    str
        Whole numbers without a point; "" where there is nothing.

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
    """Convert cells of any type to text, as :func:`as_text` does."""
    if values.dtype == object:
        return values.map(as_text)
    codes, cells = pd.factorize(values)
    written = np.array([*map(as_text, cells), ""], dtype=object)  # pandas codes missing values as -1
    return pd.Series(written[codes], index=values.index)


def truth_values(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Convert text to true and false; an empty cell is false.

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


def cell_problems(
    cells: pd.Series, what: str, advice: str, file: str, column: str | pd.Series
) -> list[Problem]:
    """Return a problem for each faulty cell; after twenty they are only counted.

    Parameters
    ----------
    cells : Series
        The faulty cells, with the index that :func:`read_table` gave.
    what : str
        The fault; `{}` is replaced by the cell.
    advice : str
        Advice.
    file : str
        The table's file.
    column : str or Series of str
        The faulty column, or the column of each cell.

    Returns
    -------
    list of Problem
        The problems, in the order of the rows.

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
    """Return a sentence about the rows whose problem is not listed.

    Parameters
    ----------
    number : int
        Number of these rows.

    Returns
    -------
    str
        The sentence, without a full stop.

    Examples
    --------
    >>> more_rows(1)
    '1 more row has this problem'
    """
    return f"{number} more row has this problem" if number == 1 else f"{number} more rows have this problem"


def _shorten(cell: object) -> object:
    """Shorten a long cell."""
    return f"{cell[:60]}..." if isinstance(cell, str) and len(cell) > 60 else cell


def find_duplicates(table: pd.DataFrame, keys: Sequence[str], file: str) -> list[Problem]:
    """Return problems of rows that repeat the keys of an earlier row.

    Parameters
    ----------
    table : DataFrame
        The table, with the index that :func:`read_table` gave.
    keys : sequence of str
        Columns that together must be unique.
    file : str
        The table's file.
    """
    keys = list(keys)
    if _all_differ(table[keys]):
        return []
    involved = table.loc[table.duplicated(keys, keep=False), keys].astype(object)
    # Rows of a wide table contain several judgements, so the index is not unique.
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
    """Return whether all rows differ: each is numbered, and the numbers are sorted in place."""
    numbered = np.zeros(len(rows), np.int64)
    for column in rows:
        codes, cells = pd.factorize(rows[column], use_na_sentinel=False)
        numbered *= len(cells)
        numbered += codes
    numbered.sort()
    return bool((numbered[1:] != numbered[:-1]).all())
