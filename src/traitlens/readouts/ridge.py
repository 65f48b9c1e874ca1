r"""Ridge readouts: linear regressions of ratings on features, solved in dual form.

With dual coefficients :math:`a` (see :mod:`traitlens.readouts.inner_cv`), the weights of a feature space are
:math:`w = Z^T a`. If channels are whitened by :math:`W`, the weights of the original features are
:math:`W W^T Z^T a`; these are stored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from traitlens.columns import FOLD, GROUP, IDENTITY, IMAGE, TRAIT
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.problems import Problem, TraitlensError
from traitlens.readouts import image_weights
from traitlens.readouts.curds_and_whey import fit_mixture
from traitlens.readouts.fit_results import Dual, FittedReadouts, arrange_targets, tabulate_predictions
from traitlens.readouts.inner_cv import Choice, Factorised, Weights, choose_penalties, columns_by_counts
from traitlens.readouts.kernels import (
    Kernels,
    apply_centred,
    centred_kernel,
    columns_at_once,
    kernel_factors,
    linear_kernel,
    pieces,
    whitened_kernel,
    whitening,
)
from traitlens.readouts.readout import LinearPart, LinearReadout

PENALTIES: tuple[float, ...] = tuple(float(f"{value:.4g}") for value in np.logspace(-5, 3, 17))
"""Candidate penalties, relative to the mean diagonal of the kernel."""


def fit_ridge(
    features: Mapping[FeatureSpace, np.ndarray],
    targets: pd.DataFrame,
    folds: pd.DataFrame,
    penalties: Sequence[float] = PENALTIES,
    weights: Weights | Sequence[Weights] | None = None,
    sharing: float = 0.5,
    seed: int = 0,
    whiten: float | None = None,
    across_traits: bool = False,
    weigh_images: bool = False,
    scratch: Path | None = None,
    progress: Callable[[int], None] | None = None,
    kernels: Kernels | None = None,
) -> FittedReadouts:
    """Fit one ridge readout per group, trait and fold.

    The penalty minimises the error in five inner folds by identity. Because the error of a single target is
    noisy with few images, it is averaged with the mean error over all targets that were rated on the same
    images.

    Parameters
    ----------
    features : mapping of FeatureSpace to ndarray
        Transformed features of shape (image, channel, row, column), images in the order of `folds`.
    targets : DataFrame
        group, trait, image, rating. A group need not have rated every image.
    folds : DataFrame
        image, identity, fold.
    penalties : sequence of float
        Candidate penalties, relative to the mean diagonal of the centred training kernel.
    weights : mapping of FeatureSpace to float, sequence of these, or None
        Weight of each feature space in the sum of the kernels, 1 if missing; or several weightings, from
        which one is chosen in the inner folds.
    sharing : float, default 0.5
        Share of the average over all targets in the error that chooses the penalty, 0 to 1.
    seed : int, default 0
        Seed of the inner folds.
    whiten : float or None, default None
        Shrinkage with which channels are whitened, estimated from the images outside each fold. If None,
        channels are not whitened.
    across_traits : bool, default False
        Whether predictions of a group's traits are mixed (see :mod:`traitlens.readouts.curds_and_whey`). Such
        readouts have no dual coefficients.
    weigh_images : bool, default False
        Whether images are weighted by the number and agreement of their raters (see
        :mod:`traitlens.readouts.image_weights`). `targets` must then have the columns n and sd.
    scratch : Path or None, default None
        Folder in which large kernels are stored; if None, kernels are in memory.
    progress : callable or None
        Called with the number of readouts that were fitted since the last call.
    kernels : mapping of FeatureSpace to ndarray or None, default None
        Linear kernels of the features; computed if None.

    Returns
    -------
    FittedReadouts
        Readouts, out-of-fold predictions, dual coefficients and chosen penalties.

    Raises
    ------
    TraitlensError
        If features and folds differ in length, or if a group rated too few images of a trait.
    OSError
        If the disk of `scratch` is full.

    Examples
    --------
    >>> from traitlens.features.taps import Tap
    >>> rng = np.random.default_rng(0)
    >>> folds = pd.DataFrame({"image": range(20), "identity": range(20), "fold": [0, 1] * 10})
    >>> features = {FeatureSpace(Tap("block4_pool", 1)): rng.normal(size=(20, 3, 1, 1))}
    >>> targets = folds[["image"]].assign(group="all", trait="warm", rating=rng.normal(size=20))
    >>> len(fit_ridge(features, targets, folds))
    2
    """
    _check_lengths(features, folds)
    matrix = arrange_targets(targets, folds[IMAGE])
    check_counts(matrix.names, matrix.ratings, folds)
    identities = folds[IDENTITY].to_numpy()
    counts = image_weights.weigh_images(targets, folds[IMAGE], matrix) if weigh_images else None
    mixes = _list_weightings(weights)
    of_spaces = _Kernels(features, whiten, scratch, kernels)
    predicted = np.full(matrix.ratings.shape, np.nan)
    fitted: dict[tuple[int, int], tuple[LinearReadout, Dual, dict]] = {}
    for fold in sorted(folds[FOLD].unique()):
        outside = (folds[FOLD] != fold).to_numpy()
        inside = np.flatnonzero(~outside)
        of_fold = of_spaces.of_fold(np.flatnonzero(outside))
        for columns, rated in columns_by_images(matrix.ratings):
            training = np.flatnonzero(outside & rated)
            values = matrix.ratings[np.ix_(training, columns)]
            counted = None if counts is None else counts[np.ix_(training, columns)]
            with threadpool_limits(1):
                choice = choose_penalties(
                    of_fold,
                    training,
                    values,
                    identities[training],
                    penalties,
                    mixes,
                    sharing,
                    seed,
                    counted,
                    scratch,
                )
                solution = _fit_fold(of_fold, training, values, choice, mixes, counted, scratch)
                if across_traits:
                    groups = [matrix.names[column][0] for column in columns]
                    solution = solution.mixed(
                        fit_mixture(choice.predictions, values, identities[training], groups, sharing, seed)
                    )
            predicted[np.ix_(inside, columns)] = solution.means + solution.deviations[inside]
            parts = _linear_parts(features, training, solution, of_spaces.whitenings)
            for index, column in enumerate(columns):
                group, trait = matrix.names[column]
                penalty, mean = float(choice.penalties[index]), float(solution.means[index])
                dual = Dual(
                    group, trait, int(fold), training, solution.coefficients[:, index], penalty,
                    solution.factors[index], mean,
                )  # fmt: skip
                readout = LinearReadout(group, trait, int(fold), parts[index], mean)
                chosen = {
                    GROUP: group, TRAIT: trait, FOLD: int(fold), "penalty": penalty,
                    "inner_error": float(choice.errors[index]),
                }  # fmt: skip
                if len(mixes) > 1:
                    chosen["mix"] = int(choice.mixes[index])
                fitted[column, int(fold)] = readout, dual, chosen
            if progress is not None:
                progress(len(columns))
    ordered = [fitted[key] for key in sorted(fitted)]
    return FittedReadouts(
        readouts=tuple(readout for readout, _, _ in ordered),
        predictions=tabulate_predictions(matrix, predicted, folds),
        choices=pd.DataFrame([chosen for _, _, chosen in ordered]),
        duals=() if across_traits else tuple(dual for _, dual, _ in ordered),
        method="ridge",
    )


def _list_weightings(weights: Weights | Sequence[Weights] | None) -> list[Weights]:
    """Return the weightings of feature spaces as a list."""
    if weights is None:
        return [{}]
    return [weights] if isinstance(weights, Mapping) else list(weights)


class _Kernels:
    """Kernels of the feature spaces, which are the same for every fold unless channels are whitened.

    Parameters
    ----------
    features : mapping of FeatureSpace to ndarray
        Features of shape (image, channel, row, column).
    whiten : float or None
        Shrinkage of the whitening.
    scratch : Path or None
        Folder in which large kernels are stored.
    plain : mapping of FeatureSpace to ndarray or None
        Kernels without whitening; computed if None.
    """

    def __init__(
        self,
        features: Mapping[FeatureSpace, np.ndarray],
        whiten: float | None,
        scratch: Path | None,
        plain: Kernels | None = None,
    ):
        self.features = features
        self.whiten = whiten
        self.scratch = scratch
        self.whitenings: dict[FeatureSpace, np.ndarray] = {}
        self.plain = dict(plain or {})
        if whiten is None and plain is None:
            with threadpool_limits(2):
                self.plain = {space: linear_kernel(values, scratch) for space, values in features.items()}

    def of_fold(self, training: np.ndarray) -> dict[FeatureSpace, np.ndarray]:
        """Return the kernels of a fold; the whitening is estimated from its training images."""
        if self.whiten is None:
            return self.plain
        kernels = {}
        with threadpool_limits(2):
            for space, values in self.features.items():
                self.whitenings[space] = whitening(values, training, self.whiten)
                kernels[space] = whitened_kernel(values, training, self.whitenings[space], self.scratch)
        return kernels


@dataclass(frozen=True, eq=False)
class _Solution:
    """Readouts of a fold for targets with the same training images, in dual form.

    Parameters
    ----------
    coefficients : ndarray of shape (training image, target)
        Dual coefficients before mixing.
    factors : list of dict of FeatureSpace to float
        Factors of the kernels of all feature spaces, for each target.
    means : ndarray of shape (target,)
        Mean ratings.
    deviations : ndarray of shape (image, target)
        Predictions of all images minus the means.
    mixture : ndarray of shape (target, target)
        Weights by which the predictions of targets are mixed.
    counts : ndarray of shape (training image, target) or None
        Weights of images.
    """

    coefficients: np.ndarray
    factors: list[dict[FeatureSpace, float]]
    means: np.ndarray
    deviations: np.ndarray
    mixture: np.ndarray
    counts: np.ndarray | None = None

    def mixed(self, mixture: np.ndarray) -> "_Solution":
        """Return the readouts after mixing the predictions of targets."""
        return replace(self, deviations=self.deviations @ mixture.T, mixture=mixture)

    def of_space(self, space: FeatureSpace) -> np.ndarray:
        """Return the dual coefficients of one feature space, of shape (training image, target)."""
        factors = np.array([factors[space] for factors in self.factors])
        return np.asarray((self.coefficients * factors) @ self.mixture.T)


def _fit_fold(
    kernels: Kernels,
    training: np.ndarray,
    values: np.ndarray,
    choice: Choice,
    mixes: Sequence[Weights],
    counts: np.ndarray | None,
    scratch: Path | None,
) -> _Solution:
    """Fit readouts to one set of training images with the chosen penalties and weights."""
    means = np.average(values, axis=0, weights=counts)
    coefficients = np.empty_like(values)
    factors: list[dict[FeatureSpace, float]] = [{} for _ in means]
    deviations = np.empty((len(next(iter(kernels.values()))), len(means)))
    everyone = np.arange(len(deviations))
    for places, counted in columns_by_counts(counts, len(means)):
        for mix in np.unique(choice.mixes[places]):
            mine = places[choice.mixes[places] == mix]
            shared = kernel_factors(kernels, training, mixes[mix])
            kernel, columns = centred_kernel(kernels, shared, training, counted, scratch)
            factorised = Factorised.of(kernel, counted)
            solved = factorised.solve(values[:, mine] - means[mine], choice.penalties[mine])
            del kernel, factorised
            coefficients[:, mine] = solved
            deviations[:, mine] = apply_centred(kernels, shared, everyone, training, columns, solved, counted)
            for index in mine:
                factors[index] = shared
    return _Solution(coefficients, factors, means, deviations, np.eye(len(means)), counts)


def columns_by_images(values: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Group targets that were rated on the same images and can therefore share one factorisation.

    Parameters
    ----------
    values : ndarray of shape (image, target)
        Ratings; NaN where an image was not rated.

    Returns
    -------
    list of (ndarray, ndarray)
        Indices of the targets in each group, and whether each image was rated.
    """
    groups: dict[bytes, list[int]] = {}
    rated = np.isfinite(values)
    for column in range(values.shape[1]):
        groups.setdefault(rated[:, column].tobytes(), []).append(column)
    return [(np.array(columns), rated[:, columns[0]]) for columns in groups.values()]


