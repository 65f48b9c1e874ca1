"""Measures of faces from landmarks and pixels: expression, proportions, pose and light."""

import numpy as np
import pandas as pd

from traitlens.columns import IMAGE
from traitlens.faces.regions import OVAL

MEASURES = {
    "smile": "mouth corners above the middle of the lips, over the width of the mouth",
    "mouth width": "distance of the mouth corners over that of the outer eye corners",
    "mouth opening": "distance of the inner lips over the height of the face",
    "eye opening": "height of the eyes over their width",
    "brow height": "distance of brows and upper eyelids over that of the outer eye corners",
    "face width": "width of the face over its height",
    "head turn": "how far the nose is off the middle of the face, in either direction",
    "head pitch": "place of the nose tip between eyes (0) and chin (1)",
    "brightness": "mean grey value of the face, from 0 to 1",
    "contrast": "standard deviation of the grey values of the face",
}
"""Descriptions of the measures."""
_GREY = np.array([0.2126, 0.7152, 0.0722])


def measure_points(points: np.ndarray) -> dict[str, np.ndarray]:
    """Compute measures of faces from their landmarks.

    Parameters
    ----------
    points : ndarray of shape (image, 478, 2)
        Landmarks, x and y; missing where a face has none.

    Returns
    -------
    dict of str to ndarray of shape (image,)
        The measures of :data:`MEASURES` that landmarks give; none depends on size or upright rotation of
        the face but for perspective.
    """
    p = np.asarray(points, float)

    def apart(first: int, second: int) -> np.ndarray:
        """Return the distance between two points."""
        return np.linalg.norm(p[:, first] - p[:, second], axis=1)

    eyes = apart(33, 263)
    # Axes of the face: along the eyes, and at right angles to them, downwards.
    across = (p[:, 263] - p[:, 33]) / eyes[:, None]
    down = np.column_stack([-across[:, 1], across[:, 0]])

    def height(first: int, second: int) -> np.ndarray:
        """Return the vertical distance of the second point below the first."""
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
    """Compute brightness and contrast of one face.

    Parameters
    ----------
    pixels : ndarray of shape (y, x, 3)
        Prepared image, 0 to 255.
    points : ndarray of shape (478, 2)
        Landmarks in pixels of the image; the oval of the face is measured.

    Returns
    -------
    brightness, contrast : float
        Mean and standard deviation of the grey values, from 0 to 1.
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
    """Convert further columns of `images.csv` to numbers.

    Parameters
    ----------
    images : DataFrame
        image and further columns as text.
    left_out : tuple of str
        Columns that describe no face.

    Returns
    -------
    DataFrame
        By image: a column of numbers as it is, and a column for each of at most six names of the others (1 or
        0; of two names the first). Columns that are constant or name nearly every image are left out.
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
