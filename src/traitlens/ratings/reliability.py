"""Reliability of ratings: split-half reliability, noise ceilings and intraclass correlations.

The split-half reliability, stepped up by the Spearman-Brown formula, is the share of the variance of mean
ratings between images that other raters of the same population would reproduce. It is the upper bound of a
model's R², and its square root is the upper bound of r.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import GROUP, IMAGE, RATER, REPEAT, TRAIT
from traitlens.ratings.rating_matrix import RatingMatrix, find_blocks, make_matrix
from traitlens.ratings.variance_components import estimate_components, icc_intervals
from traitlens.study.cleaning import retest_correlations

Images = Literal["fixed", "random"]
_CEILING = ("ceiling_r2", "ceiling_r2_low", "ceiling_r2_high", "ceiling_r", "ceiling_r_low", "ceiling_r_high")
_COLUMNS = ("split_half", *_CEILING, "icc_2_1", "icc_2_k", "icc_3_1", "icc_3_k", "alpha")
_AVERAGED = "ratings are averages: analyses of single raters are left out"


@dataclass(frozen=True)
class SplitHalf:
    """Reliability of mean ratings, from random halves of the raters.

    Parameters
    ----------
    reliability : float
        Correlation between the mean ratings of two halves, averaged over splits and stepped up to all raters;
        may be negative if raters do not agree.
    ci_low, ci_high : float
        Confidence interval of the reliability.
    half_correlation : float
        Correlation between the mean ratings of two halves, before it is stepped up.
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

    If :math:`\bar r` is the mean correlation between halves of :math:`m` raters, the reliability of the mean
    of all :math:`k` raters is :math:`f \bar r / (1 + (f - 1) \bar r)` with :math:`f = k/m` (Spearman 1910,
    Brown 1910). Ratings may be missing, and raters may be nested in sets of images: raters who rated the same
    images are split evenly, so that every image is rated by both halves.

    Parameters
    ----------
    matrix : RatingMatrix
        Ratings of one group on one trait, by at least two raters.
    splits : int, default 1000
        Number of random halves.
    seed : int, default 0
        Seed of the splits.
    images : {"fixed", "random"}, default "fixed"
        Whether the interval generalises to other raters of these images, or also to other images.
    level : float, default 0.95
        Coverage of the interval.

    Notes
    -----
    The interval is based on a jackknife over raters (Tukey 1958) of log(1 - reliability), computed separately
    for sets of raters who share no image. A bootstrap would put copies of a rater into both halves and
    overstate agreement. For random images, the variance is that of a jackknife over images plus the part of
    the variance over raters that exceeds the residual noise, because both jackknives contain this noise.
    Degrees of freedom are approximated as by Satterthwaite (1946).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> values = rng.normal(size=60) + 2 * rng.normal(size=(20, 60))
    >>> matrix = RatingMatrix(values, pd.RangeIndex(20), pd.RangeIndex(60))
    >>> bool(split_half(matrix).reliability > 0.7)
    True
    """
    values = matrix.ratings
    component, pattern = find_blocks(~np.isnan(values))
    halves = _draw_halves(component, pattern, splits, np.random.default_rng(seed))
    half_correlation, deleted_rater, deleted_image = _half_correlations(values, halves, images == "random")
    raters = len(values)
    reliability = _step_up(half_correlation, 2 * raters / np.sum(halves != 0, axis=1).mean())
    # Halves from which a rater is deleted are smaller, but are stepped up to the same number of raters.
    sizes = (np.sum(halves != 0, axis=1)[:, None] - (halves != 0)).mean(axis=0)
    theta = np.log1p(-np.minimum(_step_up(deleted_rater, 2 * raters / np.maximum(sizes, 1)), 1 - 1e-9))
    by_rater, freedom = 0.0, 0
    for block in np.unique(component):
        members = theta[component == block]
        if len(members) > 1:
            by_rater += (len(members) - 1) * _variance_ignoring_nan(members)
            freedom += len(members) - 1
    n = values.shape[1]
    unexplained = max(1 - max(float(reliability), 0.0), 1e-9)
    # Agreement is a mean over pairs of raters, and a jackknife counts the noise of pairs twice (Efron and
    # Stein 1981). This noise is computed by the delta method for normal noise and exchangeable raters.
    pairs = 2 * unexplained**2 / (n - 1)
    residual = pairs + (4 * unexplained * (1 - unexplained) + 2 / (raters - 1)) / (n - 1)
    variance = by_rater * residual / (residual + pairs)
    if images == "random":
        over = _step_up(deleted_image, 2 * raters / np.sum(halves != 0, axis=1).mean())
        by_image = (n - 1) * _variance_ignoring_nan(np.log1p(-np.minimum(over, 1 - 1e-9)))
        excess = max(0.0, variance - residual)
        variance = by_image + excess
        freedom = variance**2 / (by_image**2 / (n - 1) + excess**2 / max(freedom, 1))
    width = stats.t.ppf(0.5 + level / 2, max(freedom, 1)) * np.sqrt(variance)
    centre = np.log1p(-min(float(reliability), 1 - 1e-9))
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
    """Return random halves as an array (split, rater) of +1, -1, and 0 for a rater without a partner."""
    raters = len(component)
    pairs = raters // 2
    # Form pairs of raters who rated the same images as far as possible, in random order.
    shuffled = rng.random((splits, pattern.max() + 1))[:, pattern]
    within = rng.random((splits, raters))
    order = np.lexsort((within, shuffled, np.broadcast_to(component, within.shape)), axis=1)
    sign = rng.integers(0, 2, (splits, pairs), dtype=np.int8) * 2 - 1
    halves = np.zeros((splits, raters), np.int8)
    np.put_along_axis(halves, order[:, 0 : 2 * pairs : 2], sign, axis=1)
    np.put_along_axis(halves, order[:, 1 : 2 * pairs : 2], -sign, axis=1)
    return halves


def _step_up(correlation: np.ndarray | float, factor: np.ndarray | float) -> np.ndarray:
    """Step up a correlation to `factor` times the number of raters by the Spearman-Brown formula."""
    correlation = np.asarray(correlation)
    denominator = np.maximum(1 + (np.asarray(factor) - 1) * correlation, 1e-6)
    stepped: np.ndarray = np.asarray(factor) * correlation / denominator
    return stepped


def _half_correlations(
    values: np.ndarray, halves: np.ndarray, by_image: bool
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the mean correlation between halves: of all ratings, without each rater, without each image."""
    if not np.isnan(values).any():
        full, without_rater = _complete_correlations(values, halves)
    else:
        full, without_rater = _incomplete_correlations(values, halves)
    without_image = np.zeros(0)
    if by_image:
        means = [_half_means(values, halves == sign) for sign in (1, -1)]
        each = np.array([_correlate_without_each(*pair) for pair in zip(*means, strict=True)])
        without_image = _mean_ignoring_nan(each)
    return float(_mean_ignoring_nan(full)), _mean_ignoring_nan(without_rater), without_image


