r"""Choice of the ridge penalty and of the weights of feature spaces by cross-validation in inner folds.

For training images with centred kernel :math:`K` and centred ratings :math:`y`, the dual coefficients are
:math:`a = (K + \lambda I)^{-1} y` (Saunders, Gammerman and Vovk 1998). The kernel of each set of training
images is factorised once for all groups, traits and penalties.
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
    r"""Factorisation of a centred training kernel that solves for any number of targets and penalties.

    The kernel is :math:`K = Q T Q^T` with a tridiagonal matrix :math:`T`, so that
    :math:`(K + \lambda I)^{-1} y = Q (T + \lambda I)^{-1} Q^T y`. A tridiagonal system takes only a few
    operations per image (Eldén 1977). :math:`Q` is stored in place of the kernel.

    Parameters
    ----------
    diagonal, beside : ndarray of shape (training image,) and (training image - 1,)
        Diagonal and off-diagonal elements of T.
    reflectors : ndarray of shape (training image, training image - 1)
        Householder vectors whose product is Q.
    scales : ndarray of shape (training image - 1,)
        Scale of each reflection.
    roots : ndarray of shape (training image,) or None
        Square roots of the weights of images; 1 if None.
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
        kernel : ndarray of shape (training image, training image)
            Float64, symmetric, positive semidefinite, in C order; it is
            overwritten.
        counts : ndarray of shape (training image,) or None
            Weights of squared errors; 1 if None.
        """
        from scipy.linalg import lapack

        size = len(kernel)
        roots = None if counts is None else np.sqrt(counts)
        if roots is not None:
            kernel *= roots
            kernel *= roots[:, None]
        work, _ = lapack.dsytrd_lwork(size, lower=1)
        packed, diagonal, beside, scales, _ = lapack.dsytrd(kernel.T, lower=1, lwork=int(work), overwrite_a=1)
        # SciPy has no wrapper of LAPACK's dormtr, so dormqr is used. The reflectors are the columns below the
        # diagonal and act on all rows but the first. If memory is read from its second element, they begin in
        # the first row, and each column ends with the first element of the next, which is set to zero.
        packed[0, 1:] = 0
        flat = packed.reshape(-1, order="F")
        reflectors = flat[1 : 1 + size * (size - 1)].reshape(size, size - 1, order="F")
        return cls(diagonal, beside, reflectors, scales, roots)

    def solve(self, targets: np.ndarray, penalties: np.ndarray) -> np.ndarray:
        """Solve for the dual coefficients of several targets.

        Parameters
        ----------
        targets : ndarray of shape (training image, target)
            Centred ratings.
        penalties : ndarray of shape (target,) or (1,)
            Positive penalty of each target, or one for all.

        Returns
        -------
        ndarray of shape (training image, target)
            Dual coefficients.
        """
        from scipy.linalg import lapack

        roots = 1.0 if self.roots is None else self.roots[:, None]
        turned = self._multiply_by_q(targets * roots, "T")
        penalties = np.broadcast_to(penalties, targets.shape[1])
        for penalty in np.unique(penalties):
            mine = penalties == penalty
            turned[:, mine] = lapack.dptsv(self.diagonal + penalty, self.beside, turned[:, mine])[2]
        return np.asarray(self._multiply_by_q(turned, "N") * roots)

    def _multiply_by_q(self, values: np.ndarray, direction: str) -> np.ndarray:
        """Multiply values by Q (direction "N") or by its transpose ("T")."""
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
    """Penalty and weights of feature spaces that were chosen for each target in the inner folds.

    Parameters
    ----------
    penalties : ndarray of shape (target,)
        Penalties.
    mixes : ndarray of int, shape (target,)
        Index of the chosen weighting of feature spaces.
    errors : ndarray of shape (target,)
        Squared error in the inner folds, as a share of the target's variance.
    predictions : ndarray of shape (training image, target)
        Inner out-of-fold predictions.
    """

    penalties: np.ndarray
    mixes: np.ndarray
    errors: np.ndarray
    predictions: np.ndarray


def choose_penalties(
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
    """Choose the penalty and the weights of feature spaces of each target by the error in inner folds.

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
    penalties : sequence of float
        Candidate penalties, relative to the mean diagonal of the centred training kernel.
    mixes : sequence of mapping of FeatureSpace to float
        Candidate weightings of the feature spaces.
    sharing : float, default 0.5
        Share of the average over all targets in the error that chooses, 0 to 1.
    seed : int, default 0
        Seed of the inner folds.
    counts : ndarray of shape (training image, target) or None
        Weights of images; 1 if None.
    scratch : Path or None
        A folder for large kernels; they are kept in memory if None.

    Returns
    -------
    Choice
        Penalty and index of the weighting for each target.
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
        Kernels of shape (image, image).
    factors : mapping of FeatureSpace to float
        Factor of each kernel. The sum of the kernels is centred for each inner fold and scaled to a mean
        diagonal of 1.
    training : ndarray of int, shape (training image,)
        Indices of the training images.
    values : ndarray of shape (training image, target)
        Ratings.
    folds : ndarray of int, shape (training image,)
        Inner folds by identity.
    penalties : ndarray of shape (penalty,)
        Penalties.
    counts : ndarray of shape (training image, target) or None
        Weights of images; 1 if None.
    scratch : Path or None
        A folder for large kernels; they are kept in memory if None.

    Returns
    -------
    ndarray of shape (penalty, training image, target)
        Predictions.
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
    """Group targets that have equal weights of images and can therefore share one factorisation.

    Parameters
    ----------
    counts : ndarray of shape (image, target) or None
        Weights of images; equal if None.

    Returns
    -------
    list of (ndarray, ndarray or None)
        Indices of the targets in each group, and their weights of images.
    """
    if counts is None:
        return [(np.arange(number), None)]
    alike: dict[bytes, list[int]] = {}
    for column, counted in enumerate(counts.T):
        alike.setdefault(counted.tobytes(), []).append(column)
    return [(np.array(columns), counts[:, columns[0]]) for columns in alike.values()]


def random_mixes(spaces: Sequence[FeatureSpace], number: int, seed: int = 0) -> list[Weights]:
    """Draw random weights of feature spaces, from which to choose in inner folds (Dupré la Tour et al. 2022).

    Parameters
    ----------
    number : int
        Number of weightings. The first one has equal weights.
    seed : int, default 0
        Seed of the random number generator.

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
