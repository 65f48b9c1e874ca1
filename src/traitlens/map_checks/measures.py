"""Measures for checks of maps: conservation, contours, agreement of methods, and association."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from traitlens.columns import FOLD, GROUP, TRAIT
from traitlens.features.backbone import Backbone
from traitlens.features.views import View
from traitlens.readouts.readout import Readout
from traitlens.relevance.attribution import analyze

if TYPE_CHECKING:
    import xarray


def conservation(explained: "xarray.Dataset") -> pd.DataFrame:
    """Tabulate how much of each prediction reached the pixels, and how much biases and stabilisers absorbed.

    Parameters
    ----------
    explained : Dataset
        Result of :func:`traitlens.relevance.attribution.explain_with_conservation`.

    Returns
    -------
    DataFrame
        One row per image and readout, with columns explained (prediction minus reference), constant, pixels,
        absorbed_in_readout, absorbed_in_backbone, and unaccounted (zero except for rounding).
    """
    parts = ["constant", "pixels", "absorbed_in_readout", "absorbed_in_backbone"]
    table = explained[["prediction", "reference", *parts]].to_dataframe().reset_index()
    table["explained"] = table["prediction"] - table["reference"]
    table["unaccounted"] = table["explained"] - table[parts].sum(axis=1)
    return table


def edge_energy(images: np.ndarray) -> np.ndarray:
    """Compute the strength of contours at each pixel.

    Parameters
    ----------
    images : ndarray
        uint8 RGB (image, row, column, 3).

    Returns
    -------
    ndarray (image, row, column)
        Squared length of the gradient of luminance (Sobel filter).
    """
    from scipy import ndimage

    grey = np.asarray(images, np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    rows, columns = ndimage.sobel(grey, axis=1), ndimage.sobel(grey, axis=2)
    return np.asarray(rows**2 + columns**2)


def edge_correlation(maps: "xarray.DataArray", images: np.ndarray, smooth: float = 4.0) -> pd.DataFrame:
    """Correlate the absolute value of relevance with the strength of contours in the image.

    Parameters
    ----------
    maps : DataArray
        Relevance maps (readout, image, y, x).
    images : ndarray
        uint8 RGB (image, row, column, 3).
    smooth : float, default 4
        Standard deviation in pixels of the Gaussian filter applied to both.

    Returns
    -------
    DataFrame
        One row per readout; ``edge_correlation`` is the mean of Pearson's r over images. If it is near 1, the
        map shows contours of the image, as it would for any readout.
    """
    from scipy import ndimage

    edges = ndimage.gaussian_filter(edge_energy(images), (0, smooth, smooth)).reshape(len(images), -1)
    strength = ndimage.gaussian_filter(np.abs(maps.to_numpy()), (0, 0, smooth, smooth))
    found = [correlate(one.reshape(len(images), -1), edges).mean() for one in strength]
    return tabulate_readouts(maps).assign(edge_correlation=found)


def method_agreement(
    backbone: Backbone | str,
    readouts: Sequence[Readout],
    images: np.ndarray,
    methods: Sequence[str],
    smooth: float = 4.0,
    views: Mapping[str, View] | None = None,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Correlate the maps of several relevance methods.

    Parameters
    ----------
    backbone : Backbone or str
        The frozen network, or its name.
    readouts : sequence of Readout
        The readouts to explain.
    images : ndarray
        uint8 RGB (image, row, column, 3).
    methods : sequence of str
        Names in :data:`traitlens.relevance.methods.METHODS`.
    smooth : float, default 4
        Standard deviation in pixels of the Gaussian filter applied to all maps.
    views : mapping of str to View or None
        Definitions of the readouts' views, beside "image".
    progress : callable or None
        Called with 1 after each image and method.

    Returns
    -------
    DataFrame
        Correlation matrix of the methods: mean of Pearson's r over readouts and images.
    """
    from scipy import ndimage

    maps = []
    for method in methods:
        values = analyze(backbone, readouts, images, method, views=views, progress=progress).to_numpy()
        smoothed = ndimage.gaussian_filter(values, (0, 0, smooth, smooth))
        maps.append(smoothed.reshape(*values.shape[:2], -1))
    table = [[correlate(one, other).mean() for other in maps] for one in maps]
    return pd.DataFrame(table, index=list(methods), columns=list(methods))


def region_association(activation: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """Correlate the activation of regions with ratings, independently of any readout.

    A region that is not associated with the ratings may have relevance as a suppressor, and vice versa (Haufe
    et al. 2014; Wilming et al. 2023).

    Parameters
    ----------
    activation : ndarray (image, region, channel)
        Mean activation of each channel at a tap; channels that are constant over images are ignored.
    ratings : ndarray (image,)
        Mean ratings.

    Returns
    -------
    ndarray (region,)
        Root mean square, over channels, of Pearson's r between activation and ratings. Without association it
        is about 1 / sqrt(n - 1) for n images.

    Examples
    --------
    >>> ratings = np.array([1.0, 2.0, 4.0])
    >>> region_association(ratings[:, None, None] * [[[1.0, -2.0]]], ratings)
    array([1.])
    """
    activation, ratings = np.asarray(activation, float), np.asarray(ratings, float)
    moved = np.moveaxis(activation, 0, -1)
    found = correlate(moved, np.broadcast_to(ratings, moved.shape))
    known = np.isfinite(found)
    count = known.sum(-1)
    total = np.where(known, found, 0) ** 2
    return np.sqrt(np.divide(total.sum(-1), count, out=np.full(len(found), np.nan), where=count > 0))


def correlate(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compute Pearson's r between two arrays along the last axis; NaN if either is constant.

    Their other axes are broadcast.
    """
    some = some - some.mean(-1, keepdims=True, dtype=float)
    others = others - others.mean(-1, keepdims=True, dtype=float)
    size = np.sqrt((some**2).sum(-1) * (others**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((some * others).sum(-1) / size)


def tabulate_readouts(maps: "xarray.DataArray") -> pd.DataFrame:
    """Return a table of the group, trait and fold of each readout of relevance maps."""
    return pd.DataFrame({name: maps[name].to_numpy() for name in (GROUP, TRAIT, FOLD)})
