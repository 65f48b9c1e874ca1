"""Propagation of relevance of differences from a reference image through residual networks.

The rule is the same as in :mod:`traitlens.relevance.difference_propagation`. Here layers can have any window
and activation, and inputs of both signs. Sums and averages are treated as convolutions with positive weights.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from traitlens.features.network_layers import INPUT, LayerPlan
from traitlens.features.reference_pass import ResidualStep
from traitlens.features.residual_pass import sum_padded
from traitlens.relevance.difference_propagation import ELEMENTS_AT_ONCE
from traitlens.relevance.residual_propagation import spread_average, spread_maximum, transpose_convolution

if TYPE_CHECKING:
    import torch


class ResidualDifferencePropagator:
    """Propagate the relevance of differences from a reference image to the pixels, in a residual network."""

    def propagate(
        self, steps: Sequence[ResidualStep], slopes: Mapping[str, "torch.Tensor"], size: tuple[int, int]
    ) -> "torch.Tensor":
        """Propagate relevance to the pixels of an image, as `DifferencePropagator.propagate` does."""
        import torch

        count = len(next(iter(slopes.values())))
        if not steps:
            return torch.zeros(count, *size)
        with torch.inference_mode():
            layers = [_Difference(step) for step in steps]
            largest = max(step.now.output.numel() for step in steps)
            at_once = max(1, ELEMENTS_AT_ONCE // (2 * largest))
            maps = [
                _propagate_down(
                    layers, {name: some[start : start + at_once] for name, some in slopes.items()}
                )
                for start in range(0, count, at_once)
            ]
        return torch.cat(maps).float().cpu()


def _propagate_down(layers: "Sequence[_Difference]", slopes: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
    """Propagate slopes from their layers down to the input; multiply by the difference of the input."""
    carried = dict(slopes)
    for layer in reversed(layers):
        if layer.plan.name in carried:
            sent = layer.back(carried.pop(layer.plan.name))
            for name, values in zip(layer.plan.inputs, sent, strict=True):
                carried[name] = carried[name] + values if name in carried else values
    return (carried[INPUT] * layers[0].below[0]).sum(1)


class _Difference:
    """A layer's differences from the reference, with which slopes are propagated to its inputs."""

    def __init__(self, step: ResidualStep):
        plan = step.now.layer.plan
        assert plan is not None
        self.plan: LayerPlan = plan
        self.step = step
        self.below = [now - base for now, base in zip(step.now.inputs, step.base.inputs, strict=True)]
        self.change = step.now.before - step.base.before
        gain = 1.0 if plan.activation == "none" else _divide(step.now.output - step.base.output, self.change)
        if plan.kind != "max_pool":
            rising, falling = self._sum_contributions()
            ratio = _divide(self.change, rising.where(self.change > 0, falling)).clamp(0.0, 1.0)
            self.ratio = ratio * gain

    def _split_weights(self) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return the positive and the negative weights of the convolution."""
        weight = self.step.now.layer.weight
        assert weight is not None
        return weight.clamp(min=0), weight.clamp(max=0)

    def _sum_contributions(self) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return the sum of the contributions that raise each unit, and of those that lower it."""
        from torch.nn import functional

        window = self.plan.window
        up, down = (
            [values.clamp(min=0) for values in self.below],
            [values.clamp(max=0) for values in self.below],
        )
        if self.plan.kind == "sum":
            rising, falling = sum_padded(up), sum_padded(down)
        elif self.plan.kind == "average_pool":
            rising, falling = (
                functional.avg_pool2d(some[0], window.size, window.stride, window.padding)
                for some in (up, down)
            )
        else:
            positive, negative = self._split_weights()

            def convolve(values: "torch.Tensor", weight: "torch.Tensor") -> "torch.Tensor":
                return functional.conv2d(values, weight, None, window.stride, window.padding)

            rising = convolve(up[0], positive) + convolve(down[0], negative)
            falling = convolve(up[0], negative) + convolve(down[0], positive)
        return rising, falling

    def back(self, slopes: "torch.Tensor") -> list["torch.Tensor"]:
        """Propagate slopes (map, channel, row, column) from the output to the inputs of the layer."""
        if self.plan.kind == "max_pool":
            return [self._through_maximum(slopes)]
        sent = slopes * self.ratio
        rising, falling = sent * (self.change > 0), sent * (self.change < 0)
        below = self.below[0]
        if self.plan.kind == "sum":
            shapes = [values.shape[1:] for values in self.below]
            cut = [(slice(None), slice(shape[0]), slice(shape[1]), slice(shape[2])) for shape in shapes]
            return [
                rising[part].where(values > 0, falling[part])
                for values, part in zip(self.below, cut, strict=True)
            ]
        if self.plan.kind == "average_pool":
            to_positive, to_negative = (spread_average(some, self.plan, below) for some in (rising, falling))
        else:
            positive, negative = self._split_weights()

            def transpose(values: "torch.Tensor", weight: "torch.Tensor") -> "torch.Tensor":
                return transpose_convolution(values, weight, self.plan.window, below)

            to_positive = transpose(rising, positive) + transpose(falling, negative)
            to_negative = transpose(rising, negative) + transpose(falling, positive)
        return [to_positive.where(below > 0, to_negative)]

    def _through_maximum(self, slopes: "torch.Tensor") -> "torch.Tensor":
        """Propagate slopes to the maximum in the image if the maximum grew, else to that in the reference."""
        (now,), (base,) = self.step.now.inputs, self.step.base.inputs
        grew = spread_maximum(slopes * self.change * (self.change > 0), self.plan.window, now)
        shrank = spread_maximum(slopes * self.change * (self.change < 0), self.plan.window, base)
        return _divide(grew + shrank, self.below[0])


def _divide(some: "torch.Tensor", by: "torch.Tensor") -> "torch.Tensor":
    """Divide; return zero where the denominator is zero."""
    return (some / by).nan_to_num(0.0, 0.0, 0.0)
