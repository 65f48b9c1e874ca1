"""Masks of the regions of a face with soft edges."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from traitlens.columns import REGION, X, Y
from traitlens.faces.regions import REGIONS

SMOOTHING = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""Binomial filter, with a standard deviation of one pixel, that softens the edges. Its coefficients are
binary fractions, so that the masks of a pixel sum to exactly 1."""


def feathered_masks(
    labels: np.ndarray, names: Sequence[str] = REGIONS, join_sides: bool = True
) -> xr.DataArray:
    """Compute the feathered masks of all regions of one face.

    Parameters
    ----------
    labels : ndarray of int (y, x)
        Region of each pixel, as returned by :func:`traitlens.faces.regions.region_labels`.
    names : sequence of str
        Names of the regions in the order of the labels.
    join_sides : bool, default True
        Whether to join left and right regions, such as "left eye" and "right eye" to "eyes".

    Returns
    -------
    DataArray of float32 (region, y, x)
        Masks from 0 to 1 that sum to exactly 1 in every pixel. A mask is 1 more than two pixels inside the
        region, and 0 more than two pixels outside.

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
    """Return the region names of the masks that :func:`feathered_masks` returns, in their order.

    Parameters
    ----------
    names : sequence of str
        Names of the regions in the order of the labels.
    join_sides : bool, default True
        Whether to join left and right regions.

    Examples
    --------
    >>> joined_names()
    ('eyes', 'brows', 'nose', 'mouth', 'forehead', 'cheeks', 'jaw', 'background')
    """
    return tuple(dict.fromkeys(joined_name(name, names) if join_sides else name for name in names))


def joined_name(name: str, names: Sequence[str]) -> str:
    """Return the name of a region joined with its counterpart, such as "eyes" for "left eye".

    The name is returned unchanged if `names` has no counterpart.
    """
    side, _, part = name.partition(" ")
    if side in ("left", "right") and {f"left {part}", f"right {part}"} <= set(names):
        return part if part.endswith("s") else f"{part}s"
    return name
