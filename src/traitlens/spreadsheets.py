"""Protection of strings in tables that spreadsheet programs would run as formulas."""

import re
from collections.abc import Callable

import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r].", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def protect(table: pd.DataFrame) -> pd.DataFrame:
    """Put an apostrophe before strings that a spreadsheet program would run as a formula.

    Returns
    -------
    DataFrame
        A copy in which no string and no column name begins with =, +, -, @, a tab or a line break, except
        numbers and single characters.

    References
    ----------
    OWASP, "CSV Injection".

    Examples
    --------
    >>> protect(pd.DataFrame({"rater": ["=1+1", "-5", "ann"]}))["rater"].tolist()
    ["'=1+1", '-5', 'ann']
    """
    return _change_strings(
        table, lambda text: f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text
    )


def unprotect(table: pd.DataFrame) -> pd.DataFrame:
    """Remove the apostrophes that :func:`protect` added.

    Returns
    -------
    DataFrame
        A copy with the original strings.

    Examples
    --------
    >>> names = pd.DataFrame({"rater": ["=1+1", "'=a", "'ann"]})
    >>> unprotect(protect(names)).equals(names)
    True
    """
    return _change_strings(
        table, lambda text: text[1:] if text[:1] == "'" and _FORMULA.match(text[1:]) else text
    )


def _is_number(text: str) -> bool:
    """Return whether a string is a number, which spreadsheet programs do not run as a formula."""
    return _NUMBER.fullmatch(text) is not None


def _change_strings(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Apply a function to all strings and column names of a table; copy only columns that change."""
    changed = table.copy(deep=False)
    for place, dtype in enumerate(table.dtypes):
        if pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_datetime64_any_dtype(dtype):
            continue
        column = table.iloc[:, place]
        if isinstance(dtype, pd.CategoricalDtype):
            new_names = [change(name) if isinstance(name, str) else name for name in dtype.categories]
            if new_names != dtype.categories.tolist():
                changed.isetitem(place, column.cat.rename_categories(new_names))
            continue
        texts = [value for value in column.unique() if isinstance(value, str)]
        others = {text: new for text in texts if (new := change(text)) != text}
        if others:
            values = column.astype(object)
            changed.isetitem(place, values.map(lambda value, others=others: others.get(value, value)))
    changed.columns = pd.Index(
        [change(name) if isinstance(name, str) else name for name in table.columns], dtype=table.columns.dtype
    )
    return changed
