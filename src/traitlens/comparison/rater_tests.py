"""Permutation tests of group differences in values of raters, within strata and adjusted for covariates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.comparison.permutation import draw_labels, familywise_p, permutation_p, smallest_p

POWER = 0.8
"""Power of detectable differences."""


class Options(TypedDict, total=False):
    """Options of all permutation tests of two groups."""

    within: Sequence[str]
    permutations: int
    seed: int


@dataclass(frozen=True)
class Sample:
    """Raters of two groups, with strata, covariates and the settings of a permutation test.

    Parameters
    ----------
    labels : ndarray of int, shape (rater,)
        0 for raters of the first group, 1 for those of the second.
    strata : ndarray of int, shape (rater,)
        Stratum of each rater. Labels are permuted and groups are compared within strata.
    covariates : ndarray of shape (rater, covariate), optional
        Covariates for which values are adjusted.
    permutations : int
        Number of permutations.
    seed : int
        Seed of the random number generator.
    """

    labels: np.ndarray
    strata: np.ndarray
    covariates: np.ndarray | None = None
    permutations: int = 5000
    seed: int = 0

    @property
    def smallest_p(self) -> float:
        """Smallest possible p value."""
        return smallest_p(self.labels, self.strata, self.permutations)

    def nuisance(self, members: np.ndarray) -> np.ndarray:
        """Compute an orthonormal basis of strata and covariates over some raters.

        Parameters
        ----------
        members : ndarray of int, shape (member,)
            Indices of the raters.

        Returns
        -------
        ndarray of shape (member, column)
            The basis.
        """
        columns = [(self.strata[members, None] == np.unique(self.strata[members])).astype(float)]
        if self.covariates is not None:
            columns.append(self.covariates[members])
        left, sizes, _ = np.linalg.svd(np.hstack(columns), full_matrices=False)
        return left[:, sizes > 1e-9 * sizes[0]]

    def draw(self) -> Iterator[np.ndarray]:
        """Yield blocks of permuted labels; if there are covariates, of permuted indices of the raters."""
        if self.covariates is None:
            yield from draw_labels(self.labels, self.strata, self.permutations, self.seed)
        else:
            yield from draw_labels(np.arange(len(self.labels)), self.strata, self.permutations, self.seed)


@dataclass(frozen=True)
class Cells:
    """Values of raters in one or more cells, each of which is a test.

    Parameters
    ----------
    members : ndarray of int, shape (member,)
        Indices of the raters who have values.
    values : ndarray of shape (member, cell)
        Values of these raters.
    """

    members: np.ndarray
    values: np.ndarray


def contrast(
    group: np.ndarray, values: np.ndarray, basis: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate group differences by least squares, with standard errors that allow unequal variances.

    Parameters
    ----------
    group : ndarray of shape (labelling, rater)
        1 for raters of the first group, 0 for the second; or the residuals on strata and covariates.
    values : ndarray of shape (rater, cell)
        Values of the raters.
    basis : ndarray of shape (rater, column)
        Orthonormal basis of strata and covariates.

    Returns
    -------
    estimate, error, freedom : ndarray of shape (labelling, cell)
        Difference, standard error (HC2, MacKinnon and White 1985) and degrees of freedom (Satterthwaite
        1946). With one stratum these are the difference of means and the standard error and degrees of
        freedom of Welch (1947).
    """
    values = values - basis @ (basis.T @ values)
    own = group - (group @ basis) @ basis.T
    size = np.maximum((own**2).sum(axis=1, keepdims=True), 1e-150)
    estimate = own @ values / size
    leverage = (basis**2).sum(axis=1) + own**2 / size
    weight = np.where(leverage < 1 - 1e-9, own**2 / np.maximum(1 - leverage, 1e-9), 0) / size**2
    parts, freedoms = [], []
    for side in (own > 0, own < 0):
        part = np.where(side, weight, 0)
        spread = part @ values**2 - 2 * estimate * ((part * own) @ values)
        spread = spread + estimate**2 * (part * own**2).sum(axis=1, keepdims=True)
        parts.append(np.maximum(spread, 0))
        # The effective number of raters is smaller if few raters of a stratum determine the difference.
        squares = (part**2).sum(axis=1, keepdims=True)
        effective = part.sum(axis=1, keepdims=True) ** 2 / np.where(squares > 0, squares, 1)
        freedoms.append(np.maximum(effective - 1, 1))
    total = parts[0] + parts[1]
    below = parts[0] ** 2 / freedoms[0] + parts[1] ** 2 / freedoms[1]
    freedom = np.where(below > 0, total**2 / np.where(below > 0, below, 1), len(values) - 2)
    return estimate, np.sqrt(total), np.maximum(freedom, 1)


