"""Whether groups differ in how far their raters agree, and in how far they tell faces apart."""

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.comparison.exchange import hedges_g, holm, pairs_of_groups, ratings_of_pair, welch
from traitlens.ratings.matrix import make_matrix
from traitlens.words import GROUP, RATER, TRAIT


def rater_agreement(ratings: pd.DataFrame, reference: str | None = None) -> pd.DataFrame:
    """Correlate each rater with a group's consensus, and measure the rater's spread over faces.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    reference : str, optional
        Group whose mean is the consensus; each rater's own group where missing. A rater's own ratings are
        left out of it.

    Returns
    -------
    DataFrame
        rater, group, trait, agreement (correlation over images), agreement_z (Fisher's z), spread (standard
        deviation over images: how far faces are told apart), n (images).
    """
    rows = []
    for trait, part in ratings.groupby(TRAIT, sort=True, observed=True):
        matrices = {str(group): make_matrix(own) for group, own in part.groupby(GROUP, observed=True)}
        for group, matrix in matrices.items():
            consensus = matrices[reference or group]
            ours = consensus.images.get_indexer(matrix.images)
            known = np.where(ours[None] >= 0, consensus.ratings[:, ours], np.nan)
            sums, counts = np.nansum(known, axis=0), (~np.isnan(known)).sum(axis=0)
            for rater, own in zip(matrix.raters, matrix.ratings, strict=True):
                if group == (reference or group):
                    seen = ~np.isnan(own)
                    others, left = sums - np.nan_to_num(own), counts - seen
                else:
                    others, left = sums, counts
                both = ~np.isnan(own) & (left > 0)
                x, y = own[both], others[both] / left[both]
                varied = both.sum() > 2 and x.std() > 0 and y.std() > 0
                r = float(np.corrcoef(x, y)[0, 1]) if varied else np.nan
                rows.append(
                    {
                        RATER: rater,
                        GROUP: group,
                        TRAIT: trait,
                        "agreement": r,
                        "agreement_z": float(np.arctanh(np.clip(r, -0.999999, 0.999999))),
                        "spread": float(np.nanstd(own, ddof=1)),
                        "n": int(both.sum()),
                    }
                )
    return pd.DataFrame(rows)


def compare_agreement(
    ratings: pd.DataFrame, reference: str | None = None, *, groups: tuple[str, str] | None = None
) -> pd.DataFrame:
    """Test whether groups differ in agreement with a consensus and in spread over faces.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    reference : str, optional
        Group whose mean is the consensus; each rater's own where missing.
    groups : (str, str), optional
        The first less the second; each pair where missing.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, measure ("agreement_z" or "spread"), mean_1, mean_2, estimate, ci_low,
        ci_high, statistic (Welch's t over raters), p, p_corrected (Holm over the table's rows of a
        measure), hedges_g, n_1, n_2.
    """
    values = rater_agreement(ratings, reference)
    rows = []
    for pair in pairs_of_groups(ratings, groups):
        shared = values[values[TRAIT].isin(ratings_of_pair(ratings, pair)[TRAIT].unique())]
        for measure in ("agreement_z", "spread"):
            for trait, part in shared.groupby(TRAIT, sort=True, observed=True):
                first, second = (part.loc[part[GROUP] == name, measure].dropna().to_numpy() for name in pair)
                error, freedom = welch(first, second)
                estimate = float(first.mean() - second.mean())
                width = stats.t.ppf(0.975, freedom) * error
                rows.append(
                    {"group_1": pair[0], "group_2": pair[1], TRAIT: trait, "measure": measure}
                    | {"mean_1": first.mean(), "mean_2": second.mean(), "estimate": estimate}
                    | {"ci_low": estimate - width, "ci_high": estimate + width}
                    | {"statistic": estimate / error, "p": 2 * stats.t.sf(abs(estimate) / error, freedom)}
                    | {"hedges_g": hedges_g(estimate, first, second)[0]}
                    | {"n_1": len(first), "n_2": len(second)}
                )
    table = pd.DataFrame(rows)
    table["p_corrected"] = table.groupby("measure")["p"].transform(lambda p: holm(p.to_numpy()))
    return table
