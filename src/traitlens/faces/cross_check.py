"""Comparison of landmarks with the 68 points that dlib detects (Kazemi and Sullivan 2014).

The comparison needs the extra `cross-check`. The model of dlib was trained on iBUG 300-W, whose images may
not be used commercially, and does not come with traitlens.
"""

from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from PIL import Image

from traitlens.columns import IMAGE
from traitlens.faces.frames import pupil_distance
from traitlens.faces.images import load_image
from traitlens.faces.landmark_files import DLIB_TO_MESH
from traitlens.faces.landmarks import Landmarks
from traitlens.problems import Problem, TraitlensError

MOST_APART: Final = 15.0
"""Median distance between the points of both methods, in % of the pupil distance, that causes a notice."""

LONG_SIDE: Final = 800
"""Maximum length in pixels of an image's long side; larger images are reduced before dlib sees them."""


def cross_check(
    paths: Mapping[str, Path], landmarks: Landmarks, progress: Callable[[int], None] | None = None
) -> tuple[pd.DataFrame, list[Problem]]:
    """Compare landmarks with the landmarks that dlib detects.

    Parameters
    ----------
    paths : mapping of str to Path
        Image files by name.
    landmarks : Landmarks
        Landmarks of the images, as returned by :func:`~traitlens.faces.landmarks.find_landmarks`.
    progress : callable, optional
        Called with the number of images done since the last call.

    Returns
    -------
    table : DataFrame
        image, apart: median distance between corresponding points, in % of the pupil distance; NaN if either
        method found no face.
    notices : list of Problem
        A notice for each image on which the methods disagree.

    Raises
    ------
    TraitlensError
        If dlib is not installed.

    Examples
    --------
    >>> table, notices = cross_check(paths, landmarks)  # doctest: +SKIP
    """
    detector, predictor = _load_dlib()
    rows, notices = [], []
    for image, path in paths.items():
        mesh = landmarks.points(image)
        points = _find_68_points(load_image(path), detector, predictor)
        apart = np.nan
        if mesh is not None and points is not None:
            places, indices = points[list(DLIB_TO_MESH)], list(DLIB_TO_MESH.values())
            distances = np.linalg.norm(mesh[indices] - places, axis=1)
            apart = 100 * float(np.median(distances)) / pupil_distance(mesh)
        rows.append((image, apart))
        if (mesh is None) != (points is None):
            what = f"only {'dlib' if mesh is None else 'traitlens'} found a face"
            notices.append(Problem(what, "check the face sheet", image))
        elif apart > MOST_APART:
            what = f"dlib's landmarks differ (by {apart:.0f} % of the distance between the pupils)"
            notices.append(Problem(what, "check the face sheet", image))
        if progress is not None:
            progress(1)
    return pd.DataFrame(rows, columns=[IMAGE, "apart"]), notices


def _load_dlib() -> tuple[Any, Any]:
    """Return dlib's face detector and its predictor of 68 points."""
    try:
        import dlib

        models = resources.files("face_recognition_models") / "models"
        with resources.as_file(models / "shape_predictor_68_face_landmarks.dat") as file:
            return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(file))
    except ImportError as error:
        advice = 'install it with: pip install "traitlens[cross-check]"'
        raise TraitlensError(Problem("the cross-check needs dlib and its model", advice)) from error


def _find_68_points(pixels: np.ndarray, detector: Any, predictor: Any) -> np.ndarray | None:
    """Return the 68 points of the largest face in pixels of the image; None if dlib finds no face."""
    shrink = max(max(pixels.shape[:2]) / LONG_SIDE, 1.0)
    size = (round(pixels.shape[1] / shrink), round(pixels.shape[0] / shrink))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX)) if shrink > 1 else pixels
    boxes = sorted(detector(small, 0), key=lambda box: box.area())
    if not boxes:
        return None
    shape = predictor(small, boxes[-1])
    points = np.array([(part.x, part.y) for part in shape.parts()], dtype=float) + 0.5  # pixel centres
    return points * [pixels.shape[1] / size[0], pixels.shape[0] / size[1]]
