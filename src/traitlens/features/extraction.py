"""Compute the features that readouts use from images."""

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
    """Compute the features of images in one or several feature spaces.

    Parameters
    ----------
    backbone : Backbone
        The network.
    spaces : iterable of FeatureSpace
        The feature spaces. Their `region` is ignored; use :class:`RegionalExtractor` for regional features.
    pixels : ndarray of uint8 (image, y, x, colour)
        Prepared images, RGB.
    views : mapping of str to View or None
        Definitions of views, beside "image"; :data:`~traitlens.features.views.FACE_VIEWS` if None.

    Returns
    -------
    dict of FeatureSpace to ndarray
        Features of each space: float32 (image, channel, row, column).

    Raises
    ------
    TraitlensError
        If a view or a tap is unknown.

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
    """Compute the features of a space from activations: average over cells and network inputs, transform.

    Parameters
    ----------
    space : FeatureSpace
        The feature space.
    activations : mapping of NetworkInput to mapping of str to Tensor
        Activations (image, channel, row, column) by layer.

    Returns
    -------
    ndarray
        Features: float32 (image, channel, row, column).
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
        Features (image, channel, row, column) of one space, or (image, feature) of several.
    spaces : sequence of FeatureSpace
        Feature spaces in the order of the features; every tap must have a grid.
    shapes : mapping of str to (int, int)
        Number of channels and stride of each layer of the network.

    Returns
    -------
    dict of FeatureSpace to ndarray
        Features (image, channel, row, column) of each space, which share memory with `features`.
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