def _mean_ignoring_nan(values: np.ndarray) -> np.ndarray:
    """Compute the mean over the first axis, ignoring NaN; NaN if all values are NaN."""
    count = (~np.isnan(values)).sum(axis=0)
    mean: np.ndarray = np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)
    return mean


def _variance_ignoring_nan(values: np.ndarray) -> float:
    """Compute the variance, ignoring NaN; NaN if all values are NaN."""
    known = values[~np.isnan(values)]
    return float(np.var(known)) if len(known) else np.nan


def _half_means(values: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Compute the mean ratings of the half given by a mask (split, rater), as an array (split, image)."""
    members = members.astype(float)
    return _divide_sums(members @ np.nan_to_num(values), members @ (~np.isnan(values)))


def _complete_correlations(values: np.ndarray, halves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the correlation between halves for each split, with all raters and without each rater.

    Ratings must be complete. Correlations are computed from the covariances between raters.
    """
    centred = values - values.mean(axis=1, keepdims=True)
    covariance = centred @ centred.T
    first, second = (halves == 1).astype(float), (halves == -1).astype(float)
    with_first, with_second = first @ covariance, second @ covariance
    cross = (with_first * second).sum(axis=1, keepdims=True)
    own_first = (with_first * first).sum(axis=1, keepdims=True)
    own_second = (with_second * second).sum(axis=1, keepdims=True)
    cross_less = cross - first * with_second - second * with_first
    first_less = own_first - first * (2 * with_first - np.diag(covariance))
    second_less = own_second - second * (2 * with_second - np.diag(covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        full = cross / np.sqrt(own_first * own_second)
        return full[:, 0], cross_less / np.sqrt(first_less * second_less)


_MOST_MEANS = 2**15
"""Number of mean ratings (splits by images) that are computed at a time; more would leave the cache."""


def _incomplete_correlations(values: np.ndarray, halves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the same as :func:`_complete_correlations` over the images that both halves rated."""
    seen = (~np.isnan(values)).astype(float)
    filled = np.nan_to_num(values)
    full = np.zeros(len(halves))
    without_rater = np.zeros(halves.shape)
    step = max(1, _MOST_MEANS // values.shape[1])
    for start in range(0, len(halves), step):
        signs = halves[start : start + step]
        members = [(signs == sign).astype(float) for sign in (1, -1)]
        sums = [side @ filled for side in members]
        counts = [side @ seen for side in members]
        means = [_divide_sums(total, count) for total, count in zip(sums, counts, strict=True)]
        full[start : start + step] = _correlate(*means)
        without_rater[start : start + step] = full[start : start + step, None]
        for rater in range(len(values)):
            for near, far in ((0, 1), (1, 0)):
                rows = np.flatnonzero(members[near][:, rater])
                reduced = _divide_sums(sums[near][rows] - filled[rater], counts[near][rows] - seen[rater])
                without_rater[start + rows, rater] = _correlate(reduced, means[far][rows])
    return full, without_rater


def _divide_sums(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Divide sums by counts; NaN where the count is zero."""
    return np.where(count > 0.5, total / np.maximum(count, 1), np.nan)


def _correlate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlate corresponding rows of two arrays, ignoring NaN; NaN if a row has no variance."""
    both = ~(np.isnan(first) | np.isnan(second))
    n = both.sum(axis=1, keepdims=True)
    x = np.where(both, first, 0.0)
    y = np.where(both, second, 0.0)
    x = np.where(both, x - x.sum(axis=1, keepdims=True) / np.maximum(n, 1), 0.0)
    y = np.where(both, y - y.sum(axis=1, keepdims=True) / np.maximum(n, 1), 0.0)
    scale = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return np.where(scale > 0, (x * y).sum(axis=1) / np.where(scale > 0, scale, 1), np.nan)


def _correlate_without_each(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute the correlation between two vectors without each image in turn."""
    both = ~(np.isnan(x) | np.isnan(y))
    if both.sum() < 3:
        return np.full(len(x), np.nan)
    x = np.where(both, x - np.mean(x[both]), 0.0)
    y = np.where(both, y - np.mean(y[both]), 0.0)
    n = both.sum() - both
    sx, sy = -x, -y
    xx, yy, xy = (x @ x) - x * x, (y @ y) - y * y, (x @ y) - x * y
    spread = (xx - sx * sx / n) * (yy - sy * sy / n)
    varied = spread > 1e-12 * (x @ x) * (y @ y)
    correlation: np.ndarray = np.where(
        varied, (xy - sx * sy / n) / np.sqrt(np.where(varied, spread, 1)), np.nan
    )
    return correlation


def reliability_table(
    ratings: pd.DataFrame, splits: int = 1000, seed: int = 0, images: Images = "fixed"
) -> pd.DataFrame:
    """Compute reliability and noise ceilings by group and trait.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, trait, image, rating; without the column rater, only n_images is computed.
    splits : int, default 1000
        Number of random halves.
    seed : int, default 0
        Seed of the splits.
    images : {"fixed", "random"}, default "fixed"
        Whether intervals generalise to other raters of these images, or also to other images.

    Returns
    -------
    DataFrame
        group, trait, n_raters, n_images, n_ratings, raters_per_image (harmonic mean), complete,
        split_half (correlation between two halves), ceiling_r2, ceiling_r2_low, ceiling_r2_high, ceiling_r,
        ceiling_r_low, ceiling_r_high (reliability and its square root, clipped to 0 to 1); icc_2_1, icc_2_k
        (absolute agreement), icc_3_1, icc_3_k (consistency), each with _low and _high, where k is
        raters_per_image; alpha (icc_3_k, which is Cronbach's alpha in a complete design); retest_r (mean over
        raters, by Fisher's z, of the correlation between first and second ratings; NaN without repeats),
        n_retest (number of raters with at least three repeated images); var_image, var_rater, var_residual,
        icc_method ("anova" or "reml"); note (why values are missing).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> cells = pd.MultiIndex.from_product([list("abcd"), range(30)], names=["rater", "image"])
    >>> ratings = cells.to_frame(index=False).assign(group="all", trait="warm")
    >>> ratings["rating"] = ratings["image"] / 10 + rng.normal(size=len(ratings))
    >>> reliability_table(ratings, splits=100)[["ceiling_r2", "alpha"]].round(1)
       ceiling_r2  alpha
    0         0.8    0.8
    """
    return pd.DataFrame(
        [
            {GROUP: group, TRAIT: trait, **_reliability_row(part, splits, seed, images)}
            for (group, trait), part in ratings.groupby([GROUP, TRAIT], sort=True, observed=True)
        ]
    )


def _reliability_row(part: pd.DataFrame, splits: int, seed: int, images: Images) -> dict[str, object]:
    """Compute the row of :func:`reliability_table` for one group and trait."""
    missing: dict[str, object] = dict.fromkeys(_COLUMNS, np.nan)
    if RATER not in part:
        return {"n_images": part[IMAGE].nunique(), **missing, "note": _AVERAGED}
    matrix = make_matrix(part)
    retest, n_retest = _average_retest(part)
    row: dict[str, object] = {
        "n_raters": len(matrix.raters),
        "n_images": len(matrix.images),
        "n_ratings": len(part),
        "raters_per_image": matrix.raters_per_image,
        "complete": matrix.complete,
        "retest_r": retest,
        "n_retest": n_retest,
    }
    if len(matrix.raters) < 2:
        return {**row, **missing, "note": "one rater only"}
    half = split_half(matrix, splits, seed, images)
    bounds = np.clip([half.reliability, half.ci_low, half.ci_high], 0, 1)
    names = ["ceiling_r2", "ceiling_r2_low", "ceiling_r2_high"]
    row |= {"split_half": half.half_correlation, **dict(zip(names, bounds, strict=True))}
    row |= {name.replace("r2", "r"): value for name, value in zip(names, np.sqrt(bounds), strict=True)}
    components = estimate_components(matrix)
    for name, interval in icc_intervals(matrix, components, seed).items():
        row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
    row |= {"alpha": row["icc_3_k"], "var_image": components.image, "var_rater": components.rater}
    row |= {"var_residual": components.residual, "icc_method": components.method}
    return {**row, "note": ""}


def _average_retest(part: pd.DataFrame) -> tuple[float, int]:
    """Return the mean retest correlation, by Fisher's z, and the number of raters with repeated images."""
    if REPEAT not in part or part[REPEAT].nunique() < 2:
        return np.nan, 0
    found = retest_correlations(part)
    z = np.arctanh(np.clip(found.to_numpy(), -0.999999, 0.999999))
    return (float(np.tanh(z.mean())), len(z)) if len(z) else (np.nan, 0)
