r"""Ridge readouts: linear in the features, solved in kernel form so that the cost grows with images.

For training images with centred kernel :math:`K` and centred ratings :math:`y` the dual coefficients are
:math:`a = (K + \lambda I)^{-1} y` (Saunders, Gammerman and Vovk 1998) and the weights :math:`w = Z^T a`. One
eigendecomposition per set of training images serves every group, trait and penalty.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from traitlens.problems import Problem, TraitlensError
from traitlens.readouts.fitted import Dual, FittedReadouts, lay_out_targets, tabulate_predictions
from traitlens.readouts.folds import inner_folds
from traitlens.readouts.kernels import linear_kernel, training_kernel
from traitlens.readouts.readout import FeatureSpace, LinearPart, LinearReadout
from traitlens.words import FOLD, GROUP, IDENTITY, IMAGE, TRAIT

PENALTIES: tuple[float, ...] = tuple(float(f"{value:.4g}") for value in np.logspace(-5, 3, 17))
"""Penalties that the inner folds choose from, relative to the mean diagonal of the kernel."""


@dataclass(frozen=True, eq=False)
class Factorised:
    """A centred training kernel, factorised once for any number of targets and penalties.

    Parameters
    ----------
    squares : ndarray
        (component,), eigenvalues, not negative.
    vectors : ndarray
        (training image, component), eigenvectors.
    """

    squares: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, kernel: np.ndarray) -> "Factorised":
        """Factorise a kernel.

        Parameters
        ----------
        kernel : ndarray
            (training image, training image), symmetric, positive semidefinite.

        Returns
        -------
        Factorised
            Its eigenvalues and eigenvectors.
        """
        values, vectors = np.linalg.eigh(kernel)
        return cls(np.maximum(values, 0.0), vectors)

    def solve(self, targets: np.ndarray, penalties: np.ndarray) -> np.ndarray:
        """Solve for the dual coefficients.

        Parameters
        ----------
        targets : ndarray
            (training image, target), centred.
        penalties : ndarray
            (target,) one for each target, or (1,) for all of them.

        Returns
        -------
        ndarray
            (training image, target).
        """
        turned = self.vectors.T @ targets
        return np.asarray(self.vectors @ (turned / (self.squares[:, None] + penalties)))


def fit_ridge(
    features: Mapping[FeatureSpace, np.ndarray],
    targets: pd.DataFrame,
    folds: pd.DataFrame,
    penalties: Sequence[float] = PENALTIES,
    weights: Mapping[FeatureSpace, float] | None = None,
    sharing: float = 0.5,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> FittedReadouts:
    """Fit one ridge readout per group, trait and fold.

    The penalty of each is the one with the smallest error in five inner folds by identity, where the error is
    partly that of the target itself and partly the average over all targets with the same images: with few
    images one target's own error is too rough a guide.

    Parameters
    ----------
    features : mapping of FeatureSpace to ndarray
        (image, channel, row, column) each, transformed; images in the order of `folds`.
    targets : DataFrame
        group, trait, image, rating. A group need not have rated every image.
    folds : DataFrame
        image, identity, fold.
    penalties : sequence of float
        To choose from, relative to the mean diagonal of the centred training kernel.
    weights : mapping of FeatureSpace to float or None
        How much each feature space counts in the sum of the kernels; 1 where missing.
    sharing : float, default 0.5
        Share of the average over all targets in the error that chooses the penalty, 0 to 1.
    seed : int, default 0
        Seed of the inner folds.
    progress : callable or None
        Called with the number of readouts that were fitted since the last call.

    Returns
    -------
    FittedReadouts
        Readouts, out-of-fold predictions, duals and chosen penalties.

    Raises
    ------
    TraitlensError
        If features and folds differ in length, or if a group rated too few images of a trait.

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
    with threadpool_limits(2):
        kernels = {space: linear_kernel(values) for space, values in features.items()}
    predicted = np.full(matrix.ratings.shape, np.nan)
    fitted: dict[tuple[int, int], tuple[LinearReadout, Dual, dict]] = {}
    for fold in sorted(folds[FOLD].unique()):
        outside = (folds[FOLD] != fold).to_numpy()
        for columns, rated in columns_by_images(matrix.ratings):
            training = np.flatnonzero(outside & rated)
            values = matrix.ratings[np.ix_(training, columns)]
            with threadpool_limits(1):
                kernel, factors = training_kernel(kernels, training, weights or {})
                chosen, errors = choose_penalties(
                    kernel[training], values, identities[training], penalties, sharing, seed
                )
                means = values.mean(axis=0)
                coefficients = Factorised.of(kernel[training]).solve(values - means, chosen)
            inside = np.flatnonzero(~outside)
            predicted[np.ix_(inside, columns)] = kernel[inside] @ coefficients + means
            parts = primal_parts(features, factors, training, coefficients)
            for place, column in enumerate(columns):
                group, trait = matrix.names[column]
                key = {GROUP: group, TRAIT: trait, FOLD: int(fold)}
                dual = Dual(
                    group, trait, int(fold), training, coefficients[:, place],
                    float(chosen[place]), factors, float(means[place]),
                )  # fmt: skip
                readout = LinearReadout(group, trait, int(fold), parts[place], float(means[place]))
                choice = {**key, "penalty": float(chosen[place]), "inner_error": float(errors[place])}
                fitted[column, int(fold)] = readout, dual, choice
            if progress is not None:
                progress(len(columns))
    ordered = [fitted[key] for key in sorted(fitted)]
    return FittedReadouts(
        readouts=tuple(readout for readout, _, _ in ordered),
        predictions=tabulate_predictions(matrix, predicted, folds),
        choices=pd.DataFrame([choice for _, _, choice in ordered]),
        duals=tuple(dual for _, dual, _ in ordered),
        method="ridge",
    )


