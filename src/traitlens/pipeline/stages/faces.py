"""Stages that find landmarks, prepare images, measure faces, and label regions."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import xarray as xr
from threadpoolctl import threadpool_limits

from traitlens import storage
from traitlens.arrays import map_coordinates, write_arrays
from traitlens.artifacts import FACE_MEASURES, FACES, LANDMARKS, PREPARED, REGION_LABELS
from traitlens.columns import IMAGE, X, Y
from traitlens.computing.blocks import blocks_of
from traitlens.faces.cropping import prepare_image
from traitlens.faces.face_measures import describe_columns, measure_light, measure_points
from traitlens.faces.images import BACKGROUND, load_image
from traitlens.faces.landmarks import find_landmarks
from traitlens.faces.prepared_faces import N_POINTS, choose_crop, read_points
from traitlens.faces.regions import region_labels, region_names
from traitlens.pipeline.stage_io import StageIO
from traitlens.problems import naming_file

NO_LABEL = 255
"""Region label of the pixels of images that have no landmarks."""


def landmarks(io: StageIO) -> None:
    """Write landmarks (given by the study or detected) and notices about faces."""
    photographs, given = io.value("photographs"), io.value("given_landmarks")
    found = find_landmarks(photographs.paths, given, progress=io.advance, read=photographs.read)
    io.write(LANDMARKS, found.table)
    with_landmarks = set(found.table[IMAGE].unique())
    faces = {
        "without_landmarks": [image for image in photographs.paths if image not in with_landmarks],
        "notices": list(map(str, found.notices)),
    }
    io.write(FACES, faces)


def prepare(io: StageIO) -> None:
    """Write the prepared images and their landmarks.

    Stored with each image: `to_prepared`, the affine matrix from pixels of the upright photograph to pixels
    of the prepared image, and `photo_size`, the width and height of the photograph.
    """
    photographs, faces = io.value("photographs"), io.value("frame")
    points = read_points(io.file(LANDMARKS))
    images = list(photographs.paths)
    crop = choose_crop(faces, has_points=set(images) <= set(points))

    def prepared(image: str) -> dict[str, np.ndarray]:
        background = faces.background or BACKGROUND
        pixels = load_image(photographs.paths[image], background, photographs.read)
        with naming_file(f"images/{image}"):
            done = prepare_image(pixels, faces.size, crop, points.get(image))
        io.advance(1)
        there = points.get(image, np.full((N_POINTS, 2), np.nan))
        return {
            "pixels": done.pixels,
            "points": done.frame.map_points(there),
            "to_prepared": done.frame.matrix,
            "photo_size": np.array(done.frame.image_size),
        }

    def blocks() -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        with threadpool_limits(1), ThreadPoolExecutor() as pool:
            for positions in blocks_of(np.arange(len(images))):
                made = list(pool.map(prepared, [images[i] for i in positions]))
                yield positions, {name: np.stack([one[name] for one in made]) for name in made[0]}

    coordinates = {IMAGE: np.array(images, object), **map_coordinates(faces.size)}
    dataset = xr.Dataset(coords=coordinates, attrs=crop.to_json())
    number = len(images)
    dataset["points"] = (IMAGE, "point", "xy"), np.full((number, N_POINTS, 2), np.nan)
    dataset["to_prepared"] = (IMAGE, "xy", "xy1"), np.full((number, 2, 3), np.nan)
    dataset["photo_size"] = (IMAGE, "xy"), np.zeros((number, 2), int)
    dataset = dataset.assign_coords(colour=np.array(["red", "green", "blue"], object))
    with storage.atomic_write(io.file(PREPARED)) as temporary:
        write_arrays(temporary, dataset, {"pixels": ((IMAGE, Y, X, "colour"), "u1")}, blocks())


def measure(io: StageIO) -> None:
    """Write measures of each face: from landmarks, from pixels, and from columns of images.csv."""
    prepared = io.read(PREPARED)
    images = [str(image) for image in prepared[IMAGE].values]
    points = prepared["points"].to_numpy()
    table = pd.DataFrame(measure_points(points), index=pd.Index(images, name=IMAGE))
    light = np.empty((len(images), 2))
    for positions in blocks_of(np.arange(len(images))):
        for place, pixels in zip(positions, prepared["pixels"][positions].to_numpy(), strict=True):
            light[place] = measure_light(pixels, points[place])
        io.advance(len(positions))
    table[["brightness", "contrast"]] = light
    given = describe_columns(io.value("face_columns"), ())
    table = table.join(given.rename(columns={name: f"{name} (given)" for name in given if name in table}))
    io.write(FACE_MEASURES, table.dropna(axis=1, how="all").reset_index())


def label_regions(io: StageIO) -> None:
    """Write the region to which each pixel of each prepared image belongs."""
    prepared, polygons = io.read(PREPARED), dict(io.value("regions"))
    images, size = prepared[IMAGE].to_numpy(), prepared.sizes[Y]

    def blocks() -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        for positions in blocks_of(np.arange(len(images))):
            labels = np.full((len(positions), size, size), NO_LABEL, np.uint8)
            for index, points in enumerate(prepared["points"][positions].to_numpy()):
                if np.isfinite(points).all():
                    labels[index] = region_labels(points, size, polygons)
            io.advance(len(positions))
            yield positions, {"labels": labels}

    names = np.array(region_names(polygons), object)
    dataset = xr.Dataset(coords={IMAGE: images, "region": names, **map_coordinates(size)})
    with storage.atomic_write(io.file(REGION_LABELS)) as temporary:
        write_arrays(temporary, dataset, {"labels": ((IMAGE, Y, X), "u1")}, blocks())
