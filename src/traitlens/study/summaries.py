"""Rows and columns of a table that summarise the raters, such as their mean, and are no rater."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from traitlens.study.vocabulary import SUMMARIES, fold_name, name_words

_COUNTS = frozenset(("n", "count", "anzahl", "min", "max", "se", "sem", "var"))
"""Short names that may also be those of people: they count only where the numbers are such a summary."""

_FUNCTIONS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "mean": lambda others: others.mean(axis=1),
    "median": lambda others: others.median(axis=1),
    "sum": lambda others: others.sum(axis=1),
    "standard deviation": lambda others: others.std(axis=1),
    "standard deviation (population)": lambda others: others.std(axis=1, ddof=0),
    "standard error": lambda others: others.sem(axis=1),
    "variance": lambda others: others.var(axis=1),
    "number": lambda others: others.count(axis=1).astype(float),
    "smallest": lambda others: others.min(axis=1),
    "largest": lambda others: others.max(axis=1),
}


def find_summaries(ratings: pd.DataFrame) -> dict[str, str]:
    """Find the columns that summarise the other ones.

    Parameters
    ----------
    ratings : DataFrame of float
        A column for each rater, a row for each judged item; NaN where there is no rating.

    Returns
    -------
    dict of str to str
        Column -> what it is of the others ("mean"); "" where only its name says so.

    Examples
    --------
    >>> table = pd.DataFrame({"R1": [1, 5, 2.0], "R2": [2, 4, 4.0], "R3": [2, 7, 3.0]})
    >>> find_summaries(table.assign(M=table.mean(axis=1).round(2), Max=[3, 1, 4.0]))
    {'M': 'mean'}
    """
    whole = (ratings.isna() | (ratings == ratings.round())).all()
    mostly_whole = whole.mean() > 0.5
    named = {name for name in ratings if SUMMARIES & {fold_name(name), *name_words(name)}}
    short = {name for name in ratings if fold_name(name) in _COUNTS}
    odd = {name for name in ratings if mostly_whole and not whole[name]}
    large = set(ratings.columns[ratings.min() > ratings.max().median()])
    suspects = [name for name in ratings if name in named | short | odd | large]
    others = ratings.drop(columns=suspects)
    if not suspects or others.shape[1] < 2:
        return {str(name): "" for name in suspects if name in named}
    disagree = others.nunique(axis=1) > 1
    found = {}
    for name in suspects:
        what = _function_of(ratings[name], others) if disagree.sum() >= min(3, len(others)) else ""
        if what or name in named:
            found[str(name)] = what
    return found


def _function_of(column: pd.Series, others: pd.DataFrame) -> str:
    """Return which summary of other columns a column is; "" if none."""
    filled = column.notna()
    if filled.sum() < 3:
        return ""
    decimals = max(_decimals(value) for value in column[filled])
    for what, compute in _FUNCTIONS.items():
        difference = (compute(others[filled]) - column[filled]).abs().to_numpy(float)
        alike = np.isfinite(difference).all() and bool((difference <= 0.51 * 10.0**-decimals + 1e-9).all())
        # Whole numbers can be near the mean by chance.
        if alike and (decimals or what in ("sum", "number", "smallest", "largest", "median")):
            return what
    return ""


def _decimals(value: float) -> int:
    """Return the number of decimals that a value is written with, at most 6."""
    return next((number for number in range(6) if abs(value - round(value, number)) < 1e-9), 6)
