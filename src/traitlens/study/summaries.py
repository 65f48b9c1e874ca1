"""Detection of columns that are not raters but a summary of the raters, such as their mean."""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from traitlens.study.vocabulary import SUMMARIES, fold_name, name_words

_SHORT_NAMES = frozenset(("n", "count", "anzahl", "min", "max", "se", "sem", "var"))
"""Names of summaries that may also be names of raters, and count only if the numbers confirm them."""

_LEAST_FILLED = 0.9
"""Minimum share of the judged items for which a column must have a value to be a summary."""


def find_summaries(ratings: pd.DataFrame) -> dict[str, str]:
    """Find the columns that are a summary, such as the mean, of the other columns.

    Parameters
    ----------
    ratings : DataFrame of float
        A column for each rater, a row for each judged item; NaN where there is no rating.

    Returns
    -------
    dict of str to str
        Kind of summary, such as "mean", of each summarising column; "" if only its name suggests a summary.

    Examples
    --------
    >>> table = pd.DataFrame({"R1": [1, 5, 2.0], "R2": [2, 4, 4.0], "R3": [2, 7, 3.0]})
    >>> find_summaries(table.assign(M=table.mean(axis=1).round(2), Max=[3, 1, 4.0]))
    {'M': 'mean'}
    """
    values = ratings.to_numpy(float)
    judged = np.isfinite(values).any(axis=1)
    values = values[judged]
    if not values.size:
        return {}
    names = [str(name) for name in ratings.columns]
    whole = (np.isnan(values) | (values == np.round(values))).all(axis=0)
    named = np.array([bool(SUMMARIES & {fold_name(name), *name_words(name)}) for name in names], bool)
    short = np.array([fold_name(name) in _SHORT_NAMES for name in names], bool)
    odd = ~whole & (whole.mean() > 0.5)
    filled = np.isfinite(values).mean(axis=0) >= _LEAST_FILLED
    large = filled & (
        _apply_without_warning(np.nanmin, values, 0) > np.median(_apply_without_warning(np.nanmax, values, 0))
    )
    suspects = named | short | (odd & filled) | large
    others = values[:, ~suspects]
    found = {name: "" for name, is_named in zip(names, named, strict=True) if is_named}
    if others.shape[1] < 2 or (_apply_without_warning(np.nanstd, others, 1) > 0).sum() < min(3, len(others)):
        return found
    summaries = _summarise(others)
    for place in np.flatnonzero(suspects & filled):
        decimals = max(map(_count_decimals, values[np.isfinite(values[:, place]), place]))
        for what, summary in summaries.items():
            difference = np.abs(summary - values[:, place])
            difference = difference[np.isfinite(difference)]
            # Whole numbers can be close to the mean by chance.
            fitting = decimals > 0 or named[place] or short[place] or what == "sum"
            if fitting and len(difference) > 2 and difference.max() <= 0.51 * 10.0**-decimals + 1e-9:
                found[names[place]] = what
                break
    return {name: found[name] for name in names if name in found}


def _apply_without_warning(function: Callable[..., np.ndarray], values: np.ndarray, axis: int) -> np.ndarray:
    """Apply a function such as `np.nanmean` along an axis without warnings for rows or columns of NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(function(values, axis=axis)) if values.size else np.zeros(values.shape[1 - axis])


def _summarise(others: np.ndarray) -> dict[str, np.ndarray]:
    """Compute mean, median, sum and other summaries of the raters for each item, keyed by name."""
    number = np.isfinite(others).sum(axis=1).astype(float)
    population = _apply_without_warning(np.nanstd, others, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = population * np.sqrt(number / (number - 1))
        error = deviation / np.sqrt(number)
    return {
        "mean": _apply_without_warning(np.nanmean, others, 1),
        "median": _apply_without_warning(np.nanmedian, others, 1),
        "sum": _apply_without_warning(np.nansum, others, 1),
        "standard deviation": deviation,
        "standard deviation (population)": population,
        "standard error": error,
        "variance": deviation**2,
        "number": number,
        "smallest": _apply_without_warning(np.nanmin, others, 1),
        "largest": _apply_without_warning(np.nanmax, others, 1),
    }


def _count_decimals(value: float) -> int:
    """Return the number of decimals of a value, at most 6."""
    return next((number for number in range(6) if abs(value - round(value, number)) < 1e-9), 6)
