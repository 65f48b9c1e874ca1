"""Images become the squares that the network sees, with their landmarks there."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from traitlens import keeping
from traitlens.arrays import map_coordinates, write_arrays
from traitlens.faces.images import load_image, prepare_image
from traitlens.pipeline.blocks import blocks_of
from traitlens.study.settings import FaceSettings
from traitlens.watching import Advance
from traitlens.words import IMAGE, X, Y

N_POINTS = 478
"""Points of the face mesh."""


def write_prepared(
    target: Path, paths: dict[str, Path], points: dict[str, np.ndarray], faces: FaceSettings, advance: Advance
) -> None:
    """Write every image as the square that the network sees, and its landmarks there, a block at a time.

    Parameters
    ----------
    target : Path
        The store to write.
    paths : dict of str to Path
        The file of each image.
    points : dict of str to ndarray (478, 2)
        Landmarks of the images that have them.
    faces : FaceSettings
        Crop and size.
    advance : callable
        Told of images done.
    """
    images = list(paths)
    crop = faces.crop
    if crop == "auto":
        crop = "face" if set(images) <= set(points) else "full"

    def prepared(image: str) -> tuple[np.ndarray, np.ndarray]:
        done = prepare_image(load_image(paths[image]), faces.size, crop, points.get(image))
        advance(1)
        there = points.get(image, np.full((N_POINTS, 2), np.nan))
        return done.pixels, done.frame.map_points(there)

    def blocks() -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        with ThreadPoolExecutor() as pool:
            for positions in blocks_of(np.arange(len(images))):
                pixels, landmarks = zip(*pool.map(prepared, [images[i] for i in positions]), strict=True)
                yield positions, {"pixels": np.stack(pixels), "points": np.stack(landmarks)}

    coordinates = {IMAGE: np.array(images, object), **map_coordinates(faces.size)}
    dataset = xr.Dataset(coords=coordinates, attrs={"crop": crop})
    dataset["points"] = (IMAGE, "point", "xy"), np.full((len(images), N_POINTS, 2), np.nan)
    dataset = dataset.assign_coords(colour=np.array(["red", "green", "blue"], object))
    with keeping.write_whole(target) as temporary:
        write_arrays(temporary, dataset, {"pixels": ((IMAGE, Y, X, "colour"), "u1")}, blocks())


def average_face(prepared: xr.Dataset) -> np.ndarray:
    """Average the prepared images, one at a time.

    Parameters
    ----------
    prepared : Dataset
        With pixels (image, y, x, colour).

    Returns
    -------
    ndarray of uint8 (y, x, colour)
        The average.
    """
    pixels = prepared["pixels"]
    total = np.zeros(pixels.shape[1:])
    for image in range(prepared.sizes[IMAGE]):
        total += pixels[image].to_numpy()
    return np.asarray((total / len(pixels)).round().astype(np.uint8))


def read_points(path: Path) -> dict[str, np.ndarray]:
    """Read `landmarks.csv` as one array per image.

    Parameters
    ----------
    path : Path
        image, point, x, y.

    Returns
    -------
    dict of str to ndarray
        (478, 2) by image, for the images that have every point.
    """
    table = pd.read_csv(path, dtype={IMAGE: str})
    points = {}
    for image, part in table.groupby(IMAGE):
        ordered = part.sort_values("point")[[X, Y]].to_numpy(float)
        if len(ordered) == N_POINTS:
            points[str(image)] = ordered
    return points