def choose_penalties(
    kernel: np.ndarray,
    values: np.ndarray,
    identities: np.ndarray,
    penalties: Sequence[float],
    sharing: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose for each target the penalty with the smallest error in inner folds by identity.

    Parameters
    ----------
    kernel : ndarray
        (training image, training image).
    values : ndarray
        (training image, target), ratings.
    identities : ndarray
        (training image,).
    penalties : sequence of float
        To choose from.
    sharing : float
        Share of the average over all targets in the error, 0 to 1.
    seed : int
        Seed of the inner folds.

    Returns
    -------
    chosen : ndarray
        (target,), the penalties.
    errors : ndarray
        (target,), each target's own squared error in the inner folds at these, as a share of its variance.
    """
    ascending = np.sort(np.asarray(penalties, float))
    predicted = inner_predictions(kernel, values, identities, ascending, seed)
    errors = ((predicted - values) ** 2).mean(axis=1) / values.var(axis=0)
    best = ((1 - sharing) * errors + sharing * errors.mean(axis=1, keepdims=True)).argmin(axis=0)
    return ascending[best], errors[best, np.arange(values.shape[1])]


def inner_predictions(
    kernel: np.ndarray, values: np.ndarray, identities: np.ndarray, penalties: np.ndarray, seed: int
) -> np.ndarray:
    """Predict every training image from the inner folds that did not see its identity.

    Parameters
    ----------
    kernel : ndarray
        (training image, training image); centred anew for each inner fold.
    values : ndarray
        (training image, target), ratings.
    identities : ndarray
        (training image,).
    penalties : ndarray
        (penalty,).
    seed : int
        Seed of the inner folds.

    Returns
    -------
    ndarray
        (penalty, training image, target).
    """
    predicted = np.empty((len(penalties), *values.shape))
    splits = inner_folds(identities, seed=seed)
    for fold in range(splits.max() + 1):
        inside, training = np.flatnonzero(splits == fold), np.flatnonzero(splits != fold)
        inner, _ = training_kernel({_ONLY: kernel}, training, {})
        factorised = Factorised.of(inner[training])
        means = values[training].mean(axis=0)
        turned = factorised.vectors.T @ (values[training] - means)
        across = inner[inside] @ factorised.vectors
        for place, penalty in enumerate(penalties):
            shrunk = turned / (factorised.squares[:, None] + penalty)
            predicted[place, inside] = across @ shrunk + means
    return predicted


_ONLY: FeatureSpace = None  # type: ignore[assignment]  # the name of a kernel that stands alone


def columns_by_images(values: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Join the targets that were rated on the same images: one factorisation serves all of them.

    Parameters
    ----------
    values : ndarray
        (image, target), missing where not rated.

    Returns
    -------
    list of (ndarray, ndarray)
        Columns (int), and which images they have (image,) bool.
    """
    groups: dict[bytes, list[int]] = {}
    rated = np.isfinite(values)
    for column in range(values.shape[1]):
        groups.setdefault(rated[:, column].tobytes(), []).append(column)
    return [(np.array(columns), rated[:, columns[0]]) for columns in groups.values()]


def primal_parts(
    features: Mapping[FeatureSpace, np.ndarray],
    factors: Mapping[FeatureSpace, float],
    training: np.ndarray,
    coefficients: np.ndarray,
) -> list[tuple[LinearPart, ...]]:
    """Turn dual coefficients into weights of features.

    Parameters
    ----------
    features : mapping of FeatureSpace to ndarray
        (image, channel, row, column) each.
    factors : mapping of FeatureSpace to float
        By what each space's kernel was multiplied.
    training : ndarray
        (training image,) int.
    coefficients : ndarray
        (training image, target).

    Returns
    -------
    list of tuple of LinearPart
        One tuple per target.
    """
    parts: list[list[LinearPart]] = [[] for _ in range(coefficients.shape[1])]
    for space, values in features.items():
        seen = values[training].astype(np.float64)
        reference = seen.mean(axis=0)
        # The coefficients sum to zero, so that centring the features first changes nothing but rounding.
        weights = (coefficients * factors[space]).T @ (seen - reference).reshape(len(training), -1)
        for place, weight in enumerate(weights):
            shaped = weight.reshape(reference.shape).astype(np.float32)
            parts[place].append(LinearPart(space, shaped, reference.astype(np.float32)))
    return [tuple(part) for part in parts]


def _check_lengths(features: Mapping[FeatureSpace, np.ndarray], folds: pd.DataFrame) -> None:
    """Refuse features of other images than those of the folds."""
    problems = [
        Problem(f"{space.tap}: features of {len(values)} images, but {len(folds)} images have folds")
        for space, values in features.items()
        if len(values) != len(folds)
    ]
    if not features:
        problems.append(Problem("there are no features to read"))
    if problems:
        raise TraitlensError(problems)


def check_counts(names: Sequence[tuple[str, str]], values: np.ndarray, folds: pd.DataFrame) -> None:
    """Refuse targets that were rated on too few identities to learn from.

    Parameters
    ----------
    names : sequence of (str, str)
        Group and trait of each column.
    values : ndarray
        (image, target), missing where not rated.
    folds : DataFrame
        image, identity, fold.

    Raises
    ------
    TraitlensError
        If the images outside some fold show fewer than two identities, or all have the same rating.
    """
    problems = []
    for column, (group, trait) in enumerate(names):
        rated = np.isfinite(values[:, column])
        for fold in sorted(folds[FOLD].unique()):
            training = rated & (folds[FOLD] != fold).to_numpy()
            if folds.loc[training, IDENTITY].nunique() < 2 or np.ptp(values[training, column]) == 0:
                problems.append(
                    Problem(
                        f"group {group!r}, trait {trait!r}: the ratings outside fold {fold} show fewer than "
                        "two identities, or are all the same",
                        "leave the trait out, or bring more ratings",
                    )
                )
                break
    if not names:
        problems.append(Problem("there are no ratings of these images"))
    if problems:
        raise TraitlensError(problems)
