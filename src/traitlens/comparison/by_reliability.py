"""Test whether the mean ratings of two groups are equally reliable, at equal numbers of raters."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from traitlens.columns import TRAIT
from traitlens.comparison.group_pairs import GroupPair, compare_each_pair
from traitlens.comparison.permutation import center, familywise_p, permutation_p
from traitlens.comparison.rater_outcomes import rater_levels
from traitlens.comparison.rater_tests import detectable
from traitlens.ratings.rating_matrix import RatingMatrix, find_blocks, is_linked
from traitlens.ratings.reliability import SplitHalf, split_half


class ReliabilityDesign:
    """Ratings of one trait, prepared to compute the reliability of many sets of raters.

    Parameters
    ----------
    matrix : RatingMatrix
        Ratings of all raters.

    Notes
    -----
    The least-squares level of each rater, which does not depend on groups, is subtracted first.
    """

    def __init__(self, matrix: RatingMatrix):
        self.seen = (~np.isnan(matrix.ratings)).astype(float)
        self.levelled = RatingMatrix(
            matrix.ratings - rater_levels(matrix)[:, None], matrix.raters, matrix.images
        )
        self.values = np.nan_to_num(self.levelled.ratings)
        self.blocks = len(np.unique(find_blocks(self.seen > 0)[0]))

    def variances(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute the variance of single ratings, the variance of mean ratings, and the number of raters.

        Parameters
        ----------
        weights : ndarray of shape (set, rater)
            1 for raters in the set, 0 otherwise.

        Returns
        -------
        error, between, number : ndarray of shape (set,)
            Within-image variance of single ratings, variance of the image means, and harmonic mean number of
            raters per image.
        """
        counts = weights @ self.seen
        several = counts > 1
        means = weights @ self.values / np.maximum(counts, 1)
        squares = np.maximum(weights @ self.values**2 - counts * means**2, 0)
        images = np.maximum(several.sum(axis=1), 1)
        # Estimating the levels costs one degree of freedom per rater, less one per block of linked images.
        freedom = np.where(several, counts - 1, 0).sum(axis=1)
        left = np.maximum(freedom - (weights @ self.seen.any(axis=1)) + self.blocks, 1)
        within = np.where(several, squares / np.maximum((counts - 1) * counts, 1), 0).sum(axis=1) / images
        within = within * freedom / left
        shares = np.where(several, 1 / np.maximum(counts, 1), 0).sum(axis=1)
        # The number is unknown if no image was rated by two raters of the set.
        number = np.where(shares > 0, images / np.where(shares > 0, shares, 1), np.nan)
        centre = np.where(several, means, 0).sum(axis=1, keepdims=True) / images[:, None]
        between = (np.where(several, means - centre, 0) ** 2).sum(axis=1) / np.maximum(images - 1, 1)
        return within * number, between, number

    def noise_share(self, weights: np.ndarray, raters: float | None = None) -> np.ndarray:
        """Compute one minus the reliability of mean ratings.

        Parameters
        ----------
        weights : ndarray of shape (set, rater)
            1 for raters in the set, 0 otherwise.
        raters : float, optional
            Number of raters in a mean rating (Spearman-Brown); if None, the number in the set.

        Returns
        -------
        ndarray of shape (set,)
            Error variance of mean ratings divided by their variance between images. With a complete design
            and `raters` None, it is exactly one minus Cronbach's alpha.
        """
        error, between, number = self.variances(weights)
        own = error / number
        stepped = own if raters is None else error / raters
        # If raters do not agree, the estimated variance between images can be negative.
        total = np.maximum(between - own + stepped, 0.05 * np.maximum(between, 1e-12))
        share: np.ndarray = stepped / total
        return share


