"""Refit of ridge readouts to other ratings, or with other weights of images, without solving them again."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg

from traitlens.readouts.fitted import FittedReadouts
from traitlens.readouts.kernels import linear_kernel
from traitlens.readouts.readout import FeatureSpace
from traitlens.words import FOLD, GROUP, IDENTITY, IMAGE, OBSERVED, PREDICTED, TRAIT


@dataclass(frozen=True)
class Refit:
    """The readouts of one group and trait as matrices that multiply ratings.

    Parameters
    ----------
    folds : ndarray of int, shape (image,)
        Fold of each image.
    identities : ndarray of int, shape (image,)
        Number of each image's identity.
    smoothers : mapping of int to ndarray of shape (image, image)
        By fold: `smoother @ ratings` are the predictions of all images by the readout that did not see the
        fold; columns of the fold's own images are zero.

    Notes
    -----
    Penalties stay as they were chosen.
    """

    folds: np.ndarray
    identities: np.ndarray
    smoothers: Mapping[int, np.ndarray]

    @classmethod
    def of(
        cls, kernel: np.ndarray, folds: np.ndarray, identities: np.ndarray, penalties: Mapping[int, float]
    ) -> "Refit":
        r"""Solve the readouts of all folds for any ratings.

        Parameters
        ----------
        kernel : ndarray of shape (image, image)
            Inner products of features.
        folds, identities : ndarray of int, shape (image,)
            Fold and identity of each image.
        penalties : mapping of int to float
            By fold, relative to the mean diagonal of the centred training kernel.

        Returns
        -------
        Refit
            With :math:`S = 1/n + \tilde K_{:T} (H K_{TT} H + \lambda I)^{-1} H`; :math:`H` centres.
        """
        smoothers = {}
        for fold, penalty in penalties.items():
            train = np.flatnonzero(folds != fold)
            inner = kernel[np.ix_(train, train)]
            centring = np.eye(len(train)) - 1 / len(train)
            centred = centring @ inner @ centring
            scale = max(np.trace(centred) / len(train), 0.0) or 1.0
            duals = linalg.solve(centred + penalty * scale * np.eye(len(train)), centring, assume_a="pos")
            across = kernel[:, train] - inner.mean(axis=0)
            smoother = np.zeros_like(kernel)
            smoother[:, train] = across @ duals + 1 / len(train)
            smoothers[int(fold)] = smoother
        return cls(folds, identities, smoothers)

    @property
    def prediction(self) -> np.ndarray:
        """Matrix that takes ratings to out-of-fold predictions; (image, image)."""
        matrix = np.zeros((len(self.folds), len(self.folds)))
        for fold, smoother in self.smoothers.items():
            matrix[self.folds == fold] = smoother[self.folds == fold]
        return matrix

    def influence(self, ratings: np.ndarray) -> np.ndarray:
        """Compute how predictions change with the weight of each training image.

        Parameters
        ----------
        ratings : ndarray of shape (image,)
            Ratings.

        Returns
        -------
        ndarray of shape (image, image)
            Derivative of the out-of-fold prediction of an image (rows) by the weight of another (columns) in
            the fit of its readout: the smoother times the training residual.
        """
        found = np.zeros((len(ratings), len(ratings)))
        for fold, smoother in self.smoothers.items():
            held = self.folds == fold
            found[held] = smoother[held] * (ratings - smoother @ ratings)
        return found


def refit_of(
    fitted: FittedReadouts, features: Mapping[FeatureSpace, np.ndarray], images: pd.Series
) -> dict[tuple[str, str], Refit]:
    """Make the readouts of a fit ready to be refitted.

    Parameters
    ----------
    fitted : FittedReadouts
        What was fitted.
    features : mapping of FeatureSpace to ndarray
        Its features.
    images : Series
        The images in the order of the features.

    Returns
    -------
    dict of (str, str) to Refit
        By group and trait, images in the order of the predictions sorted by identity; only readouts whose
        predictions are reproduced: ridge readouts of equally weighted images without borrowing.
    """
    if not fitted.duals or any(space not in features for space in fitted.duals[0].factors):
        return {}
    kernels = {space: linear_kernel(features[space]) for space in fitted.duals[0].factors}
    duals: dict[tuple[str, str], list] = {}
    for dual in fitted.duals:
        duals.setdefault((dual.group, dual.trait), []).append(dual)
    place = pd.Index(images)
    found = {}
    for (group, trait), table in fitted.predictions.groupby([GROUP, TRAIT], observed=True, sort=False):
        own = duals.get((str(group), str(trait)))
        if own is None:
            continue
        table = table.sort_values(IDENTITY, kind="stable")
        rows = place.get_indexer(table[IMAGE])
        identities, folds = pd.factorize(table[IDENTITY])[0], table[FOLD].to_numpy()
        smoothers = {}
        for dual in own:
            kernel = sum(
                factor * kernels[space][np.ix_(rows, rows)] for space, factor in dual.factors.items()
            )
            one = Refit.of(np.asarray(kernel), folds, identities, {dual.fold: dual.penalty})
            smoothers[dual.fold] = one.smoothers[dual.fold]
        refit = Refit(folds, identities, smoothers)
        if set(np.unique(folds)) <= set(smoothers):
            again = refit.prediction @ table[OBSERVED].to_numpy(float)
            if np.allclose(again, table[PREDICTED], rtol=1e-4, atol=1e-4 * table[OBSERVED].std()):
                found[str(group), str(trait)] = refit
    return found
