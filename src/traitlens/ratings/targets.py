"""Targets for the readouts: the mean rating of each image in each group and trait."""

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, IMAGE, RATER, RATING, TRAIT, N


def make_targets(ratings: pd.DataFrame) -> pd.DataFrame:
    """Average ratings over raters.

    Parameters
    ----------
    ratings : DataFrame
        group, trait, image, rating, and rater (absent where the ratings are averages already; a column
        `n` then tells how many raters each average holds). Repeats of a rater are averaged first, so
        that every rater counts once.

    Returns
    -------
    DataFrame
        group, trait, image, rating (mean over raters), n (number of raters), sd (standard deviation over
        raters, n - 1; missing where it cannot be known); sorted by group, trait, image.

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
        # Sorted, so that the result does not depend on who gave which rating.
        cells = once.sort_values().groupby(keys, observed=True)
        return pd.DataFrame({RATING: cells.mean(), N: cells.size(), "sd": cells.std()}).reset_index()
    # Averages: rows of one image are joined by the number of raters behind them, if that is told.
    weight = ratings[N].astype(float) if N in ratings else pd.Series(1.0, index=ratings.index)
    table = ratings[keys].assign(total=ratings[RATING] * weight, weight=weight)
    sums = table.groupby(keys, observed=True)[["total", "weight"]].sum().reset_index()
    sums[RATING] = sums["total"] / sums["weight"]
    sums[N] = sums["weight"].round().astype("Int64") if N in ratings else pd.NA
    sums["sd"] = float("nan")
    return sums[[*keys, RATING, N, "sd"]]


def pool_groups(targets: pd.DataFrame, name: str = "all") -> pd.DataFrame:
    r"""Average targets over groups, groups weighing alike.

    Images that some group did not rate are brought to the level of the others by least squares: the rating of
    image i by group g is :math:`u_i + v_g` with :math:`\sum_g v_g = 0`, fitted to each trait.

    Parameters
    ----------
    targets : DataFrame
        group, trait, image, rating, as :func:`make_targets` returns them.
    name : str, default "all"
        What to call the groups together.

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
    """Fit the levels of groups to ratings (image, group) by least squares, beside those of images."""
    rated = np.isfinite(ratings)
    count = rated.sum(axis=1, keepdims=True)
    means = np.nansum(ratings, axis=1, keepdims=True) / count
    normal = np.diag(rated.sum(axis=0).astype(float)) - (rated / count).T @ rated
    missed = np.where(rated, ratings - means, 0.0).sum(axis=0)
    levels = np.linalg.lstsq(normal, missed, rcond=None)[0]
    return np.asarray(levels - levels.mean())
