"""The 478 landmarks of every face of a study: given, detected or fitted.

`point` is the index of a point of the mesh as text, "0" to "477"; 468 and 473 are the pupils ("left" is the
left of the image). Coordinates are pixel-corner coordinates (x, y) of the upright image.
"""

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from traitlens.columns import IMAGE, POINT, X, Y
from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.faces.detection import DOUBTFUL_POSE, MESH_POINTS, Detection, detect_landmarks, head_pose
from traitlens.faces.face_networks import single_thread
from traitlens.faces.frames import apply_affine, fit_similarity, pupil_distance
from traitlens.faces.images import THREADS, load_image
from traitlens.problems import Problem, TraitlensError

__all__ = ["Detection", "Landmarks", "deform_mesh", "detect_landmarks", "find_landmarks", "to_table"]

REACH: Final = 0.4
"""Length scale of the influence of a given point on its neighbours, in pupil distances."""

FOREIGN: Final = 0.5
"""Median distance (same unit) of given from detected points above which they belong to different faces."""


@dataclass(frozen=True)
class Landmarks:
    """The landmarks of a study.

    Parameters
    ----------
    table : DataFrame
        image, point, x, y: 478 rows for each image with landmarks.
    found : DataFrame
        One row per image: image, source ("given", "detected", "given and detected", "given and mean face" or
        "none"), score, face_flag, n_faces, pose.
    notices : tuple of Problem
        Notices on what to check by eye, one per image and fault.
    """

    table: pd.DataFrame
    found: pd.DataFrame
    notices: tuple[Problem, ...]

    def points(self, image: str) -> np.ndarray | None:
        """Return the mesh of an image.

        Returns
        -------
        ndarray (478, 2) or None
            x and y in pixels of the upright image; None if the image has no landmarks.
        """
        rows = self.table[self.table[IMAGE] == image]
        if rows.empty:
            return None
        points: np.ndarray = np.empty((len(rows), 2))
        points[rows[POINT].astype(int)] = rows[[X, Y]]
        return points


def to_table(image: str, points: np.ndarray) -> pd.DataFrame:
    """Return a mesh as a table.

    Parameters
    ----------
    points : ndarray (478, 2)
        x and y.
    """
    names = [str(index) for index in range(len(points))]
    return pd.DataFrame({IMAGE: image, POINT: names, X: points[:, 0], Y: points[:, 1]})


def deform_mesh(mesh: np.ndarray, indices: np.ndarray, places: np.ndarray) -> np.ndarray:
    r"""Deform a mesh smoothly so that it passes through given points.

    Each given point's shift fades with the distance r by (1 + a r) exp(-a r), a = sqrt(3) / (0.4 pupil
    distances), the Matérn covariance of order 3/2: this interpolates the most likely smooth displacement
    field (kriging; Stein 1999, *Interpolation of Spatial Data*).

    Parameters
    ----------
    mesh : ndarray (478, 2)
        The mesh.
    indices : ndarray (n,) of int
        Indices of the given points.
    places : ndarray (n, 2)
        Their positions.

    Returns
    -------
    ndarray (478, 2)
        The mesh through the given points; far from them it is unchanged.

    Examples
    --------
    >>> mesh = canonical_mesh().points
    >>> bent = deform_mesh(mesh, np.array([468]), mesh[[468]] + 5)
    >>> (bent - mesh)[[468, 152]].round(1).tolist()
    [[5.0, 5.0], [0.0, 0.0]]
    """
    rate = math.sqrt(3) / (REACH * pupil_distance(mesh))

    def likeness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the covariance of the shifts of two sets of points."""
        distance = rate * np.linalg.norm(first[:, None] - second[None], axis=-1)
        alike: np.ndarray = (1 + distance) * np.exp(-distance)
        return alike

    anchors = mesh[indices]
    pull = np.linalg.solve(likeness(anchors, anchors), places - anchors)
    bent: np.ndarray = mesh + likeness(mesh, anchors) @ pull
    bent[indices] = places
    return bent


def find_landmarks(
    paths: Mapping[str, Path],
    given: pd.DataFrame | None = None,
    detect: bool = True,
    progress: Callable[[int], None] | None = None,
    read: Callable[[Path], bytes] | None = None,
) -> Landmarks:
    """Find the landmarks of many images.

    If all 478 points of an image are given, they are used as they are. If some are given, the detected mesh
    (otherwise the mean face, fitted by rotation, scale and shift) is deformed to pass through them.

    Parameters
    ----------
    paths : mapping of str to Path
        The files by image name.
    given : DataFrame, optional
        image, point, x, y, as in `landmarks.csv`.
    detect : bool, default True
        Whether to detect faces.
    progress : callable, optional
        Called with the number of images done since the last call.
    read : callable or None
        Reads a file's content; opens the file if None. Every image is decoded, so that unusable files are
        found here.

    Returns
    -------
    Landmarks
        Points, their source, and notices. Images without a face have a notice and no points.

    Raises
    ------
    TraitlensError
        With every fault of the given points and every image that cannot be read.

    Examples
    --------
    >>> landmarks = find_landmarks({"anna.jpg": Path("anna.jpg")})  # doctest: +SKIP
    >>> landmarks.points("anna.jpg")[468]  # doctest: +SKIP
    array([502.1, 830.6])
    """
    by_image = _group_given(given)

    def find(name: str) -> _Found | list[Problem]:
        """Return one image's landmarks, or its faults."""
        try:
            pixels = load_image(paths[name], read=read)
            return _find_one(name, pixels, by_image.get(name), detect)
        except TraitlensError as error:
            return [Problem(fault.what, fault.advice, name) for fault in error.problems]
        finally:
            if progress is not None:
                progress(1)

    # torch stores the number of threads per thread, so each worker must set it. Linear algebra called
    # from several threads rounds differently each time, unless each call has one thread.
    with single_thread(), threadpool_limits(1), ThreadPoolExecutor(max_workers=THREADS) as pool:
        results = list(pool.map(find, paths))
    faults = [fault for result in results if isinstance(result, list) for fault in result]
    if faults:
        raise TraitlensError(faults)
    found = [result for result in results if isinstance(result, _Found)]
    meshes = {one.image: one.points for one in found if one.points is not None}
    return Landmarks(
        _tabulate(meshes),
        pd.DataFrame([one.row() for one in found]),
        tuple(notice for one in found for notice in one.notices),
    )


