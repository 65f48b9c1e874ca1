"""Alignment of an image with the template by overlapping pixel areas, which preserves the sums of maps."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import sparse

LEAST_COVERED: Final = 0.5
"""Minimum share of a pixel's area that must be covered; pixels below it are NaN."""


@dataclass(frozen=True)
class Alignment:
    """Correspondence between the pixels of an image of a face and the pixels of the template.

    Parameters
    ----------
    shares : sparse matrix (template pixels, image pixels)
        Area of each image pixel that falls into each template pixel, in image pixels.
    reach : ndarray (template pixels,)
        Area of each template pixel in image pixels, including the area outside the image.
    size : int
        Side of the template in pixels.
    shape : (int, int)
        Rows and columns of the image.
    pose : float
        See :func:`~traitlens.faces.detection.head_pose`.
    folded : float
        Share of the face's area in inverted triangles.
    piecewise : bool
        Whether each triangle has its own affine map; False if the head is turned too far, so that only a
        rotation, scale and shift are used.
    """

    shares: sparse.csr_array
    reach: np.ndarray
    size: int
    shape: tuple[int, int]
    pose: float
    folded: float
    piecewise: bool

    def warp(self, maps: Any, conserve: bool = True) -> np.ndarray:
        """Warp maps of the image to the template.

        Parameters
        ----------
        maps : array_like (..., y, x)
            Maps in the image.
        conserve : bool, default True
            True for amounts, such as relevance: the sum of the values inside the template is preserved.
            False for intensities, such as grey values: they are averaged, and NaN outside the image.

        Returns
        -------
        ndarray (..., size, size) of float
            The maps on the template.
        """
        flat = _flatten(maps, self.shape)
        to_image = self.shares.sum(axis=0)
        if conserve:
            moved = self.shares @ (flat / np.where(to_image > LEAST_COVERED, to_image, 1.0)[:, None])
        else:
            moved = _average_by_share(self.shares, flat, self.reach)
        return _unflatten(moved, maps, (self.size, self.size))

    def warp_back(self, maps: Any, conserve: bool = True) -> np.ndarray:
        """Warp maps of the template to the image.

        Parameters
        ----------
        maps : array_like (..., size, size)
            Maps on the template.
        conserve : bool, default True
            As in :meth:`warp`; intensities are NaN outside the template.

        Returns
        -------
        ndarray (..., y, x) of float
            The maps in the image.
        """
        flat = _flatten(maps, (self.size, self.size))
        back = self.shares.T.tocsr()
        if conserve:
            to_template = self.shares.sum(axis=1)
            moved = back @ (flat / np.where(to_template > 0, to_template, 1.0)[:, None])
        else:
            moved = _average_by_share(back, flat, np.ones(back.shape[0]))
        return _unflatten(moved, maps, self.shape)


def _flatten(maps: Any, shape: tuple[int, int]) -> np.ndarray:
    """Reshape maps (..., y, x) to one column per map: (pixel, map)."""
    maps = np.asarray(maps, dtype=float)
    if maps.shape[-2:] != shape:
        raise ValueError(f"maps of {maps.shape[-2:]} pixels do not match {shape}")
    columns: np.ndarray = maps.reshape(-1, shape[0] * shape[1]).T
    return columns


def _unflatten(moved: np.ndarray, maps: Any, shape: tuple[int, int]) -> np.ndarray:
    """Reshape columns (pixel, map) to maps with the leading dimensions of the original maps."""
    return np.ascontiguousarray(moved.T).reshape(*np.shape(maps)[:-2], *shape)


def _average_by_share(shares: sparse.csr_array, values: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Average values weighted by shares of area; NaN for pixels of which too little is covered."""
    covered = shares.sum(axis=1)
    seen = covered > np.maximum(LEAST_COVERED * whole, 1e-12)
    mean: np.ndarray = (shares @ values) / np.where(seen, covered, 1.0)[:, None]
    mean[~seen] = np.nan
    return mean


def distribute_area(
    places: np.ndarray, area: np.ndarray, shape: tuple[int, int], size: int, samples: int
) -> tuple[sparse.csr_array, np.ndarray]:
    """Compute the area that each image pixel shares with each template pixel, from samples of the template.

    The area of each sample is distributed over the four image pixels around it by bilinear weights.

    Parameters
    ----------
    places : ndarray (samples, 2)
        x and y of each sample in the image; samples are ordered by row, then column of the template.
    area : ndarray (samples,)
        Area of each sample in image pixels.
    shape : (int, int)
        Rows and columns of the image.
    size : int
        Side of the template in pixels.
    samples : int
        Number of samples per side of a template pixel.

    Returns
    -------
    shares : sparse matrix (template pixels, image pixels)
        See :class:`Alignment`.
    reach : ndarray (template pixels,)
        See :class:`Alignment`.
    """
    rows, columns = shape
    fine = size * samples
    across = np.arange(fine) // samples
    pixel = (across[:, None] * size + across[None, :]).ravel()
    reach = np.bincount(pixel, area, minlength=size * size)
    x, y = places.T
    inside = (x >= 0) & (x <= columns) & (y >= 0) & (y <= rows) & (area > 0)
    # Samples beyond the outermost pixel centres belong to the outermost pixel alone.
    x = np.clip(x[inside] - 0.5, 0, columns - 1)
    y = np.clip(y[inside] - 0.5, 0, rows - 1)
    left = np.minimum(x.astype(int), max(columns - 2, 0))
    top = np.minimum(y.astype(int), max(rows - 2, 0))
    right_share, lower_share = x - left, y - top
    data, index = [], []
    for down, row_share in ((0, 1 - lower_share), (1, lower_share)):
        for aside, column_share in ((0, 1 - right_share), (1, right_share)):
            data.append(area[inside] * row_share * column_share)
            below = np.minimum(top + down, rows - 1)
            index.append(below * columns + np.minimum(left + aside, columns - 1))
    entries = (np.concatenate(data), (np.tile(pixel[inside], 4), np.concatenate(index)))
    return sparse.csr_array(entries, shape=(size * size, rows * columns)), reach
