"""Kernels: inner products of the features of images, computed once for all readouts.

With 20,000 images, a kernel takes 3.2 GB, and its part for the training images of a fold 2 GB. Both can
therefore be memory-mapped files, and are never copied as a whole.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.storage import PARTIAL

COLUMNS_AT_ONCE = 2048
"""Number of features that are processed at once with up to :data:`IN_ONE_PIECE` images."""

ROWS_AT_ONCE = 512
"""Number of rows of a kernel that are processed at once."""

IN_ONE_PIECE = 4096
"""Maximum number of images for which kernels are computed as a whole, which takes twice their memory."""

IN_MEMORY = 8192
"""Maximum number of images for which kernels are always in memory (0.5 GB); larger ones can be in files."""

Kernels = Mapping[FeatureSpace, np.ndarray]
"""Kernel of each feature space, of shape (image, image)."""

Factors = Mapping[FeatureSpace, float]
"""Factor of the kernel of each feature space in the sum."""


def linear_kernel(features: np.ndarray, scratch: Path | None = None) -> np.ndarray:
    """Compute the inner products of the features of images, centred on the mean of all images.

    Parameters
    ----------
    features : ndarray of shape (image, channel, row, column)
        Features.
    scratch : Path or None
        A folder for a large kernel; it is kept in memory if None.

    Returns
    -------
    ndarray of float64, shape (image, image)
        The kernel.

    Raises
    ------
    OSError
        If the disk of the folder is full.
    """
    flat = features.reshape(len(features), -1)

    def parts() -> Iterator[np.ndarray]:
        for columns in pieces(flat.shape[1], columns_at_once(len(flat))):
            block = flat[:, columns].astype(np.float64)
            block -= block.mean(axis=0)
            yield block

    return _products(len(flat), parts, scratch)


def whitening(features: np.ndarray, training: np.ndarray, shrinkage: float) -> np.ndarray:
    r"""Compute a matrix that makes the channels uncorrelated over training images (whitening).

    The covariance of the channels :math:`C = U e U^T` is pooled over training images and cells, with each
    channel and cell centred on its training mean, and shrunk towards a multiple of the identity matrix.

    Parameters
    ----------
    features : ndarray of shape (image, channel, row, column)
        Features.
    training : ndarray of int, shape (training image,)
        Indices of the training images.
    shrinkage : float
        Value added to every eigenvalue, as a share of their mean; 0.1 works well.

    Returns
    -------
    ndarray of float32, shape (channel, whitened channel)
        :math:`U (e + s \bar e)^{-1/2}`.
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


def whitened_kernel(
    features: np.ndarray, training: np.ndarray, whitened: np.ndarray, scratch: Path | None = None
) -> np.ndarray:
    """Compute the inner products of the features of images after whitening the channels.

    Parameters
    ----------
    features : ndarray of shape (image, channel, row, column)
        Features.
    training : ndarray of int, shape (training image,)
        Features are centred on their mean over these.
    whitened : ndarray of shape (channel, whitened channel)
        Whitening matrix from :func:`whitening`.
    scratch : Path or None
        A folder for a large kernel; it is kept in memory if None.

    Returns
    -------
    ndarray of float64, shape (image, image)
        The kernel. Products within a row of cells are computed in float32.

    Raises
    ------
    OSError
        If the disk of the folder is full.
    """

    def parts() -> Iterator[np.ndarray]:
        for cells in _cells(features):
            turned = (cells - cells[training].mean(axis=0)) @ whitened
            yield turned.reshape(len(features), -1)

    return _products(len(features), parts, scratch)


