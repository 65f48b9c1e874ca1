r"""Alteration of one region of a photograph by colour and warp.

The displacement of the mesh is interpolated by a thin-plate spline (Bookstein 1989, doi:10.1109/34.24792)
and fades to zero in a narrow ring around the region; the change of colour fades at its border, where it has
a mean of zero, so that it matches the skin around. Beyond the ring every pixel has the bits of the
photograph.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import LinearNDInterpolator, RBFInterpolator
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

from traitlens.experiment.region_change import RegionChange, from_logarithm, to_logarithm
from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.faces.frames import CANONICAL_SIZE, apply_affine, invert_affine, to_canonical
from traitlens.faces.masks import joined_name
from traitlens.faces.regions import Polygon, region_labels, region_names
from traitlens.faces.template import ANCHORS, INNER_LIPS

RING, WIDEST_RING = 12.0, 64.0
"""Width in canonical pixels (the pupils are 128 apart) of the ring in which the displacement fades: in eyes,
brows, nose and mouth, and at most elsewhere."""

OUTLINED, OUTLINE_RING = ("jaw", "cheek", "cheeks", "forehead"), 48.0
"""Regions at the outline of the face, and the least width of their ring: a narrow one would leave a notch."""

PLAIN = ("forehead", "left cheek", "right cheek", "jaw", "background")
"""Regions without edges, where the ring may be wider."""

COLOUR_FADE = (-8.0, 3.0)
"""Distances from the border, in canonical pixels (negative inside), between which the change of colour
fades."""

SLOPE = 6.0
"""Width of the ring per displacement of one standard deviation."""

LEAST_FADE = 1e-3

NEAR = 4.0
"""Distance from the region up to which a point of the mesh moves with it."""

NODES = tuple(index for index in ANCHORS if index not in INNER_LIPS)
"""Points of the mesh that the spline approximates. The opening of the mouth follows the lips, so that it
does not fold."""

SMOOTHING = 1e-3
"""Smoothing of the spline, which prevents folds between close points."""

COARSE = 64
"""Nodes per side on which splines are evaluated."""

LEAST_AREA = 0.25
"""Minimum area of a warped pixel; the warp folds below 0."""


@dataclass(frozen=True)
class AlteredPicture:
    """A photograph with one altered region.

    Parameters
    ----------
    pixels : ndarray (row, column, 3) of uint8
        The photograph; outside `mask` its bits are the original's.
    points : ndarray (478, 2)
        The moved mesh, in pixels of the photograph.
    mask : ndarray (row, column) of bool
        Where pixels may differ.
    least_area : float
        Smallest area of a warped pixel; below 0 the warp folds.
    clipped : float
        Share of the altered pixels whose colour was cut off at 0 or 255.
    """

    pixels: np.ndarray
    points: np.ndarray
    mask: np.ndarray
    least_area: float
    clipped: float


class RegionEditor:
    """Alters one region of one photograph.

    Parameters
    ----------
    photograph : ndarray (row, column, 3) of uint8
        An upright photograph.
    points : ndarray (478, 2)
        Its mesh, in pixels.
    region : str
        A region such as "mouth"; "eyes" are both eyes.
    change : RegionChange
        The change per standard deviation of the cue.
    polygons : mapping of str to polygon, optional
        The study's own regions.

    Raises
    ------
    ValueError
        If the region has no pixel.
    """

    def __init__(
        self,
        photograph: np.ndarray,
        points: np.ndarray,
        region: str,
        change: RegionChange,
        polygons: dict[str, Polygon] | None = None,
    ):
        self.photograph, self.points = photograph, points
        self._to_frame = to_canonical(points)
        self._distance, plain = _distance_from(region, apply_affine(self._to_frame, points), polygons)
        to_photo = invert_affine(self._to_frame)[:, :2]
        inside = self._at(points, self._distance) <= NEAR
        farthest = np.linalg.norm(change.shape[inside], axis=1).max(initial=0.0)
        narrowest = OUTLINE_RING if region.removeprefix("left ").removeprefix("right ") in OUTLINED else RING
        self._fade = _fade(self._distance, plain, float(np.clip(SLOPE * farthest, narrowest, WIDEST_RING)))
        moves = inside | (self._at(points, self._fade) > 0)
        self._shift = np.where(moves[:, None], change.shape, 0.0) @ to_photo.T
        self._set_box()
        grid = self._grid(COARSE)
        nodes = grid.reshape(-1, 2)
        mesh = points[list(NODES)]
        values = np.column_stack([canonical_mesh().points[list(NODES)], self._shift[list(NODES)]])
        unit = float(np.sqrt(abs(np.linalg.det(to_photo))))
        # Units near one keep the spline's equations well conditioned.
        spline = RBFInterpolator(mesh / (128 * unit), values, kernel="thin_plate_spline", smoothing=SMOOTHING)
        found = spline(nodes / (128 * unit)).reshape(COARSE, COARSE, 4)
        fade = self._at(nodes, self._fade).reshape(COARSE, COARSE)
        self._displacement = found[..., 2:] * fade[..., None]
        self._colour = self._place_colour(change.colour, found[..., :2])

    def alter(self, strength: float) -> AlteredPicture:
        """Alter the region.

        Parameters
        ----------
        strength : float
            Size of the change, in standard deviations of the cue; negative lowers it.

        Returns
        -------
        AlteredPicture
            The picture.
        """
        rows, columns = self._rows, self._columns
        original = self.photograph[rows, columns].astype(np.float32)
        painted = from_logarithm(to_logarithm(original) + strength * self._colour)
        source, area = self._sources(strength)
        moved = np.stack(
            [map_coordinates(painted[..., channel], source, order=3, mode="nearest") for channel in range(3)],
            -1,
        )
        # Cubic interpolation would smooth pixels that do not move.
        still = np.abs(source - np.indices(source.shape[1:])).max(axis=0) < 1e-3
        moved = np.where(still[..., None], painted, moved)
        inside = self._mask_box()
        rounded = np.rint(np.clip(moved, 0, 255)).astype(np.uint8)
        cut = ((moved < -2) | (moved > 257)).any(axis=2) & inside
        pixels, mask = self.photograph.copy(), np.zeros(self.photograph.shape[:2], bool)
        pixels[rows, columns] = np.where(inside[..., None], rounded, self.photograph[rows, columns])
        mask[rows, columns] = inside
        fade = self._at(self.points, self._fade)
        points = self.points + strength * self._shift * fade[:, None]
        return AlteredPicture(pixels, points, mask, area, float(cut.sum() / max(inside.sum(), 1)))

    def _set_box(self) -> None:
        """Find the rows and columns of the photograph that may change."""
        places = np.argwhere(self._fade > 0)[:, ::-1] + 0.5
        if not (self._distance < 0).any():
            raise ValueError("the region has no pixel")
        corners = apply_affine(invert_affine(self._to_frame), places)
        low = np.floor(corners.min(axis=0)).astype(int) - 3
        high = np.ceil(corners.max(axis=0)).astype(int) + 3
        height, width = self.photograph.shape[:2]
        (left, top), (right, bottom) = np.clip(low, 0, [width, height]), np.clip(high, 0, [width, height])
        self._rows, self._columns = slice(int(top), int(bottom)), slice(int(left), int(right))

    def _grid(self, number: int | None = None) -> np.ndarray:
        """Return pixel-corner coordinates (row, column, xy) of the pixels of the box, or of a grid."""
        spans = [(self._rows.start, self._rows.stop), (self._columns.start, self._columns.stop)]
        y, x = (
            np.arange(low, high) + 0.5 if number is None else np.linspace(low + 0.5, high - 0.5, number)
            for low, high in spans
        )
        return np.stack(np.meshgrid(x, y), axis=-1)

    def _at(self, points: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return values of the canonical frame at points of the photograph."""
        x, y = (apply_affine(self._to_frame, points) - 0.5).T
        return np.asarray(map_coordinates(values, [y, x], order=1, mode="nearest"))

    def _refine(self, coarse: np.ndarray) -> np.ndarray:
        """Interpolate values of the coarse grid at every pixel of the box."""
        height, width = self._rows.stop - self._rows.start, self._columns.stop - self._columns.start
        places = np.meshgrid(
            np.linspace(0, COARSE - 1, height), np.linspace(0, COARSE - 1, width), indexing="ij"
        )
        flat = coarse.reshape(COARSE, COARSE, -1)
        fine = [map_coordinates(flat[..., part], places, order=1) for part in range(flat.shape[2])]
        return np.stack(fine, axis=-1)

    def _mask_box(self) -> np.ndarray:
        """Return which pixels of the box may change."""
        grid = self._grid()
        return self._at(grid.reshape(-1, 2), self._fade).reshape(grid.shape[:2]) > 0

    def _sources(self, strength: float) -> tuple[np.ndarray, float]:
        """Return the source (row and column) of each pixel of the box, and the smallest area."""
        height, width = self._rows.stop - self._rows.start, self._columns.stop - self._columns.start
        scale = np.array([(width - 1) / (COARSE - 1), (height - 1) / (COARSE - 1)])
        nodes = np.stack(np.meshgrid(np.arange(COARSE), np.arange(COARSE)), axis=-1).astype(float)
        places = nodes + strength * self._displacement / scale
        (x_y, x_x), (y_y, y_x) = (np.gradient(places[..., axis]) for axis in (0, 1))
        back = LinearNDInterpolator(places.reshape(-1, 2), nodes.reshape(-1, 2))(nodes)
        fine = self._refine(np.where(np.isfinite(back), back - nodes, 0.0) * scale)
        source = np.indices((height, width)).astype(float)
        source[0] += fine[..., 1]
        source[1] += fine[..., 0]
        return source, float((x_x * y_y - x_y * y_x).min())

    def _place_colour(self, colour: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the change of colour of each pixel of the box, without its mean along the border."""
        fine = self._refine(places) * (len(colour) / CANONICAL_SIZE) - 0.5
        at = [fine[..., 1], fine[..., 0]]
        change = np.stack([map_coordinates(colour[..., part], at, order=1) for part in range(3)], axis=-1)
        grid = self._grid()
        distance = self._at(grid.reshape(-1, 2), self._distance).reshape(grid.shape[:2])
        border = np.abs(distance - np.mean(COLOUR_FADE)) < np.ptp(COLOUR_FADE) / 2
        if border.any():
            change = change - change[border].mean(axis=0)
        return (change * _fall(distance, *COLOUR_FADE)[..., None]).astype(np.float32)


def _distance_from(
    region: str, mesh: np.ndarray, polygons: dict[str, Polygon] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each pixel of the canonical frame from a region, and which are plain."""
    names = region_names(polygons)
    labels = region_labels(mesh, CANONICAL_SIZE, polygons)
    own = [number for number, name in enumerate(names) if region in (name, joined_name(name, names))]
    inside = np.isin(labels, own)
    plain = np.isin(labels, [names.index(name) for name in PLAIN])
    return distance_transform_edt(~inside) - distance_transform_edt(inside), plain


def _fade(distance: np.ndarray, plain: np.ndarray, ring: float) -> np.ndarray:
    """Return the weight of the displacement: 1 in the region, 0 beyond the ring."""
    narrow, wide = _fall(distance, 0.0, RING), _fall(distance, 0.0, ring)
    share = gaussian_filter(plain.astype(float), RING / 4)
    faded = np.where(distance > 0, share * wide + (1 - share) * narrow, 1.0)
    return np.where(faded > LEAST_FADE, faded, 0.0)


def _fall(distance: np.ndarray, start: float, end: float) -> np.ndarray:
    """Return a smooth step from 1 at `start` to 0 at `end`."""
    t = np.clip((distance - start) / (end - start), 0, 1)
    return np.asarray(1 - t * t * (3 - 2 * t))
