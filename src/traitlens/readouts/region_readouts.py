r"""Regional readouts, and cues: the contributions of the regions of the face to predicted ratings.

The regional readout is a ridge regression with one kernel per region. Each kernel is divided by its mean
diagonal, so that regions have equal weight whatever their size (multiple-kernel or "banded" ridge:
Nunez-Elizalde et al. 2019, doi:10.1016/j.neuroimage.2019.04.012; Dupré la Tour et al. 2022,
doi:10.1016/j.neuroimage.2022.119728). With dual coefficients :math:`a` and factors :math:`\gamma_r` of the
kernels, the prediction is

.. math:: f(x) = m + \sum_r g_r(x), \qquad g_r(x) = \gamma_r \sum_i a_i \tilde k_r(x, x_i),

and :math:`g_r` is the cue of region r (Brunswik 1956).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from traitlens.columns import CUE, FOLD, GROUP, IMAGE, REGION, TRAIT
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.readouts.fit_results import Dual, FittedReadouts
from traitlens.readouts.folds import inner_folds
from traitlens.readouts.inner_cv import Factorised, Weights, choose_penalties, random_mixes
from traitlens.readouts.kernels import (
    ROWS_AT_ONCE,
    Factors,
    Kernels,
    centred_kernel,
    kernel_factors,
    linear_kernel,
    pieces,
)
from traitlens.readouts.ridge import PENALTIES, columns_by_images, fit_ridge


@dataclass(frozen=True, eq=False)
class Cues:
    """Out-of-fold cues of all images.

    Parameters
    ----------
    regions : tuple of str
        Names of the regions; "" for the whole face.
    values : ndarray of shape (target, region, image)
        Cues in rating points, relative to the mean over the training images.
    intercepts : ndarray of shape (target, image)
        Mean rating of the training images. The prediction is the sum of intercept and cues.
    """

    regions: tuple[str, ...]
    values: np.ndarray
    intercepts: np.ndarray

    @property
    def predictions(self) -> np.ndarray:
        """Predicted ratings, an array of shape (target, image)."""
        return np.asarray(self.intercepts + self.values.sum(axis=1))


@dataclass(frozen=True, eq=False)
class RidgeCues(Cues):
    """Cues of readouts that were fitted separately to each target.

    Parameters
    ----------
    regions, values, intercepts
        See :class:`Cues`.
    penalties : ndarray of shape (target, fold)
        Penalties, relative to the mean diagonal of the centred training kernel.
    weights : ndarray of shape (target, fold, feature space)
        Weights of the kernels, in the order of the kernels. They sum to 1.
    """

    penalties: np.ndarray
    weights: np.ndarray


def cross_fit_cues(
    kernels: Kernels,
    ratings: np.ndarray,
    folds: np.ndarray,
    identities: np.ndarray,
    penalties: Sequence[float] | np.ndarray = PENALTIES,
    weights: Weights | np.ndarray | None = None,
    search: int = 0,
    sharing: float = 0.5,
    seed: int = 0,
) -> RidgeCues:
    """Compute the out-of-fold cues of each image, by regional readouts fitted to each target separately.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        Kernels of shape (image, image), from :func:`traitlens.readouts.kernels.linear_kernel`.
    ratings : ndarray of shape (image, target)
        Missing where not rated.
    folds : ndarray of int, shape (image,)
        Folds by identity.
    identities : ndarray of shape (image,)
        The person shown in each training image.
    penalties : sequence of float, or ndarray
        Candidate penalties, from which one is chosen for each target and fold in inner folds; or an array of
        penalties to use, of shape (target, fold), such as `penalties` of earlier cues.
    weights : mapping of FeatureSpace to float, ndarray or None, default None
        Weights of the kernels, 1 if missing; or an array of shape (target, fold, feature space), such as
        `weights` of earlier cues.
    search : int, default 0
        Number of random weightings of the kernels to try; weighting and penalty of each target and fold are
        chosen in inner folds (see :func:`search_weights`). If 0, `weights` are used.
    sharing : float, default 0.5
        Share of the average over all targets in the error that chooses the penalty, 0 to 1; ignored if
        `search` is positive.
    seed : int, default 0
        Seed of the inner folds and of random weightings.

    Returns
    -------
    RidgeCues
        Cues of all images, including images without ratings.

    Examples
    --------
    >>> from traitlens.features.taps import Tap
    >>> rng = np.random.default_rng(0)
    >>> eyes, mouth = (FeatureSpace(Tap("block4_pool", 1), region=name) for name in ("eyes", "mouth"))
    >>> features = {space: rng.normal(size=(30, 3)) for space in (eyes, mouth)}
    >>> kernels = {space: values @ values.T for space, values in features.items()}
    >>> ratings = features[mouth][:, :1] + 5
    >>> cues = cross_fit_cues(kernels, ratings, np.arange(30) % 3, np.arange(30))
    >>> cues.regions, cues.values.std(axis=2).round(1).tolist()
    (('eyes', 'mouth'), [[0.0, 1.0]])
    """
    regions = tuple(dict.fromkeys(space.region for space in kernels))
    place_of = [regions.index(space.region) for space in kernels]
    number, numbers = ratings.shape[1], np.unique(folds)
    values = np.zeros((number, len(regions), len(ratings)))
    intercepts = np.empty((number, len(ratings)))
    strengths = np.empty((number, len(numbers)))
    shares = np.empty((number, len(numbers), len(kernels)))
    if not search:
        shares[:] = _normalise_weights(kernels, weights)
    if isinstance(penalties, np.ndarray):
        strengths[:] = penalties
    for turn, fold in enumerate(numbers):
        inside = np.flatnonzero(folds == fold)
        for columns, rated in columns_by_images(ratings):
            training = np.flatnonzero((folds != fold) & rated)
            wanted, people = ratings[np.ix_(training, columns)], identities[training]
            means = wanted.mean(axis=0)
            intercepts[np.ix_(columns, inside)] = means[:, None]
            if search:
                found = search_weights(kernels, training, wanted, people, search, penalties, seed)
                shares[columns, turn], strengths[columns, turn] = found
            for mine in _group_equal_rows(shares[columns, turn]):
                targets, weighed = (
                    columns[mine],
                    dict(zip(kernels, shares[columns[mine[0]], turn], strict=True)),
                )
                with threadpool_limits(1):
                    if not search and not isinstance(penalties, np.ndarray):
                        strengths[targets, turn] = choose_penalties(
                            kernels, training, wanted[:, mine], people, penalties, [weighed], sharing, seed
                        ).penalties
                    factors = kernel_factors(kernels, training, weighed)
                    kernel, _ = centred_kernel(kernels, factors, training)
                    coefficients = Factorised.of(kernel).solve(
                        wanted[:, mine] - means[mine], strengths[targets, turn]
                    )
                parts = contributions(kernels, factors, training, coefficients, inside)
                for place, part in zip(place_of, parts.values(), strict=True):
                    values[targets[:, None], place, inside] += part.T
    return RidgeCues(regions, values, intercepts, strengths, shares)


def _normalise_weights(kernels: Kernels, weights: Weights | np.ndarray | None) -> np.ndarray:
    """Return the weights of the kernels, divided by their sum."""
    if not isinstance(weights, np.ndarray):
        weights = np.array([(weights or {}).get(space, 1.0) for space in kernels], float)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def _group_equal_rows(rows: np.ndarray) -> list[np.ndarray]:
    """Return the indices of each group of equal rows."""
    _, groups = np.unique(rows, axis=0, return_inverse=True)
    return [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]


def search_weights(
    kernels: Kernels,
    training: np.ndarray,
    values: np.ndarray,
    identities: np.ndarray,
    number: int = 100,
    penalties: Sequence[float] | np.ndarray = PENALTIES,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose weights of kernels and penalties for each target by a random search in inner folds.

    The method is that of Dupré la Tour et al. (2022), computed by himalaya. Equal weights are one candidate.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        Kernels of shape (image, image).
    training : ndarray of int, shape (training image,)
        Indices of the training images.
    values : ndarray of shape (training image, target)
        Ratings.
    identities : ndarray of shape (training image,)
        The person shown in each training image.
    number : int, default 100
        Number of weightings to try.
    penalties : sequence of float
        Candidate penalties, relative to the mean diagonal of the centred training kernel.
    seed : int, default 0
        Seed of the inner folds and of the weightings.

    Returns
    -------
    weights : ndarray of shape (target, feature space)
        Chosen weights, which sum to 1.
    penalties : ndarray of shape (target,)
        Chosen penalties.
    """
    from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
    from sklearn.model_selection import PredefinedSplit

    centred = np.stack(
        [
            centred_kernel({space: kernel}, kernel_factors({space: kernel}, training, {}), training)[0]
            for space, kernel in kernels.items()
        ]
    )
    tried = np.array([list(mix.values()) for mix in random_mixes(list(kernels), number, seed)])
    with threadpool_limits(2):
        logs, _, _ = solve_multiple_kernel_ridge_random_search(
            centred,
            values - values.mean(axis=0),
            n_iter=tried,
            alphas=np.asarray(penalties, float),
            cv=PredefinedSplit(inner_folds(identities, seed=seed)),
            progress_bar=False,
        )
    weights = np.exp(logs).T  # These are weights divided by the penalty.
    total = weights.sum(axis=1)
    return weights / total[:, None], 1 / total


