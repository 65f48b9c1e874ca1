"""Slow, literal twins of what `traitlens.faces` computes: one pixel and one triangle at a time."""

import numpy as np


def inside(point: tuple[float, float], polygon: np.ndarray) -> bool:
    """Tell by counting crossings whether a point lies in a polygon."""
    x, y = point
    crossings = 0
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            crossings += 1
    return crossings % 2 == 1


def distance_to_outline(point: tuple[float, float], polygon: np.ndarray) -> float:
    """Measure the distance of a point to a polygon's outline."""
    place = np.array(point)
    nearest = np.inf
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        along = end - start
        share = np.clip((place - start) @ along / max(along @ along, 1e-12), 0, 1)
        nearest = min(nearest, float(np.linalg.norm(place - start - share * along)))
    return nearest


def widened_mask(polygon: np.ndarray, margin: float, size: int) -> np.ndarray:
    """Fill a polygon and everything up to a margin from it, pixel by pixel."""
    mask = np.zeros((size, size), bool)
    for row in range(size):
        for column in range(size):
            centre = (column + 0.5, row + 0.5)
            mask[row, column] = inside(centre, polygon) or distance_to_outline(centre, polygon) < margin
    return mask


def piecewise_affine(point: np.ndarray, source: np.ndarray, target: np.ndarray, triangles: np.ndarray):
    """Map a point by the affine map of the first triangle of the source that holds it."""
    for corners in triangles:
        (a, b, c), moved = source[corners], target[corners]
        shares = np.linalg.solve(np.vstack([np.stack([a, b, c]).T, np.ones(3)]), np.array([*point, 1.0]))
        if (shares > -1e-9).all():
            return shares @ moved
    raise ValueError("the point lies in no triangle")
