"""Kernels: similarities of images as feature spaces see them, computed once, shared by every readout."""

from collections.abc import Mapping

import numpy as np

from traitlens.readouts.readout import FeatureSpace

COLUMNS_AT_ONCE = 8192


def linear_kernel(features: np.ndarray) -> np.ndarray:
    """Compute the inner products of images, centred on the mean of all of them.

    Parameters
    ----------
    features : ndarray
        (image, channel, row, column).

    Returns
    -------
    ndarray
        float64 (image, image).
    """
    flat = features.reshape(len(features), -1)
    kernel = np.zeros((len(flat), len(flat)))
    for start in range(0, flat.shape[1], COLUMNS_AT_ONCE):
        block = flat[:, start : start + COLUMNS_AT_ONCE].astype(np.float64)
        block -= block.mean(axis=0)
        kernel += block @ block.T
    return kernel


def centred(kernel: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Centre a kernel on its training images, as if the features had been centred on their mean.

    Parameters
    ----------
    kernel : ndarray
        (image, image).
    training : ndarray
        (training image,) int, rows of the training images.

    Returns
    -------
    ndarray
        (image, training image).
    """
    columns = kernel[:, training]
    means = columns[training].mean(axis=0)
    return np.asarray(columns - columns.mean(axis=1, keepdims=True) - means + means.mean())


def training_kernel(
    kernels: Mapping[FeatureSpace, np.ndarray], training: np.ndarray, weights: Mapping[FeatureSpace, float]
) -> tuple[np.ndarray, dict[FeatureSpace, float]]:
    """Sum the kernels of feature spaces so that each counts by its weight, whatever its units.

    Each kernel is centred on the training images and divided by its mean diagonal there.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        (image, image) each.
    training : ndarray
        (training image,) int.
    weights : mapping of FeatureSpace to float
        Weight of each space; 1 where missing.

    Returns
    -------
    kernel : ndarray
        (image, training image), mean diagonal 1 on the training images.
    factors : dict of FeatureSpace to float
        By what each centred kernel was multiplied.
    """
    parts = {space: centred(kernel, training) for space, kernel in kernels.items()}
    places = np.arange(len(training))
    diagonals = {space: part[training, places].mean() for space, part in parts.items()}
    total = sum(weights.get(space, 1.0) for space, diagonal in diagonals.items() if diagonal > 0)
    factors = {
        space: weights.get(space, 1.0) / (diagonal * total) if diagonal > 0 else 0.0
        for space, diagonal in diagonals.items()
    }
    kernel = np.asarray(sum(factors[space] * part for space, part in parts.items()))
    return kernel, factors
