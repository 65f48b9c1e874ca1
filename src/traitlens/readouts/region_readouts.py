r"""Cues: contributions of the regions of the face to predicted ratings.

The regional readout is a ridge regression with one kernel per region, each divided by its mean diagonal, so
that regions have equal weight whatever their size (multiple-kernel or "banded" ridge: Nunez-Elizalde et al.
2019, doi:10.1016/j.neuroimage.2019.04.012; Dupré la Tour et al. 2022, doi:10.1016/j.neuroimage.2022.119728).
With dual coefficients :math:`a` and factors :math:`\gamma_r` of the kernels the prediction is

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
from traitlens.readouts.inner_cv import Factorised, Weights, choose, random_mixes
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
        Names; "" is the whole face, if it is a feature space too.
    values : ndarray
        (target, region, image), rating points; relative to the mean of the training images.
    intercepts : ndarray
        (target, image), mean rating of the training images. With the cues they sum to the prediction.
    """

    regions: tuple[str, ...]
    values: np.ndarray
    intercepts: np.ndarray

    @property
    def predictions(self) -> np.ndarray:
        """Return the predicted ratings: (target, image)."""
        return np.asarray(self.intercepts + self.values.sum(axis=1))


@dataclass(frozen=True, eq=False)
class RidgeCues(Cues):
    """Cues of readouts that were fitted separately to each target.

    Parameters
    ----------
    regions, values, intercepts
        As for :class:`Cues`.
    penalties : ndarray
        (target, fold), relative to the mean diagonal of the centred training kernel.
    weights : ndarray
        (target, fold, feature space), weights of the kernels, in their order; they sum to 1.
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
    """Compute the cues of each image from images of other identities.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        (image, image) each, of :func:`traitlens.readouts.kernels.linear_kernel`.
    ratings : ndarray
        (image, target), missing where not rated.
    folds : ndarray of int
        (image,), folds by identity.
    identities : ndarray
        (image,).
    penalties : sequence of float, or ndarray
        Candidates, from which inner folds choose for each target and fold, or an array (target, fold) of
        given penalties, such as `penalties` of earlier cues.
    weights : mapping of FeatureSpace to float, ndarray or None, default None
        Weights of the kernels, 1 if missing; or an array (target, fold, feature space), such as `weights` of
        earlier cues.
    search : int, default 0
        Number of random weightings that inner folds choose from for each target and fold, together with the
        penalty (see :func:`search_weights`); 0 takes `weights`.
    sharing : float, default 0.5
        Share of the average over all targets in the error that chooses the penalty, 0 to 1; not of `search`.
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
        shares[:] = _shares(kernels, weights)
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
            for mine in _alike(shares[columns, turn]):
                targets, weighed = (
                    columns[mine],
                    dict(zip(kernels, shares[columns[mine[0]], turn], strict=True)),
                )
                with threadpool_limits(1):
                    if not search and not isinstance(penalties, np.ndarray):
                        strengths[targets, turn] = choose(
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


def _shares(kernels: Kernels, weights: Weights | np.ndarray | None) -> np.ndarray:
    """Return weights (..., feature space) that sum to 1."""
    if not isinstance(weights, np.ndarray):
        weights = np.array([(weights or {}).get(space, 1.0) for space in kernels], float)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def _alike(rows: np.ndarray) -> list[np.ndarray]:
    """Group the indices of equal rows."""
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
    """Choose weights of kernels and penalties for each target in inner folds by identity.

    Random search of Dupré la Tour et al. (2022), by himalaya. Equal weights are included.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        (image, image) each.
    training : ndarray of int
        (training image,).
    values : ndarray
        (training image, target), ratings.
    identities : ndarray
        (training image,).
    number : int, default 100
        Number of weightings to try.
    penalties : sequence of float
        To choose from, relative to the mean diagonal of the centred training kernel.
    seed : int, default 0
        Seed of the inner folds and of the weightings.

    Returns
    -------
    weights : ndarray
        (target, feature space), sums of 1.
    penalties : ndarray
        (target,).
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
    weights = np.exp(logs).T  # divided by the penalty
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
        Regional features (image, channel, row, column), images in the order of `folds`; memory-mapped arrays
        are read in pieces.
    targets : DataFrame
        group, trait, image, rating. A group need not have rated every image.
    folds : DataFrame
        image, identity, fold.
    weights : mapping of FeatureSpace to float, sequence of these, or None
        Weight of each feature space, 1 if missing; of several weightings, the inner folds choose.
    sharing : float, default 0.5
        Share of the average over all targets in the error that chooses the penalty, 0 to 1.
    seed : int, default 0
        Seed of the inner folds.
    scratch : Path or None, default None
        A folder for the kernels of many images; they are kept in memory if None.
    progress : callable or None
        Called with the number of readouts that were fitted since the last call.
    kernels : mapping of FeatureSpace to ndarray or None, default None
        Precomputed linear kernels of the features.

    Returns
    -------
    FittedReadouts
        Linear readouts with one part per feature space, out-of-fold predictions, and `cues`, which sum to
        the prediction minus the mean rating of the training images.

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
    """Compute the cues of every rated image, out of fold.

    Parameters
    ----------
    fitted : FittedReadouts
        With duals, fitted with images that count alike.
    kernels : mapping of FeatureSpace to ndarray
        (image, image) each, images in the order of `folds`.
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
    for duals in _together(fitted.duals):
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


def _together(duals: Sequence[Dual]) -> list[list[Dual]]:
    """Group readouts that share their training images and the factors of their kernels."""
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
        (image, image) each.
    factors : mapping of FeatureSpace to float
        Factor of each kernel.
    training : ndarray of int
        (training image,).
    coefficients : ndarray
        (training image, target), dual coefficients, which sum to zero.
    images : ndarray of int
        (image,), predicted images.

    Returns
    -------
    dict of FeatureSpace to ndarray
        (image, target) each, rating points.
    """
    found = {}
    for space, kernel in kernels.items():
        part = np.empty((len(images), coefficients.shape[1]))
        scaled = factors[space] * coefficients
        # Coefficients sum to zero, so means of rows cancel.
        for rows in pieces(len(images), ROWS_AT_ONCE):
            part[rows] = kernel[images[rows]][:, training] @ scaled
        for rows in pieces(len(training), ROWS_AT_ONCE):
            part -= (kernel[training[rows]][:, training] @ scaled).sum(axis=0) / len(training)
        found[space] = part
    return found
