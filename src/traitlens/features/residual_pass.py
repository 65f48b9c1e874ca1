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
    """Forward pass of images through one layer; all tensors are (image, channel, row, column).

    Parameters
    ----------
    layer : Layer
        The layer.
    inputs : tuple of Tensor
        Inputs of the layer.
    before, output : Tensor
        Output before and after the activation.
    """

    layer: "Layer"
    inputs: "tuple[torch.Tensor, ...]"
    before: "torch.Tensor"
    output: "torch.Tensor"


def run_layers(layers: "Sequence[Layer]", values: "torch.Tensor") -> Iterator[PassedLayer]:
    """Run preprocessed images (image, channel, row, column) through layers with plans; yield each layer.

    Outputs are freed after the last layer that needs them.
    """
    last = {name: number for number, layer in enumerate(layers) for name in _plan_of(layer).inputs}
    outputs = {INPUT: values}
    for number, layer in enumerate(layers):
        inputs = tuple(outputs[name] for name in _plan_of(layer).inputs)
        before = apply_without_activation(layer, inputs)
        outputs[layer.name] = activate(layer, before)
        yield PassedLayer(layer, inputs, before, outputs[layer.name])
        for name in {layer.name, *_plan_of(layer).inputs}:
            if last.get(name, number) <= number:
                del outputs[name]


def apply_without_activation(layer: "Layer", inputs: "Sequence[torch.Tensor]") -> "torch.Tensor":
    """Compute the output of a layer before its activation."""
    from torch.nn import functional

    window = _plan_of(layer).window
    if layer.kind == "convolution":
        assert layer.weight is not None
        values = functional.conv2d(inputs[0], layer.weight, None, window.stride, window.padding)
        return values + bias_map(layer, inputs[0])
    if layer.kind == "max_pool":
        return functional.max_pool2d(inputs[0], window.size, window.stride, window.padding)
    if layer.kind == "average_pool":
        return functional.avg_pool2d(inputs[0], window.size, window.stride, window.padding)
    return sum_padded(inputs)


def bias_map(layer: "Layer", values: "torch.Tensor") -> "torch.Tensor":
    """Return the bias of a convolution: (1, out, row, column) if it varies by position, or (1, out, 1, 1)."""
    from torch.nn import functional

    assert layer.bias is not None
    bias = layer.bias.view(1, -1, 1, 1)
    if layer.shift is None:
        return bias
    window = _plan_of(layer).window
    ones = values.new_ones(1, 1, *values.shape[2:])
    return bias + functional.conv2d(ones, layer.shift, None, window.stride, window.padding)


def activate(layer: "Layer", values: "torch.Tensor") -> "torch.Tensor":
    """Apply the activation function of a layer to values."""
    from torch.nn import functional

    activation = _plan_of(layer).activation
    if activation == "relu":
        return values.relu()
    if activation == "prelu":
        assert layer.slope is not None
        return functional.prelu(values, layer.slope)
    return values


def sum_padded(inputs: "Sequence[torch.Tensor]") -> "torch.Tensor":
    """Add tensors; channels, rows and columns that the smaller ones lack count as zero."""
    size = common_size(inputs)
    total = pad_with_zeros(inputs[0], size)
    for values in inputs[1:]:
        total = total + pad_with_zeros(values, size)
    return total


def common_size(inputs: "Sequence[torch.Tensor]") -> tuple[int, int, int]:
    """Return the largest number of channels, of rows and of columns among tensors."""
    channels, rows, columns = (max(values.shape[axis] for values in inputs) for axis in (1, 2, 3))
    return channels, rows, columns


def pad_with_zeros(values: "torch.Tensor", size: tuple[int, int, int]) -> "torch.Tensor":
    """Append channels, rows and columns of zeros to values, up to a given size."""
    from torch.nn import functional

    more = [wanted - there for wanted, there in zip(size, values.shape[1:], strict=True)]
    return functional.pad(values, (0, more[2], 0, more[1], 0, more[0])) if any(more) else values


def _plan_of(layer: "Layer") -> LayerPlan:
    """Return the plan of a layer of a residual network."""
    assert layer.plan is not None
    return layer.plan