def _linear_parts(
    features: Mapping[FeatureSpace, np.ndarray],
    training: np.ndarray,
    solution: _Solution,
    whitenings: Mapping[FeatureSpace, np.ndarray],
) -> list[tuple[LinearPart, ...]]:
    """Convert dual coefficients to weights of features; return a tuple of parts for each target."""
    parts: list[list[LinearPart]] = [[] for _ in solution.means]
    alike = columns_by_counts(solution.counts, len(parts))
    for space, values in features.items():
        flat, coefficients = values.reshape(len(values), -1), solution.of_space(space).T
        references = np.empty((len(alike), flat.shape[1]), np.float32)
        weights = np.empty((len(coefficients), flat.shape[1]))
        for features_of in pieces(flat.shape[1], columns_at_once(len(flat))):
            seen = flat[:, features_of][training].astype(np.float64)
            for row, (_, counted) in enumerate(alike):
                references[row, features_of] = np.average(seen, axis=0, weights=counted)
            # Since coefficients sum to zero, centring features changes only the rounding error.
            seen -= seen.mean(axis=0)
            weights[:, features_of] = coefficients @ seen
        weights = weights.reshape(-1, *values.shape[1:])
        if space in whitenings:
            metric = whitenings[space].astype(np.float64) @ whitenings[space].T
            weights = np.einsum("tdyx,dc->tcyx", weights, metric, optimize=True)
        weights = weights.astype(np.float32)
        references = references.reshape(-1, *values.shape[1:])
        for (places, _), reference in zip(alike, references, strict=True):
            for index in places:
                parts[index].append(LinearPart(space, weights[index], reference))
    return [tuple(part) for part in parts]


