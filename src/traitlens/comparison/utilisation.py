"""Cue utilisation: weights of the regions of the face in the ratings of each rater.

In Brunswik's lens model (Brunswik 1956; Hammond, Hursch and Todd 1964; Nestler and Back 2013) a judgement is
a weighted sum of cues. Here a cue is the contribution of a region to a prediction that was fitted to all
raters together. The weight of a cue in a rater's ratings is called the rater's utilisation of the cue.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.sparse import csr_matrix

from traitlens.columns import GROUP, RATER, REGION, TRAIT
from traitlens.comparison.lens_design import LensDesign, TraitRatings

UTILISATION = "utilisation"

Progress = Callable[[int], None] | None
"""Function that is called with the number of draws since the last call."""


def group_utilisation(
    design: LensDesign, raters: np.ndarray, images: np.ndarray, cues: np.ndarray | None = None
) -> np.ndarray:
    """Compute the mean utilisation of each group, for many sets of weights of raters and images.

    All ratings of a group are fitted by least squares, with a level for each rater and one weight per cue.
    With a complete design this is the mean of the raters' own regressions. Otherwise raters whose images are
    more informative about a cue have more weight.

    Parameters
    ----------
    design : LensDesign
        Ratings and cues of the study.
    raters : ndarray of shape (group, draw, rater)
        Weight of each rater; 0 for raters of other groups.
    images : ndarray of shape (draw, image)
        Weight of each image.
    cues : ndarray of shape (trait, image, region), optional
        Standardised cues; those of the design if None.

    Returns
    -------
    ndarray of shape (group, draw, trait, region)
        Rating points per standard deviation of a cue; 0 for a cue that does not vary.
    """
    cues = design.cues if cues is None else cues
    result = np.empty((*raters.shape[:2], len(design.traits), len(design.regions)))
    for place, trait in enumerate(design.ratings):
        result[:, :, place] = _trait_utilisation(trait, cues[place], raters, images)
    return result


def _trait_utilisation(
    trait: TraitRatings, cues: np.ndarray, raters: np.ndarray, images: np.ndarray
) -> np.ndarray:
    """Compute the utilisation of one trait, an array of shape (group, draw, region)."""
    regions = cues.shape[1]
    products = _products_of_cues(cues)
    # Means of the cues over the images of each pattern, of shape (draw, pattern, region).
    patterns, members = trait.patterns
    count = np.asarray(images @ patterns.T)
    safe = np.maximum(count, 1e-12)
    means = np.stack([np.asarray((images * cue) @ patterns.T) / safe for cue in cues.T], axis=2)
    sums = np.asarray(images @ trait.ratings.T)
    result = np.empty((*raters.shape[:2], regions))
    for place, own in enumerate(raters):
        gram = ((np.asarray(own @ trait.seen) * images) @ products).reshape(-1, regions, regions)
        weighted = (np.asarray(own @ members) * count)[:, :, None] * means
        gram -= weighted.transpose(0, 2, 1) @ means
        right = (np.asarray(own @ trait.ratings) * images) @ cues
        right -= (np.asarray((own * sums) @ members)[:, None, :] @ means)[:, 0]
        result[place] = solve_normal(gram, right)
    return result


def solve_normal(gram: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve normal equations; the solution has minimum norm if the predictors are collinear.

    Parameters
    ----------
    gram : ndarray of shape (set, region, region)
        Sums of products of the predictors.
    right : ndarray of shape (set, region)
        Sums of products of predictors and criterion.

    Returns
    -------
    ndarray of shape (set, region)
        Weights.
    """
    inverse = np.linalg.pinv(gram, rcond=1e-10, hermitian=True)
    return np.asarray((inverse @ right[:, :, None])[:, :, 0])


def _products_of_cues(cues: np.ndarray) -> np.ndarray:
    """Return the products of all pairs of cues, an array of shape (image, region * region)."""
    return np.asarray((cues[:, :, None] * cues[:, None, :]).reshape(len(cues), -1))


@dataclass(frozen=True)
class RaterRegressions:
    """Separate regressions of the ratings of each rater on the cues, for one trait.

    Parameters
    ----------
    utilisation : ndarray of shape (rater, region)
        Rating points per standard deviation of the cue; NaN for raters with too few images.
    n_images : ndarray of shape (rater,)
        Number of images that each rater rated.
    consistency : ndarray of shape (rater,)
        Multiple correlation of the ratings with the cues.
    noise : ndarray of shape (rater,)
        Standard deviation of the residuals, in rating points.
    grams, right : ndarray of shape (rater, region, region) and (rater, region)
        Left and right sides of the normal equations, centred by rater.
    """

    utilisation: np.ndarray
    n_images: np.ndarray
    consistency: np.ndarray
    noise: np.ndarray
    grams: np.ndarray
    right: np.ndarray


def least_images(regions: int) -> int:
    """Return the minimum number of rated images for a regression of one rater: 2 (regions + 1)."""
    return 2 * (regions + 1)


