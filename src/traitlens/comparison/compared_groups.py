"""Selection of the groups, traits, images and ratings that can be compared."""

from itertools import combinations

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, IMAGE, RATER, REPEAT, TRAIT
from traitlens.problems import Problem, TraitlensError


def label_raters(ratings: pd.DataFrame, groups: tuple[str, ...]) -> tuple[pd.Index, np.ndarray]:
    """Return the raters and the number of each rater's group.

    Parameters
    ----------
    ratings : DataFrame
        rater, group.
    groups : tuple of str
        Groups, numbered in this order. The ratings must not contain other groups.

    Returns
    -------
    raters : Index
        Raters, sorted.
    labels : ndarray of int, shape (rater,)
        Index in `groups` of each rater's group.

    Raises
    ------
    TraitlensError
        If a rater belongs to two groups.
    """
    of_rater = ratings[[RATER, GROUP]].drop_duplicates().set_index(RATER)[GROUP].sort_index()
    if of_rater.index.has_duplicates:
        twice = of_rater.index[of_rater.index.duplicated()][0]
        raise TraitlensError(
            Problem(f"rater {twice!r} belongs to two groups", "use a different name for each rater")
        )
    return of_rater.index, pd.Index(groups).get_indexer(of_rater)


def pairs_of_groups(ratings: pd.DataFrame, groups: tuple[str, str] | None = None) -> list[tuple[str, str]]:
    """Return the pairs of groups to compare.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait; or group only.
    groups : (str, str), optional
        The only pair to compare.

    Returns
    -------
    list of (str, str)
        `groups` if passed; otherwise the pairs with a trait that can be compared, in alphabetical order, or
        all pairs if there is no such trait.
    """
    if groups:
        return [groups]
    pairs = list(combinations(sorted(ratings[GROUP].unique()), 2))
    if not {RATER, TRAIT, IMAGE} <= set(ratings.columns):
        return pairs
    return [pair for pair in pairs if comparable_traits(ratings, pair)] or pairs


def comparable_traits(ratings: pd.DataFrame, pair: tuple[str, str]) -> list[str]:
    """Return the traits on which two groups can be compared.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait.
    pair : (str, str)
        The groups.

    Returns
    -------
    list of str
        Traits rated by at least two raters of each group, on at least three common images.
    """
    both = ratings[ratings[GROUP].isin(pair)]
    raters = both.groupby([TRAIT, GROUP], observed=True)[RATER].nunique()
    groups = (raters >= 2).groupby(level=TRAIT).sum()
    rated_by = both.groupby([TRAIT, IMAGE], observed=True)[GROUP].nunique()
    images = (rated_by == 2).groupby(level=TRAIT).sum()
    return [str(trait) for trait in groups.index if groups[trait] == 2 and images[trait] >= 3]


FEWEST_SHARED = 6
"""Minimum number of images that groups must have in common to be fitted together."""


def shared_ratings(ratings: pd.DataFrame) -> tuple[list[str], list[str], list[str]]:
    """Find the largest set of groups that rated the same images on the same traits.

    Returns
    -------
    groups : list of str
        All groups, or the largest set of groups that have :data:`FEWEST_SHARED` images in common; of several
        such sets the one with most images.
    images : list of str
        Images that all groups in the set rated on all traits of the next list.
    traits : list of str
        Traits that all groups in the set rated.

    Examples
    --------
    >>> rows = [(g, i, "warm") for g in "ab" for i in range(6)] + [("c", i, "warm") for i in range(9, 15)]
    >>> table = pd.DataFrame(rows, columns=["group", "image", "trait"])
    >>> shared_ratings(table)
    (['a', 'b'], [0, 1, 2, 3, 4, 5], ['warm'])
    """
    rated = ratings[[GROUP, TRAIT, IMAGE]].drop_duplicates().astype({GROUP: str, TRAIT: str})
    by_group = rated.assign(rated=1.0).pivot_table(
        index=IMAGE, columns=[GROUP, TRAIT], values="rated", observed=True
    )
    names = sorted(rated[GROUP].unique())

    def share(groups: tuple[str, ...]) -> tuple[list[str], list[str], list[str]]:
        """Find the images and traits that some groups have in common."""
        traits = sorted(set.intersection(*(set(by_group[group].columns) for group in groups)))
        columns = [(group, trait) for group in groups for trait in traits]
        every = by_group[columns].notna().all(axis=1)
        return list(groups), list(by_group.index[every]) if columns else [], traits

    everything = share(tuple(names))
    if len(everything[1]) >= FEWEST_SHARED or len(names) > MOST_GROUPS:
        return everything
    for number in range(len(names) - 1, 1, -1):
        best = max((share(one) for one in combinations(names, number)), key=lambda one: len(one[1]))
        if len(best[1]) >= FEWEST_SHARED:
            return best
    return everything


MOST_GROUPS = 12
"""Maximum number of groups for which all subsets are tried."""


def ratings_of_pair(ratings: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    """Select the ratings of two groups on the traits of :func:`comparable_traits`.

    Repeated ratings are averaged if both groups repeated the same share of their ratings. Otherwise only
    first ratings are used, because averages would make the ratings of one group more reliable.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, trait.
    pair : (str, str)
        The groups.

    Raises
    ------
    TraitlensError
        If the ratings have no raters, or the groups have no trait in common.
    """
    if RATER not in ratings:
        raise TraitlensError(
            Problem("ratings are averages without raters", "a test between groups needs each rater's ratings")
        )
    both = ratings[ratings[GROUP].isin(pair)]
    shared = comparable_traits(ratings, pair)
    if not shared:
        what = f"groups {pair[0]!r} and {pair[1]!r} have no trait that two raters of each rated"
        raise TraitlensError(Problem(what, "compare groups that rated at least three images in common"))
    return _with_equal_repeats(both[both[TRAIT].isin(shared)], pair)


def _with_equal_repeats(ratings: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    """Leave out repeated ratings if their shares in the two groups differ by more than .05."""
    ratings = ratings.reset_index(drop=True)
    again = ratings.duplicated([RATER, TRAIT, IMAGE])
    if not again.any():
        return ratings
    shares = again.groupby(ratings[GROUP]).mean().reindex(pair)
    if abs(shares.iloc[0] - shares.iloc[1]) <= 0.05:
        return ratings
    order = ratings.sort_values(REPEAT, kind="stable") if REPEAT in ratings else ratings
    return order[~order.duplicated([RATER, TRAIT, IMAGE])].sort_index()
