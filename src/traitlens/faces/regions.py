"""Division of a face into regions, such that every pixel belongs to exactly one region.

Regions are drawn over one another as polygons of the mesh: skin first, then nose, mouth, brows and eyes.
Widths are in pupil distances. "Left" is the left side of the image.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from traitlens.faces.frames import (
    CANONICAL_ANCHORS,
    CANONICAL_PUPIL_DISTANCE,
    CANONICAL_SIZE,
    apply_affine,
    invert_affine,
    to_canonical,
)
from traitlens.problems import Problem, TraitlensError

REGIONS: Final = (
    "left eye",
    "right eye",
    "left brow",
    "right brow",
    "nose",
    "mouth",
    "forehead",
    "left cheek",
    "right cheek",
    "jaw",
    "background",
)
"""Names of the regions in the order of their labels; "jaw" includes the chin, and "background" the hair."""

UNIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "eye region": ("left eye", "right eye", "left brow", "right brow"),
    "upper face": ("left eye", "right eye", "left brow", "right brow", "forehead"),
    "lower face": ("nose", "mouth", "left cheek", "right cheek", "jaw"),
}
"""Larger, overlapping regions, each a union of regions."""

OVAL: Final = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
BROW_LINE: Final = (46, 53, 52, 65, 55, 285, 295, 282, 283, 276)
MOUTH_LINE: Final = (172, 61, 291, 397)
GLABELLA: Final = (55, 193, 168, 417, 285)
NOSE: Final = (
    *(193, 122, 174, 217, 126, 209, 129, 98, 97, 2, 326, 327, 358, 429, 355, 437, 399, 351, 417, 168),
)
LIPS: Final = (*(61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146),)
PHILTRUM: Final = (129, 98, 2, 327, 358, 291, 267, 0, 37, 61)
BROWS: Final = (
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
)
EYES: Final = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
NOSE_MARGIN, LIPS_MARGIN, BROW_MARGIN, EYE_MARGIN = 0.02, 0.06, 0.06, 0.07

HAIRLINE: Final = -1.15
"""Vertical position of the hairline relative to the pupils; the outline of the mesh is stretched up to it."""

STRETCHED_ABOVE: Final = -0.30
"""Vertical position relative to the pupils above which the outline of the mesh is stretched."""

FINEST: Final = 3
"""Oversampling factor of polygons, which are drawn on a finer grid and sampled at the pixel centres."""

Polygon = Sequence[int] | Sequence[tuple[float, float]]


def region_labels(points: np.ndarray, size: int, polygons: Mapping[str, Polygon] | None = None) -> np.ndarray:
    """Label every pixel of a prepared image with its region.

    Parameters
    ----------
    points : ndarray (478, 2)
        The mesh in pixels of the prepared image.
    size : int
        Side of the prepared image in pixels.
    polygons : mapping of str to sequence, optional
        Additional regions, drawn over the others in this order: indices of mesh points, or (x, y) in the
        canonical frame of 512 x 512 pixels. A region named like one of :data:`REGIONS` extends it.

    Returns
    -------
    ndarray (size, size) of int8
        Region of each pixel (y, x), as an index into :func:`region_names`.

    Raises
    ------
    TraitlensError
        If a polygon has fewer than three points, or points that the mesh does not have.

    Examples
    --------
    >>> from traitlens.faces.canonical_mesh import canonical_mesh
    >>> labels = region_labels(canonical_mesh().points, 512)
    >>> REGIONS[labels[224, 192]], REGIONS[labels[0, 0]]
    ('left eye', 'background')
    """
    names = region_names(polygons)
    canvas = _Canvas(points, size)
    fine = size * FINEST
    labels = np.full((fine, fine), names.index("background"), np.int8)

    def paint(name: str, mask: np.ndarray) -> None:
        """Label the pixels of a mask with a region."""
        labels[mask] = names.index(name)

    face = canvas.fill(_face_outline(canvas.mesh))
    above_brows = canvas.fill(_area_above(canvas.mesh[list(BROW_LINE)]))
    above_mouth = canvas.fill(_area_above(canvas.mesh[list(MOUTH_LINE)]))
    left = canvas.fill(np.array([[256, -4096], [-4096, -4096], [-4096, 4096], [256, 4096]], float))
    paint("jaw", face & ~above_mouth)
    paint("left cheek", face & above_mouth & left)
    paint("right cheek", face & above_mouth & ~left)
    paint("forehead", (face & above_brows) | canvas.fill(canvas.mesh[list(GLABELLA)]))
    nose = canvas.fill(canvas.mesh[list(NOSE)], NOSE_MARGIN)
    paint("nose", nose)
    paint("mouth", canvas.fill(canvas.mesh[list(PHILTRUM)]) & ~nose)
    paint("mouth", canvas.fill(canvas.mesh[list(LIPS)], LIPS_MARGIN))
    for side, brow in zip(("left", "right"), BROWS, strict=True):
        paint(f"{side} brow", canvas.fill(canvas.mesh[list(brow)], BROW_MARGIN))
    for side, eye in zip(("left", "right"), EYES, strict=True):
        paint(f"{side} eye", canvas.fill(canvas.mesh[list(eye)], EYE_MARGIN))
    for name, polygon in (polygons or {}).items():
        paint(name, canvas.fill(_check_polygon(name, polygon, canvas.mesh)))
    return labels[FINEST // 2 :: FINEST, FINEST // 2 :: FINEST].copy()


def region_names(polygons: Mapping[str, Polygon] | None = None) -> tuple[str, ...]:
    """Return the names of the regions, including additional ones, in the order of their labels."""
    return (*REGIONS, *(name for name in polygons or {} if name not in REGIONS))


class _Canvas:
    """Drawing of polygons, given in the canonical frame, on an oversampled grid of a prepared image.

    The attribute `mesh` is the mesh of the face, rotated, scaled and shifted to the canonical frame.
    """

    def __init__(self, points: np.ndarray, size: int):
        to_frame = to_canonical(points)
        self.mesh = apply_affine(to_frame, points)
        self._to_fine = FINEST * invert_affine(to_frame)
        self._side = size * FINEST
        self._width = CANONICAL_PUPIL_DISTANCE * float(np.sqrt(np.linalg.det(self._to_fine[:, :2])))

    def fill(self, corners: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """Return the mask of a filled polygon, widened by a margin in pupil distances."""
        # The origin of Pillow's coordinates is the centre of the first pixel.
        drawn = [(float(x), float(y)) for x, y in apply_affine(self._to_fine, corners) - 0.5]
        image = Image.new("1", (self._side, self._side))
        draw = ImageDraw.Draw(image)
        draw.polygon(drawn, fill=1)
        radius = margin * self._width
        if radius > 0:
            draw.line([*drawn, drawn[0]], fill=1, width=round(2 * radius))
            for x, y in drawn:
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
        return np.asarray(image)


def _face_outline(mesh: np.ndarray) -> np.ndarray:
    """Return the outline of the face, stretched up to the hairline, in the canonical frame."""
    outline = mesh[list(OVAL)].copy()
    pupils = CANONICAL_ANCHORS[0][1]
    start = pupils + STRETCHED_ABOVE * CANONICAL_PUPIL_DISTANCE
    end = pupils + HAIRLINE * CANONICAL_PUPIL_DISTANCE
    high = outline[:, 1] < start
    if high.any():
        stretch = (start - end) / (start - outline[:, 1].min())
        outline[high, 1] = start - stretch * (start - outline[high, 1])
    return outline


def _area_above(line: np.ndarray) -> np.ndarray:
    """Return the polygon above a line, which is extended horizontally at both ends."""
    far = 8.0 * CANONICAL_SIZE
    (left, right) = (line[0, 1], line[-1, 1])
    return np.vstack([[-far, left], line, [far, right], [far, -far], [-far, -far]])


def _check_polygon(name: str, polygon: Polygon, mesh: np.ndarray) -> np.ndarray:
    """Return the corners of an additional region in the canonical frame, after checking them."""
    try:
        values = np.asarray(polygon, dtype=float)
        if values.ndim == 1 and len(values) >= 3 and set(values.tolist()) <= set(range(len(mesh))):
            return np.asarray(mesh[values.astype(int)])
        if values.ndim == 2 and len(values) >= 3 and values.shape[1] == 2 and np.isfinite(values).all():
            return values
    except (TypeError, ValueError):
        pass
    advice = "give three or more mesh points (0 to 477) or (x, y) in the frame of 512 x 512 pixels"
    raise TraitlensError(Problem(f"the region {name!r} is not a polygon", advice))
