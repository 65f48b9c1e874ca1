"""Forward passes of images that partly equal a reference image; only what differs is computed."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from traitlens.features.backbone import Backbone, Layer
from traitlens.features.fast_convolution import convolve, max_pool
from traitlens.features.residual_pass import PassedLayer, run_layers

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class LocalStep:
    """Input and output of a layer in the box where an image differs from the reference.

    Parameters
    ----------
    layer : Layer
        The layer.
    corner : (int, int)
        First row and column of `below`; -1 if it starts with the padding.
    below, base_below : Tensor (1, channel, row, column)
        Part of the input on which the box depends, for the image and for the reference.
    box : list of slice
        Rows and columns of the output that may differ.
    values, base : Tensor (1, channel, row, column)
        Output in the box, for the image and for the reference.
    """

    layer: Layer
    corner: tuple[int, int]
    below: "torch.Tensor"
    base_below: "torch.Tensor"
    box: list[slice]
    values: "torch.Tensor"
    base: "torch.Tensor"


class ReferencePass:
    """Compute activations of images that differ from a reference image in some pixels.

    A pixel changes only units whose receptive field contains it. Layers are computed in the box of these
    units; elsewhere they have the activations of the reference.

    Parameters
    ----------
    backbone : Backbone
        A sequential network.
    pixels : ndarray
        The reference image, uint8 RGB (row, column, 3).
    layers : collection of str
        Names of the layers whose activations are returned.
    """

    def __init__(self, backbone: Backbone, pixels: np.ndarray, layers: Collection[str]):
        import torch

        depth = max(len(backbone.up_to(name)) for name in layers)
        self.backbone = backbone
        self.pixels = pixels
        self.wanted = frozenset(layers)
        self._layers = backbone.layers[:depth]
        self._activations = backbone.activations(pixels[None], [layer.name for layer in self._layers])
        inputs = [backbone.input(pixels[None]), *(self._activations[layer.name] for layer in self._layers)]
        # Padding avoids a special case at the edges of the image.
        self._padded = [torch.nn.functional.pad(values, (1, 1, 1, 1)) for values in inputs[:-1]]

    def activations(self, pixels: np.ndarray) -> dict[str, "torch.Tensor"]:
        """Compute the activations of an image.

        Parameters
        ----------
        pixels : ndarray
            uint8 RGB (row, column, 3), of the same size as the reference.

        Returns
        -------
        dict of str to Tensor
            Activations (1, channel, row, column) by layer, equal to :meth:`Backbone.activations` except for
            rounding. Units that no changed pixel affects have exactly the activations of the reference.
        """
        import torch

        with torch.inference_mode():
            return self.collect(self.steps(pixels))

    def collect(self, steps: Iterable["LocalStep"]) -> dict[str, "torch.Tensor"]:
        """Return the activations of the requested layers: the reference's, with the outputs of the steps."""
        found = {name: self._activations[name] for name in self.wanted}
        for step in steps:
            name = step.layer.name
            if name in self.wanted:
                found[name] = found[name].clone()
                found[name][:, :, *step.box] = step.values
        return found

    def steps(self, pixels: np.ndarray) -> Iterator["LocalStep"]:
        """Compute the layers, in order, in the box where an image differs from the reference.

        Parameters
        ----------
        pixels : ndarray
            uint8 RGB (row, column, 3), of the same size as the reference.

        Yields
        ------
        LocalStep
            Layers from the first to the deepest requested, or until no unit differs.
        """
        box = _changed_box(pixels, self.pixels)
        values = self.backbone.input(pixels[None, *box])
        for layer, padded in zip(self._layers, self._padded, strict=True):
            if values.numel() == 0:
                return
            pools = layer.weight is None
            sides = list(zip(box, padded.shape[2:], strict=True))
            needed = [_needed_inputs(side, length, pools) for side, length in sides]
            below = _patched_input(padded, needed, values, box)
            box = [_affected_outputs(side, length, pools) for side, length in sides]
            if layer.weight is None:
                values = max_pool(below)
            else:
                values = convolve(below, layer.weight, layer.bias, padding=0).relu_()
            base = self._activations[layer.name][:, :, *box]
            corner = needed[0].start - 1, needed[1].start - 1
            yield LocalStep(layer, corner, below, padded[:, :, *needed], box, values, base)


