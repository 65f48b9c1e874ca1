r"""Cross-validation in inner folds by identity: choice of the penalty and of the weights of feature spaces.

For training images with centred kernel :math:`K` and centred ratings :math:`y` the dual coefficients are
:math:`a = (K + \lambda I)^{-1} y` (Saunders, Gammerman and Vovk 1998). One factorisation per set of training
images serves every group, trait and penalty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.readouts.folds import inner_folds
from traitlens.readouts.kernels import Factors, Kernels, apply_centred, centred_kernel, kernel_factors

Weights = Mapping[FeatureSpace, float]
"""Weight of each feature space in the sum of the kernels; 1 if missing."""


@dataclass(frozen=True, eq=False)
class Factorised:
    r"""A centred training kernel in tridiagonal form, for any number of targets and penalties.

    :math:`K = Q T Q^T`, so that :math:`(K + \lambda I)^{-1} y = Q (T + \lambda I)^{-1} Q^T y`, where a
    tridiagonal system takes a few operations per image (Eldén 1977). :math:`Q` is stored in place of the
    kernel, so no other matrix is needed.

    Parameters
    ----------
    diagonal, beside : ndarray
        (training image,) and one fewer: the diagonal and off-diagonal elements of T.
    reflectors : ndarray
        (training image, training image - 1), Householder vectors whose product is Q.
    scales : ndarray
        (training image - 1,), scale of each reflection.
    roots : ndarray or None
        (training image,), square roots of the weights; 1 if None.
    """

    diagonal: np.ndarray
    beside: np.ndarray
    reflectors: np.ndarray
    scales: np.ndarray
    roots: np.ndarray | None = None

    @classmethod
    def of(cls, kernel: np.ndarray, counts: np.ndarray | None = None) -> "Factorised":
        """Factorise a kernel in place.

        Parameters
        ----------
        kernel : ndarray
            (training image, training image), float64, symmetric, positive semidefinite, in C order; it is
            overwritten.
        counts : ndarray or None
            (training image,), weights of squared errors; 1 if None.
        """
        from scipy.linalg import lapack

        size = len(kernel)
        roots = None if counts is None else np.sqrt(counts)
        if roots is not None:
            kernel *= roots
            kernel *= roots[:, None]
        work, _ = lapack.dsytrd_lwork(size, lower=1)
        packed, diagonal, beside, scales, _ = lapack.dsytrd(kernel.T, lower=1, lwork=int(work), overwrite_a=1)
        # SciPy has no wrapper of LAPACK's dormtr, so dormqr is used: the reflectors are the columns below the
        # diagonal and act on all rows but the first. Read from its second element, the same memory holds them
        # from the first row; the first row of the next column is then at the end of each and is set to zero.
        packed[0, 1:] = 0
        flat = packed.reshape(-1, order="F")
        reflectors = flat[1 : 1 + size * (size - 1)].reshape(size, size - 1, order="F")
        return cls(diagonal, beside, reflectors, scales, roots)

    def solve(self, targets: np.ndarray, penalties: np.ndarray) -> np.ndarray:
        """Solve for the dual coefficients.

        Parameters
        ----------
        targets : ndarray
            (training image, target), centred.
        penalties : ndarray
            (target,) one for each target, or (1,) for all; positive.

        Returns
        -------
        ndarray
            (training image, target).
        """
        from scipy.linalg import lapack

        roots = 1.0 if self.roots is None else self.roots[:, None]
        turned = self._turn(targets * roots, "T")
        penalties = np.broadcast_to(penalties, targets.shape[1])
        for penalty in np.unique(penalties):
            mine = penalties == penalty
            turned[:, mine] = lapack.dptsv(self.diagonal + penalty, self.beside, turned[:, mine])[2]
        return np.asarray(self._turn(turned, "N") * roots)

    def _turn(self, values: np.ndarray, direction: str) -> np.ndarray:
        """Multiply by Q ("N") or by its transpose ("T")."""
        from scipy.linalg import lapack

        turned = np.roll(values, -1, axis=0)
        first = turned[-1].copy()
        turned[-1] = 0
        turned = lapack.dormqr(
            "L", direction, self.reflectors, self.scales, np.asfortranarray(turned), 64 * turned.shape[1]
        )[0]
        turned[-1] = first
        return np.asarray(np.roll(turned, 1, axis=0))


@dataclass(frozen=True, eq=False)
class Choice:
    """Penalty and kernel weights that the inner folds chose for each target.

    Parameters
    ----------
    penalties : ndarray
        (target,).
    mixes : ndarray
        (target,) int, index of the weighting of feature spaces.
    errors : ndarray
        (target,), squared error in the inner folds, as a share of the target's variance.
    predictions : ndarray
        (training image, target), inner out-of-fold predictions.
    """

    penalties: np.ndarray
    mixes: np.ndarray
    errors: np.ndarray
    predictions: np.ndarray


def choose(
    kernels: Kernels,
    training: np.ndarray,
    values: np.ndarray,
    identities: np.ndarray,
    penalties: Sequence[float],
    mixes: Sequence[Weights] = ({},),
    sharing: float = 0.5,
    seed: int = 0,
    counts: np.ndarray | None = None,
    scratch: Path | None = None,
) -> Choice:
    """Choose penalty and weights of feature spaces for each target by the error in inner folds.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        (image, image) each.
    training : ndarray
        (training image,) int.
    values : ndarray
        (training image, target), ratings.
    identities : ndarray
        (training image,).
    penalties : sequence of float
        Candidate penalties, relative to the mean diagonal of the centred training kernel.
    mixes : sequence of mapping of FeatureSpace to float
        Candidate weightings of the feature spaces.
    sharing : float, default 0.5
        Share of the average over all targets in the criterion, 0 to 1.
    seed : int, default 0
        Seed of the inner folds.
    counts : ndarray or None
        (training image, target), weights of images; 1 if None.
    scratch : Path or None
        A folder for large kernels; they are kept in memory if None.

    Returns
    -------
    Choice
        One penalty and one mix for each target.
    """
    ascending = np.sort(np.asarray(penalties, float))
    folds = inner_folds(identities, seed=seed)
    predicted = np.concatenate(
        [
            inner_predictions(
                kernels,
                kernel_factors(kernels, training, mix),
                training,
                values,
                folds,
                ascending,
                counts,
                scratch,
            )
            for mix in mixes
        ]
    )
    variance = values.var(axis=0)  # 0 if all training images have one mean rating
    errors = ((predicted - values) ** 2).mean(axis=1) / np.where(variance > 0, variance, 1)
    best = ((1 - sharing) * errors + sharing * errors.mean(axis=1, keepdims=True)).argmin(axis=0)
    targets = np.arange(values.shape[1])
    mix, penalty = np.divmod(best, len(ascending))
    return Choice(ascending[penalty], mix, errors[best, targets], predicted[best, :, targets].T)


def inner_predictions(
    kernels: Kernels,
    factors: Factors,
    training: np.ndarray,
    values: np.ndarray,
    folds: np.ndarray,
    penalties: np.ndarray,
    counts: np.ndarray | None = None,
    scratch: Path | None = None,
) -> np.ndarray:
    """Compute out-of-fold predictions of the training images in inner folds.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        (image, image) each.
    factors : mapping of FeatureSpace to float
        Factor of each kernel; the sum is centred for each inner fold and scaled to a mean diagonal of 1.
    training : ndarray
        (training image,) int.
    values : ndarray
        (training image, target), ratings.
    folds : ndarray
        (training image,) int, inner folds by identity.
    penalties : ndarray
        (penalty,).
    counts : ndarray or None
        (training image, target), weights of images; 1 if None.
    scratch : Path or None
        A folder for large kernels; they are kept in memory if None.

    Returns
    -------
    ndarray
        (penalty, training image, target).
    """
    number = len(penalties)
    predicted = np.empty((number, *values.shape))
    for fold in range(folds.max() + 1):
        inside, seen = folds == fold, training[folds != fold]
        for places, counted in columns_by_counts(counts, values.shape[1]):
            counted = None if counted is None else counted[~inside]
            kernel, columns = centred_kernel(kernels, factors, seen, counted, scratch)
            diagonal = max(np.trace(kernel) / len(seen), 0.0) or 1.0
            kernel /= diagonal
            rated = values[np.ix_(~inside, places)]
            means = np.average(rated, axis=0, weights=counted)
            solved = Factorised.of(kernel, counted).solve(
                np.tile(rated - means, number), np.repeat(penalties, len(places))
            )
            del kernel
            found = apply_centred(
                kernels, factors, training[inside], seen, columns, solved / diagonal, counted
            )
            by_penalty = found.reshape(-1, number, len(places)).transpose(1, 0, 2)
            predicted[:, np.flatnonzero(inside)[:, None], places] = by_penalty + means
    return predicted


def columns_by_counts(counts: np.ndarray | None, number: int) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Group targets with equal weights of images, which share one factorisation.

    Parameters
    ----------
    counts : ndarray or None
        (image, target), weights of images; equal if None.

    Returns
    -------
    list of (ndarray, ndarray or None)
        Targets (int), and their weights of images.
    """
    if counts is None:
        return [(np.arange(number), None)]
    alike: dict[bytes, list[int]] = {}
    for column, counted in enumerate(counts.T):
        alike.setdefault(counted.tobytes(), []).append(column)
    return [(np.array(columns), counts[:, columns[0]]) for columns in alike.values()]


def random_mixes(spaces: Sequence[FeatureSpace], number: int, seed: int = 0) -> list[Weights]:
    """Draw random weights of feature spaces, among which the inner folds choose (Dupré la Tour et al. 2022).

    Parameters
    ----------
    number : int
        Number of weightings, including equal weights, which come first.
    seed : int, default 0
        Seed of the draws.

    Returns
    -------
    list of mapping of FeatureSpace to float
        Weights that sum to 1: half drawn uniformly from the simplex, half near its corners.

    Examples
    --------
    >>> from traitlens.features.taps import Tap
    >>> [mix] = random_mixes([FeatureSpace(Tap("block4_pool", 7)), FeatureSpace(Tap("block5_pool", 7))], 1)
    >>> list(mix.values())
    [0.5, 0.5]
    """
    rng = np.random.default_rng(seed)
    mixes = [np.full(len(spaces), 1 / len(spaces))]
    mixes += [rng.dirichlet(np.full(len(spaces), (1.0, 0.1)[turn % 2])) for turn in range(number - 1)]
    return [dict(zip(spaces, mix.tolist(), strict=True)) for mix in mixes]
