"""The template: a common face shape to which images of faces and maps are warped.

Inside the face, each triangle of landmarks is mapped to the template by an affine transform. Points on the
border of the frame are mapped by the similarity transform of pupils and mouth, so that hair and background
are not distorted.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr
from scipy import sparse
from scipy.spatial import Delaunay

from traitlens.columns import IMAGE
from traitlens.faces.alignment import Alignment, distribute_area
from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.faces.detection import PROFILE_POSE, head_pose
from traitlens.faces.frames import (
    CANONICAL_SIZE,
    LEFT_PUPIL,
    RIGHT_PUPIL,
    apply_affine,
    fit_similarity,
    invert_affine,
    to_canonical,
)
from traitlens.faces.regions import BROWS, EYES, GLABELLA, LIPS, NOSE, OVAL, PHILTRUM
from traitlens.problems import Problem, TraitlensError

INNER_LIPS: Final = (
    *(78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95),
)
BETWEEN: Final = (1, 4, 5, 6, 195, 197, 48, 278, 50, 280, 205, 425, 36, 266, 151, 9, 8, 18, 199, 200)
"""Points on the ridge and tip of the nose, the cheeks, the forehead and the chin."""

ANCHORS: Final = tuple(
    sorted(
        {LEFT_PUPIL, RIGHT_PUPIL, *OVAL, *LIPS, *INNER_LIPS, *NOSE, *PHILTRUM, *GLABELLA, *BETWEEN}
        | {index for outline in (*BROWS, *EYES) for index in outline}
    )
)
"""Points of the mesh that are vertices of the triangles."""

FRAME_POINTS_PER_SIDE: Final = 8
MOST_FOLDED: Final = 0.1
"""Maximum share of a face's area in inverted triangles; above, only the similarity transform is used."""