@dataclass(frozen=True, eq=False)
class ResidualStep:
    """Forward passes of an image (`now`) and of the reference (`base`) through a layer."""

    now: PassedLayer
    base: PassedLayer


class ResidualReferencePass:
    """Compute activations of a reference image and of other images in a residual network.

    The interface is that of :class:`ReferencePass`, but whole layers are computed for every image.
    """

    def __init__(self, backbone: Backbone, pixels: np.ndarray, layers: Collection[str]):
        self.backbone = backbone
        self.pixels = pixels
        self.wanted = frozenset(layers)
        self._layers = backbone.layers[: max(len(backbone.up_to(name)) for name in layers)]
        self._base = self._run(pixels)

    def _run(self, pixels: np.ndarray) -> list[PassedLayer]:
        """Run an image through all layers that are needed."""
        import torch

        with torch.inference_mode():
            return list(run_layers(self._layers, self.backbone.input(pixels[None])))

    def activations(self, pixels: np.ndarray) -> dict[str, "torch.Tensor"]:
        """Compute the activations of an image, as :meth:`ReferencePass.activations` does."""
        if (pixels == self.pixels).all():
            return self.collect(())
        return self.backbone.activations(pixels[None], self.wanted)

    def collect(self, steps: Iterable[ResidualStep]) -> dict[str, "torch.Tensor"]:
        """Return the activations of the requested layers: of the steps, or of the reference without steps."""
        passed = [step.now for step in steps] or self._base
        return {one.layer.name: one.output for one in passed if one.layer.name in self.wanted}

    def steps(self, pixels: np.ndarray) -> list[ResidualStep]:
        """Run an image through all layers; return an empty list if it equals the reference."""
        if (pixels == self.pixels).all():
            return []
        return [ResidualStep(now, base) for now, base in zip(self._run(pixels), self._base, strict=True)]


def start_reference_pass(
    backbone: Backbone, pixels: np.ndarray, layers: Collection[str]
) -> ReferencePass | ResidualReferencePass:
    """Run a reference image through a network, sequential or residual, to compare other images with it."""
    kind = ResidualReferencePass if backbone.is_residual else ReferencePass
    return kind(backbone, pixels, layers)


def _changed_box(pixels: np.ndarray, reference: np.ndarray) -> list[slice]:
    """Return the rows and columns of the smallest box that contains all differing pixels; it may be empty."""
    differs = (pixels != reference).any(axis=2)
    sides = [np.flatnonzero(differs.any(axis=axis)) for axis in (1, 0)]
    return [slice(int(side[0]), int(side[-1]) + 1) if len(side) else slice(0, 0) for side in sides]


def _affected_outputs(side: slice, padded: int, pools: bool) -> slice:
    """Return the rows (or columns) of the output of a layer that depend on the given rows of its input."""
    length = padded - 2
    if pools:
        return slice(side.start // 2, min(-(-side.stop // 2), length // 2))
    return slice(max(side.start - 1, 0), min(side.stop + 1, length))


def _needed_inputs(side: slice, padded: int, pools: bool) -> slice:
    """Return the rows (or columns) of the padded input on which the affected output of a layer depends."""
    reached = _affected_outputs(side, padded, pools)
    if pools:
        return slice(2 * reached.start + 1, 2 * reached.stop + 1)
    return slice(reached.start, reached.stop + 2)


def _patched_input(
    padded: "torch.Tensor", needed: Sequence[slice], values: "torch.Tensor", box: Sequence[slice]
) -> "torch.Tensor":
    """Return the rows and columns `needed` of a padded input, with new values in a box."""
    patch = padded[:, :, *needed].clone()
    rows, columns = (
        slice(side.start + 1 - part.start, side.stop + 1 - part.start)
        for side, part in zip(box, needed, strict=True)
    )
    inside = patch[:, :, rows, columns]
    inside.copy_(values[:, :, : inside.shape[2], : inside.shape[3]])
    return patch
