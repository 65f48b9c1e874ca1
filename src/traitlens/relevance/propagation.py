"""Propagation: from relevance at a tap to relevance in pixels, for many readouts of one image at once.

For one image, what the rules need of its activations (denominators, inputs, the places of maxima) is computed
once. The relevance of all readouts then goes back together, as a batch, because it is linear in what enters
at the taps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from traitlens.features.backbone import Backbone, Layer
from traitlens.relevance.methods import Method
from traitlens.relevance.rules import Rule, Term, change_inputs, change_weights, stabilise

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class _Way:
    """One term of a rule at one layer for one image: relevance goes back along it."""

    inverse: "torch.Tensor"  # gain / denominator, (1, out, row, column)
    weight: "torch.Tensor"
    inputs: "torch.Tensor | None"  # (1, in, row, column); None where the rule ignores them


@dataclass(frozen=True, eq=False)
class Trace:
    """What one image left in the network.

    Parameters
    ----------
    activations : dict of str to Tensor
        (1, channel, row, column) by layer, after ReLU.
    ways : dict of str to list
        By convolution, how its relevance goes back.
    places : dict of str to Tensor
        By pooling, one where the maxima of its input were and zero elsewhere.
    """

    activations: "dict[str, torch.Tensor]"
    ways: "dict[str, list[_Way]]"
    places: "dict[str, torch.Tensor]"


@dataclass(eq=False)
class Propagator:
    """Sends relevance from taps back to the pixels.

    Parameters
    ----------
    backbone : Backbone
        The frozen network.
    method : Method
        Which rule goes with which layer.
    depth : int
        How many of its layers are used.
    """

    backbone: Backbone
    method: Method
    depth: int
    _weights: "dict[tuple[str, str], torch.Tensor]" = field(default_factory=dict)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that are used, first to last."""
        return self.backbone.layers[: self.depth]

    def _rule(self, layer: Layer) -> Rule:
        """The rule of a convolution."""
        first = layer is self.backbone.layers[0]
        return self.method.first if first and self.method.first is not None else self.method.convolution

    def _weight(self, layer: Layer, term: Term) -> "torch.Tensor":
        """A layer's weights, changed once."""
        key = (layer.name, term.weights)
        if key not in self._weights:
            assert layer.weight is not None
            self._weights[key] = change_weights(layer.weight, term.weights)
        return self._weights[key]

    def trace(self, pixels: np.ndarray) -> Trace:
        """Run one image forward and keep what the way back needs.

        Parameters
        ----------
        pixels : ndarray
            uint8 RGB (1, row, column, 3).

        Returns
        -------
        Trace
            Of the image.
        """
        import torch
        from torch.nn import functional

        activations, ways, places = {}, {}, {}
        with torch.inference_mode():
            values = self.backbone.input(pixels)
            for layer in self.layers:
                if layer.kind == "max_pool":
                    places[layer.name], values = _pool(values)
                else:
                    ways[layer.name] = self._ways(layer, values)
                    values = layer(values)
                activations[layer.name] = values
        return Trace(activations, ways, places)

    def _ways(self, layer: Layer, values: "torch.Tensor") -> list[_Way]:
        """Compute the denominators of a layer's rule for one image."""
        from torch.nn import functional

        positive = layer is not self.backbone.layers[0]  # what a ReLU let through has no negative part
        rule = self._rule(layer)
        ways = []
        for share in rule.shares:
            terms = [term for term in share.terms if not (positive and term.inputs == "negative")]
            inputs = [
                values if positive and term.inputs == "positive" else change_inputs(values, term.inputs)
                for term in terms
            ]
            bias = layer.bias if share.bias else None
            total = sum(
                functional.conv2d(part, self._weight(layer, term), bias if number == 0 else None, padding=1)
                for number, (term, part) in enumerate(zip(terms, inputs, strict=True))
            )
            inverse = share.gain / stabilise(total, rule.epsilon)  # type: ignore[arg-type]
            for term, part in zip(terms, inputs, strict=True):
                weight = self._weight(layer, term)
                if term.weights == "one":  # every output is alike: they can be added up first
                    weight, inverse = weight[:1], inverse[:, :1]
                ways.append(_Way(inverse, weight, None if term.inputs == "one" else part))
        return ways

    def to_pixels(self, trace: Trace, relevance: "Mapping[str, torch.Tensor]") -> "torch.Tensor":
        """Send relevance from the taps back to the pixels.

        Parameters
        ----------
        trace : Trace
            Of the image.
        relevance : mapping of str to Tensor
            (readout, channel, row, column) by tap.

        Returns
        -------
        Tensor
            (readout, row, column), summed over colours.
        """
        import torch

        with torch.inference_mode():
            current: torch.Tensor | None = None
            for layer in reversed(self.layers):
                entering = relevance.get(layer.name)
                if entering is not None:
                    entering = _channels_last(entering).clone() if current is None else entering
                    current = entering if current is None else current.add_(entering)
                if current is None:
                    continue
                if layer.kind == "max_pool":
                    current = _unpool(current, trace.places[layer.name])
                else:
                    current = _back(current, trace.ways[layer.name])
            assert current is not None
            return current.sum(1)


def _pool(values: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """Take the maximum of each 2x2 window, and mark where it was; the first counts where several are alike."""
    from torch.nn import functional

    pooled, indices = functional.max_pool2d(values, 2, 2, return_indices=True)
    ones = pooled.new_ones(1).expand(pooled.shape)
    places = functional.max_unpool2d(ones, indices, [2, 2], [2, 2], output_size=values.shape[2:])
    return _channels_last(places), pooled


def _unpool(relevance: "torch.Tensor", places: "torch.Tensor") -> "torch.Tensor":
    """Hand relevance to the place of each maximum; a row or column that the windows left over gets none."""
    rows, columns = relevance.shape[2:]
    windows = places[:, :, : 2 * rows, : 2 * columns].permute(0, 2, 3, 1)
    windows = windows.unflatten(2, (columns, 2)).unflatten(1, (rows, 2))
    spread = (relevance.permute(0, 2, 3, 1)[:, :, None, :, None] * windows).flatten(3, 4).flatten(1, 2)
    spread = spread.permute(0, 3, 1, 2)
    if spread.shape[2:] != places.shape[2:]:
        whole = spread.new_zeros((len(relevance), *places.shape[1:]))
        whole[:, :, : 2 * rows, : 2 * columns] = spread
        spread = _channels_last(whole)
    return spread


def _channels_last(values: "torch.Tensor") -> "torch.Tensor":
    """Lay an array out with channels last, which convolutions on processors are fastest with."""
    import torch

    return values.contiguous(memory_format=torch.channels_last)


def _back(relevance: "torch.Tensor", ways: Sequence[_Way]) -> "torch.Tensor":
    """Send relevance back through a convolution along all its ways; uses `relevance` up."""
    from torch.nn import functional

    total: torch.Tensor | None = None
    for number, way in enumerate(ways):
        if len(way.weight) == 1:
            divided = relevance.sum(1, keepdim=True) * way.inverse
        elif number + 1 == len(ways):
            divided = relevance.mul_(way.inverse)
        else:
            divided = relevance * way.inverse
        part = functional.conv_transpose2d(divided, way.weight, padding=1)
        if way.inputs is not None:
            part.mul_(way.inputs)
        total = part if total is None else total.add_(part)
    assert total is not None
    return total
