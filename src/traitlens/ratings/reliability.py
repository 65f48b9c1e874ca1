"""How far raters agree: split-half reliability, noise ceilings and intraclass correlations.

The split-half reliability with Spearman-Brown is the part of a mean rating's variance over images that
other raters of the same kind would reproduce. It bounds R²; its square root bounds r.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.ratings.matrix import RatingMatrix, find_blocks, make_matrix
from traitlens.words import GROUP, RATER, TRAIT

Images = Literal["fixed", "random"]
_AVERAGED = "ratings are averages: what needs single raters is left out"


@dataclass(frozen=True)
class SplitHalf:
    """Reliability of the mean rating, from random halves of the raters.

    Parameters
    ----------
    reliability : float
        Correlation of the means of two halves, averaged over splits and stepped up to all raters. The
        ceiling of R²; may be negative where raters do not agree at all.
    ci_low, ci_high : float
        95 % interval.
    half_correlation : float
        The correlation of two halves before the step up.
    n_splits : int
        Number of random splits.
    """

    reliability: float
    ci_low: float
    ci_high: float
    half_correlation: float
    n_splits: int


def split_half(
    matrix: RatingMatrix, splits: int = 1000, seed: int = 0, images: Images = "fixed", level: float = 0.95
) -> SplitHalf:
    r"""Estimate the reliability of mean ratings from many random halves of the raters.

    With :math:`\bar r` the mean correlation of two halves of :math:`m` raters, the reliability of the mean
    of all :math:`k` is :math:`f \bar r / (1 + (f - 1) \bar r)` with :math:`f = k/m` (Spearman 1910, Brown
    1910). Raters who saw the same images are parted evenly, so that every image stays in both halves; the
    design may have gaps, and raters may be nested in sets of images.

    Parameters
    ----------
    matrix : RatingMatrix
        Ratings of one group and trait; two raters at least.
    splits : int, default 1000
        Number of random halves.
    seed : int, default 0
        Seed of the splits.
    images : {"fixed", "random"}, default "fixed"
        What the interval generalises to: other raters of these images, or other raters and other images.
    level : float, default 0.95
        Coverage of the interval.

    Returns
    -------
    SplitHalf
        Reliability and interval.

    Notes
    -----
    The interval is a jackknife over raters (Tukey 1958) of log(1 - reliability), within sets of raters that
    share no image. A bootstrap would put copies of one rater into both halves and overstate agreement.
    For random images the jackknife over images is added, and of the one over raters only what exceeds the
    part that residual noise explains, which both contain.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> values = rng.normal(size=60) + 2 * rng.normal(size=(20, 60))
    >>> matrix = RatingMatrix(values, pd.RangeIndex(20), pd.RangeIndex(60))
    >>> bool(split_half(matrix).reliability > 0.7)
    True
    """
    values = matrix.values
    component, pattern = find_blocks(~np.isnan(values))
    halves = _draw_halves(component, pattern, splits, np.random.default_rng(seed))
    half_correlation, deleted_rater, deleted_image = _half_correlations(values, halves, images == "random")
    raters = len(values)
    reliability = _step_up(half_correlation, 2 * raters / np.sum(halves != 0, axis=1).mean())
    # Without one rater the halves hold fewer: stepped up to the same full number.
    sizes = (np.sum(halves != 0, axis=1)[:, None] - (halves != 0)).mean(axis=0)
    theta = np.log1p(-np.minimum(_step_up(deleted_rater, 2 * raters / np.maximum(sizes, 1)), 1 - 1e-9))
    variance, freedom = 0.0, 0
    for block in np.unique(component):
        members = theta[component == block]
        if len(members) > 1:
            variance += (len(members) - 1) * np.nanvar(members)
            freedom += len(members) - 1
    if images == "random":
        n = values.shape[1]
        over = _step_up(deleted_image, 2 * raters / np.sum(halves != 0, axis=1).mean())
        by_image = (n - 1) * np.nanvar(np.log1p(-np.minimum(over, 1 - 1e-9)))
        # Variance of log(1 - reliability) with images fixed, normal noise and raters alike.
        ratio = max(reliability, 0.0) / max(1 - reliability, 1e-9)
        residual = (2 + 4 * ratio) / ((n - 1) * (1 + ratio) ** 2) + 2 / ((n - 1) * max(raters - 1, 1))
        variance = by_image + max(0.0, variance - residual)
        freedom = min(n - 1, max(freedom, 1)) if variance > by_image else n - 1
    width = stats.t.ppf(0.5 + level / 2, max(freedom, 1)) * np.sqrt(variance)
    centre = np.log1p(-min(reliability, 1 - 1e-9))
    return SplitHalf(
        float(reliability),
        float(-np.expm1(centre + width)),
        float(-np.expm1(centre - width)),
        float(half_correlation),
        splits,
    )


def _draw_halves(
    component: np.ndarray, pattern: np.ndarray, splits: int, rng: np.random.Generator
) -> np.ndarray:
    """Part raters in two, pair by pair; (split, rater) of +1, -1, and 0 for the odd one out."""
    raters = len(component)
    halves = np.zeros((splits, raters), np.int8)
    pairs = raters // 2
    for split in range(splits):
        # A pair saw the same images where it can; the order of patterns is drawn too.
        shuffled = rng.permutation(pattern.max() + 1)[pattern]
        order = np.lexsort((rng.random(raters), shuffled, component))[: 2 * pairs]
        sign = rng.integers(0, 2, pairs) * 2 - 1
        halves[split, order[0::2]] = sign
        halves[split, order[1::2]] = -sign
    return halves


def _step_up(correlation: np.ndarray | float, factor: np.ndarray | float) -> np.ndarray:
    """Step a correlation of means up to `factor` times as many raters (Spearman-Brown)."""
    correlation = np.asarray(correlation)
    denominator = np.maximum(1 + (np.asarray(factor) - 1) * correlation, 1e-6)
    return np.asarray(factor) * correlation / denominator


def _half_correlations(
    values: np.ndarray, halves: np.ndarray, by_image: bool
) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean correlation of two halves: with all, without each rater, without each image."""
    seen = (~np.isnan(values)).astype(float)
    filled = np.nan_to_num(values)
    raters, images = values.shape
    full = np.zeros(len(halves))
    without_rater = np.zeros((len(halves), raters))
    without_image = np.zeros((len(halves), images if by_image else 0))
    for split, signs in enumerate(halves):
        sides = [(signs == sign).astype(float) for sign in (1, -1)]
        sums = [side @ filled for side in sides]
        counts = [side @ seen for side in sides]
        means = [_divide(total, count) for total, count in zip(sums, counts, strict=True)]
        full[split] = _correlate(means[0][None], means[1][None])[0]
        without_rater[split] = full[split]
        for near, far in ((0, 1), (1, 0)):
            members = np.flatnonzero(sides[near])
            reduced = _divide(sums[near] - filled[members], counts[near] - seen[members])
            without_rater[split, members] = _correlate(reduced, np.broadcast_to(means[far], reduced.shape))
        if by_image:
            without_image[split] = _correlate_without_each(means[0], means[1])
    return (
        float(np.nanmean(full)),
        np.nanmean(without_rater, axis=0),
        np.nanmean(without_image, axis=0) if by_image else np.zeros(0),
    )


