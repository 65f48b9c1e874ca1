"""Half-precision storage of relevance maps, and their weights in averages."""

import numpy as np

from traitlens.problems import Problem, TraitlensError

MAP_SCALE = 2.0**-14
"""Scale of maps in half precision: from 4e-9 to 4 rating points per pixel within 2^-11 (0.05 %), smaller ones
within 2e-12."""


def compress_maps(maps: np.ndarray) -> np.ndarray:
    """Convert maps to half precision.

    Returns
    -------
    ndarray of float16
        `maps` divided by :data:`MAP_SCALE`; every value within 0.05 %, or 2e-12 where that is more.

    Raises
    ------
    TraitlensError
        If a value exceeds 4 rating points per pixel.

    Examples
    --------
    >>> small = compress_maps(np.array([0.001]))
    >>> round(float(small[0]) * MAP_SCALE, 6)
    0.001
    """
    with np.errstate(over="ignore"):
        small = (np.asarray(maps) / MAP_SCALE).astype(np.float16)
    if np.isinf(small).any():
        raise TraitlensError(
            Problem("maps have more than 4 rating points in a pixel", "choose another relevance.method")
        )
    return small


def alignment(predictions: np.ndarray) -> np.ndarray:
    r"""Compute weights of maps: the standardised predictions.

    The plain mean of maps that explain deviations from the mean rating is near zero, because deviations
    cancel. The aligned average is

    .. math:: A = \frac{1}{n} \sum_i R_i \frac{f_i - \bar f}{s_f},

    so that a pixel is positive where it raised high predictions and lowered low ones. Where relevance is
    conserved, the sum of :math:`A` over pixels is :math:`s_f`, the standard deviation of the predictions.

    Parameters
    ----------
    predictions : ndarray (..., image)
        Predicted ratings; may be missing.

    Returns
    -------
    ndarray (..., image)
        Weights; 0 if there is no prediction, or if all are equal.

    Examples
    --------
    >>> alignment(np.array([1.0, 3.0])).tolist()
    [-1.0, 1.0]
    """
    known = np.isfinite(predictions)
    count = np.maximum(known.sum(-1, keepdims=True), 1)
    deviation = np.where(known, predictions, 0.0)
    deviation = np.where(known, deviation - deviation.sum(-1, keepdims=True) / count, 0.0)
    spread = np.sqrt((deviation**2).sum(-1, keepdims=True) / count)
    return np.divide(deviation, spread, out=np.zeros_like(deviation), where=spread > 0)
