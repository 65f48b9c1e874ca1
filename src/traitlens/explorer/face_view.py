"""Data of a face shown in the explorer, and drawing of maps over faces."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, TRAIT
from traitlens.explorer.likeness import Likeness
from traitlens.report.colouring import colour, lay_over, smooth


@dataclass(frozen=True, eq=False)
class ShownFace:
    """A face shown in the explorer.

    Parameters
    ----------
    name : str
        Name of the image.
    pixels : ndarray of uint8 (y, x, colour)
        The prepared image.
    impressions : DataFrame
        Columns group, trait and predicted, and for faces of the study observed (rating points).
    fold : int or None
        Fold of the face in cross-validation; None for a new face.
    """

    name: str
    pixels: np.ndarray
    impressions: pd.DataFrame
    fold: int | None = None

    def rating(self, column: str, group: str, trait: str) -> float | None:
        """Return the observed or predicted rating of the face by a group on a trait; None if missing."""
        table = self.impressions
        found = table.loc[(table[GROUP] == group) & (table[TRAIT] == trait)]
        value = float(found[column].iloc[0]) if len(found) and column in found else np.nan
        return value if np.isfinite(value) else None


@dataclass(frozen=True, eq=False)
class FaceView:
    """Everything that the explorer shows for one face and one trait.

    Parameters
    ----------
    face : ShownFace
        The face.
    trait : str
        The trait.
    maps : dict of str to ndarray (y, x)
        Relevance in rating points per pixel, keyed by group.
    limit : float
        Limit of the colour scale of the face's maps.
    near : list of (ShownFace, maps)
        The most similar faces of the study, nearest first, with their maps.
    near_limit : float
        Limit of the colour scale of the similar faces' maps.
    likeness : Likeness or None
        Similarity of a new face to the study's faces.
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
    """Draw a relevance map over a face.

    Parameters
    ----------
    pixels : ndarray of uint8 (y, x, colour)
        The prepared image of the face.
    relevance : ndarray (y, x)
        Relevance in rating points per pixel.
    limit : float
        Limit of the colour scale.
    opacity : float, default 0.5
        Opacity of the face, from 0 to 1.
    threshold : float, default 0
        Share of the limit below which relevance is drawn white.

    Returns
    -------
    ndarray of uint8 (y, x, colour)
        The image of the face with the map.
    """
    smoothed = smooth(relevance)
    smoothed = np.where(np.abs(smoothed) < threshold * limit, 0.0, smoothed)
    return lay_over(pixels, colour(smoothed, limit), opacity)
