"""Forward pass through the layers of a residual network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from traitlens.features.network_layers import INPUT, LayerPlan

if TYPE_CHECKING:
    import torch

    from traitlens.features.backbone import Layer


@dataclass(frozen=True, eq=False)
class PassedLayer:
    """A layer after the forward pass.

    Parameters
    ----------
    inputs : tuple of Tensor
        (image, channel, row, column) each.
    before : Tensor
        The output before the activation.
    output : Tensor
        (image, channel, row, column).
    """

    layer: "Layer"
    inputs: "tuple[torch.Tensor, ...]"
    before: "torch.Tensor"
    output: "torch.Tensor"


def run_layers(layers: "Sequence[Layer]", values: "torch.Tensor") -> Iterator[PassedLayer]:
    """Run images through layers; outputs are freed after the last layer that reads them.

    Parameters
    ----------
    layers : sequence of Layer
        First to last, each with a plan.
    values : Tensor
        (image, channel, row, column), preprocessed.

    Yields
    ------
    PassedLayer
        Layer after layer.
    """
    last = {name: number for number, layer in enumerate(layers) for name in _plan(layer).inputs}
    outputs = {INPUT: values}
    for number, layer in enumerate(layers):
        inputs = tuple(outputs[name] for name in _plan(layer).inputs)
        before = combine(layer, inputs)
        outputs[layer.name] = activate(layer, before)
        yield PassedLayer(layer, inputs, before, outputs[layer.name])
        for name in {layer.name, *_plan(layer).inputs}:
            if last.get(name, number) <= number:
                del outputs[name]


def combine(layer: "Layer", inputs: "Sequence[torch.Tensor]") -> "torch.Tensor":
    """Compute the output of a layer before its activation."""
    from torch.nn import functional

    window = _plan(layer).window
    if layer.kind == "convolution":
        assert layer.weight is not None
        values = functional.conv2d(inputs[0], layer.weight, None, window.stride, window.padding)
        return values + bias_map(layer, inputs[0])
    if layer.kind == "max_pool":
        return functional.max_pool2d(inputs[0], window.size, window.stride, window.padding)
    if layer.kind == "average_pool":
        return functional.avg_pool2d(inputs[0], window.size, window.stride, window.padding)
    return add_up(inputs)


def bias_map(layer: "Layer", values: "torch.Tensor") -> "torch.Tensor":
    """Return the bias of a convolution for an input: (1, out, row, column), or (1, out, 1, 1) everywhere."""
    from torch.nn import functional

    assert layer.bias is not None
    bias = layer.bias.view(1, -1, 1, 1)
    if layer.shift is None:
        return bias
    window = _plan(layer).window
    ones = values.new_ones(1, 1, *values.shape[2:])
    return bias + functional.conv2d(ones, layer.shift, None, window.stride, window.padding)


def activate(layer: "Layer", values: "torch.Tensor") -> "torch.Tensor":
    """Apply the activation of a layer."""
    from torch.nn import functional

    activation = _plan(layer).activation
    if activation == "relu":
        return values.relu()
    if activation == "prelu":
        assert layer.slope is not None
        return functional.prelu(values, layer.slope)
    return values


def add_up(inputs: "Sequence[torch.Tensor]") -> "torch.Tensor":
    """Add the inputs of a sum; what is missing in the smaller ones counts as zero."""
    size = common_size(inputs)
    total = enlarge(inputs[0], size)
    for values in inputs[1:]:
        total = total + enlarge(values, size)
    return total


def common_size(inputs: "Sequence[torch.Tensor]") -> tuple[int, int, int]:
    """Return the largest numbers of channels, rows and columns of the inputs of a sum."""
    channels, rows, columns = (max(values.shape[axis] for values in inputs) for axis in (1, 2, 3))
    return channels, rows, columns


def enlarge(values: "torch.Tensor", size: tuple[int, int, int]) -> "torch.Tensor":
    """Append channels, rows and columns of zeros."""
    from torch.nn import functional

    more = [wanted - there for wanted, there in zip(size, values.shape[1:], strict=True)]
    return functional.pad(values, (0, more[2], 0, more[1], 0, more[0])) if any(more) else values


def _plan(layer: "Layer") -> LayerPlan:
    """Return the plan of a layer of a residual network."""
    assert layer.plan is not None
    return layer.plan
