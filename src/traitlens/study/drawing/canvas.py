"""Canvas on which antialiased shapes are painted."""

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

FINE = 4
"""Oversampling factor of shapes, for antialiasing."""


class Canvas:
    """A square image onto which shapes are painted.

    Parameters
    ----------
    size : int
        Side length, in pixels.
    colour : (float, float, float)
        Background colour, 0 to 255.
    """

    def __init__(self, size: int, colour: tuple[float, float, float]):
        self.size = size
        self.pixels = np.ones((size, size, 3), np.float32) * np.asarray(colour, np.float32)

    def cover(self, outline: np.ndarray, spread: float = 0.0) -> np.ndarray:
        """Return each pixel's coverage (0 to 1) by a closed outline (n, 2), widened by `spread` pixels."""
        if spread == 0:
            return self._fill([outline])
        return self._fill([outline, outline + spread * _compute_normals(outline)])

    def cover_line(self, line: np.ndarray, width: float) -> np.ndarray:
        """Return each pixel's coverage (0 to 1) by a line through points (n, 2), `width` pixels wide."""
        along = np.gradient(line, axis=0)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        across = 0.5 * width * np.stack([along[:, 1], -along[:, 0]], axis=1)
        ends = [circle(line[0], width / 2), circle(line[-1], width / 2)]
        return self._fill([np.concatenate([line + across, (line - across)[::-1]]), *ends])

    def _fill(self, outlines: list[np.ndarray]) -> np.ndarray:
        """Return each pixel's coverage (0 to 1) by filled outlines, computed with oversampling."""
        corners = np.concatenate(outlines)
        low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, self.size)
        high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, self.size)
        width, height = (int(side) for side in high - low)
        whole = np.zeros((self.size, self.size), np.float32)
        if width <= 0 or height <= 0:
            return whole
        fine = Image.new("L", (width * FINE, height * FINE))
        draw = ImageDraw.Draw(fine)
        for outline in outlines:
            draw.polygon(((outline - low) * FINE - 0.5).ravel().tolist(), fill=255)
        whole[low[1] : high[1], low[0] : high[0]] = np.asarray(fine.reduce(FINE), np.float32) / 255
        return whole

    def paint(self, cover: np.ndarray, colour: np.ndarray | tuple[float, ...]) -> None:
        """Paint a colour, or an image of the same size, weighted by the coverage of each pixel."""
        part = _find_bounding_box(cover)
        if part is not None:
            colours = np.asarray(colour, np.float32)
            colours = colours[part] if colours.ndim == 3 else colours
            self.pixels[part] += cover[part][..., None] * (colours - self.pixels[part])

    def tint(self, cover: np.ndarray, factor: float | tuple[float, float, float]) -> None:
        """Multiply the colours of the image by a factor, weighted by the coverage of each pixel."""
        part = _find_bounding_box(cover)
        if part is not None:
            factors = np.asarray(factor, np.float32) * np.ones(3, np.float32)
            self.pixels[part] *= 1 + cover[part][..., None] * (factors - 1)


def circle(centre: np.ndarray | tuple[float, float], radius: float) -> np.ndarray:
    """Return the outline of a circle as an array of shape (32, 2)."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    outline: np.ndarray = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius + np.asarray(centre)
    return outline


def _compute_normals(outline: np.ndarray) -> np.ndarray:
    """Return the outward unit normals (n, 2) of a closed outline."""
    along = np.roll(outline, -1, axis=0) - np.roll(outline, 1, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    x, y = outline.T
    clockwise = np.sign(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
    return np.asarray(normal * clockwise)


def _find_bounding_box(layer: np.ndarray, reach: int = 0) -> tuple[slice, slice] | None:
    """Return slices for the bounding box of the non-zero pixels, widened by `reach`; None if all are zero."""
    rows, columns = np.nonzero(layer.any(axis=1))[0], np.nonzero(layer.any(axis=0))[0]
    if len(rows) == 0:
        return None
    return (
        slice(max(int(rows[0]) - reach, 0), int(rows[-1]) + reach + 1),
        slice(max(int(columns[0]) - reach, 0), int(columns[-1]) + reach + 1),
    )


def blur(layer: np.ndarray, radius: float) -> np.ndarray:
    """Blur an array of shape (row, column) with a Gaussian whose standard deviation is `radius` pixels."""
    part = _find_bounding_box(layer, reach=int(np.ceil(3 * radius)) + 1)
    softened = np.zeros(layer.shape, np.float32)
    if part is not None:
        softened[part] = gaussian_filter(layer[part].astype(np.float32), radius, mode="nearest", truncate=3.0)
    return softened


def blob(x: np.ndarray, y: np.ndarray, centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """Return the height of a Gaussian spot at every pixel: 1 at the centre, 0.6 one radius away."""
    return np.exp(-0.5 * (((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2))
