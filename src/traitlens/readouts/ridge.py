r"""Ridge readouts: linear in the features, solved in dual form.

With dual coefficients :math:`a` (see :mod:`traitlens.readouts.inner_cv`) the weights of a feature space are
:math:`w = Z^T a`; with channels whitened by :math:`W`, they are :math:`W W^T Z^T a`. Stored weights always
belong to the original features.
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
from traitlens.readouts.curds_and_whey import mixture
from traitlens.readouts.fit_results import Dual, FittedReadouts, lay_out_targets, tabulate_predictions
from traitlens.readouts.inner_cv import Choice, Factorised, Weights, choose, columns_by_counts
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

    The penalty of each minimises the error in five inner folds by identity. This error is partly that of the
    target itself and partly the average over all targets with the same images: with few images, a single
    target's error is too noisy.

    Parameters
    ----------
    features : mapping of FeatureSpace to ndarray
        (image, channel, row, column) each, transformed; images in the order of `folds`.
    targets : DataFrame
        group, trait, image, rating. Ratings may be missing.
    folds : DataFrame
        image, identity, fold.
    penalties : sequence of float
        Candidate penalties, relative to the mean diagonal of the centred training kernel.
    weights : mapping of FeatureSpace to float, sequence of these, or None
        Weight of each feature space in the sum of the kernels, 1 if missing; of several weightings, the
        inner folds choose.
    sharing : float, default 0.5
        Share of the average over all targets in the error that chooses the penalty, 0 to 1.
    seed : int, default 0
        Seed of the inner folds.
    whiten : float or None, default None
        Shrinkage with which channels are whitened, learned from the images outside each fold; None leaves
        them as they are.
    across_traits : bool, default False
        Whether predictions use information from the group's other traits (see
        :mod:`traitlens.readouts.curds_and_whey`). Such readouts have no duals.
    weigh_images : bool, default False
        Whether images are weighted by the number and agreement of their raters (see
        :mod:`traitlens.readouts.image_weights`); `targets` then has the columns n and sd.
    scratch : Path or None, default None
        A folder for the kernels of many images; they are kept in memory if None.
    progress : callable or None
        Called with the number of readouts that were fitted since the last call.
    kernels : mapping of FeatureSpace to ndarray or None, default None
        Precomputed linear kernels of the features.

    Returns
    -------
    FittedReadouts
        Readouts, out-of-fold predictions, duals and chosen penalties.

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
    matrix = lay_out_targets(targets, folds[IMAGE])
    check_counts(matrix.names, matrix.ratings, folds)
    identities = folds[IDENTITY].to_numpy()
    counts = image_weights.weigh_images(targets, folds[IMAGE], matrix) if weigh_images else None
    mixes = _listed(weights)
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
                choice = choose(
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
                solution = _solve(of_fold, training, values, choice, mixes, counted, scratch)
                if across_traits:
                    groups = [matrix.names[column][0] for column in columns]
                    solution = solution.mixed(
                        mixture(choice.predictions, values, identities[training], groups, sharing, seed)
                    )
            predicted[np.ix_(inside, columns)] = solution.means + solution.deviations[inside]
            parts = _parts(features, training, solution, of_spaces.whitenings)
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


def _listed(weights: Weights | Sequence[Weights] | None) -> list[Weights]:
    """Return the weightings of feature spaces as a list."""
    if weights is None:
        return [{}]
    return [weights] if isinstance(weights, Mapping) else list(weights)


class _Kernels:
    """Kernels of the feature spaces: the same for every fold, unless channels are whitened.

    Parameters
    ----------
    features : mapping of FeatureSpace to ndarray
        (image, channel, row, column) each.
    whiten : float or None
        Shrinkage of the whitening.
    scratch : Path or None
        A folder for the kernels of many images.
    plain : mapping of FeatureSpace to ndarray or None
        Kernels without whitening; computed here if None.
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
        """Return the kernels for these training images, to which the whitening is fitted."""
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
    """Readouts of one fold that share their training images.

    Parameters
    ----------
    coefficients : ndarray
        (training image, target), dual coefficients before mixing.
    factors : list of dict of FeatureSpace to float
        By target: factor of each space's kernel.
    means : ndarray
        (target,), mean ratings.
    deviations : ndarray
        (image, target), predictions of all images minus the means.
    mixture : ndarray
        (target, target), weights with which targets are mixed.
    counts : ndarray or None
        (training image, target), weights of images.
    """

    coefficients: np.ndarray
    factors: list[dict[FeatureSpace, float]]
    means: np.ndarray
    deviations: np.ndarray
    mixture: np.ndarray
    counts: np.ndarray | None = None

    def mixed(self, mixture: np.ndarray) -> "_Solution":
        """Return the solution with mixed targets."""
        return replace(self, deviations=self.deviations @ mixture.T, mixture=mixture)

    def of_space(self, space: FeatureSpace) -> np.ndarray:
        """Return the coefficients (training image, target) of the space's own features."""
        factors = np.array([factors[space] for factors in self.factors])
        return np.asarray((self.coefficients * factors) @ self.mixture.T)


def _solve(
    kernels: Kernels,
    training: np.ndarray,
    values: np.ndarray,
    choice: Choice,
    mixes: Sequence[Weights],
    counts: np.ndarray | None,
    scratch: Path | None,
) -> _Solution:
    """Fit the readouts of one set of training images with the chosen penalties and weights."""
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
    """Group targets that were rated on the same images, which share one factorisation.

    Parameters
    ----------
    values : ndarray
        (image, target), missing where not rated.

    Returns
    -------
    list of (ndarray, ndarray)
        Columns (int), and their images (image,) bool.
    """
    groups: dict[bytes, list[int]] = {}
    rated = np.isfinite(values)
    for column in range(values.shape[1]):
        groups.setdefault(rated[:, column].tobytes(), []).append(column)
    return [(np.array(columns), rated[:, columns[0]]) for columns in groups.values()]


def _parts(
    features: Mapping[FeatureSpace, np.ndarray],
    training: np.ndarray,
    solution: _Solution,
    whitenings: Mapping[FeatureSpace, np.ndarray],
) -> list[tuple[LinearPart, ...]]:
    """Convert dual coefficients to weights of features: one tuple of parts per target."""
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
            # The coefficients sum to zero, so centring the features only changes rounding.
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
    """Raise an error if features and folds have different images."""
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
    """Raise an error for targets with too few rated identities.

    Parameters
    ----------
    names : sequence of (str, str)
        Group and trait of each column.
    values : ndarray
        (image, target), missing where not rated.

    Raises
    ------
    TraitlensError
        If the images outside some fold show fewer than three identities (two to fit in each inner fold, and
        one to test), or all have the same rating.
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
