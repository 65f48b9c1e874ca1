"""Data of a face shown in the explorer."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from traitlens.explorer.likeness import Likeness


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
