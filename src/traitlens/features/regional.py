r"""Regional faces: one region of a face on the average face, so that nothing else of the person enters.

With the mask :math:`m_r` of a region and the average face :math:`a`, the regional face is
:math:`x_r = m_r x + (1 - m_r) a`.
"""

from collections.abc import Iterable

import numpy as np


def average_face(images: Iterable[np.ndarray]) -> np.ndarray:
    """Compute the average of prepared images.

    Parameters
    ----------
    images : iterable of ndarray
        uint8 RGB (row, column, 3), all of one size, read one at a time.

    Returns
    -------
    ndarray
        uint8 RGB (row, column, 3), rounded, so that it is an ordinary image.

    Raises
    ------
    ValueError
        If there is no image.
    """
    total: np.ndarray | None = None
    count = 0
    for image in images:
        total = image.astype(np.int64) if total is None else total + image
        count += 1
    if total is None:
        raise ValueError("the average face needs at least one image")
    return np.rint(total / count).astype(np.uint8)


def regional_faces(image: np.ndarray, masks: np.ndarray, average: np.ndarray) -> np.ndarray:
    """Put each region of a face on the average face.

    Parameters
    ----------
    image, average : ndarray
        uint8 RGB (row, column, 3).
    masks : ndarray
        (region, row, column), 0 to 1.

    Returns
    -------
    ndarray
        uint8 RGB (region, row, column, 3). Where the mask is 1 the pixels are those of the face, where it is
        0 those of the average; between, they are rounded.

    Examples
    --------
    >>> white, black = np.full((1, 3, 3), 255, np.uint8), np.zeros((1, 3, 3), np.uint8)
    >>> regional_faces(white, np.array([[[0, 0.5, 1]]]), black)[0, 0, :, 0].tolist()
    [0, 128, 255]
    """
    masks = np.asarray(masks, np.float32)[..., None]
    mixed = masks * image.astype(np.float32) + (1 - masks) * average.astype(np.float32)
    return np.rint(mixed).astype(np.uint8)
