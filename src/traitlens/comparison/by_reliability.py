"""Whether groups differ in how reliable their mean ratings are, tested by exchanging raters."""

import numpy as np
import pandas as pd

from traitlens.comparison.by_rating import rater_levels
from traitlens.comparison.exchange import (
    draw_labels,
    familywise_p,
    find_strata,
    label_raters,
    pairs_of_groups,
    permutation_p,
    ratings_of_pair,
)
from traitlens.ratings.matrix import RatingMatrix, find_blocks, make_matrix
from traitlens.ratings.reliability import SplitHalf, split_half
from traitlens.words import TRAIT


class ReliabilityDesign:
    """One trait's ratings, ready for the reliability of the mean of any set of raters.

    Parameters
    ----------
    matrix : RatingMatrix
        Ratings of all raters.

    Notes
    -----
    Raters' levels are taken off first, by the images that each saw; levels do not depend on who belongs to
    which group.
    """

    def __init__(self, matrix: RatingMatrix):
        self.seen = (~np.isnan(matrix.ratings)).astype(float)
        self.values = np.nan_to_num(matrix.ratings - rater_levels(matrix)[:, None])
        self.blocks = len(np.unique(find_blocks(self.seen > 0)[0]))

    def noise_share(self, weights: np.ndarray) -> np.ndarray:
        """Give the part of the variance of mean ratings that is noise: one less the reliability.

        Parameters
        ----------
        weights : ndarray of shape (set, rater)
            Ones for the raters of a set, else zeros.

        Returns
        -------
        ndarray of shape (set,)
            Error variance of an image's mean rating over the variance of means between images. With a
            complete design one less Cronbach's alpha, exactly.
        """
        counts = weights @ self.seen
        several = counts > 1
        means = weights @ self.values / np.maximum(counts, 1)
        spread = np.maximum(weights @ self.values**2 - counts * means**2, 0)
        images = several.sum(axis=1)
        within = np.where(several, spread / np.maximum((counts - 1) * counts, 1), 0).sum(axis=1) / images
        # Levels were estimated: a degree of freedom for each rater, but for one in each block of images.
        freedom = np.where(several, counts - 1, 0).sum(axis=1)
        left = freedom - (weights @ self.seen.any(axis=1)) + self.blocks
        centre = np.where(several, means, 0).sum(axis=1, keepdims=True) / images[:, None]
        between = (np.where(several, means - centre, 0) ** 2).sum(axis=1) / (images - 1)
        share: np.ndarray = within * freedom / np.maximum(left, 1) / np.maximum(between, 1e-12)
        return share


def compare_reliability(
    ratings: pd.DataFrame,
    *,
    groups: tuple[str, str] | None = None,
    permutations: int = 10_000,
    splits: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether two groups' mean ratings are equally reliable.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    groups : (str, str), optional
        The first less the second; each pair where missing.
    permutations : int, default 10000
        Exchanges of raters.
    splits : int, default 1000
        Random halves for the reliabilities and their intervals.
    seed : int, default 0
        Seed.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, reliability_1, reliability_2 (split halves with Spearman-Brown, ceilings of
        R²), estimate (their difference), ci_low, ci_high (from the two intervals, Zou and Donner 2008),
        noise_ratio ((1 - reliability_1) / (1 - reliability_2), of the closed form that is tested),
        statistic (its logarithm by its root mean square under exchange), p, p_corrected (family-wise over
        traits), n_1, n_2 (raters), n_images.

    Notes
    -----
    Under exchange the reliability is taken in closed form, from the variance of ratings within and of means
    between images: what all split halves give on average, and Cronbach's alpha where the design is complete.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> cells = pd.MultiIndex.from_product([list("abcdef"), range(30)], names=["rater", "image"])
    >>> ratings = cells.to_frame(index=False).assign(trait="warm")
    >>> ratings["rating"] = ratings["image"] / 10 + rng.normal(size=len(ratings))
    >>> ratings["group"] = np.where(ratings["rater"] < "d", "first", "second")
    >>> compare_reliability(ratings, permutations=99, splits=99)[["group_1", "group_2", "n_1", "n_images"]]
      group_1 group_2  n_1  n_images
    0   first  second    3        30
    """
    tables = [
        _compare_pair(ratings, pair, permutations, splits, seed) for pair in pairs_of_groups(ratings, groups)
    ]
    return pd.concat(tables, ignore_index=True)


def _compare_pair(
    ratings: pd.DataFrame, pair: tuple[str, str], permutations: int, splits: int, seed: int
) -> pd.DataFrame:
    """Compare one pair of groups over all traits."""
    both = ratings_of_pair(ratings, pair)
    raters, labels = label_raters(both, pair)
    matrices = {str(trait): make_matrix(part) for trait, part in both.groupby(TRAIT, observed=True)}
    members = {trait: raters.get_indexer(matrix.raters) for trait, matrix in matrices.items()}
    designs = {trait: ReliabilityDesign(matrix) for trait, matrix in matrices.items()}

    def log_ratio(block: np.ndarray) -> np.ndarray:
        """Logarithm of the ratio of noise shares; (labelling, trait)."""
        shares = [
            [design.noise_share((block[:, members[trait]] == group).astype(float)) for group in (0, 1)]
            for trait, design in designs.items()
        ]
        return np.column_stack([np.log(np.maximum(a, 1e-9) / np.maximum(b, 1e-9)) for a, b in shares])

    observed = log_ratio(labels[None])[0]
    strata = find_strata(both, raters, labels)
    null = np.vstack([log_ratio(block) for block in draw_labels(labels, strata, permutations, seed)])
    rows = []
    for trait, matrix in matrices.items():
        own = labels[members[trait]]
        halves = [split_half(_rows(matrix, own == group), splits, seed) for group in (0, 1)]
        low, high = _difference_interval(*halves)
        rows.append(
            {"group_1": pair[0], "group_2": pair[1], TRAIT: trait}
            | {"reliability_1": halves[0].reliability, "reliability_2": halves[1].reliability}
            | {"estimate": halves[0].reliability - halves[1].reliability, "ci_low": low, "ci_high": high}
            | {"n_1": int((own == 0).sum()), "n_2": int((own == 1).sum()), "n_images": len(matrix.images)}
        )
    table = pd.DataFrame(rows)
    table["noise_ratio"] = np.exp(observed)
    table["statistic"] = observed / np.sqrt((np.vstack([observed, null]) ** 2).mean(axis=0))
    table["p"], table["p_corrected"] = permutation_p(observed, null), familywise_p(observed, null)
    return table


def _rows(matrix: RatingMatrix, keep: np.ndarray) -> RatingMatrix:
    """Keep some raters, and the images that they rated."""
    values = matrix.ratings[keep]
    rated = ~np.isnan(values).all(axis=0)
    return RatingMatrix(values[:, rated], matrix.raters[keep], matrix.images[rated])


def _difference_interval(first: SplitHalf, second: SplitHalf) -> tuple[float, float]:
    """Interval of a difference from the intervals of its parts (Zou and Donner 2008)."""
    difference = first.reliability - second.reliability
    below = np.hypot(first.reliability - first.ci_low, second.ci_high - second.reliability)
    above = np.hypot(first.ci_high - first.reliability, second.reliability - second.ci_low)
    return float(difference - below), float(difference + above)
