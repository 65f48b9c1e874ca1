"""Whether groups differ in what they rate: level, single images, agreement, trait space."""

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.comparison.exchange import (
    draw_labels,
    familywise_p,
    find_strata,
    hedges_g,
    label_raters,
    pairs_of_groups,
    permutation_p,
    ratings_of_pair,
    welch,
)
from traitlens.ratings.matrix import RatingMatrix, make_matrix
from traitlens.words import GROUP, IMAGE, RATER, TRAIT


def rater_levels(matrix: RatingMatrix) -> np.ndarray:
    """Give each rater's mean, freed of which images it was that the rater saw.

    Parameters
    ----------
    matrix : RatingMatrix
        Ratings of one trait.

    Returns
    -------
    ndarray of shape (rater,)
        Mean deviation from the images' mean ratings, plus the mean of these.
    """
    pooled = np.nanmean(matrix.ratings, axis=0)
    return np.asarray(np.nanmean(matrix.ratings - pooled, axis=1) + pooled.mean())


def compare_means(
    ratings: pd.DataFrame,
    *,
    groups: tuple[str, str] | None = None,
    permutations: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether groups differ in their mean rating of a trait.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    groups : (str, str), optional
        The first less the second; each pair where missing.
    permutations : int, default 10000
        Exchanges of raters.
    seed : int, default 0
        Seed.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, mean_1, mean_2, estimate, ci_low, ci_high, statistic (Welch's t over
        raters), df, p (exchange of raters), p_corrected (family-wise over traits), cohens_d with
        cohens_d_low and cohens_d_high (Hedges' correction), n_1, n_2; and, generalising to such images too:
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
        raters, labels = label_raters(both, pair)
        matrices = {str(trait): make_matrix(part) for trait, part in both.groupby(TRAIT, observed=True)}
        # Levels by rater and trait, blank where the rater did not rate the trait.
        levels = np.full((len(raters), len(matrices)), np.nan)
        for place, matrix in enumerate(matrices.values()):
            levels[raters.get_indexer(matrix.raters), place] = rater_levels(matrix)
        known, filled = ~np.isnan(levels), np.nan_to_num(levels)

        def difference(own: np.ndarray, known: np.ndarray = known, filled: np.ndarray = filled) -> np.ndarray:
            """Difference of mean levels under labels."""
            means = [
                (own == group).astype(float) @ filled / np.maximum((own == group).astype(float) @ known, 1)
                for group in (0, 1)
            ]
            gap: np.ndarray = means[0] - means[1]
            return gap

        observed = difference(labels[None])[0]
        strata = find_strata(both, raters, labels)
        null = np.vstack([difference(block) for block in draw_labels(labels, strata, permutations, seed)])
        rows = [
            {"group_1": pair[0], "group_2": pair[1], TRAIT: trait}
            | _describe_means(matrix, labels[raters.get_indexer(matrix.raters)])
            for trait, matrix in matrices.items()
        ]
        table = pd.DataFrame(rows)
        table["p"], table["p_corrected"] = permutation_p(observed, null), familywise_p(observed, null)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _describe_means(matrix: RatingMatrix, labels: np.ndarray) -> dict[str, float]:
    """Rater-level and crossed estimates of one trait."""
    levels = rater_levels(matrix)
    first, second = levels[labels == 0], levels[labels == 1]
    estimate = float(first.mean() - second.mean())
    error, freedom = welch(first, second)
    width = stats.t.ppf(0.975, freedom) * error
    d, d_low, d_high = hedges_g(estimate, first, second)
    crossed_error, crossed_freedom = _crossed_error(matrix.ratings, labels, error, freedom)
    crossed_width = stats.t.ppf(0.975, crossed_freedom) * crossed_error
    return {
        "mean_1": float(first.mean()),
        "mean_2": float(second.mean()),
        "estimate": estimate,
        "ci_low": estimate - width,
        "ci_high": estimate + width,
        "statistic": estimate / error if error > 0 else np.nan,
        "df": freedom,
        "cohens_d": d,
        "cohens_d_low": d_low,
        "cohens_d_high": d_high,
        "n_1": len(first),
        "n_2": len(second),
        "crossed_se": crossed_error,
        "crossed_df": crossed_freedom,
        "crossed_low": estimate - crossed_width,
        "crossed_high": estimate + crossed_width,
        "crossed_p": 2 * stats.t.sf(abs(estimate) / crossed_error, crossed_freedom)
        if crossed_error > 0
        else np.nan,
    }


def _crossed_error(
    values: np.ndarray, labels: np.ndarray, rater_error: float, rater_freedom: float
) -> tuple[float, float]:
    """Standard error with raters and images random, and its degrees of freedom."""
    means, noise = [], 0.0
    for group in (0, 1):
        own = values[labels == group]
        mean = np.nanmean(own, axis=0)
        residual = own - mean
        residual = residual - np.nanmean(residual, axis=1, keepdims=True)
        count = (~np.isnan(own)).sum(axis=0)
        freedom = count.sum() - len(own) - len(mean) + 1
        noise += float(np.nansum(residual**2) / max(freedom, 1) * np.mean(1 / np.maximum(count, 1)))
        means.append(mean)
    differences = means[0] - means[1]
    n = len(differences)
    by_image = float(np.nanvar(differences, ddof=1)) / n
    parts = np.array([rater_error**2, by_image, noise / n])
    total = max(parts[0] + parts[1] - parts[2], parts[:2].max())
    freedom = total**2 / (parts[0] ** 2 / rater_freedom + parts[1] ** 2 / (n - 1)) if total > 0 else n - 1
    return float(np.sqrt(total)), float(freedom)


def compare_images(ratings: pd.DataFrame, *, groups: tuple[str, str] | None = None) -> pd.DataFrame:
    """Test each image's mean rating between groups, with false discovery control.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    groups : (str, str), optional
        The first less the second; each pair where missing.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, image, mean_1, mean_2, estimate, ci_low, ci_high, statistic (Welch's t over
        raters), p, q (Benjamini and Hochberg 1995, over the trait's images), n_1, n_2. Images with fewer
        than two raters of a group are left out.
    """
    tables = []
    for pair in pairs_of_groups(ratings, groups):
        for trait, part in ratings_of_pair(ratings, pair).groupby(TRAIT, sort=True, observed=True):
            once = part.groupby([GROUP, IMAGE, RATER], observed=True)["rating"].mean()
            cells = once.groupby([GROUP, IMAGE], observed=True).agg(["mean", "var", "size"])
            first, second = (cells.loc[name] for name in pair)
            table = first.add_suffix("_1").join(second.add_suffix("_2"), how="inner")
            table = table[(table["size_1"] > 1) & (table["size_2"] > 1)]
            found = stats.ttest_ind_from_stats(
                table["mean_1"].to_numpy(),
                np.sqrt(table["var_1"].to_numpy()),
                table["size_1"].to_numpy(),
                table["mean_2"].to_numpy(),
                np.sqrt(table["var_2"].to_numpy()),
                table["size_2"].to_numpy(),
                equal_var=False,
            )
            parts = table["var_1"] / table["size_1"], table["var_2"] / table["size_2"]
            freedom = (parts[0] + parts[1]) ** 2 / (
                parts[0] ** 2 / (table["size_1"] - 1) + parts[1] ** 2 / (table["size_2"] - 1)
            )
            width = stats.t.ppf(0.975, freedom) * np.sqrt(parts[0] + parts[1])
            estimate = table["mean_1"] - table["mean_2"]
            p = np.nan_to_num(found.pvalue, nan=1.0)
            table = table.assign(
                group_1=pair[0],
                group_2=pair[1],
                trait=trait,
                estimate=estimate,
                ci_low=estimate - width,
                ci_high=estimate + width,
                statistic=found.statistic,
                p=p,
                q=stats.false_discovery_control(p) if len(p) else p,
            ).rename(columns={"size_1": "n_1", "size_2": "n_2"})
            tables.append(table.reset_index())
    columns = ["group_1", "group_2", TRAIT, IMAGE, "mean_1", "mean_2", "estimate", "ci_low", "ci_high"]
    return pd.concat(tables, ignore_index=True)[[*columns, "statistic", "p", "q", "n_1", "n_2"]]


def compare_trait_space(
    ratings: pd.DataFrame,
    *,
    groups: tuple[str, str] | None = None,
    permutations: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether traits hang together differently in two groups, by exchanging raters.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating; two traits at least, images rated on all of them.
    groups : (str, str), optional
        The first less the second; each pair where missing.
    permutations : int, default 5000
        Exchanges of raters.
    seed : int, default 0
        Seed.

    Returns
    -------
    DataFrame
        group_1, group_2, trait_1, trait_2, r_1, r_2, estimate (difference of Fisher's z), statistic, p,
        p_corrected (family-wise over pairs of traits), similarity (correlation of the two groups'
        correlations, Fisher's z) and similarity_p (part of exchanges with a similarity as small; the same
        in every row; missing with fewer than three traits), n (images).
    """
    tables = []
    for pair in pairs_of_groups(ratings, groups):
        both = ratings_of_pair(ratings, pair)
        raters, labels = label_raters(both, pair)
        traits = sorted(both[TRAIT].unique())
        matrices = [make_matrix(both[both[TRAIT] == trait]) for trait in traits]
        shared = sorted(set.intersection(*[set(matrix.images) for matrix in matrices]))
        places = np.triu_indices(len(traits), 1)

        def correlations(own: np.ndarray, group: int) -> np.ndarray:
            """Fisher's z of each pair of traits under labels."""
            means = []
            for matrix in matrices:  # noqa: B023
                values = matrix.ratings[:, matrix.images.get_indexer(shared)]  # noqa: B023
                weights = (own[:, raters.get_indexer(matrix.raters)] == group).astype(float)  # noqa: B023
                counts = np.maximum(weights @ ~np.isnan(values), 1)
                means.append(weights @ np.nan_to_num(values) / counts)
            stacked = np.stack(means, axis=1)
            stacked = stacked - stacked.mean(axis=2, keepdims=True)
            stacked = stacked / np.sqrt((stacked**2).sum(axis=2, keepdims=True))
            r = (stacked @ stacked.transpose(0, 2, 1))[:, places[0], places[1]]  # noqa: B023
            z: np.ndarray = np.arctanh(np.clip(r, -0.999999, 0.999999))
            return z

        z = [correlations(labels[None], group)[0] for group in (0, 1)]
        null_difference, null_similarity = [], []
        strata = find_strata(both, raters, labels)
        for block in draw_labels(labels, strata, permutations, seed, block=200):
            one, other = correlations(block, 0), correlations(block, 1)
            null_difference.append(one - other)
            null_similarity.append(_row_correlations(one, other))
        null = np.vstack(null_difference)
        observed = z[0] - z[1]
        similarity = _row_correlations(z[0][None], z[1][None])[0] if len(traits) > 2 else np.nan
        fewer = np.sum(np.concatenate(null_similarity) <= similarity)
        names = np.array(traits, dtype=object)
        tables.append(
            pd.DataFrame(
                {
                    "group_1": pair[0],
                    "group_2": pair[1],
                    "trait_1": names[places[0]],
                    "trait_2": names[places[1]],
                    "r_1": np.tanh(z[0]),
                    "r_2": np.tanh(z[1]),
                    "estimate": observed,
                    "statistic": observed / np.sqrt((np.vstack([observed, null]) ** 2).mean(axis=0)),
                    "p": permutation_p(observed, null),
                    "p_corrected": familywise_p(observed, null),
                    "similarity": similarity,
                    "similarity_p": (fewer + 1) / (permutations + 1) if len(traits) > 2 else np.nan,
                    "n": len(shared),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _row_correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlate row by row."""
    x = first - first.mean(axis=1, keepdims=True)
    y = second - second.mean(axis=1, keepdims=True)
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    correlation: np.ndarray = (x * y).sum(axis=1) / np.where(scale > 0, scale, np.nan)
    return correlation
