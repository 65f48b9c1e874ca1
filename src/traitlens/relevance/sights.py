"""Sights: the pictures that the network gets of an image (views and mirror images), and the way back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from traitlens.problems import unknown_choice
from traitlens.readouts.readout import FeatureSpace


class View(Protocol):
    """A named crop of the prepared image, resampled."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom edge, as shares of width and height."""

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Cut the view out of a prepared image."""


@dataclass(frozen=True)
class Sight:
    """One picture as the network gets it: a view of the prepared image, or its mirror image.

    Parameters
    ----------
    view : str
        Name of the view; "image" is the prepared image.
    mirrored : bool
        Whether left and right are exchanged.
    """

    view: str
    mirrored: bool


def sights_of(space: FeatureSpace) -> tuple[Sight, ...]:
    """List the pictures that a feature space averages.

    Parameters
    ----------
    space : FeatureSpace
        View, tap and transform.

    Returns
    -------
    tuple of Sight
        One, or two with the mirror image.
    """
    plain = Sight(space.view, False)
    return (plain, Sight(space.view, True)) if space.mirror else (plain,)


class Sights:
    """All pictures that some feature spaces ask for.

    Parameters
    ----------
    spaces : iterable of FeatureSpace
        What is read.
    views : mapping of str to View or None
        The crops that the spaces name, beside "image".

    Raises
    ------
    TraitlensError
        If a view is not known.
    """

    def __init__(self, spaces: Iterable[FeatureSpace], views: Mapping[str, View] | None = None):
        self.views = dict(views or {})
        self.taps: dict[Sight, set[str]] = {}
        for space in spaces:
            if space.view != "image" and space.view not in self.views:
                raise unknown_choice("view", space.view, ["image", *self.views])
            for sight in sights_of(space):
                self.taps.setdefault(sight, set()).add(space.tap.layer)

    def see(self, image: np.ndarray, sight: Sight) -> np.ndarray:
        """Cut and mirror an image.

        Parameters
        ----------
        image : ndarray
            uint8 RGB (row, column, 3).
        sight : Sight
            What is wanted of it.

        Returns
        -------
        ndarray
            uint8 RGB (row, column, 3).
        """
        seen = image if sight.view == "image" else self.views[sight.view].crop(image)
        return np.ascontiguousarray(seen[:, ::-1]) if sight.mirrored else seen

    def to_image(self, maps: np.ndarray, sight: Sight, size: tuple[int, int]) -> np.ndarray:
        """Bring maps of a sight back to the prepared image; their sums stay.

        Parameters
        ----------
        maps : ndarray
            (readout, row, column) of the sight.
        sight : Sight
            What they are maps of.
        size : (int, int)
            Rows and columns of the prepared image.

        Returns
        -------
        ndarray
            (readout, row, column) of the prepared image.
        """
        if sight.mirrored:
            maps = maps[:, :, ::-1]
        if sight.view == "image":
            return maps
        rows, columns = coverage(self.views[sight.view], size, maps.shape[1:])
        return np.asarray(rows @ maps @ columns.T)

    def from_image(self, masks: np.ndarray, sight: Sight, size: tuple[int, int]) -> np.ndarray:
        """Bring masks of the prepared image to a sight: the transpose of :meth:`to_image`.

        Parameters
        ----------
        masks : ndarray
            (region, row, column) of the prepared image.
        sight : Sight
            Where they are wanted.
        size : (int, int)
            Rows and columns of the sight.

        Returns
        -------
        ndarray
            float32 (region, row, column) of the sight.
        """
        masks = np.asarray(masks, np.float32)
        if sight.view != "image":
            rows, columns = coverage(self.views[sight.view], masks.shape[1:], size)
            masks = rows.T @ masks @ columns
        return np.ascontiguousarray(masks[:, :, ::-1] if sight.mirrored else masks)


def coverage(
    view: View, image_size: Sequence[int], view_size: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Share each row and column of a view among those of the image that it covers.

    Parameters
    ----------
    view : View
        The crop.
    image_size, view_size : (int, int)
        Rows and columns of the prepared image and of the view as the network sees it.

    Returns
    -------
    rows, columns : ndarray
        (image row, view row) and (image column, view column); the shares of a view's row sum to 1.
    """
    left, top, right, bottom = view.box
    height, width = image_size[0], image_size[1]
    edges = ((round(top * height), round(bottom * height)), (round(left * width), round(right * width)))
    found = []
    for (start, end), whole, seen in zip(edges, (height, width), view_size, strict=True):
        borders = np.linspace(start, end, seen + 1)
        pixels = np.arange(whole)[:, None]
        overlap = np.minimum(borders[1:], pixels + 1) - np.maximum(borders[:-1], pixels)
        overlap = np.clip(overlap, 0, None)
        found.append((overlap / overlap.sum(0)).astype(np.float32))
    return found[0], found[1]
