"""Performance of out-of-fold predictions: r and R² with intervals and tests."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import FOLD, GROUP, IDENTITY, OBSERVED, PREDICTED, TRAIT
from traitlens.readouts.refit import Refit

SAMPLES_AT_ONCE = 250
"""Number of bootstrap samples or permutations that are computed at once."""


def performance(
    predictions: pd.DataFrame,
    ceiling: pd.DataFrame | None = None,
    seed: int = 0,
    samples: int = 2000,
    refits: Callable[[str, str], Refit | None] | None = None,
) -> pd.DataFrame:
    r"""Compute the performance of predictions by group and trait, pooled over folds.

    :math:`R^2 = 1 - \sum (y - \hat y)^2 / \sum (y - m)^2`, where :math:`m` is the mean rating of the images
    in other folds, the prediction without features.

    Parameters
    ----------
    predictions : DataFrame
        identity, group, trait, fold, observed, predicted.
    ceiling : DataFrame or None
        group, trait, ceiling_r, ceiling_r2: noise ceilings.
    seed : int, default 0
        Seed of bootstrap samples and permutations, used for every group and trait.
    samples : int, default 2000
        Number of bootstrap samples or permutations.
    refits : callable, optional
        Function of group and trait that returns the readouts to refit, or None if they cannot be refitted
        (see `traitlens.readouts.refit.refit_of`).

    Returns
    -------
    DataFrame
        group, trait, n_images, n_identities, r, r2, rmse (rating units), ci_low and ci_high (95 % interval of
        r), r2_low and r2_high (95 % interval of R²), interval ("new faces": infinitesimal jackknife over
        identities, see `jackknife_intervals`; "these readouts": bootstrap over identities with fixed
        readouts, if they cannot be refitted), p (one-sided test of r), p_corrected (Holm over the table);
        with a ceiling also ceiling_r, ceiling_r2, share_r (r / ceiling_r) and share_r2. r and p are missing
        if predictions or ratings do not vary, p also if readouts cannot be refitted.

    Notes
    -----
    p is the share of permutations of identities with at least the observed r, including the observed ratings
    (Phipson and Smyth 2010). The ratings of an identity are permuted as a block, and readouts are refitted in
    each permutation. With fixed predictions p would be too small, because out-of-fold predictions depend on
    the ratings of the other folds.

    Examples
    --------
    >>> predictions = pd.DataFrame({"identity": range(6), "group": "all", "trait": "warm",
    ...     "fold": [0, 0, 0, 1, 1, 1], "observed": [1.0, 2, 3, 1, 2, 3],
    ...     "predicted": [1.5, 2, 2.5, 1, 2, 3]})
    >>> performance(predictions).loc[0, ["r", "r2"]].astype(float).round(3).tolist()
    [0.949, 0.875]
    """
    rows = []
    for (group, trait), table in predictions.groupby([GROUP, TRAIT], observed=True, sort=False):
        refit = refits(str(group), str(trait)) if refits else None
        measured = _performance_of_target(table, refit, np.random.default_rng(seed), samples)
        rows.append({GROUP: group, TRAIT: trait, **measured})
    result = pd.DataFrame(rows)
    result["p_corrected"] = _holm(result["p"].to_numpy(float))
    if ceiling is not None:
        result = result.merge(
            ceiling[[GROUP, TRAIT, "ceiling_r", "ceiling_r2"]], on=[GROUP, TRAIT], how="left"
        )
        result["share_r"] = result["r"] / result["ceiling_r"]
        result["share_r2"] = result["r2"] / result["ceiling_r2"]
    return result


def _holm(p: np.ndarray) -> np.ndarray:
    """Correct p values by the method of Holm (1979), ignoring missing values."""
    order = np.argsort(p)  # Missing values come last.
    number = int(np.isfinite(p).sum())
    corrected = np.full(len(p), np.nan)
    stepped = np.maximum.accumulate((number - np.arange(number)) * p[order[:number]])
    corrected[order[:number]] = np.minimum(stepped, 1)
    return corrected


def _performance_of_target(
    table: pd.DataFrame, refit: Refit | None, rng: np.random.Generator, samples: int
) -> dict[str, float | str]:
    """Compute the performance of one group and trait."""
    table = table.sort_values(IDENTITY, kind="stable")
    observed, predicted = table[OBSERVED].to_numpy(float), table[PREDICTED].to_numpy(float)
    folds = table[FOLD].to_numpy()
    baseline = outside_means(observed, folds)
    identity, names = pd.factorize(table[IDENTITY])
    r = correlation(observed, predicted)
    p = np.nan
    if refit is None:
        r_samples, r2_samples = _bootstrap(observed, predicted, baseline, identity, len(names), rng, samples)
        bounds = [*_percentile_interval(r_samples), *_percentile_interval(r2_samples)]
    else:
        bounds = jackknife_intervals(observed, refit)
        p = permutation_p_of_r(observed, refit, r, rng, samples)
    return {
        "n_images": len(table),
        "n_identities": len(names),
        "r": r,
        "r2": float(1 - ((observed - predicted) ** 2).sum() / ((observed - baseline) ** 2).sum()),
        "rmse": float(np.sqrt(((observed - predicted) ** 2).mean())),
        "ci_low": bounds[0],
        "ci_high": bounds[1],
        "r2_low": bounds[2],
        "r2_high": bounds[3],
        "interval": "these readouts" if refit is None else "new faces",
        "p": p,
    }


def jackknife_intervals(observed: np.ndarray, refit: Refit, level: float = 0.95) -> list[float]:
    """Compute intervals of r and R² for new faces by the infinitesimal jackknife over identities.

    Parameters
    ----------
    observed : ndarray of shape (image,)
        Ratings.
    level : float, default 0.95
        Coverage.

    Returns
    -------
    list of float
        Lower and upper bound of r, then of R².

    Notes
    -----
    An identity influences performance in two ways: it is predicted, and readouts of other folds are fitted to
    it. The derivatives of Fisher's z and of log(1 - R²) with respect to the weight of an identity include
    both. The sum of their squares estimates the variance over new sets of faces (Jaeckel 1972; Efron and
    Tibshirani 1993, section 21).
    """
    predicted = refit.prediction @ observed
    baseline = outside_means(observed, refit.folds)
    influence = refit.influence
    n = len(observed)
    x, y = observed - observed.mean(), predicted - predicted.mean()
    x, y_scale = x / x.std(), max(float(y.std()), 1e-12)
    y = y / y_scale
    r = float(np.clip((x * y).mean(), -0.999999, 0.999999))
    by_prediction = (x - r * y) / (n * y_scale)
    by_weight = (x * y - r / 2 * (x**2 + y**2)) / n + by_prediction @ influence
    z_error = _jackknife_error(by_weight / (1 - r**2), refit.identities)

    residual, deviation = observed - predicted, observed - baseline
    errors, total = (residual**2).sum(), (deviation**2).sum()
    of_baseline = np.zeros(n)
    for fold in np.unique(refit.folds):
        outside = refit.folds != fold
        pull = deviation[~outside].sum() / outside.sum()
        of_baseline[outside] += pull * (observed[outside] - baseline[~outside][0])
    by_weight = residual**2 / errors - deviation**2 / total
    by_weight = by_weight - 2 / errors * (residual @ influence) + 2 / total * of_baseline
    error = _jackknife_error(by_weight, refit.identities)

    quantile = float(stats.t.ppf(0.5 + level / 2, refit.identities.max()))
    z, centre = np.arctanh(r), np.log(errors / total)
    return [
        float(np.tanh(z - quantile * z_error)),
        float(np.tanh(z + quantile * z_error)),
        float(-np.expm1(centre + quantile * error)),
        float(-np.expm1(centre - quantile * error)),
    ]


def _jackknife_error(by_weight: np.ndarray, identities: np.ndarray) -> float:
    """Compute a standard error over identities from derivatives with respect to weights of images."""
    by_identity = np.bincount(identities, by_weight)
    number = len(by_identity)
    return float(np.sqrt(number / (number - 1) * (by_identity**2).sum()))


def outside_means(observed: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return for each image the mean rating of the images in other folds.

    Parameters
    ----------
    observed : ndarray of shape (image,)
        Ratings.
    fold : ndarray of shape (image,)
        Fold of each image.

    Returns
    -------
    ndarray of shape (image,)
        Mean ratings; the mean of all images if there is only one fold.
    """
    numbers, _ = pd.factorize(fold)
    totals, counts = np.bincount(numbers, observed), np.bincount(numbers)
    if len(counts) == 1:
        return np.full(len(observed), observed.mean())
    return np.asarray(((observed.sum() - totals) / (len(observed) - counts))[numbers])


