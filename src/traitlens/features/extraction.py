"""Extraction of features from pixels."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from traitlens.features.backbone import Backbone
from traitlens.features.feature_spaces import FeatureSpace, NetworkInput, NetworkInputs
from traitlens.features.views import View

if TYPE_CHECKING:
    import torch


def extract(
    backbone: Backbone,
    spaces: Iterable[FeatureSpace],
    pixels: np.ndarray,
    views: Mapping[str, View] | None = None,
) -> dict[FeatureSpace, np.ndarray]:
    """Compute feature spaces of images; each network input goes through the network once.

    Parameters
    ----------
    backbone : Backbone
        The network.
    spaces : iterable of FeatureSpace
        The feature spaces. Their `region` is ignored: the images show it.
    pixels : ndarray of uint8 (image, y, x, colour)
        Prepared images, RGB.
    views : mapping of str to View or None
        Views by name, in addition to "image"; :data:`~traitlens.features.views.FACE_VIEWS` if None.

    Returns
    -------
    dict of FeatureSpace to ndarray
        float32 (image, channel, row, column), transformed.

    Raises
    ------
    TraitlensError
        If a view or a tap is not known.

    Examples
    --------
    >>> features = extract(backbone, [FeatureSpace(Tap("block4_pool", 7))], images)  # doctest: +SKIP
    """
    spaces = list(dict.fromkeys(spaces))
    pictures = NetworkInputs(spaces, views)
    activations = {
        picture: backbone.activations(pictures.cut(pixels, picture), layers)
        for picture, layers in pictures.taps.items()
    }
    return {space: average_inputs(space, activations) for space in spaces}


def average_inputs(
    space: FeatureSpace, activations: Mapping[NetworkInput, Mapping[str, "torch.Tensor"]]
) -> np.ndarray:
    """Compute a feature space from the activations of its network inputs.

    Parameters
    ----------
    activations : mapping of NetworkInput to mapping of str to Tensor
        (image, channel, row, column) by layer.

    Returns
    -------
    ndarray
        float32 (image, channel, row, column), transformed.
    """
    averages = [
        space.tap.average(activations[picture][space.tap.layer]).float().cpu().contiguous().numpy()
        for picture in space.pictures
    ]
    return space.apply(np.asarray(np.mean(averages, axis=0, dtype=np.float32)))


def split_spaces(
    features: np.ndarray, spaces: Sequence[FeatureSpace], shapes: Mapping[str, tuple[int, int]]
) -> dict[FeatureSpace, np.ndarray]:
    """Split concatenated features into one array per feature space.

    Parameters
    ----------
    features : ndarray
        (image, channel, row, column) of one space, or (image, feature) of several.
    spaces : sequence of FeatureSpace
        In the order of the features; every tap has a grid.
    shapes : mapping of str to (int, int)
        Channels and stride of each layer of the network.

    Returns
    -------
    dict of FeatureSpace to ndarray
        (image, channel, row, column) each, views of `features`.
    """
    if len(spaces) == 1:
        return {spaces[0]: features}
    found, start = {}, 0
    for space in spaces:
        grid = space.tap.grid
        assert grid is not None
        shape = (shapes[space.tap.layer][0], *(grid if isinstance(grid, tuple) else (grid, grid)))
        end = start + math.prod(shape)
        found[space] = features[:, start:end].reshape(len(features), *shape)
        start = end
    return found
