"""A displayed face with its maps, and the drawing of maps."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, TRAIT
from traitlens.explorer.likeness import Likeness
from traitlens.report.colouring import colour, lay_over, smooth


@dataclass(frozen=True, eq=False)
class ShownFace:
    """A displayed face.

    Parameters
    ----------
    pixels : ndarray of uint8 (y, x, colour)
        The prepared image.
    impressions : DataFrame
        group, trait, predicted, and for faces of the study observed.
    fold : int or None
        The face's fold; None for a new face.
    """

    name: str
    pixels: np.ndarray
    impressions: pd.DataFrame
    fold: int | None = None

    def rating(self, column: str, group: str, trait: str) -> float | None:
        """Return a rating of the face.

        Parameters
        ----------
        column : {"observed", "predicted"}
            The rating.

        Returns
        -------
        float or None
            The rating, or None.
        """
        table = self.impressions
        found = table.loc[(table[GROUP] == group) & (table[TRAIT] == trait)]
        value = float(found[column].iloc[0]) if len(found) and column in found else np.nan
        return value if np.isfinite(value) else None


@dataclass(frozen=True, eq=False)
class FaceView:
    """Data of a displayed face for one trait.

    Parameters
    ----------
    maps : dict of str to ndarray (y, x)
        Relevance in rating points per pixel, by group.
    limit : float
        Limit of the colour scale of these maps.
    near : list of (ShownFace, maps)
        The most similar faces of the study, nearest first, with their maps.
    near_limit : float
        Limit of the colour scale of their maps.
    likeness : Likeness or None
        How a new face compares with those of the study.
    """

    face: ShownFace
    trait: str
    maps: dict[str, np.ndarray]
    limit: float
    near: list[tuple[ShownFace, dict[str, np.ndarray]]]
    near_limit: float
    likeness: Likeness | None = None


def draw_map(
    pixels: np.ndarray, relevance: np.ndarray, limit: float, opacity: float = 0.5, threshold: float = 0.0
) -> np.ndarray:
    """Draw a map over a face.

    Parameters
    ----------
    pixels : ndarray of uint8 (y, x, colour)
        The face.
    relevance : ndarray (y, x)
        Rating points per pixel.
    opacity : float, default 0.5
        Opacity of the face, 0 to 1.
    threshold : float, default 0
        Relevance below this share of the limit is white.

    Returns
    -------
    ndarray of uint8 (y, x, colour)
        The picture.
    """
    smoothed = smooth(relevance)
    smoothed = np.where(np.abs(smoothed) < threshold * limit, 0.0, smoothed)
    return lay_over(pixels, colour(smoothed, limit), opacity)
