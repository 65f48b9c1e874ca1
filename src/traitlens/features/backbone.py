"""The frozen network: a sequence of convolutions and poolings, or a residual network."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from traitlens.features.backbone_catalogue import describe_backbone, list_custom_backbones, vgg_shapes
from traitlens.features.custom_backbones import load_custom_backbone
from traitlens.features.fast_convolution import convolve, max_pool
from traitlens.features.network_layers import TENSORS, Kind, LayerPlan, plan_shapes
from traitlens.features.preprocessing import VGG_CAFFE, Preprocessing
from traitlens.features.residual_pass import run_layers
from traitlens.features.weights import vgg16_weights, weights_digest
from traitlens.memory import reuse_memory
from traitlens.problems import unknown_choice

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of a backbone.

    Parameters
    ----------
    name : str
        Name of the layer, by which taps refer to it.
    kind : {"convolution", "max_pool", "average_pool", "sum"}
        Kind of the layer. Without `plan`, the layer is a 3x3 convolution with padding 1 followed by a ReLU,
        or a 2x2 maximum pooling with stride 2, and its input is the layer before.
    weight : Tensor or None
        Weights of a convolution: (out, in, row, column).
    bias : Tensor or None
        Biases of a convolution: (out,).
    plan : LayerPlan or None
        Inputs, window and activation of a layer of a residual network.
    shift : Tensor or None
        Effect of a normalisation before a convolution (out, 1, row, column), which is convolved with ones and
        added to the output.
    slope : Tensor or None
        Slopes of a PReLU: (out,).
    """

    name: str
    kind: Kind
    weight: "torch.Tensor | None" = None
    bias: "torch.Tensor | None" = None
    plan: LayerPlan | None = None
    shift: "torch.Tensor | None" = None
    slope: "torch.Tensor | None" = None

    def __call__(self, values: "torch.Tensor") -> "torch.Tensor":
        """Apply the layer of a sequential network to values (image, channel, row, column)."""
        from torch.nn import functional

        assert self.plan is None
        if self.kind == "max_pool":
            return functional.max_pool2d(values, 2, 2)
        assert self.weight is not None
        return functional.conv2d(values, self.weight, self.bias, padding=1).relu_()


@dataclass(frozen=True, eq=False)
class Backbone:
    """A frozen convolutional network with its preprocessing.

    Parameters
    ----------
    name : str
        Name of the network, such as "vgg16".
    layers : tuple of Layer
        Layers, from first to last.
    preprocessing : Preprocessing
        Preprocessing of the pixels.
    digest : str
        SHA-256 of the weights.
    source : str
        Source of the weights.
    """

    name: str
    layers: tuple[Layer, ...]
    preprocessing: Preprocessing
    digest: str
    source: str = ""

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the layers, from first to last."""
        return tuple(layer.name for layer in self.layers)

    @property
    def is_residual(self) -> bool:
        """Whether the network is residual: layers have their own inputs, windows and activations."""
        return any(layer.plan is not None for layer in self.layers)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Number of channels and stride (in pixels of the input) of each layer, by name."""
        if self.is_residual:
            plans = [layer.plan for layer in self.layers if layer.plan is not None]
            return plan_shapes(
                plans, {layer.name: len(layer.weight) for layer in self.layers if layer.weight is not None}
            )
        shapes, channels, shrink = {}, 3, 1
        for layer in self.layers:
            if layer.weight is not None:
                channels = layer.weight.shape[0]
            if layer.kind == "max_pool":
                shrink *= 2
            shapes[layer.name] = (channels, shrink)
        return shapes

    def up_to(self, tap: str) -> tuple[Layer, ...]:
        """Return the layers from the input to a tap.

        Parameters
        ----------
        tap : str
            Name of a layer.

        Returns
        -------
        tuple of Layer
            The layers; the last one is the tap.

        Raises
        ------
        TraitlensError
            If the network has no such layer.
        """
        if tap not in self.taps:
            raise unknown_choice("tap", tap, self.taps)
        return self.layers[: self.taps.index(tap) + 1]

    def activations(self, pixels: np.ndarray, taps: Collection[str]) -> dict[str, "torch.Tensor"]:
        """Compute the activations of some layers for images.

        Parameters
        ----------
        pixels : ndarray
            uint8 RGB (image, row, column, 3).
        taps : collection of str
            Names of layers.

        Returns
        -------
        dict of str to Tensor
            Activations (image, channel, row, column) by name of the layer, after the activation function, on
            the device of the backbone.
        """
        import torch

        depth = max(len(self.up_to(tap)) for tap in taps)
        kept = {}
        with torch.inference_mode():
            values = self.input(pixels)
            if self.is_residual:
                passed = run_layers(self.layers[:depth], values)
                return {step.layer.name: step.output for step in passed if step.layer.name in taps}
            for layer in self.layers[:depth]:
                if layer.weight is None:
                    values = max_pool(values)
                else:
                    values = convolve(values, layer.weight, layer.bias).relu_()
                if layer.name in taps:
                    kept[layer.name] = values
        return kept

    def input(self, pixels: np.ndarray) -> "torch.Tensor":
        """Preprocess pixels, and convert them to the device and precision of the backbone.

        Parameters
        ----------
        pixels : ndarray
            uint8 RGB (image, row, column, 3).

        Returns
        -------
        Tensor
            Network input: (image, channel, row, column).
        """
        import torch

        weight = next(layer.weight for layer in self.layers if layer.weight is not None)
        values = self.preprocessing.to_input(pixels)
        return values.to(weight.device, weight.dtype, memory_format=torch.channels_last)

    def to(self, device: str = "cpu", precision: str = "float32") -> "Backbone":
        """Return a copy of the backbone on another device or in another precision.

        Parameters
        ----------
        device : str, default "cpu"
            "cpu", "cuda", "mps", or "auto" for the best available.
        precision : {"float32", "bf16", "float64"}
            Precision of weights and activations; "float64" is slow, but shows which differences are rounding.

        Returns
        -------
        Backbone
            The copy.

        Raises
        ------
        TraitlensError
            If the device is not available or the precision is unknown.
        """
        import torch

        precisions = {"float32": torch.float32, "bf16": torch.bfloat16, "float64": torch.float64}
        if precision not in precisions:
            raise unknown_choice("precision", precision, list(precisions))
        device = find_device(device)

        def moved(tensor: "torch.Tensor | None") -> "torch.Tensor | None":
            if tensor is None:
                return None
            layout = torch.channels_last if tensor.ndim == 4 else torch.preserve_format
            return tensor.to(device, precisions[precision], memory_format=layout)

        layers = tuple(
            replace(
                layer,
                weight=moved(layer.weight),
                bias=moved(layer.bias),
                shift=moved(layer.shift),
                slope=moved(layer.slope),
            )
            for layer in self.layers
        )
        return replace(self, layers=layers)


