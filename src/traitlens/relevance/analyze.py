"""Relevance maps of readouts: the public door to propagation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from traitlens.arrays import map_coordinates
from traitlens.features.backbone import Backbone, load_backbone
from traitlens.readouts.readout import DenseReadout, LinearReadout, Readout
from traitlens.relevance.heads import check_views, dense_relevance, linear_relevance
from traitlens.relevance.methods import Method, find_method
from traitlens.relevance.propagation import Propagator
from traitlens.words import GROUP, IMAGE, READOUT, RELEVANCE, TRAIT, X, Y

if TYPE_CHECKING:
    import torch

TOGETHER = 8
"""Readouts whose relevance goes back together: bounds memory."""


def analyze(
    backbone: Backbone | str,
    readouts: Sequence[Readout],
    images: np.ndarray,
    method: str | Method = "lrp.sequential_preset_a_flat",
) -> xr.DataArray:
    """Explain the predictions of readouts in pixels.

    Parameters
    ----------
    backbone : Backbone or str
        The frozen network, or its name.
    readouts : sequence of Readout
        What predicted.
    images : ndarray
        uint8 RGB (image, row, column, 3).
    method : str or Method
        How relevance goes back.

    Returns
    -------
    DataArray
        float32 (readout, image, y, x): rating points per pixel, summed over colours. Positive pixels raised
        the prediction.

    Raises
    ------
    TraitlensError
        If backbone or method are unknown, or a readout reads what cannot be explained.

    Examples
    --------
    >>> maps = analyze("vgg16", fitted.readouts, pixels)  # doctest: +SKIP
    """
    return explain_images(backbone, readouts, images, method)[RELEVANCE]


def explain_images(
    backbone: Backbone | str,
    readouts: Sequence[Readout],
    images: np.ndarray,
    method: str | Method = "lrp.sequential_preset_a_flat",
) -> xr.Dataset:
    """Explain predictions in pixels, and account for what did not reach them.

    Parameters
    ----------
    backbone : Backbone or str
        The frozen network, or its name.
    readouts : sequence of Readout
        What predicted.
    images : ndarray
        uint8 RGB (image, row, column, 3).
    method : str or Method
        How relevance goes back.

    Returns
    -------
    Dataset
        `relevance` (readout, image, y, x), rating points per pixel; and (readout, image), rating points:
        `prediction`, `reference` (the mean rating that predictions are explained against) and `pixel_sum`.
        What is missing between prediction minus reference and the sum over pixels leaked into biases and
        stabilisers.
    """
    if isinstance(backbone, str):
        backbone = load_backbone(backbone)
    check_views(readouts)
    method = find_method(method)
    taps = {layer for readout in readouts for layer in _layers(readout)}
    propagator = Propagator(backbone, method, max(len(backbone.up_to(tap)) for tap in taps))
    size = images.shape[1:3]
    maps = np.empty((len(readouts), len(images), *size), np.float32)
    prediction = np.empty((len(readouts), len(images)))
    for number in range(len(images)):
        trace = propagator.trace(images[number : number + 1])
        for start in range(0, len(readouts), TOGETHER):
            together = slice(start, start + TOGETHER)
            relevance = _at_taps(readouts[together], trace.activations, method)
            maps[together, number] = propagator.to_pixels(trace, relevance).float().cpu().numpy()
        prediction[:, number] = [_predict(readout, trace.activations) for readout in readouts]
    reference = np.repeat([[readout.mean] for readout in readouts], len(images), axis=1)
    dims = (READOUT, IMAGE)
    return xr.Dataset(
        {
            RELEVANCE: ((*dims, Y, X), maps),
            "prediction": (dims, prediction),
            "reference": (dims, reference),
            "pixel_sum": (dims, maps.sum((2, 3), dtype=float)),
        },
        {
            **map_coordinates(size[0]),
            GROUP: (READOUT, [readout.group for readout in readouts]),
            TRAIT: (READOUT, [readout.trait for readout in readouts]),
        },
    )


def _layers(readout: Readout) -> list[str]:
    """The layers that a readout reads."""
    if isinstance(readout, DenseReadout):
        return [readout.space.tap.layer]
    return [part.space.tap.layer for part in readout.parts]


def _at_taps(
    readouts: Sequence[Readout], activations: "dict[str, torch.Tensor]", method: Method
) -> "dict[str, torch.Tensor]":
    """Relevance at the taps, readouts of both kinds in their order."""
    import torch

    linear = [readout for readout in readouts if isinstance(readout, LinearReadout)]
    dense = [readout for readout in readouts if isinstance(readout, DenseReadout)]
    found: dict[str, torch.Tensor] = {}
    for kind, part in (
        (LinearReadout, linear_relevance(linear, activations) if linear else {}),
        (DenseReadout, dense_relevance(dense, activations, method.dense) if dense else {}),
    ):
        rows = torch.tensor([isinstance(readout, kind) for readout in readouts])
        for layer, values in part.items():
            if layer not in found:
                found[layer] = values.new_zeros((len(readouts), *values.shape[1:]))
            found[layer][rows] = values
    like = next(iter(activations.values()))
    return {layer: values.to(like.dtype) for layer, values in found.items()}


def _predict(readout: Readout, activations: "dict[str, torch.Tensor]") -> float:
    """Predict one image's rating from its activations."""
    spaces = [readout.space] if isinstance(readout, DenseReadout) else [part.space for part in readout.parts]
    features = {
        space: space.apply(space.tap.average(activations[space.tap.layer].float()).cpu().numpy())
        for space in spaces
    }
    return float(readout.predict(features)[0])
