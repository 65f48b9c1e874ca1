"""Storage of relevance maps in half precision, and the weights with which maps are averaged."""

import numpy as np

from traitlens.problems import Problem, TraitlensError

MAP_SCALE = 2.0**-14
"""Factor of stored half-precision maps. Values of 4e-9 to 4 rating points per pixel have a relative error of
at most 2^-11 (0.05 %), smaller values an absolute error of at most 2e-12."""


def compress_maps(maps: np.ndarray) -> np.ndarray:
    """Convert relevance maps to half precision.

    Parameters
    ----------
    maps : ndarray
        Relevance in rating points per pixel.

    Returns
    -------
    ndarray of float16
        `maps` divided by :data:`MAP_SCALE`; the error is at most 0.05 % or 2e-12, whichever is larger.

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
    r"""Compute the weights of maps in the aligned average: the standardised predictions.

    The mean of maps that explain deviations from the mean rating is near zero, because deviations cancel. The
    aligned average is

    .. math:: A = \frac{1}{n} \sum_i R_i \frac{f_i - \bar f}{s_f},

    A pixel of it is positive if it raised high predictions and lowered low ones. If relevance is conserved,
    the sum of :math:`A` over pixels is :math:`s_f`, the standard deviation of the predictions.

    Parameters
    ----------
    predictions : ndarray (..., image)
        Predicted ratings; NaN if missing.

    Returns
    -------
    ndarray (..., image)
        Weights; 0 for missing predictions, and if all predictions are equal.

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
