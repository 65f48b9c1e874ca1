"""Permutation tests over raters: strata, permuted labels, and p values with family-wise control."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import factorial, prod

import numpy as np
import pandas as pd

from traitlens.columns import IMAGE, RATER, TRAIT
from traitlens.problems import Problem, TraitlensError, unknown_choice
from traitlens.ratings.rating_matrix import find_blocks


def find_strata(
    ratings: pd.DataFrame, raters: pd.Index, labels: np.ndarray, within: Sequence[str] = ()
) -> np.ndarray:
    """Find the strata within which the labels of raters may be permuted: raters with the same task.

    Raters who rated exactly the same images on the same traits form a stratum if they include both groups;
    otherwise the stratum consists of all raters who are linked by common images and traits. Therefore labels
    are permuted within traits if each rater rated one trait, and within sets of images if there are several.

    Parameters
    ----------
    ratings : DataFrame
        rater, image, trait, and the columns of `within`.
    raters : Index
        Raters, in the order of the result.
    labels : ndarray of int, shape (rater,)
        Group of each rater.
    within : sequence of str
        Columns with one value for each rater, such as gender or site. Labels are permuted only among raters
        with equal values; raters without a value form separate strata.

    Returns
    -------
    ndarray of int, shape (rater,)
        Number of each rater's stratum.

    Raises
    ------
    TraitlensError
        If a column is missing or gives a rater several values, or if no stratum contains two groups.
    """
    trait, traits = pd.factorize(ratings[TRAIT])
    image, images = pd.factorize(ratings[IMAGE])
    task = trait * len(images) + image
    seen = np.zeros((len(raters), len(traits) * len(images)), bool)
    seen[raters.get_indexer(ratings[RATER]), task] = True
    component, pattern = find_blocks(seen)
    given = np.zeros(len(raters), int)
    for column in within:
        values = _value_of_raters(ratings, raters, column)
        codes, kinds = pd.factorize(values)  # Missing values have the code -1.
        given = given * (len(kinds) + 1) + codes + 1
    groups = np.unique(labels)
    strata = np.zeros((len(raters), 3), int)
    for block in np.unique(component):
        members = np.flatnonzero(component == block)
        mixed = all(
            np.isin(groups, labels[members][pattern[members] == one]).all()
            for one in np.unique(pattern[members])
        )
        strata[members] = np.column_stack(
            [component[members], pattern[members] + 1 if mixed else np.zeros(len(members)), given[members]]
        )
    found = np.unique(strata, axis=0, return_inverse=True)[1].ravel()
    if within and all(len(np.unique(labels[found == one])) < 2 for one in np.unique(found)):
        raise TraitlensError(
            Problem(
                f"no raters of two groups have the same {', '.join(within)}",
                'name fewer columns in "within", section [comparison] of study.toml',
            )
        )
    return found


def _value_of_raters(ratings: pd.DataFrame, raters: pd.Index, column: str) -> pd.Series:
    """Return the value of each rater in a column that has one value per rater."""
    if column not in ratings:
        raise unknown_choice("column of the ratings", column, ratings.columns)
    values = ratings[[RATER, column]].dropna().drop_duplicates().set_index(RATER)[column]
    twice = values.index[values.index.duplicated()].unique()
    if len(twice):
        raise TraitlensError(
            [Problem(f"rater {one!r} has several values of {column!r}", "enter one value") for one in twice]
        )
    return values.reindex(raters)


def covariates_of_raters(ratings: pd.DataFrame, raters: pd.Index, columns: Sequence[str]) -> np.ndarray:
    """Return the numeric covariates of each rater, centred.

    Parameters
    ----------
    ratings : DataFrame
        rater and the covariates.
    raters : Index
        Raters, in the order of the result.
    columns : sequence of str
        Numeric columns with one value for each rater, such as age.

    Returns
    -------
    ndarray of shape (rater, covariate)
        Centred values; a missing value is replaced by the mean.

    Raises
    ------
    TraitlensError
        If a column is missing, is not numeric, or gives a rater several values.
    """
    values = np.zeros((len(raters), len(columns)))
    for place, column in enumerate(columns):
        own = _value_of_raters(ratings, raters, column)
        if not pd.api.types.is_numeric_dtype(own):
            raise TraitlensError(
                Problem(f"covariate {column!r} is not numeric", 'name it in "within" instead', column=column)
            )
        values[:, place] = (own - own.mean()).fillna(0)
    return values


def count_labellings(labels: np.ndarray, strata: np.ndarray) -> int:
    """Count the distinct labellings that permutation within strata can give.

    Parameters
    ----------
    labels : ndarray of shape (rater,)
        Group numbers or scores.
    strata : ndarray of int, shape (rater,)
        Stratum of each rater.

    Returns
    -------
    int
        Number of labellings, including the observed one.

    Examples
    --------
    >>> count_labellings(np.array([0, 0, 0, 1, 1, 1]), np.zeros(6, int))
    20
    """
    total = 1
    for stratum in np.unique(strata):
        counts = np.unique(labels[strata == stratum], return_counts=True)[1]
        total *= factorial(int(counts.sum())) // prod(factorial(int(count)) for count in counts)
    return total


def smallest_p(labels: np.ndarray, strata: np.ndarray, permutations: int) -> float:
    """Return the smallest two-sided p value that a permutation test of two groups can give.

    Parameters
    ----------
    labels : ndarray of int, shape (rater,)
        Group of each rater.
    strata : ndarray of int, shape (rater,)
        Stratum of each rater.
    permutations : int
        Number of permutations; if there are fewer distinct labellings, each is used once.

    Returns
    -------
    float
        1 / (permutations + 1); or, if all labellings are used, the share of labellings with the observed
        absolute difference: the observed one, and its mirror image if groups have the same size in every
        stratum.

    Examples
    --------
    >>> smallest_p(np.array([0, 0, 0, 1, 1, 1]), np.zeros(6, int), 5000)
    0.1
    """
    total = count_labellings(labels, strata)
    if total > permutations + 1:
        return 1 / (permutations + 1)
    sizes = [np.unique(labels[strata == one], return_counts=True)[1] for one in np.unique(strata)]
    mirrored = all(len(size) == 1 or len(set(size)) == 1 for size in sizes)
    return min(1.0, (1 + mirrored) / total)


def _distinct_orders(values: np.ndarray) -> np.ndarray:
    """Return all distinct orders of the values of an array, one per row."""
    kinds, counts = np.unique(values, return_counts=True)
    rows = np.full((1, len(values)), -1)
    for kind, count in enumerate(counts):
        longer = []
        for row in rows:
            free = np.flatnonzero(row < 0)
            for places in combinations(free, count):
                new = row.copy()
                new[list(places)] = kind
                longer.append(new)
        rows = np.array(longer)
    return kinds[rows]


def _all_labellings(labels: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Return all labellings except the observed one."""
    rows = labels[None].copy()
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        own = _distinct_orders(labels[members])
        rows = np.repeat(rows, len(own), axis=0)
        rows[:, members] = np.tile(own, (len(rows) // len(own), 1))
    return rows[(rows != labels).any(axis=1)]


def draw_labels(
    labels: np.ndarray, strata: np.ndarray, permutations: int, seed: int, block: int = 500
) -> Iterator[np.ndarray]:
    """Yield blocks of permuted labels (or scores) of raters; labels are permuted within strata.

    Parameters
    ----------
    labels : ndarray of shape (rater,)
        Group numbers or scores.
    strata : ndarray of int, shape (rater,)
        Stratum of each rater.
    permutations : int
        Number of random permutations. If there are no more distinct labellings than that, each one except the
        observed labelling is used once, so that p is exact.
    seed : int
        Seed of the random number generator.
    block : int, default 500
        Number of permutations per block.

    Yields
    ------
    ndarray of shape (permutation, rater)
        Permuted labels.
    """
    if count_labellings(labels, strata) <= permutations + 1:
        complete = _all_labellings(labels, strata)
        for start in range(0, len(complete), block):
            yield complete[start : start + block]
        return
    rng = np.random.default_rng(seed)
    blocks = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    for start in range(0, permutations, block):
        size = min(block, permutations - start)
        permuted = np.empty((size, len(labels)), labels.dtype)
        for members in blocks:
            permuted[:, members] = rng.permuted(np.tile(labels[members], (size, 1)), axis=1)
        yield permuted


def center(observed: np.ndarray, permuted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre statistics on their mean under permutation.

    If groups have different numbers of raters, the expected difference of reliability or performance is not
    zero under the null hypothesis. The mean is taken over all labellings including the observed one, so that
    the test remains exact.

    Parameters
    ----------
    observed : ndarray of shape (test,)
        Observed statistics.
    permuted : ndarray of shape (permutation, test)
        Statistics under permuted labels.

    Returns
    -------
    observed, permuted, mean : ndarray
        The centred statistics, and the subtracted mean.
    """
    mean = (observed + permuted.sum(axis=0)) / (len(permuted) + 1)
    return observed - mean, permuted - mean, mean


def permutation_p(observed: np.ndarray, permuted: np.ndarray) -> np.ndarray:
    """Compute two-sided p values of single tests: (b + 1) / (m + 1).

    Parameters
    ----------
    observed : ndarray of shape (test,)
        Observed statistics, which are zero on average under the null hypothesis.
    permuted : ndarray of shape (permutation, test)
        Statistics under permuted labels.

    Returns
    -------
    ndarray of shape (test,)
        The p values (Phipson and Smyth 2010).
    """
    larger = (np.abs(permuted) >= np.abs(observed) * (1 - 1e-10)).sum(axis=0)
    p: np.ndarray = (larger + 1) / (len(permuted) + 1)
    return p


LARGEST = 1e100
"""Largest absolute statistic; the squares of larger ones, of raters without variance, would overflow."""


def familywise_p(observed: np.ndarray, permuted: np.ndarray) -> np.ndarray:
    """Compute p values with family-wise control by the maximum statistic (Westfall and Young 1993).

    Parameters
    ----------
    observed : ndarray of shape (test,)
        Observed statistics.
    permuted : ndarray of shape (permutation, test)
        Statistics under permuted labels.

    Returns
    -------
    ndarray of shape (test,)
        Corrected p values; 1 for a test without variance.

    Notes
    -----
    Each statistic is divided by its root mean square over all labellings including the observed one, so that
    tests of different scale have equal weight and the correction is exact.
    """
    together = np.clip(np.vstack([observed, permuted]), -LARGEST, LARGEST)
    scale = np.sqrt((together**2).mean(axis=0))
    standard = np.abs(together) / np.where(scale > 1e-300, scale, np.inf)
    largest = standard[1:].max(axis=1)
    larger = (largest[:, None] >= standard[0] * (1 - 1e-10)).sum(axis=0)
    p: np.ndarray = (larger + 1) / (len(permuted) + 1)
    return p


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p values for the number of tests by the method of Holm (1979).

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    order = np.argsort(p)
    stepped = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1)
    return corrected
