"""From images to feature spaces: every view that is asked for goes through the network once."""

from collections.abc import Iterable, Mapping

import numpy as np

from traitlens.features.backbone import Backbone
from traitlens.features.taps import compute_features
from traitlens.features.views import FACE_VIEWS, WHOLE, View
from traitlens.problems import unknown_choice
from traitlens.readouts.readout import FeatureSpace


def read_spaces(
    backbone: Backbone,
    spaces: Iterable[FeatureSpace],
    pixels: np.ndarray,
    views: Mapping[str, View] = FACE_VIEWS,
) -> dict[FeatureSpace, np.ndarray]:
    """Compute feature spaces of a few images.

    Parameters
    ----------
    backbone : Backbone
        The network.
    spaces : iterable of FeatureSpace
        What is read; of mirror images too where they say so.
    pixels : ndarray of uint8 (image, y, x, colour)
        Prepared images.
    views : mapping of str to View
        The crops that the spaces name, apart from "image".

    Returns
    -------
    dict of FeatureSpace to ndarray
        float32 (image, channel, row, column), transformed.

    Raises
    ------
    TraitlensError
        If a view or a tap is not known.
    """
    together: dict[tuple[str, bool], list[FeatureSpace]] = {}
    for space in spaces:
        together.setdefault((space.view, space.mirror), []).append(space)
    found: dict[FeatureSpace, np.ndarray] = {}
    for (view, mirror), read in together.items():
        taps = [space.tap for space in read]
        computed = [
            compute_features(
                backbone, [np.stack([see(image, view, mirrored, views) for image in pixels])], taps
            )
            for mirrored in sights(mirror)
        ]
        for space in read:
            average = np.mean([values[space.tap] for values in computed], axis=0, dtype=np.float32)
            found[space] = space.apply(np.asarray(average))
    return found


def sights(mirror: bool) -> tuple[bool, ...]:
    """Return whether each picture that a feature averages is mirrored: (False,), or both.

    Parameters
    ----------
    mirror : bool
        Whether mirror images are read too.

    Returns
    -------
    tuple of bool
        One for each picture.
    """
    return (False, True) if mirror else (False,)


def see(image: np.ndarray, view: str, mirrored: bool, views: Mapping[str, View]) -> np.ndarray:
    """Cut a view out of a prepared image, and mirror it.

    Parameters
    ----------
    image : ndarray
        uint8 RGB (row, column, 3).
    view : str
        Name of the view; "image" is the image itself.
    mirrored : bool
        Whether left and right are exchanged.
    views : mapping of str to View
        The views by name.

    Returns
    -------
    ndarray
        uint8 RGB (row, column, 3).

    Raises
    ------
    TraitlensError
        If the view is not known.
    """
    if view != WHOLE and view not in views:
        raise unknown_choice("view", view, [WHOLE, *views])
    seen = image if view == WHOLE else views[view].crop(image)
    return seen[:, ::-1] if mirrored else seen
