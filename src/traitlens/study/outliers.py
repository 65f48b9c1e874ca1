"""Detection of ratings that are codes for missing answers or typing errors."""

import numpy as np
import pandas as pd

_NEGATIVE = (1, 2, 7, 8, 9, 66, 77, 88, 97, 98, 99, 777, 888, 999, 9999)
_POSITIVE = (66, 77, 88, 97, 98, 99, 777, 888, 998, 999, 9998, 9999)

CODES = frozenset((*(-code for code in _NEGATIVE), *_POSITIVE))
"""Common codes for missing answers."""

_RARE = 0.05
"""Share of the ratings below which a value is rare."""


def find_far_values(ratings: pd.Series) -> dict[float, int]:
    """Find outliers and likely codes for missing ratings.

    Outliers are separated from the other ratings by a gap that is wider than the range of the others, and
    make up at most a third of all ratings. Common codes outside the range of the other ratings are found at
    any frequency, as are common negative codes below ratings that are never negative.

    Parameters
    ----------
    ratings : Series of float
        The ratings of one trait.

    Returns
    -------
    dict of float to int
        Frequency of each outlier or code.

    Examples
    --------
    >>> find_far_values(pd.Series([1, 4, 7, 3, 5, 2, 6, 4, 3, 5, 1, 7, -99, 55]))
    {-99.0: 1, 55.0: 1}
    """
    counts = ratings.dropna().astype(float).value_counts().sort_index()
    codes = _find_codes(counts)
    counts = counts[~counts.index.isin(codes)]
    values, numbers = counts.index.to_numpy(float), counts.to_numpy()
    total, low, high = int(numbers.sum()), 0, len(values)
    while total >= 10 and high - low > 2:
        gaps = np.diff(values[low:high])
        place = int(np.argmax(gaps))
        left, right = slice(low, low + place + 1), slice(low + place + 1, high)
        small, rest = (left, right) if numbers[left].sum() < numbers[right].sum() else (right, left)
        outside = total - int(numbers[low:high].sum()) + int(numbers[small].sum())
        spread = values[rest][-1] - values[rest][0]
        if outside > total / 3 or gaps[place] <= spread or spread == 0:
            break
        low, high = rest.start, rest.stop
    far = {float(values[place]): int(numbers[place]) for place in (*range(low), *range(high, len(values)))}
    return dict(sorted((codes | far).items()))


def find_value_apart(ratings: pd.Series) -> float | None:
    """Find an 8 or 9 above the highest rating, which often means "don't know".

    Parameters
    ----------
    ratings : Series of float
        The ratings of one trait.

    Returns
    -------
    float or None
        The value 8 or 9, if the others are all the whole numbers from 0 or 1 to a value at least 2 lower.

    Examples
    --------
    >>> find_value_apart(pd.Series([1, 2, 3, 4, 5, 6, 7, 9] * 5)), find_value_apart(pd.Series([1, 2, 3] * 9))
    (9.0, None)
    """
    values = np.sort(ratings.dropna().astype(float).unique())
    if len(values) < 4 or values[-1] not in (8, 9) or values[-1] - values[-2] < 2 or values[0] not in (0, 1):
        return None
    return float(values[-1]) if (np.diff(values[:-1]) == 1).all() else None


def _find_codes(counts: pd.Series) -> dict[float, int]:
    """Return the frequency of each common code that is outside the range of the other values."""
    values = counts.index.to_numpy(float)
    others = np.array([value for value in values if value not in CODES])
    if len(others) < 2:
        return {}
    lowest, highest = others.min(), others.max()
    plain = counts[(values < 0) | ~np.isin(values, list(CODES))]
    found: dict[float, int] = {}
    for value in sorted(values[np.isin(values, list(CODES))], key=abs):
        gap = max(value - highest, lowest - value)
        nearer = values[(np.abs(values) < abs(value)) & ~np.isin(values, list(found))]
        if len(nearer) > 3 and nearer.min() == -nearer.max() and nearer.min() - value >= 2:
            found[float(value)] = int(counts[value])  # below a scale such as -3 to 3
            continue
        if value < 0 and _may_be_negative(plain):
            continue
        if gap > highest - lowest or (value < 0 and lowest >= 0):
            found[float(value)] = int(counts[value])
    return found


def _may_be_negative(counts: pd.Series) -> bool:
    """Return whether negative values may belong to the scale, as in -2 to 2, but not in -9 to 7."""
    deepest, highest = -counts.index.min(), counts.index.max()
    if highest > 10:
        return False
    mirrored = highest <= deepest if 0 in counts.index else highest == deepest
    rare = counts[counts.index < 0].sum() < _RARE * counts.sum() < counts[highest]
    return bool(mirrored and not rare)


def is_code(value: float) -> bool:
    """Return whether a value is a common code for a missing rating, such as -99 or 999."""
    return value in CODES
