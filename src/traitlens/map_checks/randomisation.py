"""Randomise ratings, readouts and networks, and compare maps with those of the randomised models."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from traitlens.columns import IMAGE, READOUT, X, Y
from traitlens.features.backbone import Backbone
from traitlens.map_checks.measures import correlate, tabulate_readouts
from traitlens.readouts.readout import Readout

if TYPE_CHECKING:
    import xarray


def random_readouts(readouts: Sequence[Readout], seed: int = 0) -> list[Readout]:
    """Return copies of readouts with shuffled weights.

    Parameters
    ----------
    readouts : sequence of Readout
        The fitted readouts.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    list of Readout
        The copies, in the same order.
    """
    rng = np.random.default_rng(seed)
    return [readout.shuffled(rng) for readout in readouts]


def permute_targets(targets: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Assign mean ratings to images at random, to fit readouts that know nothing about the faces.

    Parameters
    ----------
    targets : DataFrame
        Mean ratings: group, trait, image, rating.
    seed : int, default 0
        Seed of the permutation, which is the same for all groups and traits.

    Returns
    -------
    DataFrame
        The table with permuted images.
    """
    images = list(dict.fromkeys(targets[IMAGE]))
    others = np.random.default_rng(seed).permutation(np.array(images, object))
    return targets.assign(**{IMAGE: targets[IMAGE].map(dict(zip(images, others, strict=True)))})


def randomise_backbone(backbone: Backbone, seed: int = 0) -> Backbone:
    """Return a copy of a backbone with weights shuffled within each convolution (Adebayo et al. 2018).

    Parameters
    ----------
    backbone : Backbone
        The network, which is not changed.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    Backbone
        The copy. Use it only to test whether maps change, not to rank methods (Binder et al. 2023).
    """
    import torch

    random = torch.Generator().manual_seed(seed)

    def shuffled(weight: torch.Tensor) -> torch.Tensor:
        order = torch.randperm(weight.numel(), generator=random).to(weight.device)
        values = weight.contiguous().view(-1)[order].view(weight.shape)
        return values.contiguous(memory_format=torch.channels_last)

    layers = tuple(
        layer if layer.weight is None else replace(layer, weight=shuffled(layer.weight))
        for layer in backbone.layers
    )
    return replace(backbone, layers=layers, digest=f"{backbone.digest}, shuffled with seed {seed}")


def null_similarity(maps: "xarray.DataArray", null_maps: "Sequence[xarray.DataArray]") -> pd.DataFrame:
    """Correlate maps with null maps.

    Parameters
    ----------
    maps : DataArray
        Relevance maps (readout, image, y, x).
    null_maps : sequence of DataArray
        Maps of the same images by readouts fitted to permuted ratings (:func:`permute_targets`), shuffled
        readouts (:func:`random_readouts`) or a shuffled backbone (:func:`randomise_backbone`), with readouts
        in the same order.

    Returns
    -------
    DataFrame
        One row per readout. ``similarity`` is the mean correlation with the null maps, over images.
        ``null_low`` and ``null_high`` are the 5th and 95th percentile of correlations among null maps (NaN
        for a single null map). If the similarity is not below these, the map shows the faces and the network
        rather than the ratings.
    """
    real = _flatten_maps(maps)
    null = np.stack([_flatten_maps(one) for one in null_maps])
    similarity = np.mean([correlate(real, one).mean(1) for one in null], axis=0)
    among = [correlate(null[one], null[other]).mean(1) for one in range(len(null)) for other in range(one)]
    low, high = np.percentile(among, [5, 95], axis=0) if among else np.full((2, len(similarity)), np.nan)
    table = tabulate_readouts(maps)
    return table.assign(similarity=similarity, null_low=low, null_high=high)


def _flatten_maps(maps: "xarray.DataArray") -> np.ndarray:
    """Return maps as an array (readout, image, pixel)."""
    ordered = maps.transpose(READOUT, IMAGE, Y, X)
    return np.reshape(ordered.to_numpy(), (*ordered.shape[:2], -1))
