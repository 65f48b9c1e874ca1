"""Detection of faces and of the 478 points of the face mesh.

The detector network finds faces and their eyes in the whole image. The mesh network then finds the points in
an upright square around each face.
"""

import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from traitlens.faces.cropping import edge_colour, find_frame, resample
from traitlens.faces.face_networks import DETECTOR, MESH, load_network, single_thread
from traitlens.faces.frames import LEFT_PUPIL, RIGHT_PUPIL, fit_similarity, make_frame

MESH_POINTS: Final = 478
NOSE_TIP: Final = 1

LOWEST_SCORE: Final = 0.65
"""Minimum score of a detection. At 0.65, no face was detected in 18 landscapes, and no studio portrait was
missed."""

CLEAR_SCORE: Final = 0.9
CLEARER: Final = 0.05
"""If the score of a face is at most 0.9, the detector is also run on the image rotated by 180°; the face is
upside down if its score is then higher by more than 0.05."""

LOWEST_FACE_FLAG: Final = 0.9
"""Minimum score of the mesh network for the presence of a face."""

DOUBTFUL_POSE: Final = 0.2
"""Lateral shift of the nose tip, in pupil distances, above which a head counts as turned."""

PROFILE_POSE: Final = 0.4
"""Lateral shift of the nose tip, in pupil distances, above which a face cannot be warped to the template."""

DETECTOR_SIZE: Final = 128
MESH_SIZE: Final = 192
MARGIN: Final = 1.5
MOST_OVERLAP: Final = 0.3


@dataclass(frozen=True)
class Detection:
    """Landmarks of a detected face, with scores and notices.

    Parameters
    ----------
    points : ndarray (478, 2) or None
        x and y of the mesh in pixels of the upright image; None if no face was found.
    score : float
        Score of the detector network, 0 to 1.
    face_flag : float
        Score of the mesh network for the presence of a face, 0 to 1.
    n_faces : int
        Number of faces in the image.
    pose : float
        Lateral shift of the nose tip in pupil distances; positive to the right.
    notices : tuple of str
        Reasons to check the image by eye.
    """

    points: np.ndarray | None
    score: float = 0.0
    face_flag: float = 0.0
    n_faces: int = 0
    pose: float = math.nan
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Box:
    """Bounding box and eyes of a detected face, in pixels of the image."""

    score: float
    centre: np.ndarray
    size: np.ndarray
    eyes: np.ndarray

    def overlap(self, other: "_Box") -> float:
        """Return the intersection over union of two boxes."""
        low = np.maximum(self.centre - self.size / 2, other.centre - other.size / 2)
        high = np.minimum(self.centre + self.size / 2, other.centre + other.size / 2)
        common = float(np.prod(np.clip(high - low, 0, None)))
        return common / (float(np.prod(self.size)) + float(np.prod(other.size)) - common)


def detect_landmarks(pixels: np.ndarray) -> Detection:
    """Detect the landmarks of the largest central face of an image.

    Parameters
    ----------
    pixels : ndarray (row, column, 3) of uint8
        An upright image.

    Returns
    -------
    Detection
        The landmarks, or a notice with the reason why there are none.

    Examples
    --------
    >>> detect_landmarks(np.zeros((100, 100, 3), np.uint8)).notices
    ('no face was found',)
    """
    with single_thread():
        found = _read_largest(pixels)
        if found is not None and not _is_upside_down(pixels, found.score):
            return found
        for turns, how in ((2, "upside down"), (1, "turned to the right"), (3, "turned to the left")):
            if _read_largest(np.rot90(pixels, turns)) is not None:
                return Detection(None, notices=(f"the face is {how}: turn the image upright",))
    return Detection(None, notices=("no face was found",))


def _is_upside_down(pixels: np.ndarray, score: float) -> bool:
    """Return whether the detector finds a face with a clearly higher score in the image rotated by 180°."""
    if score > CLEAR_SCORE:
        return False
    turned = _find_boxes(np.rot90(pixels, 2))
    return bool(turned) and turned[0].score > score + CLEARER


def detect_all(pixels: np.ndarray) -> list[Detection]:
    """Detect the landmarks of all faces of an image.

    Parameters
    ----------
    pixels : ndarray (row, column, 3) of uint8
        An upright image.

    Returns
    -------
    list of Detection
        The detected faces, with the largest central face first.

    Examples
    --------
    >>> detect_all(np.zeros((100, 100, 3), np.uint8))
    []
    """
    with single_thread():
        return _read_faces(pixels)


def _read_largest(pixels: np.ndarray) -> Detection | None:
    """Return the largest central face of an image; None if there is no face."""
    faces = _read_faces(pixels)
    return faces[0] if faces else None


