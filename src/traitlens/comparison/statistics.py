"""Test statistics of values of raters for many labellings at once: Welch's t, F, and t of a slope."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd

from traitlens.problems import Problem, TraitlensError

Test = Literal["t", "F", "slope"]


def as_labels(scores: pd.Series) -> tuple[np.ndarray, Test, list[str]]:
    """Convert group names to numbers, and choose the test.

    Parameters
    ----------
    scores : Series
        Group name of each rater, or a number such as age.

    Returns
    -------
    labels : ndarray of shape (rater,)
        Number of each rater's group in alphabetical order; or the scores if they are numeric.
    test : {"t", "F", "slope"}
        "t" for two groups, "F" for more, "slope" for numeric scores.
    names : list of str
        Names of the groups; empty for numeric scores.

    Raises
    ------
    TraitlensError
        If there is only one group, or a group has only one rater.
    """
    if pd.api.types.is_numeric_dtype(scores) and not pd.api.types.is_bool_dtype(scores):
        return scores.to_numpy(float), "slope", []
    labels, names = pd.factorize(scores.astype(str).to_numpy(), sort=True)
    if len(names) < 2:
        raise TraitlensError(Problem("there is one group", "compare at least two groups"))
    if np.bincount(labels).min() < 2:
        raise TraitlensError(Problem("a group has one rater", "use groups of at least two raters"))
    return labels, "t" if len(names) == 2 else "F", list(names)


def welch_t(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Compute Welch's t of group 0 minus group 1.

    Parameters
    ----------
    labels : ndarray of shape (labelling, rater)
        Number of each rater's group.
    values : ndarray of shape (rater, cell)
        Values of the raters.

    Returns
    -------
    ndarray of shape (labelling, cell)
        The statistic.
    """
    means, variances = [], []
    for group in (0, 1):
        own = (labels == group).astype(float)
        count = own.sum(axis=1, keepdims=True)
        mean = own @ values / count
        spread = np.maximum(own @ values**2 - count * mean**2, 0) / (count - 1)
        means.append(mean)
        variances.append(spread / count)
    error = np.sqrt(variances[0] + variances[1])
    t: np.ndarray = np.where(error > 0, (means[0] - means[1]) / np.where(error > 0, error, 1), 0)
    return t


def one_way_f(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Compute F of a one-way analysis of variance.

    Parameters
    ----------
    labels : ndarray of shape (labelling, rater)
        Number of each rater's group.
    values : ndarray of shape (rater, cell)
        Values of the raters.

    Returns
    -------
    ndarray of shape (labelling, cell)
        The statistic.
    """
    centred = values - values.mean(axis=0)
    total = (centred**2).sum(axis=0)
    groups = int(labels.max()) + 1
    between = np.zeros((len(labels), values.shape[1]))
    for group in range(groups):
        own = (labels == group).astype(float)
        # A permutation may leave a group without raters of a trait.
        between += (own @ centred) ** 2 / np.maximum(own.sum(axis=1, keepdims=True), 1)
    within = np.maximum(total - between, 1e-300) / (len(values) - groups)
    f: np.ndarray = between / (groups - 1) / within
    return f


def slope_t(scores: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Compute Student's t of the slope on a score.

    Parameters
    ----------
    scores : ndarray of shape (labelling, rater)
        Score of each rater.
    values : ndarray of shape (rater, cell)
        Values of the raters.

    Returns
    -------
    ndarray of shape (labelling, cell)
        The statistic.
    """
    centred = values - values.mean(axis=0)
    own = scores - scores.mean(axis=1, keepdims=True)
    scale = np.sqrt((own**2).sum(axis=1, keepdims=True) * (centred**2).sum(axis=0))
    r = np.clip(own @ centred / np.where(scale > 0, scale, np.inf), -1 + 1e-12, 1 - 1e-12)
    t: np.ndarray = r * np.sqrt((len(values) - 2) / (1 - r**2))
    return t


def describe_effect(
    values: np.ndarray, labels: np.ndarray, test: Test, statistic: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the estimate and the effect size of each cell.

    Parameters
    ----------
    values : ndarray of shape (rater, cell)
        Values of the raters.
    labels : ndarray of shape (rater,)
        Number of each rater's group, or score.
    test : {"t", "F", "slope"}
        The test.
    statistic : ndarray of shape (cell,)
        Test statistic of each cell.

    Returns
    -------
    estimate : ndarray of shape (cell,)
        For "t" the first group minus the second; for "F" the largest difference between groups; for "slope"
        the change per unit of the score.
    effect : ndarray of shape (cell,)
        For "t" Hedges' g; for "F" eta squared; for "slope" the correlation with the score.
    """
    raters = len(values)
    if test == "slope":
        centred = labels - labels.mean()
        slope = centred @ (values - values.mean(axis=0)) / (centred @ centred)
        return slope, statistic / np.sqrt(statistic**2 + raters - 2)
    groups = [values[labels == group] for group in range(int(labels.max()) + 1)]
    means = np.array([own.mean(axis=0) for own in groups])
    if test == "F":
        ratio = statistic * (len(groups) - 1) / (raters - len(groups))
        return np.ptp(means, axis=0), ratio / (1 + ratio)
    freedom = raters - 2
    pooled = np.sqrt(sum((len(own) - 1) * own.var(axis=0, ddof=1) for own in groups) / freedom)
    difference = means[0] - means[1]
    return difference, difference / np.where(pooled > 0, pooled, np.nan) * (1 - 3 / (4 * freedom - 1))


STATISTICS: dict[Test, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "t": welch_t,
    "F": one_way_f,
    "slope": slope_t,
}
