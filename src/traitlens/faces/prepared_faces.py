"""Choice of the crop, reading of the landmarks, and average of the prepared images of a study."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from traitlens.columns import IMAGE, POINT, X, Y
from traitlens.faces.cropping import Crop
from traitlens.study.settings import FaceSettings

N_POINTS = 478
"""Number of points of the face mesh."""

ROWS_AT_ONCE = 100_000
"""Number of rows of `landmarks.csv` that are read at once."""


def choose_crop(faces: FaceSettings, has_points: bool) -> Crop:
    """Return the crop that the settings of a study ask for; "auto" depends on whether there are landmarks."""
    name = faces.crop if faces.crop != "auto" else "face" if has_points else "full"
    return Crop(name, faces.larger, faces.up, faces.rotate, faces.background)


def average_face(prepared: xr.Dataset) -> np.ndarray:
    """Compute the mean of the prepared images, pixel by pixel, without warping.

    Parameters
    ----------
    prepared : Dataset
        Dataset with the variable pixels (image, y, x, colour).

    Returns
    -------
    ndarray of uint8 (y, x, colour)
        The mean image.
    """
    pixels = prepared["pixels"]
    total = np.zeros(pixels.shape[1:])
    for image in range(prepared.sizes[IMAGE]):
        total += pixels[image].to_numpy()
    return np.asarray((total / len(pixels)).round().astype(np.uint8))


def read_points(path: Path) -> dict[str, np.ndarray]:
    """Read the mesh of each image from `landmarks.csv`.

    Returns
    -------
    dict of str to ndarray
        Array of shape (478, 2) for each image with all 478 points.
    """
    pieces: dict[str, list[np.ndarray]] = {}
    for table in pd.read_csv(path, dtype={IMAGE: str}, chunksize=ROWS_AT_ONCE):
        if table.empty:
            break
        images, rows = table[IMAGE].to_numpy(), table[[POINT, X, Y]].to_numpy(float)
        starts = np.flatnonzero(np.append(True, images[1:] != images[:-1]))
        for image, piece in zip(images[starts], np.split(rows, starts[1:]), strict=True):
            pieces.setdefault(image, []).append(piece)
    found = {}
    for image, parts in pieces.items():
        points = np.concatenate(parts)
        if len(points) == N_POINTS:
            found[image] = points[np.argsort(points[:, 0]), 1:]
    return found
