"""Share of each region of the face in the variance of a group's mean ratings.

A group's mean ratings are regressed on the cues of all regions. The explained variance is divided among
regions by the product measure, a standardised weight times a correlation (Hoffman 1960; Pratt 1987); these
shares sum to 1. The unique share of a region is the loss of explained variance if its cue is left out.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, REGION, SHARE, TRAIT
from traitlens.comparison.lens_design import DRAWS_AT_ONCE, LensDesign
from traitlens.comparison.utilisation import Progress, group_utilisation


def tabulate_shares(
    design: LensDesign,
    areas: pd.Series | None = None,
    predicted: Collection[tuple[str, str]] | None = None,
    *,
    draws: int = 2000,
    seed: int = 0,
    progress: Progress = None,
) -> pd.DataFrame:
    """Tabulate the share of each region in the explained variance, by group and trait.

    Parameters
    ----------
    design : LensDesign
        Ratings and cues of the study.
    areas : Series, optional
        Mean share of the image that each region (index) covers.
    predicted : collection of (group, trait), optional
        Groups and traits that are predicted better than chance; shares of others are missing. All if None.
    draws : int, default 2000
        Number of bootstrap draws of identities for the intervals.
    seed : int, default 0
        Seed of the random number generator.
    progress : callable, optional
        Called with the number of draws since the last call.

    Returns
    -------
    DataFrame
        group, trait, region, share (of the explained variance; may be slightly negative), low, high (95 %
        percentiles over identities), unique, unique_low, unique_high, area.

    Examples
    --------
    >>> tabulate_shares(make_design(study.ratings, cues))  # doctest: +SKIP
    """
    labels = np.stack([design.labels == group for group in range(len(design.groups))]).astype(float)
    observed = _shares(design, labels, np.ones((1, len(design.images))))[:, :, 0]
    rng = np.random.default_rng(seed)
    number = design.identities.max() + 1
    drawn = []
    for start in range(0, draws, DRAWS_AT_ONCE):
        size = min(DRAWS_AT_ONCE, draws - start)
        counts = rng.multinomial(number, np.full(number, 1 / number), size)
        drawn.append(_shares(design, labels, counts[:, design.identities].astype(float)))
        if progress:
            progress(size)
    low, high = np.nanquantile(np.concatenate(drawn, axis=2), [0.025, 0.975], axis=2)
    rows = []
    for group, name in enumerate(design.groups):
        for place, (trait, ratings) in enumerate(zip(design.traits, design.ratings, strict=True)):
            if not (ratings.n_images[design.labels == group] > 0).any():
                continue
            reported = predicted is None or (name, trait) in predicted
            cells = (observed, low, high)
            numbers = [values[kind, group, place] for kind in (0, 1) for values in cells]
            for region, *values in zip(design.regions, *numbers, strict=True):
                rows.append((name, trait, region, *(values if reported else [np.nan] * 6)))
    columns = [GROUP, TRAIT, REGION, SHARE, "low", "high", "unique", "unique_low", "unique_high"]
    table = pd.DataFrame(rows, columns=columns)
    table["area"] = np.nan if areas is None else table[REGION].map(areas).astype(float)
    return table


def _shares(design: LensDesign, labels: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return product measures and unique shares, an array of shape (2, group, draw, trait, region)."""
    raters = np.repeat(labels[:, None], len(images), axis=1)
    groups = group_utilisation(design, raters, images)
    found = np.empty((2, *groups.shape))
    for place, cues in enumerate(design.cues):
        covariances = cue_covariances(cues, images * rated_images(cues))
        for group in range(len(labels)):
            found[:, group, :, place] = explained_shares(groups[group, :, place], covariances)
    return found


def rated_images(cues: np.ndarray) -> np.ndarray:
    """Return whether each image was rated, from standardised cues, which are 0 for unrated images."""
    return np.asarray(np.abs(cues).max(axis=1) > 0)


def cue_covariances(cues: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Compute covariances between cues for many sets of weights of images.

    Parameters
    ----------
    cues : ndarray of shape (image, region)
        Standardised cues.
    images : ndarray of shape (draw, image)
        Weights of the images.

    Returns
    -------
    ndarray of shape (draw, region, region)
        Covariances.
    """
    regions = cues.shape[1]
    total = np.maximum(images.sum(axis=1), 1e-12)
    products = (cues[:, :, None] * cues[:, None, :]).reshape(len(cues), -1)
    means = images @ cues / total[:, None]
    second = (images @ products / total[:, None]).reshape(-1, regions, regions)
    return np.asarray(second - means[:, :, None] * means[:, None, :])


def explained_shares(weights: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    r"""Divide the explained variance of a regression among its predictors.

    Parameters
    ----------
    weights : ndarray of shape (draw, region)
        Regression weights :math:`b`.
    covariances : ndarray of shape (draw, region, region)
        Covariances :math:`S` of the predictors.

    Returns
    -------
    ndarray of shape (2, draw, region)
        Product measures :math:`b_r (S b)_r / b'Sb`, and unique shares
        :math:`b_r^2 / ((S^{-1})_{rr} b'Sb)`; missing if nothing is explained.

    Examples
    --------
    >>> explained_shares(np.array([[1.0, 2.0]]), np.eye(2)[None])[0].tolist()
    [[0.2, 0.8]]
    """
    products = weights * (covariances @ weights[:, :, None])[:, :, 0]
    total = products.sum(axis=1, keepdims=True)
    inverse = np.linalg.pinv(covariances, rcond=1e-10, hermitian=True)
    own = np.diagonal(inverse, axis1=1, axis2=2)
    unique = np.where(own > 0, weights**2 / np.where(own > 0, own, 1), 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([products, unique]) / np.where(total > 1e-300, total, np.nan)