def find_device(device: str = "auto") -> str:
    """Return the name of the device to compute on.

    Parameters
    ----------
    device : str, default "auto"
        Name of a device. "auto" is CUDA if available, otherwise Apple's GPU, otherwise the CPU.

    Returns
    -------
    str
        "cpu", "cuda" or "mps".

    Raises
    ------
    TraitlensError
        If the requested device is not available.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, is_there in there.items() if is_there)
    if not there.get(device, False):
        raise unknown_choice("device", device, [name for name, is_there in there.items() if is_there])
    return device


def load_backbone(
    name: str = "vgg16",
    weights: Path | None = None,
    announce: Callable[[str], None] = lambda text: None,
) -> Backbone:
    """Load a backbone by name.

    Parameters
    ----------
    name : str, default "vgg16"
        "vgg16", or a network added by :func:`traitlens.features.custom_backbones.add_backbone`.
    weights : Path or None
        File with the weights; if None, they are found or downloaded (see :mod:`traitlens.features.weights`).
    announce : callable
        Called with a line of text before a slow step.

    Returns
    -------
    Backbone
        The network, on the CPU in float32.

    Raises
    ------
    TraitlensError
        If the name is unknown, or the weights are not available.

    Examples
    --------
    >>> backbone = load_backbone("vgg16")  # doctest: +SKIP
    >>> backbone.shapes["block4_pool"]  # doctest: +SKIP
    (512, 16)
    """
    reuse_memory()
    if name == "vgg16":
        tensors, source = vgg16_weights(weights, announce)
        return build_backbone(name, tensors, VGG_CAFFE, weights_digest(tensors), source)
    describe_backbone(name, weights)  # raises an error if the name is unknown
    added = load_custom_backbone(weights or list_custom_backbones()[name])
    if added.plans is not None:
        layers = build_layers(added.plans, added.tensors)
        return Backbone(name, layers, added.preprocessing, added.digest, added.source)
    return build_backbone(name, added.tensors, added.preprocessing, added.digest, added.source)


def build_backbone(
    name: str, tensors: dict[str, np.ndarray], preprocessing: Preprocessing, digest: str, source: str = ""
) -> Backbone:
    """Build a sequential backbone: blocks of convolutions, with a maximum pooling after each block.

    `tensors` are ``blockB_convC.weight`` and ``blockB_convC.bias``, in the order of the layers.
    """
    import torch

    def tensor(part: str) -> torch.Tensor:
        return torch.from_numpy(np.array(tensors[part]))

    channels = {key.removesuffix(".bias"): len(tensors[key]) for key in tensors if key.endswith(".bias")}
    layers = []
    for layer in vgg_shapes(channels.items()):
        if layer in channels:
            weight = tensor(f"{layer}.weight").contiguous(memory_format=torch.channels_last)
            layers.append(Layer(layer, "convolution", weight, tensor(f"{layer}.bias")))
        else:
            layers.append(Layer(layer, "max_pool"))
    return Backbone(name, tuple(layers), preprocessing, digest, source)


def build_layers(plans: Iterable[LayerPlan], tensors: Mapping[str, np.ndarray]) -> tuple[Layer, ...]:
    """Build the layers of a residual network, on the CPU in float32, from plans and named tensors."""
    import torch

    layers = []
    for plan in plans:
        mine = {
            part: torch.from_numpy(np.array(tensors[f"{plan.name}.{part}"]))
            for part in TENSORS
            if f"{plan.name}.{part}" in tensors
        }
        if "weight" in mine:
            mine["weight"] = mine["weight"].contiguous(memory_format=torch.channels_last)
        layers.append(Layer(plan.name, plan.kind, plan=plan, **mine))
    return tuple(layers)