def _tabulate(meshes: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return meshes as one table with categorical names, 478 rows for each image."""
    points = np.concatenate([np.empty((0, 2)), *meshes.values()])
    names = [str(index) for index in range(MESH_POINTS)]
    return pd.DataFrame(
        {
            IMAGE: pd.Categorical.from_codes(np.repeat(np.arange(len(meshes)), MESH_POINTS), list(meshes)),
            POINT: pd.Categorical.from_codes(np.tile(np.arange(MESH_POINTS), len(meshes)), names),
            X: points[:, 0],
            Y: points[:, 1],
        }
    )


@dataclass(frozen=True)
class _Found:
    """One image's landmarks."""

    image: str
    points: np.ndarray | None
    source: str
    detection: Detection | None
    notices: tuple[Problem, ...]

    def row(self) -> dict[str, object]:
        """Return the source of the landmarks."""
        seen = self.detection or Detection(None, math.nan, math.nan)
        return {
            IMAGE: self.image,
            "source": self.source,
            "score": seen.score,
            "face_flag": seen.face_flag,
            "n_faces": seen.n_faces,
            "pose": math.nan if self.points is None else head_pose(self.points),
        }


def find_unknown_points(given: pd.DataFrame) -> list[Problem]:
    """Return points that the face mesh does not have."""
    known = {str(index) for index in range(MESH_POINTS)}
    unknown = sorted(set(given[POINT].astype(str)) - known)
    if not unknown:
        return []
    what = f"unknown points {', '.join(map(repr, unknown[:5]))}"
    advice = "number points as the face mesh does, 0 to 477"
    return [Problem(what, advice, "landmarks.csv", column=POINT)]


def _group_given(given: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """Check the given points and group them by image."""
    if given is None or given.empty:
        return {}
    if unknown := find_unknown_points(given):
        raise TraitlensError(unknown)
    missing = given[[X, Y]].isna().any(axis=1)
    given = given[~missing]
    return {str(image): rows for image, rows in given.groupby(IMAGE)}


def _find_one(name: str, pixels: np.ndarray, given: pd.DataFrame | None, detect: bool) -> _Found:
    """Return one image's landmarks."""
    if given is None:
        detection = detect_landmarks(pixels) if detect else Detection(None)
        source = "none" if detection.points is None else "detected"
        notices = [*detection.notices] or (["landmarks are missing"] if detection.points is None else [])
        return _Found(name, detection.points, source, detection, _problems(name, notices))
    indices = given[POINT].astype(int).to_numpy()
    places = given[[X, Y]].to_numpy(dtype=float)
    if len(indices) == MESH_POINTS:
        points = places[np.argsort(indices)]
        return _Found(name, points, "given", None, _problems(name, _pose_notices(points)))
    seen = detect_landmarks(pixels) if detect else None
    if seen is not None and seen.points is not None and _same_face(seen.points, indices, places):
        points = deform_mesh(seen.points, indices, places)
        return _Found(name, points, "given and detected", seen, _problems(name, _pose_notices(points)))
    if len(indices) < 2 or np.ptp(places, axis=0).max() == 0:
        notice = "too few landmarks are given, and no face was found there"
        return _Found(name, None, "none", seen, _problems(name, [notice]))
    mean = canonical_mesh().points
    fitted = apply_affine(fit_similarity(mean[indices], places), mean)
    points = deform_mesh(fitted, indices, places)
    return _Found(name, points, "given and mean face", seen, _problems(name, _pose_notices(points)))


def _same_face(points: np.ndarray, indices: np.ndarray, places: np.ndarray) -> bool:
    """Return whether given points belong to the face that was detected."""
    away = np.median(np.linalg.norm(points[indices] - places, axis=1))
    return bool(away < FOREIGN * pupil_distance(points))


def _pose_notices(points: np.ndarray) -> list[str]:
    """Return notices about a turned head."""
    return ["the head is turned"] if abs(head_pose(points)) > DOUBTFUL_POSE else []


def _problems(image: str, notices: list[str]) -> tuple[Problem, ...]:
    """Return an image's notices as problems."""
    advice = "check the face sheet; correct landmarks.csv or remove the image"
    return tuple(Problem(notice, advice, image) for notice in notices)
