"""Colour rendering of relevance maps: smoothing, symmetric colour scales, overlay on faces, compression."""

import base64
import io
from typing import Final

import matplotlib as mpl
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from traitlens.report.style import MAP_COLOURS

PERCENTILE: Final = 99.9
SMOOTHING: Final = 2.0
OPACITY: Final = 0.5


def smooth(maps: np.ndarray, sigma: float = SMOOTHING) -> np.ndarray:
    """Smooth maps with a Gaussian filter.

    Parameters
    ----------
    maps : array (..., y, x)
        Relevance maps in rating points per pixel.
    sigma : float, default 2.0
        Standard deviation in pixels; 0 leaves the maps as they are.

    Returns
    -------
    array (..., y, x)
        Smoothed maps in the same unit.
    """
    maps = np.asarray(maps, dtype=np.float64)
    if sigma <= 0:
        return maps
    return np.asarray(gaussian_filter(maps, sigma, mode="nearest", axes=(-2, -1)))


def symmetric_limit(*maps: np.ndarray, percentile: float = PERCENTILE) -> float:
    """Compute the limit of a symmetric colour scale from a percentile of absolute values.

    Parameters
    ----------
    *maps : arrays
        Maps that share the scale; values that are not finite are ignored.
    percentile : float, default 99.9
        Percentile of the absolute values at which the scale ends; larger values have the colour of the end.

    Returns
    -------
    float
        The limit, above zero.

    Examples
    --------
    >>> symmetric_limit(np.array([-2.0, 0.0, 1.0]), percentile=100)
    2.0
    """
    values = np.abs(np.concatenate([np.ravel(m) for m in maps]))
    values = values[np.isfinite(values)]
    if not values.size or not values.max():
        return 1.0
    limit = float(np.percentile(values, percentile))
    return limit if limit > 0 else float(values.max())


def colour(relevance: np.ndarray, limit: float) -> np.ndarray:
    """Colour one map: red above zero, blue below, white at zero.

    Parameters
    ----------
    relevance : array (y, x)
        One map; pixels that are not finite become grey.
    limit : float
        The scale runs from -limit to +limit.

    Returns
    -------
    uint8 array (y, x, 3)
        RGB colours.
    """
    shares = np.clip(np.asarray(relevance, dtype=np.float64) / limit, -1, 1) * 0.5 + 0.5
    colours = mpl.colormaps[MAP_COLOURS](np.where(np.isfinite(shares), shares, 0.5), bytes=True)[..., :3]
    return np.where(np.isfinite(shares)[..., None], colours, np.uint8(200)).astype(np.uint8)


def lay_over(face: np.ndarray, colours: np.ndarray, opacity: float = OPACITY) -> np.ndarray:
    """Overlay a coloured map on a grey face by multiplication.

    Where the face is white or hidden, pixels keep the colour of the scale.

    Parameters
    ----------
    face : uint8 array (y, x, 3)
        The face.
    colours : uint8 array (y, x, 3)
        The colours of the map.
    opacity : float, default 0.5
        Opacity of the face: 0 hides it, 1 shows it in full.

    Returns
    -------
    uint8 array (y, x, 3)
        The face under the map.
    """
    grey = face.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) / 255
    shade = 1 - opacity * (1 - grey)
    shaded: np.ndarray = np.rint(colours * shade[..., None]).astype(np.uint8)
    return shaded


def data_uri(pixels: np.ndarray, side: int | None = None, quality: int = 80, kind: str = "JPEG") -> str:
    """Encode an image as a `data:` address.

    Parameters
    ----------
    pixels : uint8 array (y, x, 3)
        RGB image.
    side : int or None
        Longest side of the encoded image in pixels; None keeps its size.
    quality : int, default 80
        Quality of the compression.
    kind : {"JPEG", "WebP"}, default "JPEG"
        File format. WebP files are a third smaller, but only browsers read them inside SVG files.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if side is not None and max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    options = {"optimize": True, "subsampling": 0} if kind == "JPEG" else {"method": 6}
    image.save(buffer, kind, quality=quality, **options)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()
