"""Test whether groups differ in their mean ratings."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import TRAIT
from traitlens.comparison.effect_sizes import hedges_g
from traitlens.comparison.group_pairs import GroupPair, compare_each_pair
from traitlens.comparison.rater_outcomes import rater_levels
from traitlens.comparison.rater_tests import Cells, compare_cells
from traitlens.ratings.rating_matrix import RatingMatrix


def compare_means(
    ratings: pd.DataFrame,
    *,
    groups: tuple[str, str] | None = None,
    within: Sequence[str] = (),
    covariates: Sequence[str] = (),
    margin: float | None = None,
    permutations: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether groups differ in the mean rating of each trait.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    groups : (str, str), optional
        The first minus the second; all pairs if None.
    within : sequence of str, default ()
        Columns with one value for each rater, such as gender or site. Groups are compared among raters with
        equal values, and labels are permuted among these.
    covariates : sequence of str, default ()
        Columns with a number for each rater, such as age. Mean ratings are adjusted for them.
    margin : float, optional
        Smallest difference of interest, in rating points, for the equivalence test.
    permutations : int, default 10000
        Number of permutations; if there are fewer distinct labellings, each is used once.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, mean_1, mean_2, estimate (adjusted for strata and covariates), ci_low,
        ci_high, statistic (t with unequal variances over raters), df, p (permutation), p_corrected
        (family-wise over traits), detectable (see `traitlens.comparison.rater_tests.compare_cells`), n_1,
        n_2, n_permutations, smallest_p, cohens_d with cohens_d_low and cohens_d_high (Hedges' correction),
        crossed_se, crossed_df, crossed_low, crossed_high, crossed_p (raters and images as random factors, see
        Notes); with a margin also margin and equivalence_p (two one-sided tests, Schuirmann 1987; small if
        the difference is between minus and plus the margin).

    Notes
    -----
    The crossed columns are the moment estimates of the mixed model with raters and images random, raters
    nested in groups and images crossed with groups (Judd, Westfall and Kenny 2012). The error variance is the
    variance over raters plus that of the image differences, minus the residual variance, which both include.
    Degrees of freedom are Satterthwaite's.
    """

    def compare(pair: GroupPair) -> pd.DataFrame:
        """Compare two groups in the mean ratings of all traits."""
        levels = {trait: rater_levels(matrix) for trait, matrix in pair.matrices.items()}
        families = [Cells(pair.members[trait], values[:, None]) for trait, values in levels.items()]
        table = compare_cells(families, pair.sample)
        effects = [
            _effect_size_and_crossed_interval(pair.matrices[trait], levels[trait], pair.labels(trait), row)
            for trait, row in zip(levels, table.to_dict("records"), strict=True)
        ]
        table = pd.concat([table, pd.DataFrame(effects)], axis=1).assign(**{TRAIT: list(levels)})
        if margin is not None:
            inside = (margin - table["estimate"].abs()) / table["standard_error"]
            table["margin"], table["equivalence_p"] = margin, stats.t.sf(inside, table["df"])
        return table

    return compare_each_pair(compare, ratings, groups, within, permutations, seed, covariates=covariates)


def _effect_size_and_crossed_interval(
    matrix: RatingMatrix, levels: np.ndarray, labels: np.ndarray, row: dict[str, float]
) -> dict[str, float]:
    """Return Hedges' g of one trait, and the interval of the difference with raters and images random."""
    estimate = row["estimate"]
    d, d_low, d_high = hedges_g(estimate, levels[labels == 0], levels[labels == 1])
    error, freedom = _crossed_error(matrix.ratings, labels, row["standard_error"], row["df"])
    width = stats.t.ppf(0.975, freedom) * error
    return {
        "cohens_d": d,
        "cohens_d_low": d_low,
        "cohens_d_high": d_high,
        "crossed_se": error,
        "crossed_df": freedom,
        "crossed_low": estimate - width,
        "crossed_high": estimate + width,
        "crossed_p": 2 * stats.t.sf(abs(estimate) / error, freedom) if error > 0 else np.nan,
    }


def _crossed_error(
    values: np.ndarray, labels: np.ndarray, rater_error: float, rater_freedom: float
) -> tuple[float, float]:
    """Compute the standard error with raters and images as random factors, and its degrees of freedom."""
    values = values[:, np.all([(~np.isnan(values[labels == g])).any(axis=0) for g in (0, 1)], axis=0)]
    n = values.shape[1]
    if n < 2:
        return np.nan, 1.0
    means, noise = [], 0.0
    for group in (0, 1):
        own = values[labels == group]
        own = own[~np.isnan(own).all(axis=1)]
        mean = np.nanmean(own, axis=0)
        residual = own - mean
        residual = residual - np.nanmean(residual, axis=1, keepdims=True)
        count = (~np.isnan(own)).sum(axis=0)
        freedom = count.sum() - len(own) - len(mean) + 1
        noise += float(np.nansum(residual**2) / max(freedom, 1) * np.mean(1 / np.maximum(count, 1)))
        means.append(mean)
    by_image = float(np.var(means[0] - means[1], ddof=1)) / n
    parts = np.array([rater_error**2, by_image, noise / n])
    total = max(parts[0] + parts[1] - parts[2], parts[:2].max())
    freedom = total**2 / (parts[0] ** 2 / rater_freedom + parts[1] ** 2 / (n - 1)) if total > 0 else n - 1
    return float(np.sqrt(total)), float(freedom)
