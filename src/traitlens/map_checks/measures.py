"""Measures of map checks: conservation, contours, agreement of methods, association."""

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
    """Return how much of each prediction reached the pixels, and how much biases and stabilisers absorbed.

    Parameters
    ----------
    explained : Dataset
        From :func:`traitlens.relevance.attribution.explain_with_conservation`.

    Returns
    -------
    DataFrame
        One row per image and readout: explained (prediction minus reference), constant, pixels,
        absorbed_in_readout, absorbed_in_backbone, and ``unaccounted``, which is zero except for rounding.
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
    ndarray
        (image, row, column): squared length of the luminance gradient (Sobel).
    """
    from scipy import ndimage

    grey = np.asarray(images, np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    rows, columns = ndimage.sobel(grey, axis=1), ndimage.sobel(grey, axis=2)
    return np.asarray(rows**2 + columns**2)


def edge_correlation(maps: "xarray.DataArray", images: np.ndarray, smooth: float = 4.0) -> pd.DataFrame:
    """Correlate the size of relevance with the contours of the image.

    Parameters
    ----------
    maps : DataArray
        (readout, image, y, x).
    images : ndarray
        uint8 RGB (image, row, column, 3).
    smooth : float, default 4
        Standard deviation in pixels of the Gaussian applied to both.

    Returns
    -------
    DataFrame
        One row per readout: ``edge_correlation``, Pearson, mean over images. Near 1, the map shows salient
        structure that any readout would show.
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
    """Correlate the maps of several methods.

    Parameters
    ----------
    backbone : Backbone or str
        The frozen network, or its name.
    readouts : sequence of Readout
        The readouts to explain.
    images : ndarray
        uint8 RGB (image, row, column, 3).
    methods : sequence of str
        Names from :data:`traitlens.relevance.methods.METHODS`.
    smooth : float, default 4
        Standard deviation in pixels of the Gaussian applied to all maps.
    views : mapping of str to View or None
        Views of the readouts.
    progress : callable or None
        Called with 1 after each image and method.

    Returns
    -------
    DataFrame
        Methods by methods: Pearson, mean over readouts and images.
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
    """Correlate the activation of regions with ratings: association, independent of the model.

    A region may have relevance as a suppressor although it is not associated with the ratings, and vice versa
    (Haufe et al. 2014; Wilming et al. 2023).

    Parameters
    ----------
    activation : ndarray
        (image, region, channel): mean activation of each channel at a tap; channels that are constant over
        images are ignored.
    ratings : ndarray
        (image,).

    Returns
    -------
    ndarray
        (region,): root mean square of the channels' Pearson correlations with the ratings. With n images and
        no association, about 1 / sqrt(n - 1).

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
    """Correlate along the last axis.

    Parameters
    ----------
    some, others : ndarray
        (..., value), of shapes that broadcast.

    Returns
    -------
    ndarray
        (...): Pearson; NaN if one of them is constant.
    """
    some = some - some.mean(-1, keepdims=True, dtype=float)
    others = others - others.mean(-1, keepdims=True, dtype=float)
    size = np.sqrt((some**2).sum(-1) * (others**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((some * others).sum(-1) / size)


def tabulate_readouts(maps: "xarray.DataArray") -> pd.DataFrame:
    """Return the readouts of maps as a table.

    Parameters
    ----------
    maps : DataArray
        With the coordinates group, trait and fold of readout.

    Returns
    -------
    DataFrame
        group, trait, fold; one row per readout.
    """
    return pd.DataFrame({name: maps[name].to_numpy() for name in (GROUP, TRAIT, FOLD)})
