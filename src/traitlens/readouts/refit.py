"""Fast refits of ridge readouts to permuted ratings or reweighted images, by precomputed matrices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg

from traitlens.columns import FOLD, GROUP, IDENTITY, IMAGE, OBSERVED, PREDICTED, TRAIT
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.readouts.fit_results import Dual, FittedReadouts
from traitlens.readouts.kernels import linear_kernel

MOST_IMAGES = 4000
"""Maximum number of images for refits, which need matrices of images by images."""


@dataclass(frozen=True)
class Refit:
    """The readouts of one group and trait as a matrix from ratings to out-of-fold predictions.

    Parameters
    ----------
    folds : ndarray of int, shape (image,)
        Fold of each image.
    identities : ndarray of int, shape (image,)
        Number of each image's identity.
    prediction : ndarray of shape (image, image)
        Matrix whose product with any ratings is the out-of-fold predictions of readouts fitted to them, with
        the chosen penalties.
    residuals : ndarray of shape (image, image)
        Residual of each training image (column) in the readout that predicts an image (row); 0 if the column
        is not a training image.
    """

    folds: np.ndarray
    identities: np.ndarray
    prediction: np.ndarray
    residuals: np.ndarray

    @classmethod
    def of(
        cls,
        kernel_of: Callable[[int], np.ndarray],
        ratings: np.ndarray,
        folds: np.ndarray,
        identities: np.ndarray,
        penalties: Mapping[int, float],
    ) -> "Refit":
        r"""Compute the matrices of the readouts of all folds.

        Parameters
        ----------
        kernel_of : callable
            Function of the fold that returns its kernel, of shape (image, image).
        ratings : ndarray of shape (image,)
            Observed ratings.
        folds, identities : ndarray of int, shape (image,)
            Fold and identity of each image.
        penalties : mapping of int to float
            Penalty of each fold, relative to the mean diagonal of the centred training kernel.

        Returns
        -------
        Refit
            With the prediction matrix :math:`1/n + \tilde K_{:T} (H K_{TT} H + \lambda I)^{-1} H`, where
            :math:`H` subtracts the mean.
        """
        prediction, residuals = np.zeros((2, len(ratings), len(ratings)))
        for fold, penalty in penalties.items():
            held, train = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            kernel = kernel_of(fold)
            inner = kernel[np.ix_(train, train)]
            means = inner.mean(axis=0)
            centred = inner - means - means[:, None] + means.mean()
            scale = penalty * (max(np.trace(centred) / len(train), 0.0) or 1.0)
            centred[np.diag_indices(len(train))] += scale
            across = kernel[np.ix_(held, train)] - means
            across -= across.mean(axis=1, keepdims=True)
            factor = linalg.cho_factor(centred)
            smoother = linalg.cho_solve(factor, across.T).T
            prediction[np.ix_(held, train)] = smoother - smoother.mean(axis=1, keepdims=True) + 1 / len(train)
            # The residual of a ridge regression is its penalty times the dual coefficient.
            rated = ratings[train]
            residuals[np.ix_(held, train)] = scale * linalg.cho_solve(factor, rated - rated.mean())
        return cls(folds, identities, prediction, residuals)

    @property
    def influence(self) -> np.ndarray:
        """Derivatives of predictions (rows) with respect to the weights of training images (columns)."""
        return self.prediction * self.residuals


def refit_of(
    fitted: FittedReadouts, features: Mapping[FeatureSpace, np.ndarray], images: pd.Series
) -> Callable[[str, str], Refit | None]:
    """Return a function that returns the :class:`Refit` of a group and trait.

    Parameters
    ----------
    fitted : FittedReadouts
        The fitted readouts.
    features : mapping of FeatureSpace to ndarray
        Features to which they were fitted.
    images : Series
        Images in the order of the features.

    Returns
    -------
    callable
        Function of group and trait that returns a Refit, with images sorted by identity as in the
        predictions; or None if a refit does not reproduce the predictions. Ridge readouts can be refitted
        unless images are weighted or predictions of traits are mixed.
    """
    if not fitted.duals or len(images) > MOST_IMAGES or not set(fitted.duals[0].factors) <= set(features):
        return lambda group, trait: None
    kernels = {space: linear_kernel(features[space]) for space in fitted.duals[0].factors}
    duals: dict[tuple[str, str], list[Dual]] = {}
    for dual in fitted.duals:
        duals.setdefault((dual.group, dual.trait), []).append(dual)
    place = pd.Index(images)
    tables = dict(list(fitted.predictions.groupby([GROUP, TRAIT], observed=True, sort=False)))

    def refit(group: str, trait: str) -> Refit | None:
        """Return the Refit of one group and trait, or None."""
        own = duals.get((group, trait), [])
        if not own:
            return None
        table = tables[group, trait].sort_values(IDENTITY, kind="stable")
        rows = place.get_indexer(table[IMAGE])
        observed, folds = table[OBSERVED].to_numpy(float), table[FOLD].to_numpy()
        factors = {dual.fold: dual.factors for dual in own}
        penalties = {dual.fold: dual.penalty for dual in own}

        def kernel_of(fold: int) -> np.ndarray:
            """Return the weighted sum of the kernels of all feature spaces."""
            kernel = np.zeros((len(rows), len(rows)))
            for space, factor in factors[fold].items():
                kernel += factor * kernels[space][np.ix_(rows, rows)]
            return kernel

        found = Refit.of(kernel_of, observed, folds, pd.factorize(table[IDENTITY])[0], penalties)
        missed = np.abs(found.prediction @ observed - table[PREDICTED].to_numpy(float)).max()
        return found if missed <= 1e-3 * observed.std() else None

    return refit