def _check_lengths(features: Mapping[FeatureSpace, np.ndarray], folds: pd.DataFrame) -> None:
    """Raise an error if features and folds have different numbers of images."""
    problems = [
        Problem(f"{space.tap}: features of {len(values)} images, but {len(folds)} images have folds")
        for space, values in features.items()
        if len(values) != len(folds)
    ]
    if not features:
        problems.append(Problem("there are no features"))
    if problems:
        raise TraitlensError(problems)


def check_counts(names: Sequence[tuple[str, str]], values: np.ndarray, folds: pd.DataFrame) -> None:
    """Raise an error if a target has too few rated identities or constant ratings.

    Parameters
    ----------
    names : sequence of (str, str)
        Group and trait of each column.
    values : ndarray of shape (image, target)
        Ratings; NaN where an image was not rated.
    folds : DataFrame
        image, identity, fold.

    Raises
    ------
    TraitlensError
        If the rated images outside a fold show fewer than three identities (an inner fold needs two for
        fitting and one for testing), or all have the same rating.
    """
    problems = []
    for column, (group, trait) in enumerate(names):
        rated = np.isfinite(values[:, column])
        for fold in sorted(folds[FOLD].unique()):
            training = rated & (folds[FOLD] != fold).to_numpy()
            if folds.loc[training, IDENTITY].nunique() < 3 or np.ptp(values[training, column]) == 0:
                problems.append(
                    Problem(
                        f"group {group!r}, trait {trait!r}: the ratings outside fold {fold} show fewer than "
                        "three identities, or are all the same",
                        "remove the trait, or add ratings",
                    )
                )
                break
    if not names:
        problems.append(Problem("there are no ratings of these images"))
    if problems:
        raise TraitlensError(problems)
