"""Comparison of groups in the ratings of single images, adjusted for general levels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import IMAGE, TRAIT
from traitlens.comparison.by_rating import make_sample, rater_levels
from traitlens.comparison.compared_groups import pairs_of_groups, ratings_of_pair
from traitlens.ratings.rating_matrix import RatingMatrix, make_matrix

PRIOR_FREEDOM = 10
"""Degrees of freedom of the prior, the variance over all images, to which that of an image is shrunk."""


@dataclass(frozen=True)
class ImageDesign:
    """Ratings of one trait without raters' levels.

    Parameters
    ----------
    values : ndarray of shape (rater, image)
        Ratings minus the rater's level; 0 if missing.
    seen : ndarray of shape (rater, image)
        1 where there is a rating.
    """

    values: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, matrix: RatingMatrix) -> "ImageDesign":
        """Subtract each rater's level, by least squares."""
        seen = ~np.isnan(matrix.ratings)
        return cls(np.nan_to_num(matrix.ratings - rater_levels(matrix)[:, None]), seen.astype(float))

    def compare(self, first: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compare the mean ratings of every image.

        Parameters
        ----------
        first : ndarray of shape (labelling, rater)
            1 for raters of the first group, otherwise 0.

        Returns
        -------
        difference, error, freedom : ndarray of shape (labelling, image)
            Difference of means, 0 where a group has fewer than two ratings; its standard error, with
            variances shrunk to their mean over images (after Smyth 2004); degrees of freedom.
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
        """Compute the t of every image, brought to the normal distribution.

        The degrees of freedom depend on which raters are in the smaller group, and so on the labelling
        where one group is noisier.

        Parameters
        ----------
        first : ndarray of shape (labelling, rater)
            1 for raters of the first group, otherwise 0.

        Returns
        -------
        ndarray of shape (labelling, image)
            By equation 26.7.8 of Abramowitz and Stegun (1964).
        """
        difference, error, freedom = self.compare(first)
        t = difference / np.where(error > 0, error, np.inf)
        return np.asarray(t * (1 - 1 / (4 * freedom)) / np.sqrt(1 + t**2 / (2 * freedom)))


def compare_images(
    ratings: pd.DataFrame,
    *,
    groups: tuple[str, str] | None = None,
    within: Sequence[str] = (),
    permutations: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test each image's mean rating between groups, raters' general levels removed.

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
        ci_high, statistic, p_corrected (family-wise over images and traits, and no smaller than
        p_interaction), p_interaction (one test of each trait: do the differences vary over images more than
        by chance; family-wise over traits), n_1, n_2 (raters of the image), n_permutations, smallest_p.
        Images with fewer than two raters of a group are left out.

    Notes
    -----
    The family-wise p is that of the largest statistic under permuted labels (Westfall and Young 1993); single
    images are significant only where the interaction of the trait is.
    """
    tables = []
    for pair in pairs_of_groups(ratings, groups):
        both = ratings_of_pair(ratings, pair)
        raters, sample = make_sample(both, pair, permutations, seed, within)
        matrices = {str(trait): make_matrix(part) for trait, part in both.groupby(TRAIT, observed=True)}
        designs = {trait: ImageDesign.of(matrix) for trait, matrix in matrices.items()}
        members = {trait: raters.get_indexer(matrix.raters) for trait, matrix in matrices.items()}

        def statistics(
            block: np.ndarray,
            designs: dict[str, ImageDesign] = designs,
            members: dict[str, np.ndarray] = members,
        ) -> tuple[np.ndarray, np.ndarray]:
            """Compute the largest statistic of all images, and each trait's sum of squares."""
            largest, squares = [], []
            for trait, design in designs.items():
                z = design.statistics((block[:, members[trait]] == 0).astype(float))
                largest.append(np.abs(z).max(axis=1))
                squares.append((z**2).sum(axis=1))
            return np.max(largest, axis=0), np.column_stack(squares)

        found = [statistics(block) for block in [sample.labels[None], *sample.draw()]]
        largest = np.concatenate([one[0] for one in found])
        squares = np.vstack([one[1] for one in found])
        interaction = dict(zip(designs, _upper_familywise_p(squares), strict=True))
        for trait, matrix in matrices.items():
            first = (sample.labels[members[trait]] == 0).astype(float)
            table = _describe(matrix, designs[trait], first)
            z = np.abs(designs[trait].statistics(first[None])[0, table.index])
            reached = len(largest) - np.searchsorted(np.sort(largest), z * (1 - 1e-10))
            table["p_corrected"] = np.maximum(reached / len(largest), interaction[trait])
            table["p_interaction"] = interaction[trait]
            table["n_permutations"], table["smallest_p"] = len(largest) - 1, sample.smallest_p
            tables.append(table.assign(group_1=pair[0], group_2=pair[1], **{TRAIT: trait}))
    columns = ["group_1", "group_2", TRAIT]
    table = pd.concat(tables, ignore_index=True)
    return table[[*columns, *table.columns.drop(columns)]]


def _describe(matrix: RatingMatrix, design: ImageDesign, first: np.ndarray) -> pd.DataFrame:
    """Return the table of images of one trait."""
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


def _upper_familywise_p(statistics: np.ndarray) -> np.ndarray:
    """Compute one-sided p values by the largest standardised statistic; the first row is the observed."""
    spread = statistics.std(axis=0)
    standard = (statistics - statistics.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
    largest = standard.max(axis=1)
    return np.asarray((largest[:, None] >= standard[0] - 1e-10).mean(axis=0))