def studentize(estimate: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Divide estimates by their standard errors.

    Parameters
    ----------
    estimate, error : ndarray of shape (labelling, cell)
        Results of `contrast`.

    Returns
    -------
    ndarray of shape (labelling, cell)
        t; 0 where a standard error is 0.
    """
    t: np.ndarray = np.where(error > 0, estimate / np.where(error > 0, error, 1), 0)
    return t


def normal_equivalent(t: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Transform t to a standard normal variable of the same probability.

    If one group is noisier, the degrees of freedom of t depend on the labelling; normal variables can be
    compared between labellings.

    Parameters
    ----------
    t, freedom : ndarray of shape (labelling, cell)
        Statistics and their degrees of freedom.

    Returns
    -------
    ndarray of shape (labelling, cell)
        Normal variables, by equation 26.7.8 of Abramowitz and Stegun (1964).

    Examples
    --------
    >>> normal_equivalent(np.array([[2.228]]), np.array([[10.0]])).round(2)
    array([[1.94]])
    """
    return np.asarray(t * (1 - 1 / (4 * freedom)) / np.sqrt(1 + t**2 / (2 * freedom)))


def compare_cells(families: list[Cells], sample: Sample) -> pd.DataFrame:
    """Test values of raters between two groups by permuting raters.

    Parameters
    ----------
    families : list of Cells
        Values of each trait or measure. All cells together are one family of tests.
    sample : Sample
        Raters, strata, covariates and settings of the test.

    Returns
    -------
    DataFrame
        A row for each cell: mean_1, mean_2, estimate, standard_error, ci_low, ci_high, df, statistic (t with
        unequal variances), p, p_corrected (family-wise), detectable (the smallest difference that would be
        significant after correction in 80 % of studies like this one), n_1, n_2, n_permutations, smallest_p.

    Notes
    -----
    The test statistic is the normal equivalent of t rather than the difference. The test is therefore valid
    in large samples for groups of unequal size and variance (Janssen 1997). With covariates, residuals on
    strata and covariates are permuted (Freedman and Lane 1983).
    """
    bases = [sample.nuisance(cells.members) for cells in families]
    first = (sample.labels == 0).astype(float)
    found = [
        contrast(first[None, cells.members], cells.values, basis)
        for cells, basis in zip(families, bases, strict=True)
    ]
    estimate, error, freedom = (np.concatenate([one[part][0] for one in found]) for part in range(3))

    def statistics(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute t under permuted labels and its normal equivalent, arrays of shape (labelling, cell)."""
        columns = []
        for cells, basis in zip(families, bases, strict=True):
            group = _permuted_groups(block, first, cells.members, basis, sample.covariates is not None)
            *parts, freedoms = contrast(group, cells.values, basis)
            t = studentize(*parts)
            columns.append((t, normal_equivalent(t, freedoms)))
        t, normal = (np.hstack(part) for part in zip(*columns, strict=True))
        return t, normal

    t = studentize(estimate, error)
    observed = normal_equivalent(t, freedom)
    empty = np.zeros((0, len(t)))
    drawn = zip((empty, empty), *map(statistics, sample.draw()), strict=True)
    null_t, null = (np.vstack(part) for part in drawn)
    width = stats.t.ppf(0.975, freedom) * error
    table = pd.DataFrame({"mean_1": _means(families, first), "mean_2": _means(families, 1 - first)})
    table["estimate"], table["standard_error"] = estimate, error
    table["ci_low"], table["ci_high"] = estimate - width, estimate + width
    table["df"], table["statistic"] = freedom, t
    table["p"], table["p_corrected"] = permutation_p(observed, null), familywise_p(observed, null)
    table["detectable"] = detectable(null_t, np.ones(len(t))) * error
    for name, group in (("n_1", first), ("n_2", 1 - first)):
        table[name] = np.concatenate(
            [np.full(cells.values.shape[1], int(group[cells.members].sum())) for cells in families]
        )
    table["n_permutations"], table["smallest_p"] = len(null), sample.smallest_p
    return table


def _permuted_groups(
    block: np.ndarray, first: np.ndarray, members: np.ndarray, basis: np.ndarray, places: bool
) -> np.ndarray:
    """Return the indicator of the first group under permuted labels, or its permuted residuals."""
    if not places:
        return (block[:, members] == 0).astype(float)
    residual = np.zeros(len(first))
    own = first[members]
    residual[members] = own - basis @ (basis.T @ own)
    return residual[block][:, members]


def _means(families: list[Cells], group: np.ndarray) -> np.ndarray:
    """Return the mean of each cell over the raters of a group."""
    return np.concatenate([group[c.members] @ c.values / max(group[c.members].sum(), 1) for c in families])


def detectable(null: np.ndarray, error: np.ndarray, alpha: float = 0.05) -> np.ndarray:
    """Compute the smallest differences that are significant after correction in 80 % of studies.

    Parameters
    ----------
    null : ndarray of shape (permutation, test)
        Statistics under permuted labels, centred.
    error : ndarray of shape (test,)
        Standard errors of the statistics.
    alpha : float, default 0.05
        Family-wise significance level.

    Returns
    -------
    ndarray of shape (test,)
        Critical value from the permutation distribution of the largest statistic, plus the 80th percentile of
        the normal distribution times the standard error; NaN if there are too few permutations.
    """
    if len(null) < 1 / alpha - 1:
        return np.full(len(error), np.nan)
    scale = np.sqrt((null**2).mean(axis=0))
    largest = (np.abs(null) / np.where(scale > 0, scale, np.inf)).max(axis=1)
    critical = np.quantile(largest, 1 - alpha, method="higher") * scale
    return np.asarray(critical + stats.norm.ppf(POWER) * error)
