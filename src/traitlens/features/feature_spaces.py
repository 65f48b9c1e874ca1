"""Feature spaces of readouts, and the network inputs that they need."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from traitlens.features.taps import Tap
from traitlens.features.views import FACE_VIEWS, WHOLE, View
from traitlens.problems import unknown_choice


@dataclass(frozen=True)
class NetworkInput:
    """An input of the network: a view of the prepared image, possibly mirrored.

    Parameters
    ----------
    view : str
        Name of the view; "image" is the prepared image.
    mirrored : bool
        Whether the view is mirrored.
    """

    view: str
    mirrored: bool


@dataclass(frozen=True)
class FeatureSpace:
    """Features that a readout reads: tap, view and transform.

    Parameters
    ----------
    tap : Tap
        The layer and its grid.
    view : str, default "image"
        Name of the crop of the prepared image; "image" is the prepared image itself.
    transform : {"none", "sqrt"}
        Applied to the averaged activation, elementwise.
    mirror : bool, default False
        Whether features are averaged over the view and its mirror image.
    region : str, default ""
        Region of the face on the average face; the whole face if empty.
    """

    tap: Tap
    view: str = WHOLE
    transform: Literal["none", "sqrt"] = "none"
    mirror: bool = False
    region: str = ""

    @property
    def pictures(self) -> tuple[NetworkInput, ...]:
        """The network inputs whose features are averaged: the view, and its mirror image if `mirror`."""
        plain = NetworkInput(self.view, mirrored=False)
        return (plain, NetworkInput(self.view, mirrored=True)) if self.mirror else (plain,)

    def apply(self, averaged: np.ndarray) -> np.ndarray:
        """Transform averaged activations.

        Parameters
        ----------
        averaged : ndarray
            (image, channel, row, column).

        Returns
        -------
        ndarray
            The features, of the same shape; square roots have the sign of the activation.
        """
        if self.transform == "none":
            return averaged
        return np.copysign(np.sqrt(np.abs(averaged)), averaged)


class NetworkInputs:
    """Network inputs of feature spaces, with the mapping to the prepared image and back.

    Parameters
    ----------
    views : mapping of str to View or None
        Views by name, in addition to "image"; :data:`~traitlens.features.views.FACE_VIEWS` if None.

    Attributes
    ----------
    taps : dict of NetworkInput to set of str
        Layers read from each network input.

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
        """Return a network input of prepared images.

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
        """Map relevance from a network input to the prepared image, preserving its sum.

        Parameters
        ----------
        maps : ndarray
            Relevance at the resolution of the network input, with dimensions (map, row, column).
        size : (int, int)
            Rows and columns of the prepared image.

        Returns
        -------
        ndarray
            Relevance at the resolution of the prepared image, with the same dimensions.
        """
        maps = maps[:, :, ::-1] if picture.mirrored else maps
        return maps if picture.view == WHOLE else self.views[picture.view].spread(maps, size)