def correlation(observed: np.ndarray, predicted: np.ndarray) -> float:
    """Compute Pearson's correlation of ratings and predictions.

    Parameters
    ----------
    observed, predicted : ndarray of shape (image,)
        Ratings and predictions.

    Returns
    -------
    float
        r; NaN if one of them is constant.
    """
    first, second = observed - observed.mean(), predicted - predicted.mean()
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    # Less variation than this is due to rounding.
    least = 1e-12 * len(observed) * max(1.0, np.abs(observed).max() * np.abs(predicted).max())
    return float((first * second).sum() / scale) if scale > least else float("nan")


def _percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of bootstrap samples."""
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, [2.5, 97.5]) if finite.size else (np.nan, np.nan)
    return float(low), float(high)


def _batch_sizes(samples: int) -> list[int]:
    """Return the sizes of the batches in which samples are computed."""
    return [min(SAMPLES_AT_ONCE, samples - start) for start in range(0, samples, SAMPLES_AT_ONCE)]


def _bootstrap(
    observed: np.ndarray,
    predicted: np.ndarray,
    baseline: np.ndarray,
    identity: np.ndarray,
    number: int,
    rng: np.random.Generator,
    samples: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return r and R² in bootstrap samples of identities, computed from sums over each identity."""
    # Centring does not change r or R², and avoids rounding errors in the sums of squares.
    shift_observed, shift_predicted = observed.mean(), predicted.mean()
    first, second = observed - shift_observed, predicted - shift_predicted
    parts = [np.ones_like(first), first, second, first**2, second**2, first * second]
    parts += [(observed - predicted) ** 2, (observed - baseline) ** 2]
    sums = np.stack([np.bincount(identity, part, number) for part in parts], axis=1)
    shares = np.full(number, 1 / number)
    drawn = np.concatenate(
        [rng.multinomial(number, shares, size=count) @ sums for count in _batch_sizes(samples)]
    )
    n, total_1, total_2, squares_1, squares_2, products, residual, deviation = drawn.T
    with np.errstate(divide="ignore", invalid="ignore"):
        variance_1, variance_2 = squares_1 - total_1**2 / n, squares_2 - total_2**2 / n
        r = (products - total_1 * total_2 / n) / np.sqrt(variance_1 * variance_2)
        return r, 1 - residual / deviation


