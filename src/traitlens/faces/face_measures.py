"""Measures of faces computed from landmarks and pixels: expression, proportions, pose and light."""

import numpy as np
import pandas as pd

from traitlens.columns import IMAGE
from traitlens.faces.regions import OVAL

MEASURES = {
    "smile": "mouth corners above the middle of the lips, over the width of the mouth",
    "mouth width": "distance between the mouth corners over distance between the outer eye corners",
    "mouth opening": "distance between the inner lips over the height of the face",
    "eye opening": "height of the eyes over their width",
    "brow height": "distance between brows and upper eyelids over distance between the outer eye corners",
    "face width": "width of the face over its height",
    "head turn": "distance of the nose from the middle of the face, in either direction",
    "head pitch": "position of the nose tip between eyes (0) and chin (1)",
    "brightness": "mean grey value of the face, from 0 to 1",
    "contrast": "standard deviation of the grey values of the face",
}
"""Description of each measure."""
_GREY = np.array([0.2126, 0.7152, 0.0722])


def measure_points(points: np.ndarray) -> dict[str, np.ndarray]:
    """Compute measures of faces from their landmarks.

    Parameters
    ----------
    points : ndarray of shape (image, 478, 2)
        Landmarks, x and y; NaN for faces without landmarks.

    Returns
    -------
    dict of str to ndarray of shape (image,)
        All measures of :data:`MEASURES` except brightness and contrast. They do not depend on the size of the
        face and its rotation in the image plane.
    """
    p = np.asarray(points, float)

    def apart(first: int, second: int) -> np.ndarray:
        """Return the distance between two points."""
        return np.linalg.norm(p[:, first] - p[:, second], axis=1)

    eyes = apart(33, 263)
    # Axes of the face: along the line through the eyes, and downwards at a right angle to this line.
    across = (p[:, 263] - p[:, 33]) / eyes[:, None]
    down = np.column_stack([-across[:, 1], across[:, 0]])

    def height(first: int, second: int) -> np.ndarray:
        """Return how far the second point is below the first along the axis of the face."""
        return np.asarray(((p[:, second] - p[:, first]) * down).sum(axis=1))

    face = height(10, 152)
    lips = (height(33, 13) + height(33, 14)) / 2
    corners = (height(33, 61) + height(33, 291)) / 2
    sides = [np.abs(((p[:, side] - p[:, 1]) * across).sum(axis=1)) for side in (234, 454)]
    return {
        "smile": (lips - corners) / apart(61, 291),
        "mouth width": apart(61, 291) / eyes,
        "mouth opening": apart(13, 14) / face,
        "eye opening": (apart(159, 145) / apart(33, 133) + apart(386, 374) / apart(362, 263)) / 2,
        "brow height": (apart(105, 159) + apart(334, 386)) / 2 / eyes,
        "face width": apart(234, 454) / face,
        "head turn": np.abs(sides[0] - sides[1]) / (sides[0] + sides[1]),
        "head pitch": height(33, 1) / height(33, 152),
    }


def measure_light(pixels: np.ndarray, points: np.ndarray) -> tuple[float, float]:
    """Compute brightness and contrast inside the oval of one face.

    Parameters
    ----------
    pixels : ndarray of shape (y, x, 3)
        Prepared image, 0 to 255.
    points : ndarray of shape (478, 2)
        Landmarks in pixels of the image.

    Returns
    -------
    brightness, contrast : float
        Mean and standard deviation of the grey values, from 0 to 1; NaN if there are no landmarks.
    """
    from PIL import Image, ImageDraw

    if not np.isfinite(points).all():
        return np.nan, np.nan
    mask = Image.new("1", pixels.shape[1::-1])
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in points[list(OVAL)]], fill=1)
    inside = np.asarray(mask, bool)
    if inside.sum() < 4:
        return np.nan, np.nan
    grey = pixels[inside] @ _GREY / 255
    return float(grey.mean()), float(grey.std())


def describe_columns(images: pd.DataFrame, left_out: tuple[str, ...]) -> pd.DataFrame:
    """Convert the further columns of `images.csv` to numeric variables of the faces.

    Parameters
    ----------
    images : DataFrame of str
        image, and further columns.
    left_out : tuple of str
        Columns that do not describe the face.

    Returns
    -------
    DataFrame
        Index image. Numeric columns are kept. A column with two to six categories becomes an indicator (1 or
        0) for each category, or for the first of two. Other columns are omitted.
    """
    columns: dict[str, pd.Series] = {}
    for name in images.columns.drop([IMAGE, *left_out], errors="ignore"):
        own = images[name].where(images[name].astype(str).str.strip() != "")
        numbers = pd.to_numeric(own, errors="coerce")
        if numbers.notna().sum() == own.notna().sum() and numbers.nunique() > 2:
            columns[str(name)] = numbers.astype(float)
            continue
        kinds = own.dropna().astype(str).value_counts()
        if 2 <= len(kinds) <= 6 and kinds.min() >= 2:
            for kind in sorted(kinds.index)[: 1 if len(kinds) == 2 else None]:
                columns[f"{name}: {kind}"] = (own.astype(str) == kind).astype(float).where(own.notna())
    return pd.DataFrame(columns).set_axis(images[IMAGE], axis=0)
