r"""Alteration of one region of a photograph by colour and warp.

The displacement of the mesh is interpolated by a thin-plate spline (Bookstein 1989, doi:10.1109/34.24792)
and fades to zero in a narrow ring around the region. The change of colour fades at the border of the region;
its mean there is zero, so that the region matches the surrounding skin. Beyond the ring, pixels are identical
to those of the photograph.
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
"""Width of the ring in which the displacement fades, in canonical pixels (the pupils are 128 apart), within
eyes, brows, nose and mouth; and maximum width elsewhere."""

OUTLINED, OUTLINE_RING = ("jaw", "cheek", "cheeks", "forehead"), 48.0
"""Regions at the outline of the face, and the minimum width of their ring, which avoids a notch there."""

PLAIN = ("forehead", "left cheek", "right cheek", "jaw", "background")
"""Regions without edges, where the ring may be wider."""

COLOUR_FADE = (-8.0, 3.0)
"""Distances from the border between which the colour fades, in canonical pixels (negative inside)."""

SLOPE = 6.0
"""Width of the ring relative to the largest displacement per standard deviation of the cue."""

LEAST_FADE = 1e-3
"""Weights of the displacement below this value are set to 0."""

NEAR = 4.0
"""Maximum distance from the region, in canonical pixels, of points of the mesh that move with the region."""

NODES = tuple(index for index in ANCHORS if index not in INNER_LIPS)
"""Points of the mesh that the spline approximates. The inner lips are left out, because the warp could fold
in the opening of the mouth."""

SMOOTHING = 1e-3
"""Smoothing of the spline, which prevents folds between close points."""

COARSE = 64
"""Number of nodes per side of the grid on which the spline is evaluated."""

LEAST_AREA = 0.25
"""Minimum area of a warped pixel, relative to its area before; the warp folds below 0."""


@dataclass(frozen=True)
class AlteredPicture:
    """A photograph with one altered region.

    Parameters
    ----------
    pixels : ndarray (row, column, 3) of uint8
        The altered photograph; outside `mask` it is identical to the original.
    points : ndarray (478, 2)
        The mesh after the alteration, in pixels of the photograph.
    mask : ndarray (row, column) of bool
        Pixels that may differ from the original.
    least_area : float
        Smallest relative area of a warped pixel; the warp folds below 0.
    clipped : float
        Share of the pixels in `mask` whose colour was clipped to 0 or 255.
    """

    pixels: np.ndarray
    points: np.ndarray
    mask: np.ndarray
    least_area: float
    clipped: float


class RegionEditor:
    """Editor that alters one region of a photograph by a given strength.

    Parameters
    ----------
    photograph : ndarray (row, column, 3) of uint8
        An upright photograph of a face.
    points : ndarray (478, 2)
        The mesh of the face, in pixels of the photograph.
    region : str
        Name of the region, such as "mouth"; "eyes" means both eyes.
    change : RegionChange
        Change of shape and colour per standard deviation of the cue.
    polygons : mapping of str to polygon, optional
        Regions defined by the study.

    Raises
    ------
    ValueError
        If the region contains no pixel.
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
        self._distance, plain = _distance_from_region(region, apply_affine(self._to_frame, points), polygons)
        to_photo = invert_affine(self._to_frame)[:, :2]
        inside = self._values_at(points, self._distance) <= NEAR
        farthest = np.linalg.norm(change.shape[inside], axis=1).max(initial=0.0)
        narrowest = OUTLINE_RING if region.removeprefix("left ").removeprefix("right ") in OUTLINED else RING
        self._fade = _displacement_weight(
            self._distance, plain, float(np.clip(SLOPE * farthest, narrowest, WIDEST_RING))
        )
        moves = inside | (self._values_at(points, self._fade) > 0)
        self._shift = np.where(moves[:, None], change.shape, 0.0) @ to_photo.T
        self._find_box()
        grid = self._pixel_grid(COARSE)
        nodes = grid.reshape(-1, 2)
        mesh = points[list(NODES)]
        values = np.column_stack([canonical_mesh().points[list(NODES)], self._shift[list(NODES)]])
        unit = float(np.sqrt(abs(np.linalg.det(to_photo))))
        # The spline's equations are well conditioned only in units near one.
        spline = RBFInterpolator(mesh / (128 * unit), values, kernel="thin_plate_spline", smoothing=SMOOTHING)
        found = spline(nodes / (128 * unit)).reshape(COARSE, COARSE, 4)
        fade = self._values_at(nodes, self._fade).reshape(COARSE, COARSE)
        self._displacement = found[..., 2:] * fade[..., None]
        self._colour = self._place_colour(change.colour, found[..., :2])

    def alter(self, strength: float) -> AlteredPicture:
        """Alter the region.

        Parameters
        ----------
        strength : float
            Size of the change, in standard deviations of the cue; negative values lower the cue.
        """
        rows, columns = self._rows, self._columns
        original = self.photograph[rows, columns].astype(np.float32)
        painted = from_logarithm(to_logarithm(original) + strength * self._colour)
        source, area = self._source_pixels(strength)
        moved = np.stack(
            [map_coordinates(painted[..., channel], source, order=3, mode="nearest") for channel in range(3)],
            -1,
        )
        # Pixels that do not move are copied, because cubic interpolation would smooth them.
        still = np.abs(source - np.indices(source.shape[1:])).max(axis=0) < 1e-3
        moved = np.where(still[..., None], painted, moved)
        inside = self._changeable_pixels()
        rounded = np.rint(np.clip(moved, 0, 255)).astype(np.uint8)
        cut = ((moved < -2) | (moved > 257)).any(axis=2) & inside
        pixels, mask = self.photograph.copy(), np.zeros(self.photograph.shape[:2], bool)
        pixels[rows, columns] = np.where(inside[..., None], rounded, self.photograph[rows, columns])
        mask[rows, columns] = inside
        fade = self._values_at(self.points, self._fade)
        points = self.points + strength * self._shift * fade[:, None]
        return AlteredPicture(pixels, points, mask, area, float(cut.sum() / max(inside.sum(), 1)))

    def _find_box(self) -> None:
        """Set the box: the rows and columns of the photograph that contain all pixels that may change."""
        places = np.argwhere(self._fade > 0)[:, ::-1] + 0.5
        if not (self._distance < 0).any():
            raise ValueError("the region has no pixel")
        corners = apply_affine(invert_affine(self._to_frame), places)
        low = np.floor(corners.min(axis=0)).astype(int) - 3
        high = np.ceil(corners.max(axis=0)).astype(int) + 3
        height, width = self.photograph.shape[:2]
        (left, top), (right, bottom) = np.clip(low, 0, [width, height]), np.clip(high, 0, [width, height])
        self._rows, self._columns = slice(int(top), int(bottom)), slice(int(left), int(right))

    def _pixel_grid(self, number: int | None = None) -> np.ndarray:
        """Return coordinates of all pixels of the box, or of a grid on it: array (row, column, xy)."""
        spans = [(self._rows.start, self._rows.stop), (self._columns.start, self._columns.stop)]
        y, x = (
            np.arange(low, high) + 0.5 if number is None else np.linspace(low + 0.5, high - 0.5, number)
            for low, high in spans
        )
        return np.stack(np.meshgrid(x, y), axis=-1)

    def _values_at(self, points: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Interpolate an image in the canonical frame at points of the photograph."""
        x, y = (apply_affine(self._to_frame, points) - 0.5).T
        return np.asarray(map_coordinates(values, [y, x], order=1, mode="nearest"))

    def _refine(self, coarse: np.ndarray) -> np.ndarray:
        """Interpolate values on the coarse grid at every pixel of the box."""
        height, width = self._rows.stop - self._rows.start, self._columns.stop - self._columns.start
        places = np.meshgrid(
            np.linspace(0, COARSE - 1, height), np.linspace(0, COARSE - 1, width), indexing="ij"
        )
        flat = coarse.reshape(COARSE, COARSE, -1)
        fine = [map_coordinates(flat[..., part], places, order=1) for part in range(flat.shape[2])]
        return np.stack(fine, axis=-1)

    def _changeable_pixels(self) -> np.ndarray:
        """Return a mask of the pixels of the box that may change."""
        grid = self._pixel_grid()
        return self._values_at(grid.reshape(-1, 2), self._fade).reshape(grid.shape[:2]) > 0

    def _source_pixels(self, strength: float) -> tuple[np.ndarray, float]:
        """Return where each pixel of the box comes from (row and column), and the smallest relative area."""
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
        """Warp the change of colour to the box, and subtract its mean along the border of the region."""
        fine = self._refine(places) * (len(colour) / CANONICAL_SIZE) - 0.5
        at = [fine[..., 1], fine[..., 0]]
        change = np.stack([map_coordinates(colour[..., part], at, order=1) for part in range(3)], axis=-1)
        grid = self._pixel_grid()
        distance = self._values_at(grid.reshape(-1, 2), self._distance).reshape(grid.shape[:2])
        border = np.abs(distance - np.mean(COLOUR_FADE)) < np.ptp(COLOUR_FADE) / 2
        if border.any():
            change = change - change[border].mean(axis=0)
        return (change * _smooth_step(distance, *COLOUR_FADE)[..., None]).astype(np.float32)


def _distance_from_region(
    region: str, mesh: np.ndarray, polygons: dict[str, Polygon] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's distance from a region (negative inside), and a mask of the plain regions.

    Both are images in the canonical frame.
    """
    names = region_names(polygons)
    labels = region_labels(mesh, CANONICAL_SIZE, polygons)
    own = [number for number, name in enumerate(names) if region in (name, joined_name(name, names))]
    inside = np.isin(labels, own)
    plain = np.isin(labels, [names.index(name) for name in PLAIN])
    return distance_transform_edt(~inside) - distance_transform_edt(inside), plain


def _displacement_weight(distance: np.ndarray, plain: np.ndarray, ring: float) -> np.ndarray:
    """Return the weight of the displacement at each pixel: 1 inside the region, 0 beyond the ring."""
    narrow, wide = _smooth_step(distance, 0.0, RING), _smooth_step(distance, 0.0, ring)
    share = gaussian_filter(plain.astype(float), RING / 4)
    faded = np.where(distance > 0, share * wide + (1 - share) * narrow, 1.0)
    return np.where(faded > LEAST_FADE, faded, 0.0)


def _smooth_step(distance: np.ndarray, start: float, end: float) -> np.ndarray:
    """Return values that fall smoothly from 1 at the distance `start` to 0 at `end`."""
    t = np.clip((distance - start) / (end - start), 0, 1)
    return np.asarray(1 - t * t * (3 - 2 * t))