def _read_faces(pixels: np.ndarray) -> list[Detection]:
    """Return all faces of an image, with the largest central face first."""
    boxes = _find_boxes(pixels)
    height, width = pixels.shape[:2]
    centre, reach = np.array([width, height]) / 2, math.hypot(width, height) / 2

    def weight(box: _Box) -> float:
        """Return a weight that is higher for larger and more central faces."""
        return float(np.prod(box.size)) * (1 - 0.5 * float(np.linalg.norm(box.centre - centre)) / reach)

    faces = []
    for box in sorted(boxes, key=weight, reverse=True):
        points, face_flag = _read_mesh(pixels, box)
        if face_flag >= LOWEST_FACE_FLAG:
            faces.append((box, points, face_flag))
    return [
        Detection(
            points, box.score, face_flag, len(faces), head_pose(points), _list_notices(points, len(faces))
        )
        for box, points, face_flag in faces
    ]


def _list_notices(points: np.ndarray, count: int) -> tuple[str, ...]:
    """Return reasons to check an image by eye: several faces, or a turned face."""
    notices = []
    if count > 1:
        notices.append(f"{count} faces were found; the largest central one is used")
    turn = math.degrees(math.atan2(*(points[RIGHT_PUPIL] - points[LEFT_PUPIL])[::-1]))
    if abs(turn) > 30:
        notices.append(f"the face is turned by {turn:.0f} degrees: is the image upright?")
    pose = abs(head_pose(points))
    if pose > DOUBTFUL_POSE:
        notices.append("the face is seen from the side" if pose > PROFILE_POSE else "the head is turned")
    return tuple(notices)


def head_pose(points: np.ndarray) -> float:
    """Compute the lateral shift of the nose tip from the midpoint of the pupils.

    Parameters
    ----------
    points : ndarray (478, 2)
        The mesh, in pixels of any image.

    Returns
    -------
    float
        Shift along the line through the pupils, in pupil distances: 0 for frontal faces, and positive to the
        right of the image.
    """
    across = points[RIGHT_PUPIL] - points[LEFT_PUPIL]
    middle = (points[RIGHT_PUPIL] + points[LEFT_PUPIL]) / 2
    return float((points[NOSE_TIP] - middle) @ across / (across @ across))


def _find_boxes(pixels: np.ndarray) -> list[_Box]:
    """Run the detector on an image, and return the boxes of faces, only the best of overlapping ones."""
    frame = find_frame((pixels.shape[1], pixels.shape[0]), DETECTOR_SIZE, "full")
    answer = load_network(DETECTOR).run(resample(pixels, frame, (0, 0, 0), samples=1) / 127.5 - 1)
    scores = 1 / (1 + np.exp(-np.clip(answer["classificators"][0, :, 0].astype(float), -100, 100)))
    values = answer["regressors"][0].astype(float).reshape(-1, 8, 2)  # centre, size, six points
    kept: list[_Box] = []
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] < LOWEST_SCORE:
            break
        places = np.delete(values[index], 1, axis=0) + _anchors()[index] * DETECTOR_SIZE
        centre, *marks = frame.map_back(places)
        size = values[index, 1] / frame.scale
        box = _Box(float(scores[index]), centre, size, np.stack(marks[:2]))
        if (size > 0).all() and all(box.overlap(other) < MOST_OVERLAP for other in kept):
            kept.append(box)
    return kept


@functools.cache
def _anchors() -> np.ndarray:
    """Return the cell centres of the detector, relative to the image size: 16 x 16 twice, 8 x 8 six times."""
    grids = []
    for cells, repeats in ((16, 2), (8, 6)):
        middles = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(middles, middles)
        grids.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), repeats, axis=0))
    return np.concatenate(grids)


@functools.cache
def _refined_outputs() -> dict[str, list[int]]:
    """Return the points of each output of the mesh network that is more precise than the whole mesh."""
    lips, left_eye, right_eye = load_network(MESH).crops
    return {
        "output_lips": lips,
        "output_left_eye": left_eye,
        "output_right_eye": right_eye,
        "output_left_iris": list(range(LEFT_PUPIL, LEFT_PUPIL + 5)),
        "output_right_iris": list(range(RIGHT_PUPIL, RIGHT_PUPIL + 5)),
    }


def _read_mesh(pixels: np.ndarray, box: _Box) -> tuple[np.ndarray, float]:
    """Run the mesh network on the square around a box; return the points (478, 2) and the face score."""
    along = box.eyes[1] - box.eyes[0]
    along = along / np.linalg.norm(along)
    half = MARGIN * float(box.size.max()) / 2
    down = np.array([-along[1], along[0]])
    corners = np.stack([box.centre - half * (along + down), box.centre + half * (along - down)])
    matrix = fit_similarity(corners, np.array([[0.0, 0.0], [MESH_SIZE, 0.0]]))
    frame = make_frame(matrix, MESH_SIZE, "mesh", (pixels.shape[1], pixels.shape[0]))
    answer = load_network(MESH).run(resample(pixels, frame, edge_colour(pixels), samples=1) / 255)
    points = np.full((MESH_POINTS, 2), np.nan)
    points[:468] = answer["output_mesh_identity"].reshape(468, 3)[:, :2]
    for name, indices in _refined_outputs().items():
        points[indices] = answer[name].reshape(-1, 2)
    face_flag = 1 / (1 + math.exp(-float(answer["conv_faceflag"].item())))
    return frame.map_back(points), face_flag
