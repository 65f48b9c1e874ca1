r"""Choices made in inner folds by identity: the penalty, and how much each feature space counts.

For training images with centred kernel :math:`K` and centred ratings :math:`y` the dual coefficients are
:math:`a = (K + \lambda I)^{-1} y` (Saunders, Gammerman and Vovk 1998). One eigendecomposition per set of
training images serves every group, trait and penalty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from traitlens.readouts.folds import inner_folds
from traitlens.readouts.kernels import centred, training_kernel
from traitlens.readouts.readout import FeatureSpace

Weights = Mapping[FeatureSpace, float]
"""How much each feature space counts in the sum of the kernels; 1 where missing."""


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


@dataclass(frozen=True, eq=False)
class Choice:
    """What the inner folds chose for each target.

    Parameters
    ----------
    penalties : ndarray
        (target,).
    mixes : ndarray
        (target,) int, which of the weightings of feature spaces.
    errors : ndarray
        (target,), squared error in the inner folds at these, as a share of the target's variance.
    predictions : ndarray
        (training image, target), each from the inner fold that did not see the identity.
    """

    penalties: np.ndarray
    mixes: np.ndarray
    errors: np.ndarray
    predictions: np.ndarray


def choose(
    kernels: Mapping[FeatureSpace, np.ndarray],
    training: np.ndarray,
    values: np.ndarray,
    identities: np.ndarray,
    penalties: Sequence[float],
    mixes: Sequence[Weights] = ({},),
    sharing: float = 0.5,
    seed: int = 0,
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
        To choose from, relative to the mean diagonal of the centred training kernel.
    mixes : sequence of mapping of FeatureSpace to float
        Weights of the feature spaces to choose from.
    sharing : float, default 0.5
        Share of the average over all targets in the error that chooses, 0 to 1.
    seed : int, default 0
        Seed of the inner folds.

    Returns
    -------
    Choice
        One penalty and one mix for each target.
    """
    ascending = np.sort(np.asarray(penalties, float))
    folds = inner_folds(identities, seed=seed)
    predicted = np.concatenate(
        [
            inner_predictions(training_kernel(kernels, training, mix)[0][training], values, folds, ascending)
            for mix in mixes
        ]
    )
    errors = ((predicted - values) ** 2).mean(axis=1) / values.var(axis=0)
    best = ((1 - sharing) * errors + sharing * errors.mean(axis=1, keepdims=True)).argmin(axis=0)
    targets = np.arange(values.shape[1])
    mix, penalty = np.divmod(best, len(ascending))
    return Choice(ascending[penalty], mix, errors[best, targets], predicted[best, :, targets].T)


def inner_predictions(
    kernel: np.ndarray, values: np.ndarray, folds: np.ndarray, penalties: np.ndarray
) -> np.ndarray:
    """Predict every training image from the inner folds that did not see its identity.

    Parameters
    ----------
    kernel : ndarray
        (training image, training image); centred anew for each inner fold, its mean diagonal 1.
    values : ndarray
        (training image, target), ratings.
    folds : ndarray
        (training image,) int, inner folds by identity.
    penalties : ndarray
        (penalty,).

    Returns
    -------
    ndarray
        (penalty, training image, target).
    """
    predicted = np.empty((len(penalties), *values.shape))
    for fold in range(folds.max() + 1):
        inside, training = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        inner = centred(kernel, training)
        diagonal = inner[training, np.arange(len(training))].mean()
        inner /= diagonal if diagonal > 0 else 1.0
        factorised = Factorised.of(inner[training])
        means = values[training].mean(axis=0)
        turned = factorised.vectors.T @ (values[training] - means)
        across = inner[inside] @ factorised.vectors
        for place, penalty in enumerate(penalties):
            shrunk = turned / (factorised.squares[:, None] + penalty)
            predicted[place, inside] = across @ shrunk + means
    return predicted


def random_mixes(spaces: Sequence[FeatureSpace], number: int, seed: int = 0) -> list[Weights]:
    """Draw weights of feature spaces for the inner folds to choose from (Dupré la Tour et al. 2022).

    Parameters
    ----------
    spaces : sequence of FeatureSpace
        The feature spaces.
    number : int
        How many weightings; equal weights come first and count among them.
    seed : int, default 0
        Seed of the draws.

    Returns
    -------
    list of mapping of FeatureSpace to float
        Weights that sum to 1: half of them drawn evenly from the simplex, half near its corners.

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