def permutation_p_of_r(
    observed: np.ndarray, refit: Refit, r: float, rng: np.random.Generator, samples: int
) -> float:
    """Compute p of r by permuting the ratings of identities and refitting the readouts.

    Parameters
    ----------
    observed : ndarray of shape (image,)
        Ratings, sorted by identity. The ratings of an identity are permuted as a block.
    r : float
        Observed correlation of ratings and predictions.

    Returns
    -------
    float
        One-sided p (Phipson and Smyth 2010).
    """
    if not np.isfinite(r):
        return float("nan")
    blocks = refit.identities.max() + 1
    at_least = 0
    for count in _batch_sizes(samples):
        # Images are sorted by the permuted position of their block.
        places = [np.argsort(rng.permutation(blocks)) for _ in range(count)]
        rows = np.stack([np.argsort(index[refit.identities], kind="stable") for index in places])
        ratings = observed[rows]
        predicted = ratings @ refit.prediction.T
        ratings = ratings - ratings.mean(axis=1, keepdims=True)
        predicted = predicted - predicted.mean(axis=1, keepdims=True)
        scale = np.sqrt((ratings**2).sum(axis=1) * (predicted**2).sum(axis=1))
        null = (ratings * predicted).sum(axis=1) / np.where(scale > 0, scale, np.inf)
        at_least += int((null >= r - 1e-12).sum())
    return (1 + at_least) / (1 + samples)