@dataclass(frozen=True, eq=False)
class Template:
    """A common face shape in the canonical frame.

    Parameters
    ----------
    points : ndarray (478, 2)
        The mesh in the canonical frame of 512 x 512 pixels.
    size : int, default 224
        Side of the template's maps in pixels.

    Examples
    --------
    >>> template = Template.fixed(64)
    >>> maps = np.ones((3, 64, 64))
    >>> template.warp(maps, template.points / 8).sum(axis=(1, 2)).round(3).tolist()
    [4096.0, 4096.0, 4096.0]
    """

    points: np.ndarray
    size: int = 224

    @classmethod
    def fixed(cls, size: int = 224) -> "Template":
        """Return the template that comes with the package.

        Parameters
        ----------
        size : int, default 224
            Side of the template's maps in pixels.

        Returns
        -------
        Template
            The mean of 100 frontal faces; the same for every study.
        """
        return cls(canonical_mesh().points, size)

    @classmethod
    def mean(cls, meshes: Any, size: int = 224, symmetric: bool = True) -> "Template":
        """Compute the mean shape by generalised Procrustes analysis (Gower 1975, doi:10.1007/BF02291478).

        Parameters
        ----------
        meshes : array_like (n, 478, 2)
            The meshes of the faces, each in pixels of its own image.
        size : int, default 224
            Side of the template's maps in pixels.
        symmetric : bool, default True
            Whether to average the shape with its mirror image, which is needed to compare left and right.

        Returns
        -------
        Template
            The mean shape, with pupils and mouth at their canonical positions.
        """
        meshes = np.asarray(meshes, dtype=float)
        mean = canonical_mesh().points
        for _ in range(20):
            aligned = [apply_affine(fit_similarity(mesh, mean), mesh) for mesh in meshes]
            before, mean = mean, np.mean(aligned, axis=0)
            mean = apply_affine(to_canonical(mean), mean)  # Prevents shrinking with each iteration.
            if np.abs(mean - before).max() < 1e-4:
                break
        if symmetric:
            mirrored = np.array([CANONICAL_SIZE, 0.0]) + mean[canonical_mesh().twins] * np.array([-1.0, 1.0])
            mean = (mean + mirrored) / 2
        return cls(mean, size)

    def align(self, points: np.ndarray, shape: tuple[int, int]) -> Alignment:
        """Compute the alignment of the image of a face with the template.

        Parameters
        ----------
        points : ndarray (478, 2)
            The mesh of the face in pixels of the image or map to be warped.
        shape : (int, int)
            Number of rows and columns of the image or map.

        Returns
        -------
        Alignment
            Alignment that can be used for all maps of the image.

        Raises
        ------
        TraitlensError
            If points are missing.
        """
        points = np.asarray(points, dtype=float)
        if points.shape != self.points.shape or not np.isfinite(points).all():
            raise TraitlensError(
                Problem("the template needs all 478 landmarks", "provide or detect them first")
            )
        to_image = invert_affine(to_canonical(points))
        anchors = np.vstack([points[list(ANCHORS)], apply_affine(to_image, _frame_points())])
        pose = head_pose(points)
        folded = self._folded(anchors)
        piecewise = abs(pose) <= PROFILE_POSE and folded <= MOST_FOLDED
        if not piecewise:
            anchors = apply_affine(to_image, self._nodes)
        step = CANONICAL_SIZE / self.size * math.sqrt(np.linalg.det(to_image[:, :2]))
        samples = min(max(math.ceil(step / 0.6), 2), 8)
        weights, simplex = self._rasters(samples)
        places = weights @ anchors
        stretch = self._areas(anchors) / self._areas(self._nodes)
        area = np.clip(stretch, 0, None)[simplex] * (CANONICAL_SIZE / (self.size * samples)) ** 2
        shares, reach = distribute_area(places, area, shape, self.size, samples)
        return Alignment(shares, reach, self.size, shape, pose, folded, piecewise)

    def warp(self, maps: Any, points: np.ndarray, conserve: bool = True) -> np.ndarray:
        """Warp maps of one image to the template.

        Parameters
        ----------
        maps : array_like (..., y, x)
            Maps in the image.
        points : ndarray (478, 2)
            The mesh of the face in pixels of the maps.
        conserve : bool, default True
            See :meth:`Alignment.warp`.

        Returns
        -------
        ndarray (..., size, size) of float
            The maps on the template.
        """
        rows, columns = np.shape(maps)[-2:]
        return self.align(points, (rows, columns)).warp(maps, conserve)

    def warp_back(
        self, maps: Any, points: np.ndarray, shape: tuple[int, int], conserve: bool = True
    ) -> np.ndarray:
        """Warp maps of the template to one image.

        Parameters
        ----------
        maps : array_like (..., size, size)
            Maps on the template.
        points : ndarray (478, 2)
            The mesh of the face in pixels of the image.
        shape : (int, int)
            Number of rows and columns of the image.
        conserve : bool, default True
            See :meth:`Alignment.warp`.

        Returns
        -------
        ndarray (..., y, x) of float
            The maps in the image.
        """
        return self.align(points, shape).warp_back(maps, conserve)

    @property
    def points_on_map(self) -> np.ndarray:
        """Mesh of the template in pixels of the template's maps, of shape (478, 2)."""
        return self.points * (self.size / CANONICAL_SIZE)

    @functools.cached_property
    def _nodes(self) -> np.ndarray:
        """Vertices of the triangles in the canonical frame."""
        return np.vstack([self.points[list(ANCHORS)], _frame_points()])

    @functools.cached_property
    def _triangles(self) -> Delaunay:
        return Delaunay(self._nodes)

    def _areas(self, nodes: np.ndarray) -> np.ndarray:
        """Return the signed areas of the triangles for the given vertices."""
        a, b, c = (nodes[self._triangles.simplices[:, corner]] for corner in range(3))
        (u, v) = (b - a, c - a)
        doubled: np.ndarray = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
        return doubled / 2

    def _folded(self, nodes: np.ndarray) -> float:
        """Return the share of the face's area in triangles that the given vertices invert."""
        inside = (self._triangles.simplices < len(ANCHORS)).all(axis=1)
        own = self._areas(self._nodes)
        turned = self._areas(nodes) / own <= 0
        area = np.abs(own)
        return float(area[inside & turned].sum() / area[inside].sum())

    def _rasters(self, samples: int) -> tuple[sparse.csr_array, np.ndarray]:
        """Return weights of the vertices and index of the triangle for each sample; cached by resolution."""
        kept = self.__dict__.setdefault("_kept_rasters", {})
        if samples not in kept:
            fine = self.size * samples
            middles = (np.arange(fine) + 0.5) * (CANONICAL_SIZE / fine)
            x, y = np.meshgrid(middles, middles)
            places = np.column_stack([x.ravel(), y.ravel()])
            simplex = self._triangles.find_simplex(places, tol=1e-9)
            affine = self._triangles.transform[simplex]
            first = np.einsum("nij,nj->ni", affine[:, :2], places - affine[:, 2])
            mixture = np.column_stack([first, 1 - first.sum(axis=1)])
            rows = np.repeat(np.arange(len(places)), 3)
            columns = self._triangles.simplices[simplex].ravel()
            shape = (len(places), len(self._nodes))
            kept[samples] = (sparse.csr_array((mixture.ravel(), (rows, columns)), shape=shape), simplex)
        weights, simplex = kept[samples]
        return weights, simplex


def _frame_points() -> np.ndarray:
    """Return points on the border of the canonical frame, clockwise from the upper left corner."""
    steps = np.linspace(0, CANONICAL_SIZE, FRAME_POINTS_PER_SIDE, endpoint=False)
    zero, far = np.zeros_like(steps), np.full_like(steps, CANONICAL_SIZE)
    sides = ((steps, zero), (far, steps), (far - steps, far), (zero, far - steps))
    return np.concatenate([np.column_stack(side) for side in sides])


FEWEST_FACES = 8
"""Minimum number of faces in an average; with fewer, single faces could be recognised."""


def template_face(prepared: xr.Dataset, size: int) -> np.ndarray | None:
    """Compute the average of the prepared images after warping them to the template.

    Parameters
    ----------
    prepared : Dataset
        Dataset with the variables pixels (image, y, x, colour) and points (image, point, xy).
    size : int
        Side of the average in pixels.

    Returns
    -------
    ndarray of uint8 (size, size, 3) or None
        The average face; None if there are fewer than :data:`FEWEST_FACES` faces.
    """
    count = prepared.sizes[IMAGE]
    if count < FEWEST_FACES:
        return None
    template = Template.fixed(size)
    total, covered = np.zeros((3, size, size)), np.zeros((3, size, size))
    for image in range(count):
        pixels = prepared["pixels"][image].to_numpy().transpose(2, 0, 1)
        warped = template.warp(pixels, prepared["points"][image].to_numpy(), conserve=False)
        total += np.nan_to_num(warped)
        covered += np.isfinite(warped)
    average = total / np.maximum(covered, 1)
    return np.asarray(average.transpose(1, 2, 0).round().astype(np.uint8))
