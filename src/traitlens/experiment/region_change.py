"""Change of a region's shape and colour with its cue, from faces with a high and with a low cue."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import Delaunay

from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.faces.frames import CANONICAL_SIZE, apply_affine, invert_affine, to_canonical
from traitlens.faces.template import ANCHORS

TEMPLATE_SIZE = 256
"""Side length, in pixels, of the template on which colours are averaged."""

DARK = 16.0
"""Constant added to colour values before taking the logarithm, which damps the noise of dark pixels."""

SHRINKAGE = 2.0
"""Weight of the squared standard error in shrinking a difference."""

FACE_RADIUS = 120.0
"""Radius, in canonical pixels, of the disc in the centre of the face whose mean colour is subtracted."""

FEWEST_FACES = 8
"""Minimum number of faces in an average; with fewer faces, single persons could be recognised."""


@dataclass(frozen=True)
class RegionChange:
    """Change of shape and colour of faces per standard deviation of a cue.

    Parameters
    ----------
    shape : ndarray (478, 2)
        Displacement of each point of the mesh in the canonical frame of 512 x 512 pixels.
    colour : ndarray (size, size, 3)
        Change of the logarithm of each pixel's colour on the template; see :func:`to_logarithm`.
    """

    shape: np.ndarray
    colour: np.ndarray


@dataclass(frozen=True, eq=False)
class AlignedFaces:
    """Faces aligned with a common template.

    Parameters
    ----------
    names : tuple of str
        Names of the images.
    shapes : ndarray (image, 478, 2)
        Meshes in the canonical frame.
    colours : ndarray (image, size, size, 3) of float32
        Logarithms of the colours on the template, minus the mean of the face; NaN outside the photographs.
    """

    names: tuple[str, ...]
    shapes: np.ndarray
    colours: np.ndarray

    def change(self, cue: Mapping[str, float]) -> RegionChange:
        """Compute how faces change with a cue.

        Faces with a cue above the mean are averaged, and so are faces with a cue below the mean; weights are
        distances from the mean. The difference between the two averages is divided by the difference between
        their cues. Differences that are small relative to their standard error are shrunk (James and Stein
        1961), to limit changes by chance.

        Parameters
        ----------
        cue : mapping of str to float
            Standardised cue of the images to use, such as the images of all folds but one.

        Returns
        -------
        RegionChange
            The change per standard deviation of the cue.

        Raises
        ------
        ValueError
            If fewer than eight faces are above or below the mean.
        """
        places = np.array([place for place, name in enumerate(self.names) if name in cue])
        values = np.array([cue[self.names[place]] for place in places])
        values = values - values.mean()
        if min(np.sum(values > 0), np.sum(values < 0)) < FEWEST_FACES:
            raise ValueError(
                f"{FEWEST_FACES} faces with a high cue and {FEWEST_FACES} with a low cue are needed"
            )
        high, low = np.clip(values, 0, None), np.clip(-values, 0, None)
        weights = high / high.sum() - low / low.sum()
        distance = float(weights @ values)
        weights = weights / distance
        shape = _shrunken_mean(weights, values, self.shapes[places])
        return RegionChange(shape, _shrunken_mean(weights, values, self.colours[places], 1.0))


def _shrunken_mean(weights: np.ndarray, cue: np.ndarray, values: np.ndarray, blur: float = 0.0) -> np.ndarray:
    """Return the weighted sum of images, shrunk where it is small relative to its standard error.

    `values` is an array (image, ..., component); places where any image is missing are 0.
    """
    covered = np.isfinite(values).all(axis=(0, -1))[..., None]
    values = np.nan_to_num(values)
    contrast = np.tensordot(weights, values, 1)
    residuals = values - values.mean(axis=0) - np.multiply.outer(cue, contrast)
    error = np.sqrt(np.tensordot(weights**2, residuals**2, 1))
    if blur:
        contrast = gaussian_filter(contrast, (blur, blur, 0))
    size, chance = (np.square(one).sum(axis=-1, keepdims=True) for one in (contrast, error))
    kept = np.clip(1 - SHRINKAGE * chance / np.where(size > 0, size, np.inf), 0, None)
    return np.asarray(np.where(covered, contrast * kept, 0.0))


def to_logarithm(pixels: np.ndarray) -> np.ndarray:
    """Return the logarithm of colours plus 16, so that changes are relative to the colour of the skin.

    Parameters
    ----------
    pixels : ndarray
        Colours from 0 to 255.
    """
    return np.asarray(np.log(pixels + DARK))


def from_logarithm(values: np.ndarray) -> np.ndarray:
    """Invert :func:`to_logarithm`; the colours may lie outside 0 to 255."""
    return np.asarray(np.exp(values) - DARK)


def align_faces(
    names: tuple[str, ...], pixels: np.ndarray, points: np.ndarray, size: int = TEMPLATE_SIZE
) -> AlignedFaces:
    """Warp prepared images to the template, and average each with its mirror image.

    The average removes differences in the side of the light and in the direction of the head.

    Parameters
    ----------
    names : tuple of str
        Names of the images.
    pixels : ndarray (image, y, x, 3) of uint8
        The prepared images.
    points : ndarray (image, 478, 2)
        Meshes in pixels of the prepared images.
    size : int, default 256
        Side length of the template in pixels.
    """
    twins = canonical_mesh().twins
    far = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * float(CANONICAL_SIZE)
    triangles = Delaunay(np.vstack([canonical_mesh().points[list(ANCHORS)], far]))
    middles = (np.arange(size) + 0.5) * (CANONICAL_SIZE / size)
    grid = np.stack(np.meshgrid(middles, middles), axis=-1)
    face = np.hypot(grid[..., 0] - 256, grid[..., 1] - 290) < FACE_RADIUS
    shapes, colours = [], []
    for image, mesh in zip(pixels, points, strict=True):
        to_frame = to_canonical(mesh)
        shape = apply_affine(to_frame, mesh)
        mirrored = np.array([CANONICAL_SIZE, 0.0]) + shape[twins] * np.array([-1.0, 1.0])
        shapes.append((shape + mirrored) / 2)
        corners = np.vstack([mesh[list(ANCHORS)], apply_affine(invert_affine(to_frame), far)])
        places = LinearNDInterpolator(triangles, corners)(grid) - 0.5
        at = [places[..., 1], places[..., 0]]
        warped = np.stack(
            [
                map_coordinates(image[..., part].astype(np.float32), at, order=1, cval=np.nan)
                for part in range(3)
            ],
            axis=-1,
        )
        warped = to_logarithm((warped + warped[:, ::-1]) / 2)
        colours.append(warped - np.nanmean(warped[face], axis=0))
    return AlignedFaces(names, np.stack(shapes), np.stack(colours))
