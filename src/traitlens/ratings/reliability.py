"""Reliability of ratings: split-half reliability, noise ceilings and intraclass correlations.

The split-half reliability with Spearman-Brown is the share of the variance of mean ratings over images that
other raters of the same population would reproduce. It bounds R²; its square root bounds r.
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
        Correlation of the means of two halves, averaged over splits and stepped up to all raters. The ceiling
        of R²; may be negative if raters do not agree.
    ci_low, ci_high : float
        95 % interval.
    half_correlation : float
        The correlation of two halves before the step up.
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

    With :math:`\bar r` the mean correlation of two halves of :math:`m` raters, the reliability of the mean of
    all :math:`k` is :math:`f \bar r / (1 + (f - 1) \bar r)` with :math:`f = k/m` (Spearman 1910, Brown 1910).
    Raters who rated the same images are split evenly, so that every image is in both halves; ratings may be
    missing, and raters may be nested in sets of images.

    Parameters
    ----------
    matrix : RatingMatrix
        Ratings of one group and trait; two raters at least.
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
    The interval is a jackknife over raters (Tukey 1958) of log(1 - reliability), within sets of raters that
    share no image. A bootstrap would put copies of one rater into both halves and overstate agreement.
    For random images the jackknife over images is taken, and of the one over raters what exceeds residual
    noise, which both contain; degrees of freedom after Satterthwaite (1946).

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
    # Halves without one rater are smaller, and are stepped up to the same number of raters.
    sizes = (np.sum(halves != 0, axis=1)[:, None] - (halves != 0)).mean(axis=0)
    theta = np.log1p(-np.minimum(_step_up(deleted_rater, 2 * raters / np.maximum(sizes, 1)), 1 - 1e-9))
    by_rater, freedom = 0.0, 0
    for block in np.unique(component):
        members = theta[component == block]
        if len(members) > 1:
            by_rater += (len(members) - 1) * _variance(members)
            freedom += len(members) - 1
    n = values.shape[1]
    unexplained = max(1 - max(float(reliability), 0.0), 1e-9)
    # Agreement is a mean over pairs of raters, and a jackknife counts the noise of pairs twice (Efron and
    # Stein 1981). With normal noise and exchangeable raters the delta method gives the variance:
    pairs = 2 * unexplained**2 / (n - 1)
    residual = pairs + (4 * unexplained * (1 - unexplained) + 2 / (raters - 1)) / (n - 1)
    variance = by_rater * residual / (residual + pairs)
    if images == "random":
        over = _step_up(deleted_image, 2 * raters / np.sum(halves != 0, axis=1).mean())
        by_image = (n - 1) * _variance(np.log1p(-np.minimum(over, 1 - 1e-9)))
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
    """Split raters in two, pair by pair; (split, rater) of +1, -1, and 0 for an unpaired rater."""
    raters = len(component)
    pairs = raters // 2
    # Pairs rated the same images where possible; the order of patterns is random, too.
    shuffled = rng.random((splits, pattern.max() + 1))[:, pattern]
    within = rng.random((splits, raters))
    order = np.lexsort((within, shuffled, np.broadcast_to(component, within.shape)), axis=1)
    sign = rng.integers(0, 2, (splits, pairs), dtype=np.int8) * 2 - 1
    halves = np.zeros((splits, raters), np.int8)
    np.put_along_axis(halves, order[:, 0 : 2 * pairs : 2], sign, axis=1)
    np.put_along_axis(halves, order[:, 1 : 2 * pairs : 2], -sign, axis=1)
    return halves


def _step_up(correlation: np.ndarray | float, factor: np.ndarray | float) -> np.ndarray:
    """Step up a correlation of means to `factor` times as many raters (Spearman-Brown)."""
    correlation = np.asarray(correlation)
    denominator = np.maximum(1 + (np.asarray(factor) - 1) * correlation, 1e-6)
    stepped: np.ndarray = np.asarray(factor) * correlation / denominator
    return stepped


def _half_correlations(
    values: np.ndarray, halves: np.ndarray, by_image: bool
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the mean correlation of two halves: with all, without each rater, without each image."""
    if not np.isnan(values).any():
        full, without_rater = _complete_correlations(values, halves)
    else:
        full, without_rater = _gappy_correlations(values, halves)
    without_image = np.zeros(0)
    if by_image:
        means = [_half_means(values, halves == sign) for sign in (1, -1)]
        each = np.array([_correlate_without_each(*pair) for pair in zip(*means, strict=True)])
        without_image = _mean(each)
    return float(_mean(full)), _mean(without_rater), without_image


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis without missing values; NaN if all are missing."""
    count = (~np.isnan(values)).sum(axis=0)
    mean: np.ndarray = np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)
    return mean


def _variance(values: np.ndarray) -> float:
    """Return the variance without missing values; NaN if all are missing, as without one of two raters."""
    known = values[~np.isnan(values)]
    return float(np.var(known)) if len(known) else np.nan


def _half_means(values: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return mean ratings of halves: (split, image)."""
    members = members.astype(float)
    return _divide(members @ np.nan_to_num(values), members @ (~np.isnan(values)))


