"""Targets for the readouts: the mean rating of each image in each group and trait."""

import pandas as pd

from traitlens.words import GROUP, IMAGE, RATER, RATING, TRAIT, N


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
        cells = once.groupby(keys, observed=True)
        return pd.DataFrame({RATING: cells.mean(), N: cells.size(), "sd": cells.std()}).reset_index()
    # Averages: rows of one image are joined by the number of raters behind them, if that is told.
    weight = ratings[N].astype(float) if N in ratings else pd.Series(1.0, index=ratings.index)
    table = ratings[keys].assign(total=ratings[RATING] * weight, weight=weight)
    sums = table.groupby(keys, observed=True)[["total", "weight"]].sum().reset_index()
    sums[RATING] = sums["total"] / sums["weight"]
    sums[N] = sums["weight"].round().astype("Int64") if N in ratings else pd.NA
    sums["sd"] = float("nan")
    return sums[[*keys, RATING, N, "sd"]]
