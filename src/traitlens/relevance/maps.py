"""Averages of relevance maps."""

import numpy as np
import xarray as xr

from traitlens.words import GROUP, IMAGE, RELEVANCE, TRAIT, X, Y


def average_maps(maps: xr.Dataset) -> xr.Dataset:
    r"""Average maps over images, plainly and along the prediction.

    The plain mean of maps that explain deviations from the mean rating is near zero, because deviations
    cancel. The aligned average weighs each map by how far its prediction lies from the mean prediction,

    .. math:: A = \frac{1}{n} \sum_i R_i \frac{f_i - \bar f}{s_f},

    so that a pixel is positive where it raised high predictions and lowered low ones. Where relevance is
    conserved, the sum of :math:`A` over pixels is :math:`s_f`, the standard deviation of the predictions.

    Parameters
    ----------
    maps : Dataset
        `relevance` (group, trait, image, y, x) and `prediction` (group, trait, image).

    Returns
    -------
    Dataset
        `aligned` and `mean` (group, trait, y, x), rating points per pixel.

    Examples
    --------
    >>> averages = average_maps(open_arrays("results/maps.zarr"))  # doctest: +SKIP
    """
    predictions = maps["prediction"].to_numpy()
    weights = predictions - np.nanmean(predictions, axis=-1, keepdims=True)
    spread = np.nanstd(predictions, axis=-1, keepdims=True)
    weights = np.divide(weights, spread, out=np.zeros_like(weights), where=spread > 0)
    shape = (*predictions.shape[:2], maps.sizes[Y], maps.sizes[X])
    mean, aligned = np.zeros(shape), np.zeros(shape)
    count = np.isfinite(predictions).sum(-1)[..., None, None]
    for image in range(maps.sizes[IMAGE]):
        values = np.nan_to_num(maps[RELEVANCE][:, :, image].to_numpy().astype(float))
        mean += values
        aligned += values * np.nan_to_num(weights[:, :, image, None, None])
    dims = (GROUP, TRAIT, Y, X)
    coordinates = {name: maps[name] for name in dims}
    return xr.Dataset({"aligned": (dims, aligned / count), "mean": (dims, mean / count)}, coordinates)
