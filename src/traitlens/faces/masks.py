"""Feathered masks of the regions of a face."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from traitlens.columns import REGION, X, Y
from traitlens.faces.regions import REGIONS

SMOOTHING = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""Binomial filter that feathers edges: a standard deviation of one pixel. Its coefficients are binary
fractions, so masks add up to exactly 1."""


def feathered_masks(
    labels: np.ndarray, names: Sequence[str] = REGIONS, join_sides: bool = True
) -> xr.DataArray:
    """Compute the feathered masks of all regions of one face.

    Parameters
    ----------
    labels : ndarray of int (y, x)
        Region of each pixel, of :func:`traitlens.faces.regions.region_labels`.
    names : sequence of str
        Names in the order of the labels.
    join_sides : bool, default True
        Whether left and right regions are joined, such as "left eye" and "right eye" to "eyes".

    Returns
    -------
    DataArray of float32 (region, y, x)
        0 to 1. They sum to exactly 1 in every pixel; more than two pixels outside a region its mask is 0,
        more than two pixels inside it is 1.

    Examples
    --------
    >>> labels = np.repeat([[0, 1, 10]], [4, 4, 4], axis=1)
    >>> masks = feathered_masks(labels)
    >>> masks.sel(region="eyes").values[0, 6:10].tolist()
    [0.9375, 0.6875, 0.3125, 0.0625]
    """
    from scipy.ndimage import correlate1d

    shared = np.array([joined_name(name, names) if join_sides else name for name in names])
    joined = joined_names(names, join_sides)
    masks = np.stack([np.isin(labels, np.flatnonzero(shared == name)) for name in joined]).astype(np.float32)
    for axis in (1, 2):
        masks = correlate1d(masks, SMOOTHING, axis=axis, mode="nearest")
    return xr.DataArray(masks, dims=(REGION, Y, X), coords={REGION: list(joined)})


def joined_names(names: Sequence[str] = REGIONS, join_sides: bool = True) -> tuple[str, ...]:
    """Return the names of the masks of :func:`feathered_masks`.

    Parameters
    ----------
    join_sides : bool, default True
        Whether left and right regions are joined.

    Returns
    -------
    tuple of str
        Names in the order of the masks.

    Examples
    --------
    >>> joined_names()
    ('eyes', 'brows', 'nose', 'mouth', 'forehead', 'cheeks', 'jaw', 'background')
    """
    return tuple(dict.fromkeys(joined_name(name, names) if join_sides else name for name in names))


def joined_name(name: str, names: Sequence[str]) -> str:
    """Return the joined name of a region and its counterpart: "eyes" for "left eye".

    Returns
    -------
    str
        The name itself if it has no counterpart.
    """
    side, _, part = name.partition(" ")
    if side in ("left", "right") and {f"left {part}", f"right {part}"} <= set(names):
        return part if part.endswith("s") else f"{part}s"
    return name