def compare_reliability(
    ratings: pd.DataFrame,
    *,
    groups: tuple[str, str] | None = None,
    within: Sequence[str] = (),
    permutations: int = 10_000,
    splits: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether the ratings of two groups are equally reliable, at equal numbers of raters.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    groups : (str, str), optional
        The first minus the second; all pairs if None.
    within : sequence of str, default ()
        Columns of raters within which labels are permuted, see `compare_means`.
    permutations : int, default 10000
        Number of permutations.
    splits : int, default 1000
        Number of random split halves for the reliabilities and their intervals.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, raters_compared (raters per image of the smaller group), reliability_1,
        reliability_2 (split-half reliability of mean ratings, stepped up to that number by the Spearman-Brown
        formula), estimate (their difference), ci_low, ci_high (from the intervals of both, Zou and Donner
        2008; missing if fewer than four raters of a group share images), noise_ratio
        ((1 - reliability_1) / (1 - reliability_2), with the closed form of the reliability, see Notes),
        statistic (logarithm of the noise ratio, centred and divided by its root mean square under
        permutation), p, p_corrected (family-wise over traits), detectable (smallest noise ratio above 1 that
        is found with 80 % power), n_1, n_2 (raters), n_images, n_permutations, smallest_p.

    Notes
    -----
    A mean of more raters is more reliable. Both groups are therefore compared at the number of raters of the
    smaller group. The mean under permutation, which is not exactly zero because the ratio is a nonlinear
    function, is subtracted. Under permutation the reliability is computed in closed form, from the variance
    within images and the variance of means between images. This is the average over all split halves, and
    with a complete design Cronbach's alpha.

    Examples
    --------
    >>> compare_reliability(study.ratings)  # doctest: +SKIP
    """
    return compare_each_pair(
        lambda pair: _compare_pair(pair, splits), ratings, groups, within, permutations, seed
    )


def _compare_pair(pair: GroupPair, splits: int) -> pd.DataFrame:
    """Compare two groups in the reliability of all traits."""
    sample, matrices = pair.sample, pair.matrices
    designs = {trait: ReliabilityDesign(matrix) for trait, matrix in matrices.items()}
    own_groups = {
        trait: [(pair.labels(trait) == group).astype(float)[None] for group in (0, 1)] for trait in designs
    }
    numbers = {
        trait: min(float(designs[trait].variances(group)[2][0]) for group in own_groups[trait])
        for trait in designs
    }

    def log_ratio(block: np.ndarray) -> np.ndarray:
        """Return logarithms of the ratio of noise shares, an array of shape (labelling, trait)."""
        columns = []
        for trait, design in designs.items():
            first, second = (
                design.noise_share((block[:, pair.members[trait]] == group).astype(float), numbers[trait])
                for group in (0, 1)
            )
            columns.append(np.log(np.maximum(first, 1e-9) / np.maximum(second, 1e-9)))
        return np.column_stack(columns)

    ratio = log_ratio(sample.labels[None])[0]
    permuted = np.vstack([np.zeros((0, len(designs))), *map(log_ratio, sample.draw())])
    observed, null, _ = center(ratio, permuted)
    scale = np.sqrt((np.vstack([observed, null]) ** 2).mean(axis=0))
    rows = []
    for trait, matrix in matrices.items():
        labels = pair.labels(trait)
        halves = [
            _step_up(
                split_half(_select_raters(designs[trait].levelled, labels == group), splits, sample.seed),
                numbers[trait] / float(designs[trait].variances(own_groups[trait][group])[2][0]),
            )
            for group in (0, 1)
        ]
        low, high = _difference_interval(*halves)
        if not all(is_linked(matrix, labels == group) for group in (0, 1)):
            low, high = np.nan, np.nan
        rows.append(
            {TRAIT: trait, "raters_compared": numbers[trait]}
            | {"reliability_1": halves[0].reliability, "reliability_2": halves[1].reliability}
            | {"estimate": halves[0].reliability - halves[1].reliability, "ci_low": low, "ci_high": high}
            | {"n_1": int((labels == 0).sum()), "n_2": int((labels == 1).sum())}
            | {"n_images": len(matrix.images)}
        )
    table = pd.DataFrame(rows)
    table["noise_ratio"] = np.exp(ratio)
    table["statistic"] = observed / np.where(scale > 0, scale, np.inf)
    table["p"], table["p_corrected"] = permutation_p(observed, null), familywise_p(observed, null)
    table["detectable"] = np.exp(detectable(null, scale))
    return table.assign(n_permutations=len(null), smallest_p=sample.smallest_p)


def _step_up(found: SplitHalf, factor: float) -> SplitHalf:
    """Step up a reliability and its interval to `factor` times as many raters (Spearman-Brown)."""

    def step(reliability: float) -> float:
        """Apply the Spearman-Brown formula."""
        return factor * reliability / max(1 + (factor - 1) * reliability, 1e-6)

    low, high = max(found.ci_low, -1.0), found.ci_high
    return SplitHalf(step(found.reliability), step(low), step(high), found.half_correlation, found.n_splits)


def _select_raters(matrix: RatingMatrix, keep: np.ndarray) -> RatingMatrix:
    """Select some raters of a rating matrix, and the images that they rated."""
    values = matrix.ratings[keep]
    rated = ~np.isnan(values).all(axis=0)
    return RatingMatrix(values[:, rated], matrix.raters[keep], matrix.images[rated])


def _difference_interval(first: SplitHalf, second: SplitHalf) -> tuple[float, float]:
    """Compute the interval of a difference from the intervals of two reliabilities (Zou and Donner 2008)."""
    difference = first.reliability - second.reliability
    below = np.hypot(first.reliability - first.ci_low, second.ci_high - second.reliability)
    above = np.hypot(first.ci_high - first.reliability, second.reliability - second.ci_low)
    return max(float(difference - below), -1.0), min(float(difference + above), 1.0)
