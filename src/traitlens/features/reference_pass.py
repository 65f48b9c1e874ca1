"""Forward passes that compute only the difference from a reference image."""

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
    """A layer where an image differs from the reference.

    Parameters
    ----------
    corner : (int, int)
        Row and column where `below` starts; -1 where it starts with the padding.
    below, base_below : Tensor
        (1, channel, row, column): the input of the box, of the image and of the reference.
    box : list of slice
        Rows and columns of the layer's output that may differ.
    values, base : Tensor
        (1, channel, row, column) of the box: the output of the image and of the reference.
    """

    layer: Layer
    corner: tuple[int, int]
    below: "torch.Tensor"
    base_below: "torch.Tensor"
    box: list[slice]
    values: "torch.Tensor"
    base: "torch.Tensor"


class ReferencePass:
    """Activations of a reference image, and of images that differ from it in some pixels.

    A pixel changes only the units whose receptive field contains it; layers are computed in the box of these
    units, and have the activations of the reference elsewhere.

    Parameters
    ----------
    pixels : ndarray
        uint8 RGB (row, column, 3), the reference.
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
        # Padded with zeros, so that edges of the image need no special case.
        self._padded = [torch.nn.functional.pad(values, (1, 1, 1, 1)) for values in inputs[:-1]]

    def activations(self, pixels: np.ndarray) -> dict[str, "torch.Tensor"]:
        """Compute the activations of an image.

        Parameters
        ----------
        pixels : ndarray
            uint8 RGB (row, column, 3), of the size of the reference.

        Returns
        -------
        dict of str to Tensor
            float (1, channel, row, column) by layer: those of :meth:`Backbone.activations` within rounding.
            Units outside the receptive fields of changed pixels have exactly the activations of the
            reference.
        """
        import torch

        with torch.inference_mode():
            return self.collect(self.steps(pixels))

    def collect(self, steps: Iterable["LocalStep"]) -> dict[str, "torch.Tensor"]:
        """Return the requested activations: those of the reference, updated by the steps."""
        found = {name: self._activations[name] for name in self.wanted}
        for step in steps:
            name = step.layer.name
            if name in self.wanted:
                found[name] = found[name].clone()
                found[name][:, :, *step.box] = step.values
        return found

    def steps(self, pixels: np.ndarray) -> Iterator["LocalStep"]:
        """Compute layer after layer where the image changes it.

        Parameters
        ----------
        pixels : ndarray
            uint8 RGB (row, column, 3), of the size of the reference.

        Yields
        ------
        LocalStep
            From the first layer to the deepest requested, as long as anything changes.
        """
        box = _changed(pixels, self.pixels)
        values = self.backbone.input(pixels[None, *box])
        for layer, padded in zip(self._layers, self._padded, strict=True):
            if values.numel() == 0:
                return
            pools = layer.weight is None
            sides = list(zip(box, padded.shape[2:], strict=True))
            needed = [_needed(side, length, pools) for side, length in sides]
            below = _patch(padded, needed, values, box)
            box = [_reached(side, length, pools) for side, length in sides]
            if layer.weight is None:
                values = max_pool(below)
            else:
                values = convolve(below, layer.weight, layer.bias, padding=0).relu_()
            base = self._activations[layer.name][:, :, *box]
            corner = needed[0].start - 1, needed[1].start - 1
            yield LocalStep(layer, corner, below, padded[:, :, *needed], box, values, base)


@dataclass(frozen=True, eq=False)
class ResidualStep:
    """A layer of a residual network after the forward passes of an image and of the reference."""

    now: PassedLayer
    base: PassedLayer


class ResidualReferencePass:
    """Activations of a reference image and of other images, of a residual network.

    Unlike :class:`ReferencePass`, every image goes through the whole network.

    Parameters
    ----------
    pixels : ndarray
        uint8 RGB (row, column, 3), the reference.
    layers : collection of str
        Names of the layers whose activations are returned.
    """

    def __init__(self, backbone: Backbone, pixels: np.ndarray, layers: Collection[str]):
        self.backbone = backbone
        self.pixels = pixels
        self.wanted = frozenset(layers)
        self._layers = backbone.layers[: max(len(backbone.up_to(name)) for name in layers)]
        self._base = self._run(pixels)

    def _run(self, pixels: np.ndarray) -> list[PassedLayer]:
        """Run an image through the layers."""
        import torch

        with torch.inference_mode():
            return list(run_layers(self._layers, self.backbone.input(pixels[None])))

    def activations(self, pixels: np.ndarray) -> dict[str, "torch.Tensor"]:
        """Compute the activations of an image, as :meth:`ReferencePass.activations`."""
        if (pixels == self.pixels).all():
            return self.collect(())
        return self.backbone.activations(pixels[None], self.wanted)

    def collect(self, steps: Iterable[ResidualStep]) -> dict[str, "torch.Tensor"]:
        """Return the requested activations: those of the steps, or of the reference if there are none."""
        passed = [step.now for step in steps] or self._base
        return {one.layer.name: one.output for one in passed if one.layer.name in self.wanted}

    def steps(self, pixels: np.ndarray) -> list[ResidualStep]:
        """Compute the outputs of all layers for an image; an empty list if it equals the reference."""
        if (pixels == self.pixels).all():
            return []
        return [ResidualStep(now, base) for now, base in zip(self._run(pixels), self._base, strict=True)]


def start_reference_pass(
    backbone: Backbone, pixels: np.ndarray, layers: Collection[str]
) -> ReferencePass | ResidualReferencePass:
    """Run a reference image through a network of either kind."""
    kind = ResidualReferencePass if backbone.is_residual else ReferencePass
    return kind(backbone, pixels, layers)


def _changed(pixels: np.ndarray, reference: np.ndarray) -> list[slice]:
    """Return the rows and columns of the box of all pixels that differ, which may be empty."""
    differs = (pixels != reference).any(axis=2)
    sides = [np.flatnonzero(differs.any(axis=axis)) for axis in (1, 0)]
    return [slice(int(side[0]), int(side[-1]) + 1) if len(side) else slice(0, 0) for side in sides]


def _reached(side: slice, padded: int, pools: bool) -> slice:
    """Return the rows (or columns) of a layer's output that depend on some rows of its input."""
    length = padded - 2
    if pools:
        return slice(side.start // 2, min(-(-side.stop // 2), length // 2))
    return slice(max(side.start - 1, 0), min(side.stop + 1, length))


def _needed(side: slice, padded: int, pools: bool) -> slice:
    """Return the rows of a layer's padded input that some rows of its output need."""
    reached = _reached(side, padded, pools)
    if pools:
        return slice(2 * reached.start + 1, 2 * reached.stop + 1)
    return slice(reached.start, reached.stop + 2)


def _patch(
    padded: "torch.Tensor", needed: Sequence[slice], values: "torch.Tensor", box: Sequence[slice]
) -> "torch.Tensor":
    """Return a part of a layer's padded input with new values in a box."""
    patch = padded[:, :, *needed].clone()
    rows, columns = (
        slice(side.start + 1 - part.start, side.stop + 1 - part.start)
        for side, part in zip(box, needed, strict=True)
    )
    inside = patch[:, :, rows, columns]
    inside.copy_(values[:, :, : inside.shape[2], : inside.shape[3]])
    return patch
