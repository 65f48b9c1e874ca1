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
        By pooling, where the maxima were.
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
                    values, places[layer.name] = functional.max_pool2d(values, 2, 2, return_indices=True)
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
                kept = None if term.inputs == "one" else part
                ways.append(_Way(inverse, self._weight(layer, term), kept))
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
                    entering = entering.contiguous(memory_format=torch.channels_last)
                    current = entering if current is None else current + entering
                if current is None:
                    continue
                if layer.kind == "max_pool":
                    current = _unpool(current, trace.places[layer.name])
                else:
                    current = _back(current, trace.ways[layer.name])
            assert current is not None
            return current.sum(1)


def _unpool(relevance: "torch.Tensor", places: "torch.Tensor") -> "torch.Tensor":
    """Hand relevance to the place of each maximum."""
    import torch
    from torch.nn import functional

    back = functional.max_unpool2d(relevance, places.expand(relevance.shape), [2, 2], [2, 2])
    return back.contiguous(memory_format=torch.channels_last)


def _back(relevance: "torch.Tensor", ways: Sequence[_Way]) -> "torch.Tensor":
    """Send relevance back through a convolution along all its ways."""
    from torch.nn import functional

    total = None
    for way in ways:
        part = functional.conv_transpose2d(relevance * way.inverse, way.weight, padding=1)
        if way.inputs is not None:
            part *= way.inputs
        total = part if total is None else total.add_(part)
    assert total is not None
    return total