def fit_regional(
    features: Mapping[FeatureSpace, np.ndarray],
    targets: pd.DataFrame,
    folds: pd.DataFrame,
    weights: Weights | Sequence[Weights] | None = None,
    sharing: float = 0.5,
    seed: int = 0,
    scratch: Path | None = None,
    progress: Callable[[int], None] | None = None,
    kernels: Kernels | None = None,
) -> FittedReadouts:
    """Fit one regional readout per group, trait and fold.

    Parameters
    ----------
    features : mapping of FeatureSpace to ndarray
        Features of regions of shape (image, channel, row, column), images in the order of `folds`;
        memory-mapped arrays are read in blocks.
    targets : DataFrame
        group, trait, image, rating. A group need not have rated every image.
    folds : DataFrame
        image, identity, fold.
    weights : mapping of FeatureSpace to float, sequence of these, or None
        Weight of each feature space, 1 if missing; or several weightings, from which one is chosen in the
        inner folds.
    sharing : float, default 0.5
        Share of the average over all targets in the error that chooses the penalty, 0 to 1.
    seed : int, default 0
        Seed of the inner folds.
    scratch : Path or None, default None
        Folder in which large kernels are stored; if None, kernels are in memory.
    progress : callable or None
        Called with the number of readouts that were fitted since the last call.
    kernels : mapping of FeatureSpace to ndarray or None, default None
        Linear kernels of the features; computed if None.

    Returns
    -------
    FittedReadouts
        Linear readouts with one part per feature space, out-of-fold predictions, and cues, whose sum is the
        prediction minus the mean rating of the training images.

    Raises
    ------
    TraitlensError
        If features and folds differ in length, or if a group rated too few images of a trait.
    """
    if kernels is None:
        with threadpool_limits(2):
            kernels = {space: linear_kernel(values, scratch) for space, values in features.items()}
    fitted = fit_ridge(
        features,
        targets,
        folds,
        weights=weights,
        sharing=sharing,
        seed=seed,
        scratch=scratch,
        progress=progress,
        kernels=kernels,
    )
    return replace(fitted, method="regional", cues=tabulate_cues(fitted, kernels, folds))


