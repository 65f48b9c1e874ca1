"""Kernels: similarities of images as feature spaces see them, computed once, shared by every readout."""

from collections.abc import Iterator, Mapping

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


def whitening(features: np.ndarray, training: np.ndarray, shrinkage: float) -> np.ndarray:
    r"""Learn from training images how to make channels uncorrelated and of equal spread.

    The covariance of the channels :math:`C = U e U^T` is pooled over training images and cells, each channel
    and cell taken from its mean over the training images, and drawn towards a multiple of the unit matrix.

    Parameters
    ----------
    features : ndarray
        (image, channel, row, column).
    training : ndarray
        (training image,) int.
    shrinkage : float
        Added to every eigenvalue, as a share of their mean; 0.1 serves well.

    Returns
    -------
    ndarray
        float32 (channel, whitened channel): :math:`U (e + s \bar e)^{-1/2}`.
    """
    channels = features.shape[1]
    covariance = np.zeros((channels, channels))
    for cells in _cells(features):
        seen = cells[training] - cells[training].mean(axis=0)
        seen = seen.reshape(-1, channels)
        covariance += seen.T @ seen
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0) + shrinkage * values.mean()
    return np.asarray(vectors / np.sqrt(values), np.float32)


def whitened_kernel(features: np.ndarray, training: np.ndarray, whitened: np.ndarray) -> np.ndarray:
    """Compute the inner products of images whose channels were whitened in every cell.

    Parameters
    ----------
    features : ndarray
        (image, channel, row, column).
    training : ndarray
        (training image,) int; features are taken from the mean over these.
    whitened : ndarray
        (channel, whitened channel), of :func:`whitening`.

    Returns
    -------
    ndarray
        float64 (image, image); products are float32 within a row of cells.
    """
    kernel = np.zeros((len(features), len(features)))
    for cells in _cells(features):
        turned = (cells - cells[training].mean(axis=0)) @ whitened
        turned = turned.reshape(len(features), -1)
        kernel += turned @ turned.T
    return kernel


def _cells(features: np.ndarray) -> Iterator[np.ndarray]:
    """Give the features a row of cells at a time: float32 (image, column, channel)."""
    for row in range(features.shape[2]):
        yield np.ascontiguousarray(features[:, :, row].transpose(0, 2, 1), np.float32)


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