def _cells(features: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the features of each row of cells, a float32 array of shape (image, column, channel)."""
    for row in range(features.shape[2]):
        yield np.ascontiguousarray(features[:, :, row].transpose(0, 2, 1), np.float32)


def _products(count: int, parts: Callable[[], Iterable[np.ndarray]], scratch: Path | None) -> np.ndarray:
    """Sum the inner products of images over parts of their features, and return the kernel."""
    kernel = _empty_kernel(count, scratch)
    # As a whole, each part is computed only once, and only half of each symmetric product.
    for rows in pieces(count, count if count <= IN_ONE_PIECE else ROWS_AT_ONCE):
        kernel[rows] = 0
        for part in parts():
            kernel[rows] += part[rows] @ part.T
    return kernel


def _empty_kernel(count: int, scratch: Path | None) -> np.ndarray:
    """Allocate a kernel in memory; a large one in a file that is deleted when it is closed."""
    if scratch is None or count <= IN_MEMORY:
        return np.empty((count, count))
    with tempfile.TemporaryFile(dir=scratch, prefix=f".kernel{PARTIAL}") as file:
        _allocate_file(file, count)
        return np.memmap(file, np.float64, "r+", shape=(count, count))


def _allocate_file(file: IO[bytes], count: int) -> None:
    """Allocate the disk space of a kernel, so that a full disk is an error and not a crash."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, 8 * count**2)
        return
    empty = np.zeros(count)
    for _ in range(count):
        file.write(empty.data)
    file.flush()
    os.fsync(file.fileno())


def columns_at_once(images: int) -> int:
    """Return the number of features (at least 1) that fit into memory at once, given a number of images."""
    return max(1, COLUMNS_AT_ONCE * IN_ONE_PIECE // max(images, IN_ONE_PIECE))


def pieces(length: int, size: int) -> Iterator[slice]:
    """Split a range into slices of a given size; the last slice may be shorter.

    Examples
    --------
    >>> list(pieces(5, 3))
    [slice(0, 3, None), slice(3, 5, None)]
    """
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def kernel_factors(
    kernels: Kernels, training: np.ndarray, weights: Mapping[FeatureSpace, float]
) -> dict[FeatureSpace, float]:
    """Compute the factors by which kernels are multiplied to have given weights, whatever their units.

    Each kernel is divided by its mean diagonal after centring on the training images.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        Kernels of shape (image, image).
    training : ndarray of int, shape (training image,)
        Indices of the training images.
    weights : mapping of FeatureSpace to float
        Weight of each space; 1 if missing.

    Returns
    -------
    dict of FeatureSpace to float
        Factor of each kernel. The sum of the centred kernels times their factors has a mean diagonal of 1.
    """
    diagonals = {}
    for space, kernel in kernels.items():
        total = sum(kernel[rows][:, training].sum() for rows in _split(training))
        diagonals[space] = kernel[training, training].mean() - total / len(training) ** 2
    total = sum(weights.get(space, 1.0) for space, diagonal in diagonals.items() if diagonal > 0)
    return {
        space: weights.get(space, 1.0) / (diagonal * total) if diagonal > 0 else 0.0
        for space, diagonal in diagonals.items()
    }


def centred_kernel(
    kernels: Kernels,
    factors: Factors,
    training: np.ndarray,
    counts: np.ndarray | None = None,
    scratch: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Sum the kernels of feature spaces for the training images, with features centred on their mean.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        Kernels of shape (image, image).
    training : ndarray of int, shape (training image,)
        Indices of the training images.
    counts : ndarray of shape (training image,) or None
        Weights in means; equal if None.
    scratch : Path or None
        A folder for a large kernel; it is kept in memory if None.

    Returns
    -------
    kernel : ndarray of shape (training image, training image)
        Centred kernel, a new array that can be overwritten.
    means : ndarray of shape (training image,)
        Means of the columns of the kernel before centring.

    Raises
    ------
    OSError
        If the disk of the folder is full.
    """
    kernel = _empty_kernel(len(training), scratch)
    shares = np.full(len(training), 1 / len(training)) if counts is None else counts / counts.sum()
    means = np.zeros(len(training))
    for rows in pieces(len(training), ROWS_AT_ONCE):
        kernel[rows] = _weighted_sum(kernels, factors, training[rows], training)
        means += shares[rows] @ kernel[rows]
    for rows in pieces(len(training), ROWS_AT_ONCE):
        kernel[rows] += shares @ means - means - means[rows, None]
    return kernel, means


def apply_centred(
    kernels: Kernels,
    factors: Factors,
    images: np.ndarray,
    training: np.ndarray,
    means: np.ndarray,
    coefficients: np.ndarray,
    counts: np.ndarray | None = None,
) -> np.ndarray:
    """Compute predictions minus the mean rating: rows of the centred kernel times dual coefficients.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        Kernels of shape (image, image).
    images : ndarray of int, shape (image,)
        Indices of the images to predict.
    training : ndarray of int, shape (training image,)
        Indices of the training images.
    means : ndarray of shape (training image,)
        Means of the columns from :func:`centred_kernel`.
    coefficients : ndarray of shape (training image, target)
        Dual coefficients.
    counts : ndarray of shape (training image,) or None
        Weights in means; equal if None.

    Returns
    -------
    ndarray of shape (image, target)
        Predictions minus the mean rating.
    """
    found = np.empty((len(images), coefficients.shape[1]))
    for rows in pieces(len(images), ROWS_AT_ONCE):
        kernel = _weighted_sum(kernels, factors, images[rows], training)
        kernel -= np.average(kernel, axis=1, weights=counts, keepdims=True)
        kernel -= means
        kernel += np.average(means, weights=counts)
        found[rows] = kernel @ coefficients
    return found


def _weighted_sum(kernels: Kernels, factors: Factors, images: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return the weighted sum of kernels between some images and the training images."""
    total = np.zeros((len(images), len(training)))
    for space, kernel in kernels.items():
        total += factors[space] * kernel[images][:, training]
    return total


def _split(images: np.ndarray) -> Iterator[np.ndarray]:
    """Split indices of images into blocks that are processed at once."""
    for rows in pieces(len(images), ROWS_AT_ONCE):
        yield images[rows]
