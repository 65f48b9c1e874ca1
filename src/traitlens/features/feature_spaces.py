"""Feature spaces, which define what a readout uses as features, and the network inputs that they need."""

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
        Whether the view is mirrored (left and right exchanged).
    """

    view: str
    mirrored: bool


@dataclass(frozen=True)
class FeatureSpace:
    """Definition of the features that a readout uses: a layer and grid of one view, and a transform.

    Parameters
    ----------
    tap : Tap
        The layer, and the grid on which it is averaged.
    view : str, default "image"
        Name of the crop of the prepared image; "image" is the prepared image itself.
    transform : {"none", "sqrt"}
        Function applied to each averaged activation; "sqrt" is the signed square root.
    mirror : bool, default False
        Whether features are averaged over the view and its mirror image.
    region : str, default ""
        Region of the face that is shown on the average face; the whole face if empty.
    """

    tap: Tap
    view: str = WHOLE
    transform: Literal["none", "sqrt"] = "none"
    mirror: bool = False
    region: str = ""

    @property
    def pictures(self) -> tuple[NetworkInput, ...]:
        """Network inputs over which features are averaged: the view and, if `mirror`, its mirror image."""
        plain = NetworkInput(self.view, mirrored=False)
        return (plain, NetworkInput(self.view, mirrored=True)) if self.mirror else (plain,)

    def apply(self, averaged: np.ndarray) -> np.ndarray:
        """Apply the transform to averaged activations.

        Parameters
        ----------
        averaged : ndarray
            Averaged activations (image, channel, row, column).

        Returns
        -------
        ndarray
            Features of the same shape.
        """
        if self.transform == "none":
            return averaged
        return np.copysign(np.sqrt(np.abs(averaged)), averaged)


class NetworkInputs:
    """Network inputs that feature spaces need; crops them from prepared images, and maps relevance back.

    Parameters
    ----------
    spaces : iterable of FeatureSpace
        The feature spaces.
    views : mapping of str to View or None
        Definitions of views, beside "image"; :data:`~traitlens.features.views.FACE_VIEWS` if None.

    Attributes
    ----------
    taps : dict of NetworkInput to set of str
        Names of the layers needed of each network input.

    Raises
    ------
    TraitlensError
        If a view is unknown.
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
        """Crop (and mirror) prepared images, uint8 RGB (image, row, column, 3), to a network input."""
        if picture.view != WHOLE:
            images = np.stack([self.views[picture.view].crop(image) for image in images])
        return images[:, :, ::-1] if picture.mirrored else images

    def to_image(self, maps: np.ndarray, picture: NetworkInput, size: tuple[int, int]) -> np.ndarray:
        """Map relevance from a network input to the prepared image, preserving its sum.

        Parameters
        ----------
        maps : ndarray (map, row, column)
            Relevance at the resolution of the network input.
        picture : NetworkInput
            The network input.
        size : (int, int)
            Rows and columns of the prepared image.

        Returns
        -------
        ndarray (map, row, column)
            Relevance at the resolution of the prepared image.
        """
        maps = maps[:, :, ::-1] if picture.mirrored else maps
        return maps if picture.view == WHOLE else self.views[picture.view].spread(maps, size)
