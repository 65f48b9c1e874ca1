"""SHA-256 digests of values and files that are equal on every machine."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FEW = 1_000
"""Maximum number of strings that are digested one by one instead of as unique values and codes."""

ITEMS_AT_ONCE = 100_000
"""Number of items that are converted to a list at once."""


def digest(*values: Any) -> str:
    """Compute the SHA-256 digest of values, which is equal on every machine.

    Parameters
    ----------
    *values : any
        None, numbers, strings, bytes, paths, arrays, data frames, dataclasses, and mappings and sequences of
        these. The digest does not depend on the order of mappings.

    Returns
    -------
    str
        SHA-256 of a canonical encoding, as 64 hexadecimal digits.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    hasher = hashlib.sha256()
    for value in values:
        _feed(hasher, value)
    return hasher.hexdigest()


def _feed(hasher: Any, value: Any) -> None:
    """Update the hash with a value and its type, such that 1, 1.0 and "1" have different digests."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, pd.Series):
        value = value.to_frame()
    if isinstance(value, pd.DataFrame):
        hasher.update(b"table:")
        for name in value.columns:
            column = value[name]
            plain = isinstance(column.dtype, np.dtype) and column.dtype.kind not in "OUTS"
            _feed(hasher, str(name))
            if plain:
                _feed(hasher, column.to_numpy())
            elif isinstance(column.dtype, pd.CategoricalDtype):
                _feed_items(hasher, column.cat.categories)
                _feed(hasher, column.cat.codes.to_numpy())
            else:
                _feed_items(hasher, column)
    elif isinstance(value, np.ndarray):
        if value.dtype.kind in "OUTS":
            _feed_items(hasher, value)
        else:
            array = np.ascontiguousarray(value)
            hasher.update(f"array:{array.dtype.str}:{array.shape}:".encode())
            hasher.update(array.data if array.size else b"")
    elif isinstance(value, Mapping):
        hasher.update(f"mapping:{len(value)}:".encode())
        for key in sorted(value, key=str):
            _feed(hasher, str(key))
            _feed(hasher, value[key])
    elif isinstance(value, list | tuple):
        hasher.update(f"sequence:{len(value)}:".encode())
        for item in value:
            _feed(hasher, item)
    elif isinstance(value, bytes):
        hasher.update(f"bytes:{len(value)}:".encode() + value)
    else:
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, Path):
            value = value.as_posix()
        if not (value is None or isinstance(value, bool | int | float | str)):
            raise TypeError(f"cannot digest a {type(value).__name__}")
        text = repr(value).encode()
        hasher.update(f"{type(value).__name__}:{len(text)}:".encode() + text)


def _feed_items(hasher: Any, values: np.ndarray | pd.Series) -> None:
    """Update the hash with the items of an array: many strings as unique values and codes, others singly."""
    if len(values) > FEW and pd.api.types.infer_dtype(values, skipna=True) == "string":
        codes, texts = pd.factorize(np.asarray(values, object))
        hasher.update(b"texts:")
        _feed(hasher, list(texts))
        _feed(hasher, codes.astype("<i8"))
        return
    hasher.update(f"sequence:{len(values)}:".encode())
    for start in range(0, len(values), ITEMS_AT_ONCE):
        for item in values[start : start + ITEMS_AT_ONCE].tolist():
            _feed(hasher, None if item is pd.NA else item)


def digest_file(path: Path) -> str:
    """Compute the SHA-256 digest of a file, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
