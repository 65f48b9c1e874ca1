"""Targets of the readouts: mean ratings by group, trait and image."""

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, IMAGE, RATER, RATING, TRAIT, N


def make_targets(ratings: pd.DataFrame) -> pd.DataFrame:
    """Average the ratings of each image over raters, by group and trait.

    Repeated ratings of a rater are averaged first, so that every rater has the same weight.

    Parameters
    ----------
    ratings : DataFrame
        group, trait, image, rating, and rater. If the ratings are averages, there is no column rater, and an
        optional column n is the number of raters of each average.

    Returns
    -------
    DataFrame
        group, trait, image, rating (mean over raters), n (number of raters), sd (standard deviation between
        raters, with n - 1 as the denominator; NaN if unknown); sorted by group, trait, image.

    Examples
    --------
    >>> ratings = pd.DataFrame({"rater": ["a", "a", "b"], "group": "g", "image": "1", "trait": "warm",
    ...     "rating": [1.0, 3.0, 4.0], "repeat": [1, 2, 1]})
    >>> make_targets(ratings)
      group trait image  rating  n        sd
    0     g  warm     1     3.0  2  1.414214
    """
    keys = [GROUP, TRAIT, IMAGE]
    if RATER in ratings:
        once = ratings.groupby([*keys, RATER], observed=True)[RATING].mean()
        # Sort the ratings, so that rounding errors of sums do not depend on the order of the raters.
        cells = once.sort_values().groupby(keys, observed=True)
        return pd.DataFrame({RATING: cells.mean(), N: cells.size(), "sd": cells.std()}).reset_index()
    # Ratings are averages. Weight several averages of an image by their numbers of raters, if known.
    weight = ratings[N].astype(float) if N in ratings else pd.Series(1.0, index=ratings.index)
    table = ratings[keys].assign(total=ratings[RATING] * weight, weight=weight)
    sums = table.groupby(keys, observed=True)[["total", "weight"]].sum().reset_index()
    sums[RATING] = sums["total"] / sums["weight"]
    sums[N] = sums["weight"].round().astype("Int64") if N in ratings else pd.NA
    sums["sd"] = float("nan")
    return sums[[*keys, RATING, N, "sd"]]


def pool_groups(targets: pd.DataFrame, name: str = "all") -> pd.DataFrame:
    r"""Average targets over groups with equal weights.

    For images that were not rated by all groups, effects of groups are removed: the mean rating of image i by
    group g is modelled as :math:`u_i + v_g` with :math:`\sum_g v_g = 0`, by least squares for each trait.

    Parameters
    ----------
    targets : DataFrame
        group, trait, image, rating, as returned by :func:`make_targets`.
    name : str, default "all"
        Name of the pooled group.

    Returns
    -------
    DataFrame
        group, trait, image, rating (mean over groups); sorted by trait and image.

    Examples
    --------
    >>> targets = pd.DataFrame({"group": ["a", "a", "b"], "trait": "warm", "image": ["1", "2", "1"],
    ...     "rating": [4.0, 6.0, 3.0]})
    >>> pool_groups(targets)
      group trait image  rating
    0   all  warm     1     3.5
    1   all  warm     2     5.5
    """
    pooled = []
    for trait, rows in targets.groupby(TRAIT, observed=True):
        wide = rows.pivot_table(index=IMAGE, columns=GROUP, values=RATING, observed=True)
        ratings = (wide - _fit_group_effects(wide.to_numpy(float))).mean(axis=1)
        pooled.append(ratings.rename(RATING).reset_index().assign(**{GROUP: name, TRAIT: trait}))
    return pd.concat(pooled, ignore_index=True)[[GROUP, TRAIT, IMAGE, RATING]]


def _fit_group_effects(ratings: np.ndarray) -> np.ndarray:
    """Return the effects of groups from an additive least-squares fit to mean ratings (image, group)."""
    rated = np.isfinite(ratings)
    count = rated.sum(axis=1, keepdims=True)
    means = np.nansum(ratings, axis=1, keepdims=True) / count
    normal = np.diag(rated.sum(axis=0).astype(float)) - (rated / count).T @ rated
    missed = np.where(rated, ratings - means, 0.0).sum(axis=0)
    levels = np.linalg.lstsq(normal, missed, rcond=None)[0]
    return np.asarray(levels - levels.mean())