def tabulate_cues(fitted: FittedReadouts, kernels: Kernels, folds: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the out-of-fold cues of every rated image.

    Parameters
    ----------
    fitted : FittedReadouts
        Readouts with dual coefficients, fitted to images with equal weights.
    kernels : mapping of FeatureSpace to ndarray
        Kernels of shape (image, image), images in the order of `folds`.
    folds : DataFrame
        image, identity, fold.

    Returns
    -------
    DataFrame
        image, group, trait, region, cue (rating points); in the order of `fitted.predictions`, regions in the
        order of the kernels.
    """
    regions = tuple(dict.fromkeys(space.region for space in kernels))
    place_of = [regions.index(space.region) for space in kernels]
    rated = fitted.predictions
    values = np.empty((len(rated), len(regions)))
    row_of = pd.Series(np.arange(len(folds)), index=folds[IMAGE])[rated[IMAGE]].to_numpy()
    places = rated.groupby([GROUP, TRAIT, FOLD], observed=True, sort=False).indices
    for duals in _group_duals(fitted.duals):
        coefficients = np.stack([dual.coefficients for dual in duals], axis=1)
        inside = np.flatnonzero((folds[FOLD] == duals[0].fold).to_numpy())
        parts = contributions(kernels, duals[0].factors, duals[0].rows, coefficients, inside)
        cues = np.zeros((len(folds), len(regions), len(duals)))
        for place, part in zip(place_of, parts.values(), strict=True):
            cues[inside, place] += part
        for number, dual in enumerate(duals):
            mine = places.get((dual.group, dual.trait, dual.fold), np.array([], int))
            values[mine] = cues[row_of[mine], :, number]
    table = rated.loc[rated.index.repeat(len(regions)), [IMAGE, GROUP, TRAIT]].reset_index(drop=True)
    return table.assign(**{REGION: np.tile(regions, len(rated)), CUE: values.ravel()})


def _group_duals(duals: Sequence[Dual]) -> list[list[Dual]]:
    """Group readouts that have the same training images and the same factors of kernels."""
    groups: dict[tuple, list[Dual]] = {}
    for dual in duals:
        key = dual.fold, dual.rows.tobytes(), tuple(dual.factors.values())
        groups.setdefault(key, []).append(dual)
    return list(groups.values())


def contributions(
    kernels: Kernels,
    factors: Factors,
    training: np.ndarray,
    coefficients: np.ndarray,
    images: np.ndarray,
) -> dict[FeatureSpace, np.ndarray]:
    """Compute the contribution of each feature space to the predictions of some images.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        Kernels of shape (image, image).
    factors : mapping of FeatureSpace to float
        Factor of each kernel.
    training : ndarray of int, shape (training image,)
        Indices of the training images.
    coefficients : ndarray of shape (training image, target)
        Dual coefficients, which sum to zero.
    images : ndarray of int, shape (image,)
        Indices of the images to predict.

    Returns
    -------
    dict of FeatureSpace to ndarray
        Contributions of shape (image, target), in rating points.
    """
    found = {}
    for space, kernel in kernels.items():
        part = np.empty((len(images), coefficients.shape[1]))
        scaled = factors[space] * coefficients
        # Means of rows need not be subtracted, because coefficients sum to zero.
        for rows in pieces(len(images), ROWS_AT_ONCE):
            part[rows] = kernel[images[rows]][:, training] @ scaled
        for rows in pieces(len(training), ROWS_AT_ONCE):
            part -= (kernel[training[rows]][:, training] @ scaled).sum(axis=0) / len(training)
        found[space] = part
    return found
