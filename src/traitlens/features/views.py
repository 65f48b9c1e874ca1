"""Views: named crops of the prepared image, each enlarged to the size at which the network sees it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class View:
    """A crop of the prepared image.

    Parameters
    ----------
    name : str
        What feature spaces call it.
    box : (float, float, float, float)
        Left, top, right and bottom edge, as shares of the prepared image's width and height.
    size : (int, int)
        Width and height in pixels that the crop is resampled to (Lanczos).

    Examples
    --------
    >>> View("left half", (0, 0, 0.5, 1), (2, 4)).crop(np.zeros((8, 8, 3), np.uint8)).shape
    (4, 2, 3)
    """

    name: str
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    size: tuple[int, int] = (224, 224)

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Cut the view out of a prepared image.

        Parameters
        ----------
        image : ndarray
            uint8 RGB (row, column, 3).

        Returns
        -------
        ndarray
            uint8 RGB (row, column, 3) of the view's size.
        """
        from PIL import Image

        height, width = image.shape[:2]
        left, top, right, bottom = self.box
        if self.box == (0.0, 0.0, 1.0, 1.0) and self.size == (width, height):
            return image
        # The crop comes first, so that the edge does not mix with pixels that the view does not show.
        edges = (round(left * width), round(top * height), round(right * width), round(bottom * height))
        cut = Image.fromarray(image).crop(edges)
        return np.asarray(cut.resize(self.size, Image.Resampling.LANCZOS))

    def grid(self, rows: int) -> tuple[int, int]:
        """Divide the view into cells that are about as wide as high.

        Parameters
        ----------
        rows : int
            Number of rows.

        Returns
        -------
        (int, int)
            Rows and columns.

        Examples
        --------
        >>> View("eyes", size=(448, 224)).grid(7)
        (7, 14)
        """
        width, height = self.size
        return rows, max(1, round(rows * width / height))


WHOLE = "image"
"""Name of the view that is the prepared image itself."""

FACE_VIEWS: dict[str, View] = {
    "face": View("face", (160 / 1024, 200 / 1024, 864 / 1024, 904 / 1024), (448, 448)),
    "full": View("full", (0.0, 0.0, 1.0, 1.0), (336, 336)),
    "eyes": View("eyes", (224 / 1024, 340 / 1024, 800 / 1024, 628 / 1024), (448, 224)),
}
"""Views for portraits aligned as in the FFHQ data set, where they were found to predict best together."""
