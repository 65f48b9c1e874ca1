"""Normal form of the names of raters, groups, traits, images and identities."""

import re
import unicodedata
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200e\u200f\u2060\ufeff\u00ad\u202a\u202b\u202c\u202d\u202e"))
_JOINERS = "\u200c\u200d"  # These have a meaning inside words of some scripts, but not at their ends.
_LEADING_ZEROS = re.compile(r"(?<!\d)(?<!\d[.,])0+(?=\d)")
_WHOLE_NUMBER = re.compile(r"([+-]?\d+)[.,]0+")


def normal_text(text: str) -> str:
    r"""Return a string in Unicode NFC, without invisible characters and with single spaces.

    Examples
    --------
    >>> normal_text(" zoe\u0308\u200b ") == "zo\u00eb"
    True
    """
    if text.isascii() and "  " not in text and "\n" not in text and "\t" not in text:
        return text.strip()
    return " ".join(unicodedata.normalize("NFC", text).translate(_INVISIBLE).split()).strip(_JOINERS)


def normal_identifier(text: str) -> str:
    """Return the normal form of an identifier: :func:`normal_text`, with whole numbers such as 12.0 as 12.

    Parameters
    ----------
    text : str
        The identifier as written in a table.

    Returns
    -------
    str
        The normal form; leading zeros are kept.

    Examples
    --------
    >>> normal_identifier("12.0 "), normal_identifier("007")
    ('12', '007')
    """
    text = normal_text(text)
    whole = _WHOLE_NUMBER.fullmatch(text)
    return whole.group(1) if whole else text


def normal_identifiers(values: pd.Series) -> tuple[pd.Series, dict[str, str]]:
    """Convert a column of identifiers to their normal form.

    Parameters
    ----------
    values : Series of str
        The identifiers, of dtype object or category.

    Returns
    -------
    values : Series of str
        The identifiers in normal form, of the same dtype.
    changed : dict of str to str
        Normal form of each identifier that was changed.
    """
    codes, written = pd.factorize(values, use_na_sentinel=False)
    cells = ["" if pd.isna(cell) else str(cell) for cell in written]
    normal = np.array([normal_identifier(cell) for cell in cells], dtype=object)
    changed = {old: new for old, new in zip(cells, normal, strict=True) if old != new}
    result = pd.Series(normal[codes] if len(normal) else [], index=values.index, dtype=object)
    if isinstance(values.dtype, pd.CategoricalDtype):
        result = result.astype("category")
    return result, changed


def find_spellings(names: Iterable[str], leading_zeros: bool = False) -> Mapping[str, list[str]]:
    """Find names that differ only in upper and lower case.

    Parameters
    ----------
    names : iterable of str
        Names in normal form.
    leading_zeros : bool, default False
        Whether to ignore differences in leading zeros too.

    Returns
    -------
    mapping of str to list of str
        The spellings of each name that has more than one, keyed by the name in lower case.

    Examples
    --------
    >>> find_spellings(["Female", "male", "female"])
    {'female': ['Female', 'female']}
    >>> find_spellings(["P01", "P1"], leading_zeros=True)
    {'p1': ['P01', 'P1']}
    """
    spellings: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        form = name.casefold()
        spellings.setdefault(_LEADING_ZEROS.sub("", form) if leading_zeros else form, []).append(name)
    return {lower: several for lower, several in spellings.items() if len(several) > 1}
