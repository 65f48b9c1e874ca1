"""Effect sizes and standard errors of differences between two groups."""

import numpy as np
from scipy import stats


def hedges_g(difference: float, first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Compute the standardised mean difference, corrected for small samples, with its 95 % interval.

    Parameters
    ----------
    difference : float
        Difference between the groups.
    first, second : ndarray
        Values of the raters of each group.

    Returns
    -------
    g, low, high : float
        Hedges' g, and its interval with the standard error of Hedges and Olkin (1985), eq. 5.15.
    """
    a, b = len(first), len(second)
    freedom = a + b - 2
    pooled = np.sqrt(((a - 1) * first.var(ddof=1) + (b - 1) * second.var(ddof=1)) / freedom)
    if not pooled > 0:
        return np.nan, np.nan, np.nan
    g = float(difference / pooled * (1 - 3 / (4 * freedom - 1)))
    width = float(stats.norm.ppf(0.975) * np.sqrt((a + b) / (a * b) + g**2 / (2 * (a + b))))
    return g, g - width, g + width


def welch(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Compute the standard error of a difference of two means, and its degrees of freedom (Welch 1947).

    Returns
    -------
    error, freedom : float
        Standard error and degrees of freedom.
    """
    parts = first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)
    total = sum(parts)
    if not total > 0:
        return 0.0, float(len(first) + len(second) - 2)
    freedom = total**2 / (parts[0] ** 2 / (len(first) - 1) + parts[1] ** 2 / (len(second) - 1))
    return float(np.sqrt(total)), float(freedom)
