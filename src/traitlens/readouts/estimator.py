"""The ridge readout as a scikit-learn estimator."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.readouts.inner_cv import Factorised, choose_penalties
from traitlens.readouts.kernels import centred_kernel, kernel_factors, linear_kernel
from traitlens.readouts.ridge import PENALTIES

_ONLY: FeatureSpace = None  # type: ignore[assignment]  # Key of a single kernel in a mapping of kernels.


class RidgeReadout(MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Ridge regression whose penalty is chosen in inner folds by identity.

    Parameters
    ----------
    penalties : sequence of float or None
        Candidate penalties, relative to the mean squared length of the centred features;
        :data:`traitlens.readouts.ridge.PENALTIES` if None.
    sharing : float, default 0.5
        Share of the average over all targets in the error that chooses the penalty, 0 to 1.
    seed : int, default 0
        Seed of the inner folds.

    Attributes
    ----------
    coef_ : ndarray of shape (feature,) or (target, feature)
        Weights of the features.
    intercept_ : float or ndarray of shape (target,)
        Prediction if every feature is zero.
    penalty_ : ndarray of shape (target,)
        The chosen penalties.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(40, 5))
    >>> readout = RidgeReadout().fit(features, features[:, 0], groups=np.repeat(range(20), 2))
    >>> round(float(readout.score(features, features[:, 0])), 2)
    1.0
    """

    def __init__(self, penalties: Sequence[float] | None = None, sharing: float = 0.5, seed: int = 0):
        self.penalties = penalties
        self.sharing = sharing
        self.seed = seed

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Choose the penalty in inner folds, and fit the regression.

        Parameters
        ----------
        X : array-like of shape (image, feature)
            Features.
        y : array-like of shape (image,) or (image, target)
            Ratings.
        groups : array-like of shape (image,) or None
            The person shown in each image; if None, each image shows a different person.

        Returns
        -------
        RidgeReadout
            The fitted estimator.
        """
        X, y = validate_data(
            self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        values = np.asarray(y, np.float64).reshape(len(X), -1)
        identities = np.arange(len(X)) if groups is None else np.asarray(groups)
        training = np.arange(len(X))
        kernels = {_ONLY: linear_kernel(X)}
        with np.errstate(divide="ignore", invalid="ignore"):  # Errors are divided by the targets' variances.
            chosen = choose_penalties(
                kernels,
                training,
                values,
                identities,
                self.penalties or PENALTIES,
                sharing=self.sharing,
                seed=self.seed,
            )
        factors = kernel_factors(kernels, training, {})
        kernel, _ = centred_kernel(kernels, factors, training)
        means = values.mean(axis=0)
        duals = Factorised.of(kernel).solve(values - means, chosen.penalties) * factors[_ONLY]
        centre = X.mean(axis=0)
        weights = duals.T @ (X - centre)
        intercept = means - weights @ centre
        flat = y.ndim == 1
        self.coef_ = weights[0] if flat else weights
        self.intercept_ = float(intercept[0]) if flat else intercept
        self.penalty_ = chosen.penalties
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict ratings.

        Parameters
        ----------
        X : array-like of shape (image, feature)
            Features.

        Returns
        -------
        ndarray of shape (image,) or (image, target)
            Predicted ratings.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(X @ self.coef_.T + self.intercept_)
