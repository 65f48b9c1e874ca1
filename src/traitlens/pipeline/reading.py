"""What a study's settings say of its readouts, in the terms of the readouts."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from traitlens.features.backbone import Backbone
from traitlens.features.spaces import FeatureSpace
from traitlens.readouts.registry import FitContext, find_readout
from traitlens.study.settings import ReadoutSettings


def weigh_spaces(settings: ReadoutSettings) -> dict[FeatureSpace, float]:
    """List what the readouts read.

    Parameters
    ----------
    settings : ReadoutSettings
        The section `readout` of `study.toml`.

    Returns
    -------
    dict of FeatureSpace to float
        How much each feature space counts.

    Raises
    ------
    TraitlensError
        If there is no such readout.
    """
    return find_readout(settings.method).spaces(settings)


def split_spaces(
    features: np.ndarray, spaces: Sequence[FeatureSpace], backbone: Backbone
) -> dict[FeatureSpace, np.ndarray]:
    """Tell features by space; those of several lie one after the other.

    Parameters
    ----------
    features : ndarray
        (image, channel, row, column) of one space, or (image, feature) of several.
    spaces : sequence of FeatureSpace
        In the order of the features; every tap has a grid.
    backbone : Backbone
        The network that they were read from.

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
        shape = (backbone.shapes[space.tap.layer][0], *(grid if isinstance(grid, tuple) else (grid, grid)))
        end = start + math.prod(shape)
        found[space] = features[:, start:end].reshape(len(features), *shape)
        start = end
    return found


def fit_options(
    settings: ReadoutSettings, seed: int, backbone: Backbone, device: str, kept: Path
) -> dict[str, Any]:
    """Give what the function that fits the readouts is told beside data and seed.

    Parameters
    ----------
    settings : ReadoutSettings
        The section `readout` of `study.toml`.
    seed : int
        Seed of random mixes.
    backbone : Backbone
        The network.
    device : str
        Where it is run.
    kept : Path
        A folder for what is large: kernels of many images, trained networks.

    Returns
    -------
    dict of str to object
        Further arguments of the function that fits.
    """
    context = FitContext(seed, backbone, device, kept)
    return find_readout(settings.method).options(settings, context)
