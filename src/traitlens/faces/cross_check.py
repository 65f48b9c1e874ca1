"""Check of landmarks against dlib's 68 points (Kazemi and Sullivan 2014).

It needs the extra `cross-check`. dlib's model was trained on iBUG 300-W, whose images may not be used
commercially; traitlens does not ship it.
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
"""Median distance between both methods' points, in % of the pupil distance, above which a notice is made."""

LONG_SIDE: Final = 800
"""Images are scaled to this size: dlib finds faces of 80 pixels and more."""


def cross_check(
    paths: Mapping[str, Path], landmarks: Landmarks, progress: Callable[[int], None] | None = None
) -> tuple[pd.DataFrame, list[Problem]]:
    """Compare landmarks with those that dlib finds.

    Parameters
    ----------
    landmarks : Landmarks
        From :func:`~traitlens.faces.landmarks.find_landmarks`.
    progress : callable, optional
        Called with the number of images done.

    Returns
    -------
    table : DataFrame
        image, apart: median distance of the points that both methods have, in % of the pupil distance;
        missing if one of them found no face.
    notices : list of Problem
        The images on which they disagree.

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
            what = f"only {'dlib' if mesh is None else 'the mesh'} found a face"
            notices.append(Problem(what, "check the face sheet", image))
        elif apart > MOST_APART:
            what = f"dlib's landmarks differ (by {apart:.0f} % of the distance between the pupils)"
            notices.append(Problem(what, "check the face sheet", image))
        if progress is not None:
            progress(1)
    return pd.DataFrame(rows, columns=[IMAGE, "apart"]), notices


def _load_dlib() -> tuple[Any, Any]:
    """Load dlib's face detector and its predictor of 68 points."""
    try:
        import dlib

        models = resources.files("face_recognition_models") / "models"
        with resources.as_file(models / "shape_predictor_68_face_landmarks.dat") as file:
            return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(file))
    except ImportError as error:
        advice = 'install it with: pip install "traitlens[cross-check]"'
        raise TraitlensError(Problem("the cross-check needs dlib and its model", advice)) from error


def _find_68_points(pixels: np.ndarray, detector: Any, predictor: Any) -> np.ndarray | None:
    """Return dlib's points of the largest face, in pixels of the image."""
    shrink = max(max(pixels.shape[:2]) / LONG_SIDE, 1.0)
    size = (round(pixels.shape[1] / shrink), round(pixels.shape[0] / shrink))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX)) if shrink > 1 else pixels
    boxes = sorted(detector(small, 0), key=lambda box: box.area())
    if not boxes:
        return None
    shape = predictor(small, boxes[-1])
    points = np.array([(part.x, part.y) for part in shape.parts()], dtype=float) + 0.5  # pixel centres
    return points * [pixels.shape[1] / size[0], pixels.shape[0] / size[1]]
