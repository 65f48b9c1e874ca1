"""Targets of the readouts: the mean rating of each image by group and trait."""

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, IMAGE, RATER, RATING, TRAIT, N


def make_targets(ratings: pd.DataFrame) -> pd.DataFrame:
    """Average ratings over raters.

    Parameters
    ----------
    ratings : DataFrame
        group, trait, image, rating, and rater (absent if the ratings are averages; a column `n` then holds
        the number of raters of each average). Repeats of a rater are averaged first, so that every rater
        counts once.

    Returns
    -------
    DataFrame
        group, trait, image, rating (mean over raters), n (number of raters), sd (standard deviation over
        raters, n - 1; missing if unknown); sorted by group, trait, image.

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
        # Sorted, so that sums do not depend on the order of the raters.
        cells = once.sort_values().groupby(keys, observed=True)
        return pd.DataFrame({RATING: cells.mean(), N: cells.size(), "sd": cells.std()}).reset_index()
    # Averages: rows of one image are averaged with weights by their number of raters, if known.
    weight = ratings[N].astype(float) if N in ratings else pd.Series(1.0, index=ratings.index)
    table = ratings[keys].assign(total=ratings[RATING] * weight, weight=weight)
    sums = table.groupby(keys, observed=True)[["total", "weight"]].sum().reset_index()
    sums[RATING] = sums["total"] / sums["weight"]
    sums[N] = sums["weight"].round().astype("Int64") if N in ratings else pd.NA
    sums["sd"] = float("nan")
    return sums[[*keys, RATING, N, "sd"]]


def pool_groups(targets: pd.DataFrame, name: str = "all") -> pd.DataFrame:
    r"""Average targets over groups with equal weights.

    Images that some group did not rate are adjusted by least squares: the rating of image i by group g is
    :math:`u_i + v_g` with :math:`\sum_g v_g = 0`, fitted to each trait.

    Parameters
    ----------
    targets : DataFrame
        group, trait, image, rating, as :func:`make_targets` returns them.
    name : str, default "all"
        Name of the pooled group.

    Returns
    -------
    DataFrame
        group, trait, image, rating: the mean over groups of group means; sorted by trait and image.

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
        ratings = (wide - _levels(wide.to_numpy(float))).mean(axis=1)
        pooled.append(ratings.rename(RATING).reset_index().assign(**{GROUP: name, TRAIT: trait}))
    return pd.concat(pooled, ignore_index=True)[[GROUP, TRAIT, IMAGE, RATING]]


def _levels(ratings: np.ndarray) -> np.ndarray:
    """Fit effects of groups and images to ratings (image, group) by least squares; return those of groups."""
    rated = np.isfinite(ratings)
    count = rated.sum(axis=1, keepdims=True)
    means = np.nansum(ratings, axis=1, keepdims=True) / count
    normal = np.diag(rated.sum(axis=0).astype(float)) - (rated / count).T @ rated
    missed = np.where(rated, ratings - means, 0.0).sum(axis=0)
    levels = np.linalg.lstsq(normal, missed, rcond=None)[0]
    return np.asarray(levels - levels.mean())
