"""Uncertainty of a trait space: parallel analysis, and bootstrap intervals of loadings."""

import numpy as np
import pandas as pd
from scipy import linalg, stats

from traitlens.columns import GROUP, IMAGE, TRAIT
from traitlens.ratings.rating_matrix import make_matrix

FEWEST_TRAITS = 3
FEWEST_IMAGES = 5
COLUMNS = [GROUP, "component", TRAIT, "loading", "low", "high", "eigenvalue", "chance", "kept", "n_raters",
           "n_images"]  # fmt: skip


def bootstrap_loadings(ratings: pd.DataFrame, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Compute each group's principal components of the traits, with bootstrap intervals of the loadings.

    The number of components is chosen by parallel analysis.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    draws : int, default 1000
        Number of bootstrap samples of raters, and of permutations of images.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        group, component (1, 2, ...), trait, loading (correlation between trait and component, not rotated),
        low, high (95 % interval over raters), eigenvalue, chance (95th percentile of the eigenvalue if images
        are permuted for each trait), kept (whether the eigenvalues of this and all preceding components
        exceed chance), n_raters, n_images. Only components that are kept, or the first, are returned. Groups
        need at least three traits, and five images that were rated on all of them.

    Notes
    -----
    Parallel analysis (Horn 1965) permutes the images of each trait, which preserves the distribution of its
    ratings. The bootstrap draws raters with all their ratings. The components of each sample are rotated to
    the observed ones (Procrustes), because components with similar eigenvalues may be exchanged. Samples have
    fewer distinct raters and therefore noisier means and lower correlations; the intervals are corrected for
    this bias (Davison and Hinkley 1997, section 5.2). Their width is Student's t times the standard error of
    Fisher's z. They generalise to other raters of the same images.
    """
    tables = []
    for group, part in ratings.groupby(GROUP, sort=True, observed=True):
        found = _bootstrap_group(part, draws, seed)
        if found is not None:
            tables.append(found.assign(**{GROUP: str(group)}))
    return pd.concat(tables, ignore_index=True)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)


def _bootstrap_group(ratings: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame | None:
    """Compute the rows of :func:`bootstrap_loadings` for one group; None if the group has too few data."""
    matrices = {str(trait): make_matrix(own) for trait, own in ratings.groupby(TRAIT, observed=True)}
    images = pd.Index(sorted(ratings[IMAGE].unique()))
    for matrix in matrices.values():
        images = images.intersection(matrix.images)
    if len(matrices) < FEWEST_TRAITS or len(images) < FEWEST_IMAGES:
        return None
    raters = pd.Index(sorted(ratings["rater"].unique()))
    values = np.full((len(matrices), len(raters), len(images)), np.nan)
    for place, matrix in enumerate(matrices.values()):
        own = matrix.ratings - np.nanmean(matrix.ratings, axis=1, keepdims=True)
        columns = matrix.images.get_indexer(images)
        values[place, raters.get_indexer(matrix.raters)] = own[:, columns]
    rng = np.random.default_rng(seed)
    means = _weighted_means(values, np.ones((1, len(raters))))[0]
    correlation = np.corrcoef(means)
    if not np.isfinite(correlation).all():
        return None
    eigenvalues, loadings = _principal_components(correlation)
    chance = parallel_analysis(means, draws, rng)
    beyond = eigenvalues > chance
    kept = int(np.argmin(beyond)) if not beyond.all() else len(beyond)
    shown = max(kept, 1)
    low, high = _bootstrap_intervals(values, loadings[:, :shown], draws, rng)
    rows = [
        {"component": place + 1, TRAIT: trait, "loading": loadings[number, place],
         "low": low[number, place], "high": high[number, place], "eigenvalue": eigenvalues[place],
         "chance": chance[place], "kept": place < kept}
        for place in range(shown) for number, trait in enumerate(matrices)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(n_raters=len(raters), n_images=len(images))


def _weighted_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute weighted mean ratings (draw, trait, image) from ratings (trait, rater, image), ignoring NaN."""
    seen = (~np.isnan(values)).astype(float)
    total = np.einsum("dr,tri->dti", weights, np.nan_to_num(values), optimize=True)
    count = np.einsum("dr,tri->dti", weights, seen, optimize=True)
    means: np.ndarray = np.where(count > 0, total / np.maximum(count, 1e-12), np.nan)
    return means


def _principal_components(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute eigenvalues in descending order, and loadings (trait, component), of a correlation matrix."""
    values, vectors = linalg.eigh(correlation)
    order = np.argsort(values)[::-1]
    loadings = vectors[:, order] * np.sqrt(np.maximum(values[order], 0))
    return values[order], loadings * np.where(loadings.sum(axis=0) < 0, -1, 1)


def parallel_analysis(means: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Compute the eigenvalues that uncorrelated traits exceed in 5 % of samples (Horn 1965).

    Parameters
    ----------
    means : ndarray of shape (trait, image)
        Mean ratings.
    draws : int
        Number of permutations of the images of each trait.
    rng : Generator
        Random number generator.

    Returns
    -------
    ndarray of shape (trait,)
        95th percentiles of the eigenvalues, in descending order.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(4, 5000))
    >>> parallel_analysis(noise, 50, np.random.default_rng(1)).round(1)
    array([1., 1., 1., 1.])
    """
    found = np.empty((draws, len(means)))
    for draw in range(draws):
        found[draw] = np.linalg.eigvalsh(np.corrcoef(rng.permuted(means, axis=1)))[::-1]
    chance: np.ndarray = np.quantile(found, 0.95, axis=0)
    return chance


def _bootstrap_intervals(
    values: np.ndarray, loadings: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Compute 95 % bootstrap intervals of loadings over raters; return their lower and upper bounds."""
    raters = values.shape[1]
    found = []
    for start in range(0, draws, 50):
        weights = rng.multinomial(raters, np.full(raters, 1 / raters), min(50, draws - start)).astype(float)
        for means in _weighted_means(values, weights):
            known = np.isfinite(means).all(axis=0)
            if known.sum() < FEWEST_IMAGES:
                continue
            with np.errstate(invalid="ignore", divide="ignore"):  # equal means have no correlation
                correlation = np.corrcoef(means[:, known])
            if not np.isfinite(correlation).all():
                continue
            own = _principal_components(correlation)[1][:, : loadings.shape[1]]
            found.append(own @ linalg.orthogonal_procrustes(own, loadings)[0])
    if len(found) < draws / 2:
        missing = np.full(loadings.shape, np.nan)
        return missing, missing
    z = np.arctanh(np.clip(np.stack(found), -0.9999, 0.9999))
    observed = np.arctanh(np.clip(loadings, -0.9999, 0.9999))
    centre = 2 * observed - z.mean(axis=0)
    width = stats.t.ppf(0.975, raters - 1) * z.std(axis=0, ddof=1) * np.sqrt(raters / (raters - 1))
    return np.tanh(centre - width), np.tanh(centre + width)
