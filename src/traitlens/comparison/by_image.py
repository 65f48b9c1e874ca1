"""Test whether groups differ in the mean ratings of single images, adjusted for the level of each rater."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import IMAGE, TRAIT
from traitlens.comparison.group_pairs import GroupPair, compare_each_pair
from traitlens.comparison.rater_outcomes import rater_levels
from traitlens.comparison.rater_tests import normal_equivalent, studentize
from traitlens.ratings.rating_matrix import RatingMatrix

PRIOR_FREEDOM = 10
"""Degrees of freedom of the prior variance, the mean over images, towards which variances are shrunk."""


@dataclass(frozen=True)
class ImageDesign:
    """Ratings of one trait, minus the level of each rater.

    Parameters
    ----------
    values : ndarray of shape (rater, image)
        Ratings minus the level of the rater; 0 if missing.
    seen : ndarray of shape (rater, image)
        1 where there is a rating.
    """

    values: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, matrix: RatingMatrix) -> "ImageDesign":
        """Estimate the level of each rater by least squares, and subtract it from the ratings."""
        seen = ~np.isnan(matrix.ratings)
        return cls(np.nan_to_num(matrix.ratings - rater_levels(matrix)[:, None]), seen.astype(float))

    def compare(self, first: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute the difference between two groups' mean ratings of every image.

        Parameters
        ----------
        first : ndarray of shape (labelling, rater)
            1 for raters of the first group, 0 for the second.

        Returns
        -------
        difference, error, freedom : ndarray of shape (labelling, image)
            Difference of means, 0 where a group has fewer than two ratings; its standard error, from
            variances shrunk towards their mean over images (Smyth 2004); and its degrees of freedom.
        """
        means, parts, freedoms, enough = [], [], [], []
        for own in (first, 1 - first):
            count = own @ self.seen
            several = count > 1
            mean = own @ self.values / np.maximum(count, 1)
            squares = np.maximum(own @ self.values**2 - count * mean**2, 0) * several
            freedom = np.where(several, count - 1, 0)
            pooled = squares.sum(axis=1, keepdims=True) / np.maximum(freedom.sum(axis=1, keepdims=True), 1)
            variance = (squares + PRIOR_FREEDOM * pooled) / (freedom + PRIOR_FREEDOM)
            means.append(mean)
            parts.append(variance / np.maximum(count, 1))
            freedoms.append(freedom + PRIOR_FREEDOM)
            enough.append(several)
        both = enough[0] & enough[1]
        difference = np.where(both, means[0] - means[1], 0)
        total = parts[0] + parts[1]
        below = parts[0] ** 2 / freedoms[0] + parts[1] ** 2 / freedoms[1]
        freedom = total**2 / np.where(below > 0, below, 1)
        return difference, np.sqrt(total), np.maximum(freedom, 1)

    def statistics(self, first: np.ndarray) -> np.ndarray:
        """Compute the normal equivalent of t of every image.

        Parameters
        ----------
        first : ndarray of shape (labelling, rater)
            1 for raters of the first group, 0 for the second.

        Returns
        -------
        ndarray of shape (labelling, image)
            Normal variables.
        """
        difference, error, freedom = self.compare(first)
        return normal_equivalent(studentize(difference, error), freedom)


def compare_images(
    ratings: pd.DataFrame,
    *,
    groups: tuple[str, str] | None = None,
    within: Sequence[str] = (),
    permutations: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether groups differ in the mean rating of each image, adjusted for the level of each rater.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    groups : (str, str), optional
        The first minus the second; all pairs if None.
    within : sequence of str, default ()
        Columns of raters within which labels are permuted, see `compare_means`.
    permutations : int, default 5000
        Number of permutations.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, image, mean_1, mean_2 (adjusted for raters' levels), estimate, ci_low,
        ci_high, statistic, p_corrected (family-wise over images and traits; at least p_interaction),
        p_interaction (test of whether the differences of a trait vary over images more than by chance;
        family-wise over traits), n_1, n_2 (raters of the image), n_permutations, smallest_p.
        Images with fewer than two raters of a group are left out.

    Notes
    -----
    The family-wise p value is that of the largest statistic under permuted labels (Westfall and Young 1993).
    A single image is significant only if the interaction of the trait is.
    """
    return compare_each_pair(_compare_pair, ratings, groups, within, permutations, seed)


def _compare_pair(pair: GroupPair) -> pd.DataFrame:
    """Compare two groups in the mean rating of each image."""
    designs = {trait: ImageDesign.of(matrix) for trait, matrix in pair.matrices.items()}

    def statistics(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the largest statistic of all images, and the sum of squares of each trait."""
        largest, squares = [], []
        for trait, design in designs.items():
            z = design.statistics((block[:, pair.members[trait]] == 0).astype(float))
            largest.append(np.abs(z).max(axis=1))
            squares.append((z**2).sum(axis=1))
        return np.max(largest, axis=0), np.column_stack(squares)

    found = [statistics(block) for block in [pair.sample.labels[None], *pair.sample.draw()]]
    largest = np.concatenate([one[0] for one in found])
    squares = np.vstack([one[1] for one in found])
    interaction = dict(zip(designs, _one_sided_familywise(squares), strict=True))
    tables = []
    for trait, design in designs.items():
        first = (pair.labels(trait) == 0).astype(float)
        table = _compare_images_of_trait(pair.matrices[trait], design, first)
        z = np.abs(design.statistics(first[None])[0, table.index])
        reached = len(largest) - np.searchsorted(np.sort(largest), z * (1 - 1e-10))
        table["p_corrected"] = np.maximum(reached / len(largest), interaction[trait])
        table["p_interaction"] = interaction[trait]
        table["n_permutations"], table["smallest_p"] = len(largest) - 1, pair.sample.smallest_p
        tables.append(table.assign(**{TRAIT: trait}))
    return pd.concat(tables)


def _compare_images_of_trait(matrix: RatingMatrix, design: ImageDesign, first: np.ndarray) -> pd.DataFrame:
    """Return means, differences, intervals and t of the images of one trait."""
    counts = [own @ design.seen for own in (first, 1 - first)]
    means = [
        own @ design.values / np.maximum(count, 1)
        for own, count in zip((first, 1 - first), counts, strict=True)
    ]
    level = rater_levels(matrix).mean()
    difference, error, freedom = (part[0] for part in design.compare(first[None]))
    width = stats.t.ppf(0.975, freedom) * error
    table = pd.DataFrame({IMAGE: matrix.images, "mean_1": means[0] + level, "mean_2": means[1] + level})
    table["estimate"], table["ci_low"], table["ci_high"] = difference, difference - width, difference + width
    table["statistic"] = difference / np.where(error > 0, error, np.inf)
    table["n_1"], table["n_2"] = counts[0].astype(int), counts[1].astype(int)
    return table[(table["n_1"] > 1) & (table["n_2"] > 1)]


def _one_sided_familywise(statistics: np.ndarray) -> np.ndarray:
    """Compute one-sided family-wise p values from the largest standardised statistic.

    The first row has the observed statistics, the others those under permuted labels.
    """
    spread = statistics.std(axis=0)
    standard = (statistics - statistics.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
    largest = standard.max(axis=1)
    return np.asarray((largest[:, None] >= standard[0] - 1e-10).mean(axis=0))
