r"""Multi-trait shrinkage: the prediction of a trait is improved by predictions of other traits.

Ratings of traits are correlated, so the prediction of one trait is informative about the others (Breiman and
Friedman 1997, "curds and whey"). With standardised ratings :math:`y_t` and out-of-fold predictions :math:`X`
of all traits, the mixture :math:`m_t = \arg\min_m |y_t - X m|^2 + \lambda n |m - e_t|^2` is shrunk towards
the prediction of the trait itself, :math:`e_t`. :math:`\lambda` is chosen in folds by identity. A mixture of
linear readouts is linear.
"""

from collections.abc import Sequence

import numpy as np

from traitlens.readouts.folds import inner_folds

STRENGTHS: tuple[float, ...] = tuple(float(f"{value:.4g}") for value in np.logspace(-3, 1.5, 10))
"""Candidate values of the penalty on deviations from the unmixed prediction, per image."""


def fit_mixture(
    predicted: np.ndarray,
    values: np.ndarray,
    identities: np.ndarray,
    groups: Sequence[str],
    sharing: float = 0.5,
    seed: int = 0,
) -> np.ndarray:
    """Fit the weights by which the predictions of a group's traits are mixed.

    Parameters
    ----------
    predicted : ndarray of shape (training image, target)
        Out-of-fold predictions.
    values : ndarray of shape (training image, target)
        Ratings.
    identities : ndarray of shape (training image,)
        The person shown in each training image.
    groups : sequence of str
        Group of raters of each target. Only targets of the same group are mixed.
    sharing : float, default 0.5
        Share of the average over the group's targets in the error that chooses the penalty, 0 to 1.
    seed : int, default 0
        Seed of the folds.

    Returns
    -------
    ndarray of shape (target, target)
        Row t has the weights of the predictions (minus mean ratings) of all targets in the mixed prediction
        of target t. The identity matrix if mixing does not help.
    """
    names = np.asarray(groups)
    mixed = np.eye(values.shape[1])
    for name in dict.fromkeys(groups):
        columns = np.flatnonzero(names == name)
        if len(columns) > 1:
            square = np.ix_(columns, columns)
            mixed[square] = _fit_group(predicted[:, columns], values[:, columns], identities, sharing, seed)
    return mixed


def _fit_group(
    predicted: np.ndarray, values: np.ndarray, identities: np.ndarray, sharing: float, seed: int
) -> np.ndarray:
    """Fit the mixture of the traits of one group."""
    means, spreads = values.mean(axis=0), values.std(axis=0)
    x, y = (predicted - means) / spreads, (values - means) / spreads
    # Another seed gives other folds than those of the predictions.
    folds = inner_folds(identities, seed=seed + 1)
    errors = np.zeros((len(STRENGTHS) + 1, y.shape[1]))
    errors[-1] = ((y - x) ** 2).sum(axis=0)  # Errors without mixing.
    for fold in range(folds.max() + 1):
        inside, training = folds == fold, folds != fold
        for index, strength in enumerate(STRENGTHS):
            own = x[inside] @ _solve(x[training], y[training], np.full(y.shape[1], strength))
            errors[index] += ((y[inside] - own) ** 2).sum(axis=0)
    best = ((1 - sharing) * errors + sharing * errors.mean(axis=1, keepdims=True)).argmin(axis=0)
    strengths = np.array([*STRENGTHS, np.inf])[best]
    return (_solve(x, y, strengths).T * spreads[:, None]) / spreads


def _solve(x: np.ndarray, y: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """Solve for the mixtures of standardised targets, of shape (source target, mixed target)."""
    squares, vectors = np.linalg.eigh(x.T @ x)
    missing = vectors.T @ (x.T @ (y - x))
    return np.eye(x.shape[1]) + vectors @ (missing / (squares[:, None] + strengths * len(x)))
