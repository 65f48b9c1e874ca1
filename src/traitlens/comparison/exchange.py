"""Exchange of raters between groups: who may change places, and p values with family-wise control."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.problems import Problem, TraitlensError
from traitlens.ratings.matrix import find_blocks
from traitlens.words import GROUP, IMAGE, RATER, TRAIT


def find_strata(ratings: pd.DataFrame, raters: pd.Index, labels: np.ndarray) -> np.ndarray:
    """Find the raters that may change places: those who did the same task.

    Raters who rated exactly the same images on the same traits form a stratum if both groups are among
    them; else all raters that are linked by shared images and traits do. Where each rater rated one trait,
    raters are so exchanged within traits; where the set of images differed, within sets.

    Parameters
    ----------
    ratings : DataFrame
        rater, image, trait.
    raters : Index
        Raters, in the order of the result.
    labels : ndarray of int, shape (rater,)
        Their groups.

    Returns
    -------
    ndarray of int, shape (rater,)
        Number of each rater's stratum.
    """
    task, _ = pd.factorize(pd.MultiIndex.from_frame(ratings[[TRAIT, IMAGE]]))
    seen = np.zeros((len(raters), task.max() + 1), bool)
    seen[raters.get_indexer(ratings[RATER]), task] = True
    component, pattern = find_blocks(seen)
    groups = np.unique(labels)
    strata = np.zeros(len(raters), int)
    for block in np.unique(component):
        members = np.flatnonzero(component == block)
        mixed = all(
            np.isin(groups, labels[members][pattern[members] == one]).all()
            for one in np.unique(pattern[members])
        )
        strata[members] = 2 * block * len(raters) + (pattern[members] + 1 if mixed else 0)
    return np.unique(strata, return_inverse=True)[1].ravel()


def draw_labels(
    labels: np.ndarray, strata: np.ndarray, permutations: int, seed: int, block: int = 500
) -> Iterator[np.ndarray]:
    """Permute labels (or scores) of raters within strata, block by block.

    Parameters
    ----------
    labels : ndarray of shape (rater,)
        Group numbers or scores.
    strata : ndarray of int, shape (rater,)
        Who may change places.
    permutations : int
        How many.
    seed : int
        Seed; the same labels come whatever is done with them.
    block : int, default 500
        Permutations at a time.

    Yields
    ------
    ndarray of shape (permutation, rater)
        Permuted labels.
    """
    rng = np.random.default_rng(seed)
    blocks = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    for start in range(0, permutations, block):
        size = min(block, permutations - start)
        permuted = np.empty((size, len(labels)), labels.dtype)
        for members in blocks:
            permuted[:, members] = rng.permuted(np.tile(labels[members], (size, 1)), axis=1)
        yield permuted


def label_raters(ratings: pd.DataFrame, groups: tuple[str, ...]) -> tuple[pd.Index, np.ndarray]:
    """Number the raters' groups.

    Parameters
    ----------
    ratings : DataFrame
        rater, group.
    groups : tuple of str
        Groups in order; ratings of other groups must have been left out.

    Returns
    -------
    raters : Index
        Raters, sorted.
    labels : ndarray of int, shape (rater,)
        Place of each rater's group in `groups`.

    Raises
    ------
    TraitlensError
        Where a rater belongs to two groups.
    """
    of_rater = ratings[[RATER, GROUP]].drop_duplicates().set_index(RATER)[GROUP].sort_index()
    if of_rater.index.has_duplicates:
        twice = of_rater.index[of_rater.index.duplicated()][0]
        raise TraitlensError(Problem(f"rater {twice!r} belongs to two groups", "name raters apart"))
    return of_rater.index, pd.Index(groups).get_indexer(of_rater)


def pairs_of_groups(ratings: pd.DataFrame, groups: tuple[str, str] | None = None) -> list[tuple[str, str]]:
    """List the pairs of groups to compare.

    Parameters
    ----------
    ratings : DataFrame
        group.
    groups : (str, str), optional
        The only pair, where given.

    Returns
    -------
    list of (str, str)
        All pairs in the order of the alphabet, or the one given.
    """
    return [groups] if groups else list(combinations(sorted(ratings[GROUP].unique()), 2))


def ratings_of_pair(ratings: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    """Keep the ratings of two groups, and the traits that two raters of each group rated at least.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, trait.
    pair : (str, str)
        The groups.

    Returns
    -------
    DataFrame
        Some rows of `ratings`.

    Raises
    ------
    TraitlensError
        Where ratings are averages, or the groups have no trait in common.
    """
    if RATER not in ratings:
        raise TraitlensError(
            Problem("ratings are averages without raters", "a test between groups needs each rater's ratings")
        )
    both = ratings[ratings[GROUP].isin(pair)]
    counts = both.groupby([TRAIT, GROUP], observed=True)[RATER].nunique()
    several = counts[counts >= 2].reset_index()[TRAIT].value_counts()
    shared = several.index[several == 2]
    if not len(shared):
        raise TraitlensError(
            Problem(f"groups {pair[0]!r} and {pair[1]!r} have no trait that two raters of each rated")
        )
    return both[both[TRAIT].isin(shared)]


def permutation_p(observed: np.ndarray, permuted: np.ndarray) -> np.ndarray:
    """Two-sided p values, each test by itself: (b + 1) / (m + 1).

    Parameters
    ----------
    observed : ndarray of shape (test,)
        Statistics, centred on zero under no difference.
    permuted : ndarray of shape (permutation, test)
        The same under exchange.

    Returns
    -------
    ndarray of shape (test,)
        The p values (Phipson and Smyth 2010).
    """
    larger = (np.abs(permuted) >= np.abs(observed) * (1 - 1e-10)).sum(axis=0)
    p: np.ndarray = (larger + 1) / (len(permuted) + 1)
    return p


def familywise_p(observed: np.ndarray, permuted: np.ndarray) -> np.ndarray:
    """P values with family-wise control by the maximum statistic (Westfall and Young 1993).

    Parameters
    ----------
    observed : ndarray of shape (test,)
        Statistics.
    permuted : ndarray of shape (permutation, test)
        The same under exchange.

    Returns
    -------
    ndarray of shape (test,)
        Corrected p values; a test without variance gets 1.

    Notes
    -----
    Each test is divided by its root mean square over all exchanges, the observed one among them, so that
    tests of large and small scale weigh alike and the test stays exact.
    """
    together = np.vstack([observed, permuted])
    scale = np.sqrt((together**2).mean(axis=0))
    standard = np.abs(together) / np.where(scale > 1e-300, scale, np.inf)
    largest = standard[1:].max(axis=1)
    larger = (largest[:, None] >= standard[0] * (1 - 1e-10)).sum(axis=0)
    p: np.ndarray = (larger + 1) / (len(permuted) + 1)
    return p


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p values family-wise (Holm 1979).

    Parameters
    ----------
    p : ndarray
        p values.

    Returns
    -------
    ndarray
        Corrected p values.

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


def hedges_g(difference: float, first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Standardised mean difference, corrected for small samples, with its 95 % interval.

    Parameters
    ----------
    difference : float
        Difference of the groups.
    first, second : ndarray
        Values of the raters of each group.

    Returns
    -------
    g, low, high : float
        Hedges' g; the interval's standard error is that of Hedges and Olkin (1985), eq. 5.15.
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
    """Standard error of a difference of two means, and its degrees of freedom (Welch 1947).

    Parameters
    ----------
    first, second : ndarray
        Values of each group.

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
