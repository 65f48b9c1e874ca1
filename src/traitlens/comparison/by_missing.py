"""Comparison of missing ratings between groups."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from traitlens.columns import TRAIT
from traitlens.comparison.by_rating import make_sample
from traitlens.comparison.compared_groups import pairs_of_groups, ratings_of_pair
from traitlens.comparison.rater_tests import Cells, compare_cells
from traitlens.ratings.rating_matrix import RatingMatrix, fit_additive, make_matrix

MEASURES = ("share missing", "level of rated images")


def missing_values(matrix: RatingMatrix) -> np.ndarray:
    """Compute the missing ratings of each rater.

    Returns
    -------
    ndarray of shape (rater, 2)
        Share of the images without a rating, and the mean rating (over all raters) of the images that the
        rater rated, minus that of all images: positive if low ratings are missing.
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

    If they do, missing ratings may cause other differences between groups, which no test can exclude.

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
    tables = []
    for pair in pairs_of_groups(ratings, groups):
        both = ratings_of_pair(ratings, pair)
        raters, sample = make_sample(both, pair, permutations, seed, within)
        matrices = {str(trait): make_matrix(part) for trait, part in both.groupby(TRAIT, observed=True)}
        families = [Cells(raters.get_indexer(m.raters), missing_values(m)) for m in matrices.values()]
        table = compare_cells(families, sample)
        table[TRAIT] = np.repeat(list(matrices), len(MEASURES))
        table["measure"] = list(MEASURES) * len(matrices)
        tables.append(table.assign(group_1=pair[0], group_2=pair[1]))
    columns = ["group_1", "group_2", TRAIT, "measure", "mean_1", "mean_2", "estimate", "ci_low", "ci_high",
               "statistic", "p", "p_corrected", "n_1", "n_2", "n_permutations", "smallest_p"]  # fmt: skip
    return pd.concat(tables, ignore_index=True)[columns]
