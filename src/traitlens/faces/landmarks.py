"""The 478 landmarks of every face of a study: provided by the study, detected, or fitted.

`point` is the index of a point of the mesh as a string, "0" to "477"; "468" is the left and "473" the right
pupil in the image. Coordinates are pixel-corner coordinates (x, y) of the upright image.
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
"""Length scale, in pupil distances, over which the shift of a given point affects other points."""

FOREIGN: Final = 0.5
"""Median distance between given and detected points, in pupil distances, above which the faces differ."""


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
        Reasons to check images by eye.
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
    """Convert the mesh of an image, of shape (478, 2), to a table with the columns image, point, x, y."""
    names = [str(index) for index in range(len(points))]
    return pd.DataFrame({IMAGE: image, POINT: names, X: points[:, 0], Y: points[:, 1]})


def deform_mesh(mesh: np.ndarray, indices: np.ndarray, places: np.ndarray) -> np.ndarray:
    r"""Deform a mesh smoothly so that it passes through given points.

    Displacements are interpolated by kriging with the Matérn covariance of order 3/2 (Stein 1999,
    *Interpolation of Spatial Data*): (1 + a r) exp(-a r) at the distance r, with a = sqrt(3) / (0.4 pupil
    distances).

    Parameters
    ----------
    mesh : ndarray (478, 2)
        The mesh.
    indices : ndarray (n,) of int
        Indices of the given points.
    places : ndarray (n, 2)
        Positions of the given points.

    Returns
    -------
    ndarray (478, 2)
        The deformed mesh, which is unchanged far from the given points.

    Examples
    --------
    >>> mesh = canonical_mesh().points
    >>> bent = deform_mesh(mesh, np.array([468]), mesh[[468]] + 5)
    >>> (bent - mesh)[[468, 152]].round(1).tolist()
    [[5.0, 5.0], [0.0, 0.0]]
    """
    rate = math.sqrt(3) / (REACH * pupil_distance(mesh))

    def likeness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the covariances between the displacements of two sets of points."""
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

    If all 478 points of an image are given, they are used unchanged. If some points are given, the detected
    mesh is deformed to pass through them, or the mean face if no face is detected.

    Parameters
    ----------
    paths : mapping of str to Path
        Image files by name.
    given : DataFrame, optional
        Given landmarks: image, point, x, y, as in `landmarks.csv`.
    detect : bool, default True
        Whether to detect faces.
    progress : callable, optional
        Called with the number of images done since the last call.
    read : callable or None
        Function that returns the content of a file; if None, the file is opened.

    Returns
    -------
    Landmarks
        Points, their source, and notices. Images without a face have a notice and no points.

    Raises
    ------
    TraitlensError
        With a problem for each image that cannot be decoded, and for unknown given points.

    Examples
    --------
    >>> landmarks = find_landmarks({"anna.jpg": Path("anna.jpg")})  # doctest: +SKIP
    >>> landmarks.points("anna.jpg")[468]  # doctest: +SKIP
    array([502.1, 830.6])
    """
    by_image = _group_given(given)

    def find(name: str) -> _ImageLandmarks | list[Problem]:
        """Return the landmarks of one image, or its problems."""
        try:
            pixels = load_image(paths[name], read=read)
            return _find_in_image(name, pixels, by_image.get(name), detect)
        except TraitlensError as error:
            return [Problem(fault.what, fault.advice, name) for fault in error.problems]
        finally:
            if progress is not None:
                progress(1)

    # With several threads per call, linear algebra rounds differently from run to run.
    with single_thread(), threadpool_limits(1), ThreadPoolExecutor(max_workers=THREADS) as pool:
        results = list(pool.map(find, paths))
    faults = [fault for result in results if isinstance(result, list) for fault in result]
    if faults:
        raise TraitlensError(faults)
    found = [result for result in results if isinstance(result, _ImageLandmarks)]
    meshes = {one.image: one.points for one in found if one.points is not None}
    return Landmarks(
        _tabulate(meshes),
        pd.DataFrame([one.row() for one in found]),
        tuple(notice for one in found for notice in one.notices),
    )


def _tabulate(meshes: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return a table (image, point, x, y) of meshes, 478 rows for each, with categorical image and point."""
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
class _ImageLandmarks:
    """Landmarks of one image, their source, and notices."""

    image: str
    points: np.ndarray | None
    source: str
    detection: Detection | None
    notices: tuple[Problem, ...]

    def row(self) -> dict[str, object]:
        """Return the row of the image in :attr:`Landmarks.found`."""
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
    """Return a problem if a table of landmarks contains points that the face mesh does not have."""
    known = {str(index) for index in range(MESH_POINTS)}
    unknown = sorted(set(given[POINT].astype(str)) - known)
    if not unknown:
        return []
    what = f"unknown points {', '.join(map(repr, unknown[:5]))}"
    advice = "use the point numbers of the face mesh, 0 to 477"
    return [Problem(what, advice, "landmarks.csv", column=POINT)]


