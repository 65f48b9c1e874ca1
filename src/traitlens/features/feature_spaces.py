"""Feature spaces: what readouts read of an image, and the pictures of it that the network sees for that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from traitlens.features.taps import Tap
from traitlens.features.views import FACE_VIEWS, WHOLE, View
from traitlens.problems import unknown_choice


@dataclass(frozen=True)
class NetworkInput:
    """A picture that the network sees: a view of the prepared image, or the mirror image of one.

    Parameters
    ----------
    view : str
        Name of the view; "image" is the prepared image.
    mirrored : bool
        Whether left and right are exchanged.
    """

    view: str
    mirrored: bool


@dataclass(frozen=True)
class FeatureSpace:
    """One view of the image as a readout sees it: crop, tap and transform.

    Parameters
    ----------
    tap : Tap
        The layer and its grid.
    view : str, default "image"
        Name of the crop of the prepared image; "image" is the prepared image itself.
    transform : {"none", "sqrt"}
        Applied to the averaged activation, elementwise.
    mirror : bool, default False
        Whether the feature is the mean over the view and its mirror image.
    region : str, default ""
        The region of the face that is read, on the average face; the whole face where empty.
    """

    tap: Tap
    view: str = WHOLE
    transform: Literal["none", "sqrt"] = "none"
    mirror: bool = False
    region: str = ""

    @property
    def pictures(self) -> tuple[NetworkInput, ...]:
        """The pictures whose features are averaged: the view, and its mirror image if `mirror`."""
        plain = NetworkInput(self.view, mirrored=False)
        return (plain, NetworkInput(self.view, mirrored=True)) if self.mirror else (plain,)

    def apply(self, averaged: np.ndarray) -> np.ndarray:
        """Transform averaged activations.

        Parameters
        ----------
        averaged : ndarray
            (image, channel, row, column), not negative.

        Returns
        -------
        ndarray
            The features, of the same shape.
        """
        return np.sqrt(averaged) if self.transform == "sqrt" else averaged


class NetworkInputs:
    """The pictures that some feature spaces need of an image, and the way back from them to the image.

    Parameters
    ----------
    views : mapping of str to View or None
        The crops that the spaces name, beside "image"; :data:`~traitlens.features.views.FACE_VIEWS` where
        None.

    Attributes
    ----------
    taps : dict of NetworkInput to set of str
        The layers that are read of each picture.

    Raises
    ------
    TraitlensError
        If a view is not known.
    """

    def __init__(self, spaces: Iterable[FeatureSpace], views: Mapping[str, View] | None = None):
        self.views = dict(FACE_VIEWS if views is None else views)
        self.taps: dict[NetworkInput, set[str]] = {}
        for space in spaces:
            if space.view != WHOLE and space.view not in self.views:
                raise unknown_choice("view", space.view, [WHOLE, *self.views])
            for picture in space.pictures:
                self.taps.setdefault(picture, set()).add(space.tap.layer)

    def cut(self, images: np.ndarray, picture: NetworkInput) -> np.ndarray:
        """Cut a picture out of prepared images.

        Parameters
        ----------
        images : ndarray
            uint8 RGB (image, row, column, 3).

        Returns
        -------
        ndarray
            uint8 RGB (image, row, column, 3).
        """
        if picture.view != WHOLE:
            images = np.stack([self.views[picture.view].crop(image) for image in images])
        return images[:, :, ::-1] if picture.mirrored else images

    def to_image(self, maps: np.ndarray, picture: NetworkInput, size: tuple[int, int]) -> np.ndarray:
        """Bring maps of a picture back to the prepared image; their sums stay the same.

        Parameters
        ----------
        maps : ndarray
            (map, row, column) of the picture.
        size : (int, int)
            Rows and columns of the prepared image.

        Returns
        -------
        ndarray
            (map, row, column) of the prepared image.
        """
        maps = maps[:, :, ::-1] if picture.mirrored else maps
        return maps if picture.view == WHOLE else self.views[picture.view].spread(maps, size)

    def from_image(self, masks: np.ndarray, picture: NetworkInput, size: tuple[int, int]) -> np.ndarray:
        """Bring masks of the prepared image to a picture: the transpose of :meth:`to_image`.

        Parameters
        ----------
        masks : ndarray
            (mask, row, column) of the prepared image.
        size : (int, int)
            Rows and columns of the picture.

        Returns
        -------
        ndarray
            float32 (mask, row, column) of the picture.
        """
        masks = np.asarray(masks, np.float32)
        if picture.view != WHOLE:
            masks = self.views[picture.view].gather(masks, size)
        return np.ascontiguousarray(masks[:, :, ::-1] if picture.mirrored else masks)
