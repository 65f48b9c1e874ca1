"""Kernels: inner products of images in feature spaces, computed once for all readouts.

With 20,000 images a kernel takes 3.2 GB, and a fold's part of it 2 GB. Therefore both can be memory-mapped
files, which the system can page out, and they are never copied as a whole.
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
"""Number of features processed at once for up to :data:`IN_ONE_PIECE` images; fewer for more images."""

ROWS_AT_ONCE = 512
"""Number of rows of a kernel processed at once."""

IN_ONE_PIECE = 4096
"""Number of images up to which kernels are computed in one piece, which takes twice their memory (0.3 GB)."""

IN_MEMORY = 8192
"""Number of images above which kernels are stored in a file, if there is a folder for it; they take 0.5
GB."""

Kernels = Mapping[FeatureSpace, np.ndarray]
"""(image, image) by feature space."""

Factors = Mapping[FeatureSpace, float]
"""Factor of the kernel of each feature space in the sum."""


def linear_kernel(features: np.ndarray, scratch: Path | None = None) -> np.ndarray:
    """Compute the inner products of images, centred on the mean of all of them.

    Parameters
    ----------
    features : ndarray
        (image, channel, row, column).
    scratch : Path or None
        A folder for a large kernel; it is kept in memory if None.

    Returns
    -------
    ndarray
        float64 (image, image).

    Raises
    ------
    OSError
        If the folder's disk is full.
    """
    flat = features.reshape(len(features), -1)

    def parts() -> Iterator[np.ndarray]:
        for columns in pieces(flat.shape[1], columns_at_once(len(flat))):
            block = flat[:, columns].astype(np.float64)
            block -= block.mean(axis=0)
            yield block

    return _products(len(flat), parts, scratch)


def whitening(features: np.ndarray, training: np.ndarray, shrinkage: float) -> np.ndarray:
    r"""Fit a whitening of the channels to training images.

    The covariance of the channels :math:`C = U e U^T` is pooled over training images and cells, with each
    channel and cell centred on its training mean, and shrunk towards a multiple of the unit matrix.

    Parameters
    ----------
    features : ndarray
        (image, channel, row, column).
    training : ndarray
        (training image,) int.
    shrinkage : float
        Added to every eigenvalue, as a share of their mean; 0.1 works well.

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


def whitened_kernel(
    features: np.ndarray, training: np.ndarray, whitened: np.ndarray, scratch: Path | None = None
) -> np.ndarray:
    """Compute the inner products of images with whitened channels.

    Parameters
    ----------
    features : ndarray
        (image, channel, row, column).
    training : ndarray
        (training image,) int; features are centred on their mean over these.
    whitened : ndarray
        (channel, whitened channel), of :func:`whitening`.
    scratch : Path or None
        A folder for a large kernel; it is kept in memory if None.

    Returns
    -------
    ndarray
        float64 (image, image); products are float32 within a row of cells.

    Raises
    ------
    OSError
        If the folder's disk is full.
    """

    def parts() -> Iterator[np.ndarray]:
        for cells in _cells(features):
            turned = (cells - cells[training].mean(axis=0)) @ whitened
            yield turned.reshape(len(features), -1)

    return _products(len(features), parts, scratch)


def _cells(features: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the features by rows of cells: float32 (image, column, channel)."""
    for row in range(features.shape[2]):
        yield np.ascontiguousarray(features[:, :, row].transpose(0, 2, 1), np.float32)


def _products(count: int, parts: Callable[[], Iterable[np.ndarray]], scratch: Path | None) -> np.ndarray:
    """Sum the inner products of images over parts of their features: (image, image)."""
    kernel = _room(count, scratch)
    # In one piece, each part is computed once, and only half of each symmetric product.
    for rows in pieces(count, count if count <= IN_ONE_PIECE else ROWS_AT_ONCE):
        kernel[rows] = 0
        for part in parts():
            kernel[rows] += part[rows] @ part.T
    return kernel


def _room(count: int, scratch: Path | None) -> np.ndarray:
    """Allocate a kernel, in an unnamed file that is deleted when it is closed."""
    if scratch is None or count <= IN_MEMORY:
        return np.empty((count, count))
    with tempfile.TemporaryFile(dir=scratch, prefix=f".kernel{PARTIAL}") as file:
        _allocate(file, count)
        return np.memmap(file, np.float64, "r+", shape=(count, count))


def _allocate(file: IO[bytes], count: int) -> None:
    """Allocate disk space first: a full disk is then an error instead of a crash."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, 8 * count**2)
        return
    empty = np.zeros(count)
    for _ in range(count):
        file.write(empty.data)
    file.flush()
    os.fsync(file.fileno())


def columns_at_once(images: int) -> int:
    """Return the number of features processed at once, fewer for more images to bound memory.

    Returns
    -------
    int
        At least 1.
    """
    return max(1, COLUMNS_AT_ONCE * IN_ONE_PIECE // max(images, IN_ONE_PIECE))


def pieces(length: int, size: int) -> Iterator[slice]:
    """Split a range into pieces.

    Parameters
    ----------
    size : int
        Length of a piece; the last may be shorter.

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
    """Compute factors of kernels so that each counts by its weight, whatever its units.

    Each kernel is divided by its mean diagonal once centred on the training images.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        (image, image) each.
    training : ndarray
        (training image,) int.
    weights : mapping of FeatureSpace to float
        Weight of each space; 1 if missing.

    Returns
    -------
    dict of FeatureSpace to float
        The sum of the centred kernels, each multiplied by its factor, has a mean diagonal of 1.
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
    """Compute the sum of kernels over feature spaces, with features centred on their training mean.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        (image, image) each.
    training : ndarray
        (training image,) int.
    counts : ndarray or None
        (training image,), weights in means; equal if None.
    scratch : Path or None
        A folder for a large kernel; it is kept in memory if None.

    Returns
    -------
    kernel : ndarray
        (training image, training image), a new array, which can be overwritten.
    means : ndarray
        (training image,), means of its columns before centring.

    Raises
    ------
    OSError
        If the folder's disk is full.
    """
    kernel = _room(len(training), scratch)
    shares = np.full(len(training), 1 / len(training)) if counts is None else counts / counts.sum()
    means = np.zeros(len(training))
    for rows in pieces(len(training), ROWS_AT_ONCE):
        kernel[rows] = _gather(kernels, factors, training[rows], training)
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
    """Multiply rows of the centred kernel by dual coefficients: predictions minus the mean.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        (image, image) each.
    images : ndarray
        (image,) int, rows of the kernel.
    training : ndarray
        (training image,) int.
    means : ndarray
        (training image,), of :func:`centred_kernel`.
    coefficients : ndarray
        (training image, target).
    counts : ndarray or None
        (training image,), weights in means; equal if None.

    Returns
    -------
    ndarray
        (image, target).
    """
    found = np.empty((len(images), coefficients.shape[1]))
    for rows in pieces(len(images), ROWS_AT_ONCE):
        kernel = _gather(kernels, factors, images[rows], training)
        kernel -= np.average(kernel, axis=1, weights=counts, keepdims=True)
        kernel -= means
        kernel += np.average(means, weights=counts)
        found[rows] = kernel @ coefficients
    return found


def _gather(kernels: Kernels, factors: Factors, images: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Sum kernels for some images and training images."""
    total = np.zeros((len(images), len(training)))
    for space, kernel in kernels.items():
        total += factors[space] * kernel[images][:, training]
    return total


def _split(images: np.ndarray) -> Iterator[np.ndarray]:
    """Split positions of images into pieces."""
    for rows in pieces(len(images), ROWS_AT_ONCE):
        yield images[rows]
