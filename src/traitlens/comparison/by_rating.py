"""Comparison of groups in mean ratings."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import TRAIT
from traitlens.comparison.compared_groups import label_raters, pairs_of_groups, ratings_of_pair
from traitlens.comparison.effect_sizes import hedges_g
from traitlens.comparison.permutation import covariates_of_raters, find_strata
from traitlens.comparison.rater_tests import Cells, Sample, compare_cells
from traitlens.ratings.rating_matrix import RatingMatrix, fit_additive, make_matrix


def rater_levels(matrix: RatingMatrix) -> np.ndarray:
    """Compute each rater's mean rating, adjusted for the images that the rater rated.

    Returns
    -------
    ndarray of shape (rater,)
        Least-squares level of each rater plus the mean of the images' levels.
    """
    raters, images = fit_additive(matrix.ratings)
    return np.asarray(raters + images.mean())


def make_sample(
    ratings: pd.DataFrame,
    pair: tuple[str, str],
    permutations: int,
    seed: int,
    within: Sequence[str] = (),
    covariates: Sequence[str] = (),
) -> tuple[pd.Index, Sample]:
    """Return the raters of two groups for permutation tests.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, and the columns of `within` and `covariates`.
    pair : (str, str)
        The groups.
    permutations : int
        Number of permutations.
    seed : int
        Seed of the random number generator.
    within, covariates : sequence of str
        Columns of raters, see `compare_means`.

    Returns
    -------
    raters : Index
        Raters, sorted.
    sample : Sample
        Their labels, strata and covariates.
    """
    raters, labels = label_raters(ratings, pair)
    strata = find_strata(ratings, raters, labels, within)
    numbers = covariates_of_raters(ratings, raters, covariates) if covariates else None
    return raters, Sample(labels, strata, numbers, permutations, seed)


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
    """Test whether groups differ in their mean rating of a trait.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    groups : (str, str), optional
        The first minus the second; all pairs if None.
    within : sequence of str, default ()
        Columns with one value for each rater, such as gender or site: groups are compared among raters with
        equal values, and labels are permuted among these.
    covariates : sequence of str, default ()
        Columns with a number for each rater, such as age, that levels are adjusted for.
    margin : float, optional
        Smallest difference of interest, in rating points, for the equivalence test.
    permutations : int, default 10000
        Number of permutations; all labellings where there are fewer.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, mean_1, mean_2, estimate (adjusted for strata and covariates), ci_low,
        ci_high, statistic (t with unequal variances over raters), df, p (permutation), p_corrected
        (family-wise over traits), detectable (see `traitlens.comparison.rater_tests.compare_cells`),
        cohens_d with cohens_d_low and cohens_d_high (Hedges' correction), n_1, n_2, n_permutations,
        smallest_p; with a margin, margin and equivalence_p (two one-sided tests, Schuirmann 1987: small where
        the difference lies within plus and minus the margin); and, generalising to such images too:
        crossed_se, crossed_df, crossed_low, crossed_high, crossed_p.

    Notes
    -----
    The crossed columns are the moment estimates of the mixed model with raters and images random, raters
    nested in groups and images crossed with them (Judd, Westfall and Kenny 2012): error variance = that over
    raters + that of image differences - the residual, which both hold; degrees of freedom after
    Satterthwaite.
    """
    tables = []
    for pair in pairs_of_groups(ratings, groups):
        both = ratings_of_pair(ratings, pair)
        raters, sample = make_sample(both, pair, permutations, seed, within, covariates)
        matrices = {str(trait): make_matrix(part) for trait, part in both.groupby(TRAIT, observed=True)}
        members = {trait: raters.get_indexer(matrix.raters) for trait, matrix in matrices.items()}
        families = [
            Cells(members[trait], rater_levels(matrix)[:, None]) for trait, matrix in matrices.items()
        ]
        table = compare_cells(families, sample)
        table.insert(0, TRAIT, list(matrices))
        described = [
            _describe(matrix, cells, sample.labels[cells.members], row)
            for (matrix, cells), row in zip(
                zip(matrices.values(), families, strict=True), table.to_dict("records"), strict=True
            )
        ]
        table = pd.concat([table, pd.DataFrame(described)], axis=1)
        if margin is not None:
            inside = (margin - table["estimate"].abs()) / table["standard_error"]
            table["margin"], table["equivalence_p"] = margin, stats.t.sf(inside, table["df"])
        tables.append(table.assign(group_1=pair[0], group_2=pair[1]))
    columns = ["group_1", "group_2", TRAIT]
    found = pd.concat(tables, ignore_index=True)
    return found[[*columns, *found.columns.drop(columns)]]


def _describe(
    matrix: RatingMatrix, cells: Cells, labels: np.ndarray, row: dict[str, float]
) -> dict[str, float]:
    """Compute the effect size of one trait, and the estimate over raters and images."""
    levels = cells.values[:, 0]
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
    """Compute the standard error with raters and images random, and its degrees of freedom."""
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
