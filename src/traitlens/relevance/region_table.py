"""Relevance by region of the face."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from traitlens.words import GROUP, IMAGE, REGION, RELEVANCE, SHARE, TRAIT, X, Y

REGION_COLUMNS = [IMAGE, GROUP, TRAIT, REGION, RELEVANCE, SHARE]
"""Columns of `regions.csv`."""


def region_relevance(
    maps: xr.DataArray, labels: np.ndarray, regions: Sequence[str], image: str
) -> pd.DataFrame:
    """Sum one image's maps over the regions of its face.

    Parameters
    ----------
    maps : DataArray
        (group, trait, y, x), rating points per pixel.
    labels : ndarray
        Integer (y, x): which region each pixel belongs to.
    regions : sequence of str
        Names of the regions, in the order of the labels.
    image : str
        Name of the image.

    Returns
    -------
    DataFrame
        image, group, trait, region, relevance (sum over the region's pixels, rating points) and share (of
        the map's absolute relevance, 0 to 1, so that regions are compared whatever the prediction).
        Maps that are missing give no row.

    Examples
    --------
    >>> maps = xr.DataArray(np.array([[[[1.0, -3.0]]]]), dims=["group", "trait", "y", "x"],
    ...                     coords={"group": ["g"], "trait": ["warm"]})
    >>> region_relevance(maps, np.array([[0, 1]]), ["eyes", "mouth"], "a.png")[["relevance", "share"]].values
    array([[ 1.  ,  0.25],
           [-3.  ,  0.75]])
    """
    values = maps.transpose(GROUP, TRAIT, Y, X).to_numpy().astype(float)
    masks = (labels.ravel() == np.arange(len(regions))[:, None]).astype(float)
    flat = values.reshape(*values.shape[:2], -1)
    sums = flat @ masks.T
    absolute = np.abs(flat) @ masks.T
    total = absolute.sum(-1, keepdims=True)
    shares = np.divide(absolute, total, out=np.zeros_like(absolute), where=total > 0)
    index = pd.MultiIndex.from_product(
        [maps[GROUP].to_numpy(), maps[TRAIT].to_numpy(), list(regions)], names=[GROUP, TRAIT, REGION]
    )
    table = pd.DataFrame({RELEVANCE: sums.ravel(), SHARE: shares.ravel()}, index=index).dropna().reset_index()
    table.insert(0, IMAGE, image)
    return table[REGION_COLUMNS]
