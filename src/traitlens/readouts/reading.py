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
        if space.view != WHOLE and space.view not in views:
            raise unknown_choice("view", space.view, [WHOLE, *views])
        together.setdefault((space.view, space.mirror), []).append(space)
    found: dict[FeatureSpace, np.ndarray] = {}
    for (view, mirror), read in together.items():
        seen = pixels if view == WHOLE else np.stack([views[view].crop(image) for image in pixels])
        sights = [seen, seen[:, :, ::-1]] if mirror else [seen]
        taps = [space.tap for space in read]
        computed = [compute_features(backbone, [sight], taps) for sight in sights]
        for space in read:
            average = np.mean([values[space.tap] for values in computed], axis=0, dtype=np.float32)
            found[space] = space.apply(np.asarray(average))
    return found
