r"""Multi-trait shrinkage: each prediction is improved by the group's predictions of other traits.

Ratings of traits are correlated, so a prediction of one is informative about the others (Breiman and
Friedman 1997, "curds and whey"). For targets and inner predictions in standard deviations of the ratings,
:math:`m_t = \arg\min_m |y_t - X m|^2 + \lambda n |m - e_t|^2` shrinks the mixture towards the target's own
prediction :math:`e_t`; :math:`\lambda` is chosen in folds by identity. Linear readouts stay linear.
"""

from collections.abc import Sequence

import numpy as np

from traitlens.readouts.folds import inner_folds

STRENGTHS: tuple[float, ...] = tuple(float(f"{value:.4g}") for value in np.logspace(-3, 1.5, 10))
"""Candidate penalties on deviations from the target's own prediction, per image."""


def mixture(
    predicted: np.ndarray,
    values: np.ndarray,
    identities: np.ndarray,
    groups: Sequence[str],
    sharing: float = 0.5,
    seed: int = 0,
) -> np.ndarray:
    """Fit the weights with which a group's predictions are mixed.

    Parameters
    ----------
    predicted : ndarray
        (training image, target), out-of-fold predictions.
    values : ndarray
        (training image, target), ratings.
    identities : ndarray
        (training image,).
    groups : sequence of str
        (target,), the group of raters; groups are never mixed.
    sharing : float, default 0.5
        Share of the average over the group's targets in the error that chooses the penalty, 0 to 1.
    seed : int, default 0
        Seed of the folds.

    Returns
    -------
    ndarray
        (target, target): row t holds the weights of the deviations of all predictions from their mean
        ratings, which sum to the deviation of target t. The unit matrix if mixing does not help.
    """
    names = np.asarray(groups)
    mixed = np.eye(values.shape[1])
    for name in dict.fromkeys(groups):
        columns = np.flatnonzero(names == name)
        if len(columns) > 1:
            square = np.ix_(columns, columns)
            mixed[square] = _of_group(predicted[:, columns], values[:, columns], identities, sharing, seed)
    return mixed


def _of_group(
    predicted: np.ndarray, values: np.ndarray, identities: np.ndarray, sharing: float, seed: int
) -> np.ndarray:
    """Fit the mixture of one group's traits."""
    means, spreads = values.mean(axis=0), values.std(axis=0)
    x, y = (predicted - means) / spreads, (values - means) / spreads
    # The seed differs from that of the folds of the predictions.
    folds = inner_folds(identities, seed=seed + 1)
    errors = np.zeros((len(STRENGTHS) + 1, y.shape[1]))
    errors[-1] = ((y - x) ** 2).sum(axis=0)  # each target predicted by its own prediction
    for fold in range(folds.max() + 1):
        inside, training = folds == fold, folds != fold
        for index, strength in enumerate(STRENGTHS):
            own = x[inside] @ _solve(x[training], y[training], np.full(y.shape[1], strength))
            errors[index] += ((y[inside] - own) ** 2).sum(axis=0)
    best = ((1 - sharing) * errors + sharing * errors.mean(axis=1, keepdims=True)).argmin(axis=0)
    strengths = np.array([*STRENGTHS, np.inf])[best]
    return (_solve(x, y, strengths).T * spreads[:, None]) / spreads


def _solve(x: np.ndarray, y: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """Solve for the mixtures of standardised targets: (source target, mixed target)."""
    squares, vectors = np.linalg.eigh(x.T @ x)
    missing = vectors.T @ (x.T @ (y - x))
    return np.eye(x.shape[1]) + vectors @ (missing / (squares[:, None] + strengths * len(x)))