def _group_given(given: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """Check the given landmarks, drop points without coordinates, and group the others by image."""
    if given is None or given.empty:
        return {}
    if unknown := find_unknown_points(given):
        raise TraitlensError(unknown)
    missing = given[[X, Y]].isna().any(axis=1)
    given = given[~missing]
    return {str(image): rows for image, rows in given.groupby(IMAGE)}


def _find_in_image(
    name: str, pixels: np.ndarray, given: pd.DataFrame | None, detect: bool
) -> _ImageLandmarks:
    """Find the landmarks of one image, given its pixels and the landmarks that the study provides."""
    if given is None:
        detection = detect_landmarks(pixels) if detect else Detection(None)
        source = "none" if detection.points is None else "detected"
        notices = [*detection.notices] or (["landmarks are missing"] if detection.points is None else [])
        return _ImageLandmarks(name, detection.points, source, detection, _to_problems(name, notices))
    indices = given[POINT].astype(int).to_numpy()
    places = given[[X, Y]].to_numpy(dtype=float)
    if len(indices) == MESH_POINTS:
        points = places[np.argsort(indices)]
        return _ImageLandmarks(name, points, "given", None, _to_problems(name, _pose_notices(points)))
    seen = detect_landmarks(pixels) if detect else None
    if seen is not None and seen.points is not None and _same_face(seen.points, indices, places):
        points = deform_mesh(seen.points, indices, places)
        return _ImageLandmarks(
            name, points, "given and detected", seen, _to_problems(name, _pose_notices(points))
        )
    if len(indices) < 2 or np.ptp(places, axis=0).max() == 0:
        notice = "too few landmarks are given, and no face was found near them"
        return _ImageLandmarks(name, None, "none", seen, _to_problems(name, [notice]))
    mean = canonical_mesh().points
    fitted = apply_affine(fit_similarity(mean[indices], places), mean)
    points = deform_mesh(fitted, indices, places)
    return _ImageLandmarks(
        name, points, "given and mean face", seen, _to_problems(name, _pose_notices(points))
    )


def _same_face(points: np.ndarray, indices: np.ndarray, places: np.ndarray) -> bool:
    """Return whether given points are close enough to a detected mesh to belong to the same face."""
    away = np.median(np.linalg.norm(points[indices] - places, axis=1))
    return bool(away < FOREIGN * pupil_distance(points))


def _pose_notices(points: np.ndarray) -> list[str]:
    """Return a notice if the head is turned."""
    return ["the head is turned"] if abs(head_pose(points)) > DOUBTFUL_POSE else []


def _to_problems(image: str, notices: list[str]) -> tuple[Problem, ...]:
    """Convert notices about an image to problems with advice."""
    advice = "check the face sheet; correct landmarks.csv or remove the image"
    return tuple(Problem(notice, advice, image) for notice in notices)
