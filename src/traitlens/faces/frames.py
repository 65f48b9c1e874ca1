"""Frames: affine mappings between photographs and prepared images, and the canonical frame of faces.

Coordinates are pixel-corner coordinates (x, y): the first pixel extends from 0 to 1, with its centre at 0.5.
"Left" is the left side of the image, which is the right side of the person shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

LEFT_PUPIL: Final = 468
RIGHT_PUPIL: Final = 473
MOUTH_CORNERS: Final = (61, 291)

CANONICAL_SIZE: Final = 512
"""Side of the canonical frame in pixels."""

CANONICAL_PUPIL_DISTANCE: Final = 128.0
"""Distance between the pupils in the canonical frame."""

CANONICAL_ANCHORS: Final = ((192.0, 224.0), (320.0, 224.0), (256.0, 364.6))
"""Positions of left pupil, right pupil and midpoint of the mouth corners in the canonical frame."""

Row = tuple[float, float, float]


@dataclass(frozen=True)
class Frame:
    """Affine mapping from an upright image to the prepared image.

    Parameters
    ----------
    to_prepared : ((float, float, float), (float, float, float))
        Affine matrix from pixels (x, y, 1) of the upright image to pixels of the prepared one.
    size : int
        Side of the prepared image in pixels.
    crop : str
        Name of the crop: "full", "face" or "reference".
    image_size : (int, int)
        Width and height of the upright image in pixels.

    Examples
    --------
    >>> frame = Frame(((0.5, 0.0, 10.0), (0.0, 0.5, 0.0)), 100, "full", (160, 200))
    >>> frame.map_points([[20.0, 40.0]]).tolist()
    [[20.0, 20.0]]
    >>> Frame.from_json(frame.to_json()) == frame
    True
    """

    to_prepared: tuple[Row, Row]
    size: int
    crop: str
    image_size: tuple[int, int]

    @property
    def matrix(self) -> np.ndarray:
        """The affine matrix as an array of shape (2, 3)."""
        return np.array(self.to_prepared, dtype=float)

    @property
    def scale(self) -> float:
        """Pixels of the prepared image per pixel of the upright one."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    def map_points(self, points: Any) -> np.ndarray:
        """Map points of the upright image to the prepared one.

        Parameters
        ----------
        points : array_like (..., 2)
            x and y in pixels of the upright image.

        Returns
        -------
        ndarray (..., 2)
            x and y in pixels of the prepared image.
        """
        return apply_affine(self.matrix, points)

    def map_back(self, points: Any) -> np.ndarray:
        """Map points of the prepared image to the upright one.

        Parameters
        ----------
        points : array_like (..., 2)
            x and y in pixels of the prepared image.

        Returns
        -------
        ndarray (..., 2)
            x and y in pixels of the upright image.
        """
        return apply_affine(invert_affine(self.matrix), points)

    def covered(self) -> np.ndarray:
        """Return which pixels of the prepared image are inside the photograph.

        Returns
        -------
        ndarray (size, size) of bool
            False for padded pixels.
        """
        centres = np.stack(np.meshgrid(*[np.arange(self.size) + 0.5] * 2), axis=-1)
        inside = self.map_back(centres)
        x, y = inside[..., 0], inside[..., 1]
        width, height = self.image_size
        return np.asarray((x >= 0) & (x <= width) & (y >= 0) & (y <= height))

    def to_json(self) -> dict[str, Any]:
        """Convert the frame to a dictionary that can be written as JSON."""
        return {
            "to_prepared": [list(row) for row in self.to_prepared],
            "size": self.size,
            "crop": self.crop,
            "image_size": list(self.image_size),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Frame":
        """Create a frame from the dictionary of :meth:`to_json`."""
        width, height = values["image_size"]
        return make_frame(
            np.array(values["to_prepared"]), int(values["size"]), values["crop"], (int(width), int(height))
        )


def make_frame(matrix: np.ndarray, size: int, crop: str, image_size: tuple[int, int]) -> Frame:
    """Create a frame from an affine matrix given as an array of shape (2, 3)."""
    (a, b, c), (d, e, f) = np.asarray(matrix, dtype=float).tolist()
    return Frame(((a, b, c), (d, e, f)), size, crop, image_size)


def apply_affine(matrix: np.ndarray, points: Any) -> np.ndarray:
    """Map points (..., 2) by an affine matrix of shape (2, 3)."""
    mapped: np.ndarray = np.asarray(points, dtype=float) @ matrix[:, :2].T + matrix[:, 2]
    return mapped


def invert_affine(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse of an affine matrix of shape (2, 3)."""
    inverse = np.linalg.inv(matrix[:, :2])
    return np.column_stack([inverse, -inverse @ matrix[:, 2]])


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fit the rotation, scale and shift that map one set of points to another by least squares.

    With points as complex numbers z = x + iy, the similarity is z -> a z + b with complex a and b, where a is
    the least-squares slope of the centred points.

    Parameters
    ----------
    source, target : ndarray (n, 2)
        Two or more points, and the points that they should be mapped to.

    Returns
    -------
    ndarray (2, 3)
        The affine matrix.

    Examples
    --------
    >>> fit_similarity(np.array([[0, 0], [1, 0]]), np.array([[5, 5], [7, 5]])).round(3).tolist()
    [[2.0, -0.0, 5.0], [0.0, 2.0, 5.0]]
    """
    z, w = (np.asarray(points, dtype=float) @ np.array([1, 1j]) for points in (source, target))
    centred = z - z.mean()
    a = (np.conj(centred) @ (w - w.mean())) / (np.conj(centred) @ centred).real
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def face_anchors(points: np.ndarray) -> np.ndarray:
    """Return left pupil, right pupil and midpoint of the mouth corners (3, 2) of a mesh (478, 2)."""
    mouth = points[list(MOUTH_CORNERS)].mean(axis=0)
    return np.stack([points[LEFT_PUPIL], points[RIGHT_PUPIL], mouth])


def pupil_distance(points: np.ndarray) -> float:
    """Return the distance between the pupils of a mesh (478, 2), in the unit of the points."""
    return float(np.linalg.norm(points[RIGHT_PUPIL] - points[LEFT_PUPIL]))


def to_canonical(points: np.ndarray, size: int = CANONICAL_SIZE) -> np.ndarray:
    """Compute the similarity transform from the image of a face to the canonical frame.

    Parameters
    ----------
    points : ndarray (478, 2)
        The mesh, in pixels of any image.
    size : int, default 512
        Side of the frame in pixels.

    Returns
    -------
    ndarray (2, 3)
        Affine matrix from the image to the frame.
    """
    return fit_similarity(face_anchors(points), np.array(CANONICAL_ANCHORS) * size / CANONICAL_SIZE)
