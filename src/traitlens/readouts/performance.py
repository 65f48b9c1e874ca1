"""How well readouts predict identities that they did not see."""

import numpy as np
import pandas as pd

from traitlens.words import FOLD, GROUP, IDENTITY, OBSERVED, PREDICTED, TRAIT

SAMPLES_AT_ONCE = 250


def performance(
    predictions: pd.DataFrame,
    ceiling: pd.DataFrame | None = None,
    seed: int = 0,
    samples: int = 2000,
) -> pd.DataFrame:
    r"""Measure performance per group and trait, pooled over folds.

    :math:`R^2 = 1 - \sum (y - \hat y)^2 / \sum (y - m)^2`, where :math:`m` is the mean rating outside the
    image's fold: what a readout without features would predict. Intervals are percentiles of a bootstrap over
    identities. p is the share of random exchanges of identities (their ratings moved as one block) that give
    an r at least as large, one-sided, with the observed order counted (Phipson and Smyth 2010).

    Parameters
    ----------
    predictions : DataFrame
        identity, group, trait, fold, observed, predicted.
    ceiling : DataFrame or None
        group, trait, ceiling_r, ceiling_r2: what the raters' agreement allows.
    seed : int, default 0
        Seed of bootstrap and permutation, the same for every group and trait.
    samples : int, default 2000
        Number of bootstrap samples and of permutations.

    Returns
    -------
    DataFrame
        group, trait, n_images, n_identities, r, r2, rmse (rating units), ci_low and ci_high (95 % interval of
        r), r2_low and r2_high (of R²), p; with a ceiling also ceiling_r, ceiling_r2, share_r (r / ceiling_r)
        and share_r2. r and p are missing where predictions or ratings do not vary.

    Examples
    --------
    >>> predictions = pd.DataFrame({"identity": range(6), "group": "all", "trait": "warm",
    ...     "fold": [0, 0, 0, 1, 1, 1], "observed": [1.0, 2, 3, 1, 2, 3],
    ...     "predicted": [1.5, 2, 2.5, 1, 2, 3]})
    >>> performance(predictions).loc[0, ["r", "r2"]].round(3).tolist()
    [0.949, 0.875]
    """
    rows = []
    for (group, trait), table in predictions.groupby([GROUP, TRAIT], observed=True, sort=False):
        rows.append({GROUP: group, TRAIT: trait, **_measure(table, np.random.default_rng(seed), samples)})
    result = pd.DataFrame(rows)
    if ceiling is not None:
        result = result.merge(
            ceiling[[GROUP, TRAIT, "ceiling_r", "ceiling_r2"]], on=[GROUP, TRAIT], how="left"
        )
        result["share_r"] = result["r"] / result["ceiling_r"]
        result["share_r2"] = result["r2"] / result["ceiling_r2"]
    return result


def _measure(table: pd.DataFrame, rng: np.random.Generator, samples: int) -> dict[str, float]:
    """Measure one group and trait."""
    table = table.sort_values(IDENTITY, kind="stable")
    observed, predicted = table[OBSERVED].to_numpy(float), table[PREDICTED].to_numpy(float)
    baseline = outside_means(observed, table[FOLD].to_numpy())
    identity, names = pd.factorize(table[IDENTITY])
    r = correlation(observed, predicted)
    r_samples, r2_samples = _bootstrap(observed, predicted, baseline, identity, len(names), rng, samples)
    r_low, r_high = _interval(r_samples)
    r2_low, r2_high = _interval(r2_samples)
    return {
        "n_images": len(table),
        "n_identities": len(names),
        "r": r,
        "r2": float(1 - ((observed - predicted) ** 2).sum() / ((observed - baseline) ** 2).sum()),
        "rmse": float(np.sqrt(((observed - predicted) ** 2).mean())),
        "ci_low": r_low,
        "ci_high": r_high,
        "r2_low": r2_low,
        "r2_high": r2_high,
        "p": _permutation_p(observed, predicted, identity, r, rng, samples),
    }


def outside_means(observed: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Give for each image the mean rating outside its fold.

    Parameters
    ----------
    observed : ndarray
        (image,), ratings.
    fold : ndarray
        (image,).

    Returns
    -------
    ndarray
        (image,); the mean of all where there is one fold only.
    """
    numbers, _ = pd.factorize(fold)
    totals, counts = np.bincount(numbers, observed), np.bincount(numbers)
    if len(counts) == 1:
        return np.full(len(observed), observed.mean())
    return np.asarray(((observed.sum() - totals) / (len(observed) - counts))[numbers])


def correlation(observed: np.ndarray, predicted: np.ndarray) -> float:
    """Correlate ratings with predictions (Pearson).

    Parameters
    ----------
    observed, predicted : ndarray
        (image,).

    Returns
    -------
    float
        r; missing where one of them does not vary.
    """
    first, second = observed - observed.mean(), predicted - predicted.mean()
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    # Below this the variation is rounding.
    least = 1e-12 * len(observed) * max(1.0, np.abs(observed).max() * np.abs(predicted).max())
    return float((first * second).sum() / scale) if scale > least else float("nan")


def _interval(values: np.ndarray) -> tuple[float, float]:
    """Take the middle 95 % of bootstrap samples."""
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, [2.5, 97.5]) if finite.size else (np.nan, np.nan)
    return float(low), float(high)


def _portions(samples: int) -> list[int]:
    """Part samples into portions that are drawn at once."""
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
    """Draw identities with replacement; sums by identity make each draw a product of small matrices."""
    # Centring changes neither r nor R² and keeps the sums of squares exact.
    shift_observed, shift_predicted = observed.mean(), predicted.mean()
    first, second = observed - shift_observed, predicted - shift_predicted
    parts = [np.ones_like(first), first, second, first**2, second**2, first * second]
    parts += [(observed - predicted) ** 2, (observed - baseline) ** 2]
    sums = np.stack([np.bincount(identity, part, number) for part in parts], axis=1)
    shares = np.full(number, 1 / number)
    drawn = np.concatenate(
        [rng.multinomial(number, shares, size=count) @ sums for count in _portions(samples)]
    )
    n, total_1, total_2, squares_1, squares_2, products, residual, deviation = drawn.T
    with np.errstate(divide="ignore", invalid="ignore"):
        variance_1, variance_2 = squares_1 - total_1**2 / n, squares_2 - total_2**2 / n
        r = (products - total_1 * total_2 / n) / np.sqrt(variance_1 * variance_2)
        return r, 1 - residual / deviation


def _permutation_p(
    observed: np.ndarray,
    predicted: np.ndarray,
    identity: np.ndarray,
    r: float,
    rng: np.random.Generator,
    samples: int,
) -> float:
    """Exchange identities: blocks of ratings change places, images of one person stay together."""
    if not np.isfinite(r):
        return float("nan")
    block = np.concatenate([[0], np.cumsum(np.diff(identity) != 0)])
    first, second = observed - observed.mean(), predicted - predicted.mean()
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    at_least = 0
    for count in _portions(samples):
        # The place of each block among the exchanged ones orders its images.
        places = [np.argsort(rng.permutation(block[-1] + 1)) for _ in range(count)]
        rows = np.stack([np.argsort(place[block], kind="stable") for place in places])
        at_least += int((first[rows] @ second / scale >= r - 1e-12).sum())
    return (1 + at_least) / (1 + samples)