def _divide(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Mean; NaN where there is nothing."""
    return np.where(count > 0.5, total / np.maximum(count, 1), np.nan)


def _correlate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlate rows over the columns that both have; NaN where a row has no variance."""
    both = ~(np.isnan(first) | np.isnan(second))
    n = both.sum(axis=1, keepdims=True)
    x = np.where(both, first, 0.0)
    y = np.where(both, second, 0.0)
    x = np.where(both, x - x.sum(axis=1, keepdims=True) / np.maximum(n, 1), 0.0)
    y = np.where(both, y - y.sum(axis=1, keepdims=True) / np.maximum(n, 1), 0.0)
    scale = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return np.where(scale > 0, (x * y).sum(axis=1) / np.where(scale > 0, scale, 1), np.nan)


def _correlate_without_each(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Correlation without each image in turn, by taking its terms off the sums."""
    both = ~(np.isnan(x) | np.isnan(y))
    x = np.where(both, x - np.mean(x[both]), 0.0)
    y = np.where(both, y - np.mean(y[both]), 0.0)
    n = both.sum() - both
    sx, sy = -x, -y
    xx, yy, xy = (x @ x) - x * x, (y @ y) - y * y, (x @ y) - x * y
    return (xy - sx * sy / n) / np.sqrt((xx - sx * sx / n) * (yy - sy * sy / n))


def reliability_table(
    ratings: pd.DataFrame, splits: int = 1000, seed: int = 0, images: Images = "fixed"
) -> pd.DataFrame:
    """Report reliability and noise ceilings per group and trait.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, trait, image, rating. Without `rater` only the number of images can be told.
    splits : int, default 1000
        Random halves of the raters.
    seed : int, default 0
        Seed of the halves.
    images : {"fixed", "random"}, default "fixed"
        Whether intervals generalise to other raters of these images, or to other images too.

    Returns
    -------
    DataFrame
        group, trait, n_raters, n_images, n_ratings, raters_per_image (harmonic mean), complete,
        split_half (correlation of two halves), ceiling_r2, ceiling_r2_low, ceiling_r2_high, ceiling_r,
        ceiling_r_low, ceiling_r_high (reliability and its square root, between 0 and 1), note.

    Examples
    --------
    >>> reliability_table(study.ratings)  # doctest: +SKIP
    """
    return pd.DataFrame(
        [
            {GROUP: group, TRAIT: trait, **_reliability_row(part, splits, seed, images)}
            for (group, trait), part in ratings.groupby([GROUP, TRAIT], sort=True, observed=True)
        ]
    )


def _reliability_row(part: pd.DataFrame, splits: int, seed: int, images: Images) -> dict[str, object]:
    """One row of the table."""
    missing = dict.fromkeys(
        ("split_half", "ceiling_r2", "ceiling_r2_low", "ceiling_r2_high", "ceiling_r", "ceiling_r_low")
        + ("ceiling_r_high",),
        np.nan,
    )
    if RATER not in part:
        return {"n_images": part["image"].nunique(), **missing, "note": _AVERAGED}
    matrix = make_matrix(part)
    row: dict[str, object] = {
        "n_raters": len(matrix.raters),
        "n_images": len(matrix.images),
        "n_ratings": len(part),
        "raters_per_image": matrix.raters_per_image,
        "complete": matrix.complete,
    }
    if len(matrix.raters) < 2:
        return {**row, **missing, "note": "one rater only"}
    half = split_half(matrix, splits, seed, images)
    bounds = np.clip([half.reliability, half.ci_low, half.ci_high], 0, 1)
    names = ["ceiling_r2", "ceiling_r2_low", "ceiling_r2_high"]
    row |= {"split_half": half.half_correlation, **dict(zip(names, bounds, strict=True))}
    row |= {name.replace("r2", "r"): value for name, value in zip(names, np.sqrt(bounds), strict=True)}
    return {**row, "note": ""}