def regress_raters(trait: TraitRatings, cues: np.ndarray) -> RaterRegressions:
    """Regress the ratings of each rater on the cues by least squares, for one trait.

    Parameters
    ----------
    trait : TraitRatings
        Ratings of the trait.
    cues : ndarray of shape (image, region)
        Standardised cues.
    """
    regions = cues.shape[1]
    count = trait.n_images
    safe = np.maximum(count, 1)
    mean = np.asarray(trait.seen @ cues) / safe[:, None]
    level = np.asarray(trait.ratings.sum(axis=1)).ravel() / safe
    grams = np.asarray(trait.seen @ _products_of_cues(cues)).reshape(-1, regions, regions)
    grams -= count[:, None, None] * mean[:, :, None] * mean[:, None, :]
    right = np.asarray(trait.ratings @ cues) - (count * level)[:, None] * mean
    squares = trait.ratings.power(2) if isinstance(trait.ratings, csr_matrix) else trait.ratings**2
    total = np.asarray(squares.sum(axis=1)).ravel() - count * level**2
    coefficients = solve_normal(grams, right)
    explained = (coefficients * right).sum(axis=1)
    varied = int((np.abs(cues).max(axis=0, initial=0) > 0).sum())
    freedom = count - varied - 1
    few = count < least_images(regions)
    with np.errstate(invalid="ignore", divide="ignore"):
        consistency = np.sqrt(np.clip(explained / total, 0, 1))
        noise = np.sqrt(np.maximum(total - explained, 0) / freedom)
    consistency[few | (total <= 1e-12 * np.maximum(count, 1))] = np.nan
    noise[few] = np.nan
    coefficients[few] = np.nan
    return RaterRegressions(coefficients, count.astype(int), consistency, noise, grams, right)


def rater_utilisation(design: LensDesign) -> pd.DataFrame:
    """Tabulate the cue utilisation of each rater.

    Parameters
    ----------
    design : LensDesign
        Ratings and cues of the study.

    Returns
    -------
    DataFrame
        rater, group, trait, region, utilisation (rating points per standard deviation of the cue; missing for
        raters who rated fewer than :func:`least_images` images of the trait).

    Examples
    --------
    >>> rater_utilisation(make_design(study.ratings, cues))  # doctest: +SKIP
    """
    tables = []
    for place, trait in enumerate(design.ratings):
        fits = regress_raters(trait, design.cues[place])
        there = fits.n_images > 0
        wide = pd.DataFrame(fits.utilisation[there], columns=design.regions)
        wide.insert(0, RATER, design.raters[there])
        wide.insert(1, GROUP, np.array(design.groups, object)[design.labels[there]])
        long = wide.melt([RATER, GROUP], var_name=REGION, value_name=UTILISATION)
        tables.append(long.assign(**{TRAIT: design.traits[place]}))
    return pd.concat(tables, ignore_index=True)[[RATER, GROUP, TRAIT, REGION, UTILISATION]]


def rater_fits(design: LensDesign) -> pd.DataFrame:
    """Tabulate how well the cues explain the ratings of each rater.

    Returns
    -------
    DataFrame
        rater, group, trait, n_images, consistency (multiple correlation of the rater's ratings with the
        cues), noise (standard deviation of the residuals, rating points), enough (whether the rater rated
        enough images for a regression).
    """
    tables = []
    for place, trait in enumerate(design.ratings):
        fits = regress_raters(trait, design.cues[place])
        there = fits.n_images > 0
        tables.append(
            pd.DataFrame(
                {
                    RATER: design.raters[there],
                    GROUP: np.array(design.groups, object)[design.labels[there]],
                    TRAIT: design.traits[place],
                    "n_images": fits.n_images[there],
                    "consistency": fits.consistency[there],
                    "noise": fits.noise[there],
                    "enough": fits.n_images[there] >= least_images(len(design.regions)),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def rater_values(
    trait: TraitRatings, cues: np.ndarray, members: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Compute a utilisation of each rater so that the mean over raters is the group's utilisation.

    Parameters
    ----------
    trait : TraitRatings
        Ratings of the trait.
    cues : ndarray of shape (image, region)
        Standardised cues.
    members : ndarray of int
        Indices of the raters of the group who rated the trait.
    weights : ndarray of shape (member,), optional
        Weight of each rater; 1 if None.

    Returns
    -------
    ndarray of shape (member, region)
        With a complete design and equal weights, the raters' own regressions; otherwise the utilisation of
        the group plus the influence of the rater on it (infinitesimal jackknife, Jaeckel 1972).
    """
    fits = regress_raters(trait, cues)
    own = np.ones(len(members)) if weights is None else weights
    inverse = np.linalg.pinv(np.tensordot(own, fits.grams[members], 1), rcond=1e-10, hermitian=True)
    group = inverse @ (own @ fits.right[members])
    influence = own[:, None] * (fits.right[members] - fits.grams[members] @ group) @ inverse
    return np.asarray(group + len(members) * influence)


def summarise_utilisation(design: LensDesign) -> pd.DataFrame:
    """Tabulate the mean utilisation of each group, with intervals over raters.

    Returns
    -------
    DataFrame
        group, trait, region, utilisation, low, high (95 %, Student's t over raters), n_raters.
    """
    rows = []
    for place, trait in enumerate(design.ratings):
        for number, group in enumerate(design.groups):
            members = np.flatnonzero((design.labels == number) & (trait.n_images > 0))
            if not len(members):
                continue
            values = rater_values(trait, design.cues[place], members)
            mean, low, high = mean_intervals(values)
            for region, *numbers in zip(design.regions, mean, low, high, strict=True):
                rows.append((group, design.traits[place], region, *numbers, len(members)))
    return pd.DataFrame(rows, columns=[GROUP, TRAIT, REGION, UTILISATION, "low", "high", "n_raters"])


def mean_intervals(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean of each column with its 95 % interval (Student's t), which is NaN with one row."""
    number, mean = len(values), values.mean(axis=0)
    if number < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    width = stats.t.ppf(0.975, number - 1) * values.std(axis=0, ddof=1) / np.sqrt(number)
    return mean, mean - width, mean + width
