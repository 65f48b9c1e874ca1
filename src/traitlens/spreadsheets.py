"""Protection of text that spreadsheet programs would run as formulas."""

import re
from collections.abc import Callable

import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r].", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def protect(table: pd.DataFrame) -> pd.DataFrame:
    """Prefix an apostrophe to text that a spreadsheet program would run as a formula.

    Returns
    -------
    DataFrame
        A copy in which no text and no name of a column begins with =, +, -, @, a tab or a line break, unless
        it is a number or one character.

    References
    ----------
    OWASP, "CSV Injection".

    Examples
    --------
    >>> protect(pd.DataFrame({"rater": ["=1+1", "-5", "ann"]}))["rater"].tolist()
    ["'=1+1", '-5', 'ann']
    """
    return _change(table, lambda text: f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text)


def unprotect(table: pd.DataFrame) -> pd.DataFrame:
    """Remove the apostrophes that :func:`protect` added.

    Returns
    -------
    DataFrame
        A copy with the original text.

    Examples
    --------
    >>> names = pd.DataFrame({"rater": ["=1+1", "'=a", "'ann"]})
    >>> unprotect(protect(names)).equals(names)
    True
    """
    return _change(table, lambda text: text[1:] if text[:1] == "'" and _FORMULA.match(text[1:]) else text)


def _is_number(text: str) -> bool:
    """Return whether the text is a number, which spreadsheet programs show unchanged."""
    return _NUMBER.fullmatch(text) is not None


def _change(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Apply a function to all text and column names; only columns that change are copied."""
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
