"""Ratings that look like codes for missing ones, or like slips of the hand."""

import numpy as np
import pandas as pd

CODES = frozenset(
    (-1, -2, -7, -8, -9, -77, -88, -97, -98, -99, -999, -9999, 77, 88, 97, 98, 99, 888, 998, 999, 9999)
)
"""Numbers by which survey software and people write that there is no answer."""


def find_far_values(ratings: pd.Series) -> dict[float, int]:
    """Find values that are farther from all others than these are from one another.

    A value counts as far where it belongs to a third of the ratings at most, beyond a gap that is wider than
    the range of the rest. A single negative number that is a usual code is far from ratings above 0.

    Parameters
    ----------
    ratings : Series of float
        The ratings.

    Returns
    -------
    dict of float to int
        Value -> how often it occurs.

    Examples
    --------
    >>> find_far_values(pd.Series([1, 4, 7, 3, 5, 2, 6, 4, 3, 5, 1, 7, -99, 55]))
    {-99.0: 1, 55.0: 1}
    """
    counts = ratings.dropna().astype(float).value_counts().sort_index()
    values, numbers = counts.index.to_numpy(float), counts.to_numpy()
    total, low, high = int(numbers.sum()), 0, len(values)
    if total < 10:
        return {}
    while high - low > 2:
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
    negative = [place for place in range(low, high) if values[place] < 0]
    if len(negative) == 1 and values[negative[0]] in CODES and 0 not in values and high - low > 2:
        far[float(values[negative[0]])] = int(numbers[negative[0]])
    return far


def is_code(value: float) -> bool:
    """Return whether a value is a common code for a missing rating.

    Parameters
    ----------
    value : float
        The value.

    Returns
    -------
    bool
        True for -99, 999 and the like.
    """
    return value in CODES