def _complete_correlations(values: np.ndarray, halves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return correlations by split with all raters and without each, from covariances of raters."""
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


def _gappy_correlations(values: np.ndarray, halves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the same over the images that both halves rated."""
    seen = (~np.isnan(values)).astype(float)
    filled = np.nan_to_num(values)
    full = np.zeros(len(halves))
    without_rater = np.zeros(halves.shape)
    for split, signs in enumerate(halves):
        sides = [np.flatnonzero(signs == sign) for sign in (1, -1)]
        sums = [filled[side].sum(axis=0) for side in sides]
        counts = [seen[side].sum(axis=0) for side in sides]
        means = [_divide(total, count) for total, count in zip(sums, counts, strict=True)]
        full[split] = _correlate(means[0][None], means[1][None])[0]
        without_rater[split] = full[split]
        for near, far in ((0, 1), (1, 0)):
            reduced = _divide(sums[near] - filled[sides[near]], counts[near] - seen[sides[near]])
            without_rater[split, sides[near]] = _correlate(reduced, means[far][None])
    return full, without_rater


def _divide(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the quotient; NaN for a zero denominator."""
    return np.where(count > 0.5, total / np.maximum(count, 1), np.nan)


def _correlate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlate rows over the columns that both have; NaN if a row has no variance."""
    both = ~(np.isnan(first) | np.isnan(second))
    n = both.sum(axis=1, keepdims=True)
    x = np.where(both, first, 0.0)
    y = np.where(both, second, 0.0)
    x = np.where(both, x - x.sum(axis=1, keepdims=True) / np.maximum(n, 1), 0.0)
    y = np.where(both, y - y.sum(axis=1, keepdims=True) / np.maximum(n, 1), 0.0)
    scale = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return np.where(scale > 0, (x * y).sum(axis=1) / np.where(scale > 0, scale, 1), np.nan)


def _correlate_without_each(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the correlation without each image in turn, by subtracting its terms from the sums."""
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
        rater, group, trait, image, rating. Without `rater` only the number of images is computed.
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
        ceiling_r_low, ceiling_r_high (reliability and its square root, between 0 and 1); icc_2_1, icc_2_k
        (absolute agreement), icc_3_1, icc_3_k (consistency), each with _low and _high, k being
        raters_per_image; alpha (icc_3_k, Cronbach's alpha where the design is complete); retest_r (mean over
        raters, by Fisher's z, of the correlation of first and second ratings; missing without repeats),
        n_retest (raters with three repeated images at least); var_image,
        var_rater, var_residual, icc_method ("anova" or "reml"); note (why something is missing).

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
    """Return one row of the table."""
    missing: dict[str, object] = dict.fromkeys(_COLUMNS, np.nan)
    if RATER not in part:
        return {"n_images": part[IMAGE].nunique(), **missing, "note": _AVERAGED}
    matrix = make_matrix(part)
    retest, n_retest = _retest(part)
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


def _retest(part: pd.DataFrame) -> tuple[float, int]:
    """Return the mean correlation of first and second ratings, and the number of raters."""
    if REPEAT not in part or part[REPEAT].nunique() < 2:
        return np.nan, 0
    found = retest_correlations(part)
    z = np.arctanh(np.clip(found.to_numpy(), -0.999999, 0.999999))
    return (float(np.tanh(z.mean())), len(z)) if len(z) else (np.nan, 0)
