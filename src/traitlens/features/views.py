"""Views: named crops of the prepared image, resized for the network."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class View:
    """A crop of the prepared image.

    Parameters
    ----------
    name : str
        Name of the view, by which feature spaces refer to it.
    box : (float, float, float, float)
        Left, top, right and bottom edges, as shares of the width and height of the prepared image.
    size : (int, int)
        Width and height in pixels after resampling (Lanczos).

    Examples
    --------
    >>> View("left half", (0, 0, 0.5, 1), (2, 4)).crop(np.zeros((8, 8, 3), np.uint8)).shape
    (4, 2, 3)
    """

    name: str
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    size: tuple[int, int] = (224, 224)

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Crop a prepared image to the view, and resize it.

        Parameters
        ----------
        image : ndarray
            Prepared image, uint8 RGB (row, column, 3).

        Returns
        -------
        ndarray
            The view, uint8 RGB (row, column, 3).
        """
        from PIL import Image

        height, width = image.shape[:2]
        if self.box == (0.0, 0.0, 1.0, 1.0) and self.size == (width, height):
            return image
        (top, bottom), (left, right) = self._edge_pixels(height, width)
        # Cropping before resizing keeps pixels outside the view from being mixed into its edge.
        cut = Image.fromarray(image).crop((left, top, right, bottom))
        return np.asarray(cut.resize(self.size, Image.Resampling.LANCZOS))

    def spread(self, maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Map relevance from the view to the prepared image, preserving its sum.

        Parameters
        ----------
        maps : ndarray (map, row, column)
            Relevance at the resolution of the view.
        size : (int, int)
            Rows and columns of the prepared image.

        Returns
        -------
        ndarray (map, row, column)
            Relevance at the resolution of the prepared image.
        """
        rows, columns = self._overlap_matrices(size, (maps.shape[1], maps.shape[2]))
        return np.asarray(rows @ maps @ columns.T)

    def _edge_pixels(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the top and bottom, and the left and right edge, in pixels of the prepared image."""
        left, top, right, bottom = self.box
        return (round(top * height), round(bottom * height)), (round(left * width), round(right * width))

    def _overlap_matrices(
        self, image_size: tuple[int, int], view_size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the shares of each row and column of the view that overlap those of the prepared image.

        The matrices are (image row, view row) and (image column, view column); their columns sum to 1.
        """
        found = []
        for (start, end), length, seen in zip(
            self._edge_pixels(*image_size), image_size, view_size, strict=True
        ):
            borders = np.linspace(start, end, seen + 1)
            pixels = np.arange(length)[:, None]
            overlap = np.minimum(borders[1:], pixels + 1) - np.maximum(borders[:-1], pixels)
            overlap = np.clip(overlap, 0, None)
            found.append((overlap / overlap.sum(0)).astype(np.float32))
        return found[0], found[1]

    def grid(self, rows: int) -> tuple[int, int]:
        """Return the size of a grid with nearly square cells.

        Parameters
        ----------
        rows : int
            Number of rows.

        Returns
        -------
        (int, int)
            Number of rows and of columns.

        Examples
        --------
        >>> View("eyes", size=(448, 224)).grid(7)
        (7, 14)
        """
        width, height = self.size
        return rows, max(1, round(rows * width / height))


WHOLE = "image"
"""Name of the view that is the whole prepared image."""

FACE_VIEWS: dict[str, View] = {
    "face": View("face", (160 / 1024, 200 / 1024, 864 / 1024, 904 / 1024), (448, 448)),
    "full": View("full", (0.0, 0.0, 1.0, 1.0), (336, 336)),
    "eyes": View("eyes", (224 / 1024, 340 / 1024, 800 / 1024, 628 / 1024), (448, 224)),
}
"""Views of portraits aligned as in the FFHQ dataset, which together predicted ratings best there."""
