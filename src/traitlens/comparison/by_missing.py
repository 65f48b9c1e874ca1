"""Test whether groups differ in how many and which ratings are missing."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from traitlens.columns import TRAIT
from traitlens.comparison.group_pairs import GroupPair, compare_each_pair
from traitlens.comparison.rater_tests import Cells, compare_cells
from traitlens.ratings.rating_matrix import RatingMatrix, fit_additive

MEASURES = ("share missing", "level of rated images")
"""Names of the columns of `missing_values`."""
COLUMNS = ["group_1", "group_2", TRAIT, "measure", "mean_1", "mean_2", "estimate", "ci_low", "ci_high",
           "statistic", "p", "p_corrected", "n_1", "n_2", "n_permutations", "smallest_p"]  # fmt: skip
"""Columns of the table of `compare_missing`."""


def missing_values(matrix: RatingMatrix) -> np.ndarray:
    """Measure for each rater how many ratings are missing, and of which images.

    Returns
    -------
    ndarray of shape (rater, 2)
        Share of the images without a rating; and the mean rating, over all raters, of the images that the
        rater rated minus that of all images, which is positive if the rater left out images of low ratings.
    """
    seen = ~np.isnan(matrix.ratings)
    _, images = fit_additive(matrix.ratings)
    rated = seen @ images / seen.sum(axis=1)
    return np.column_stack([1 - seen.mean(axis=1), rated - images.mean()])


def compare_missing(
    ratings: pd.DataFrame,
    *,
    groups: tuple[str, str] | None = None,
    within: Sequence[str] = (),
    permutations: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether groups differ in how many and which ratings are missing.

    If they do, other differences between the groups may be due to missing ratings. No test can exclude this.

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
        group_1, group_2, trait, measure (see `missing_values`), mean_1, mean_2, estimate, ci_low, ci_high,
        statistic, p, p_corrected (family-wise over traits and measures), n_1, n_2, n_permutations,
        smallest_p.
    """
    return compare_each_pair(_compare_pair, ratings, groups, within, permutations, seed, columns=COLUMNS)


def _compare_pair(pair: GroupPair) -> pd.DataFrame:
    """Compare two groups in missing ratings."""
    families = [Cells(pair.members[trait], missing_values(matrix)) for trait, matrix in pair.matrices.items()]
    table = compare_cells(families, pair.sample)
    table[TRAIT] = np.repeat(list(pair.matrices), len(MEASURES))
    return table.assign(measure=list(MEASURES) * len(pair.matrices))
