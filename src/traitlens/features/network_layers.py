"""Plans of the layers of residual networks (inputs, windows, activations), without weights."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["convolution", "max_pool", "average_pool", "sum"]
Activation = Literal["none", "relu", "prelu"]

INPUT = "input"
"""Name of the network input among the inputs of a layer."""

TENSORS = ("weight", "bias", "shift", "slope")
"""Tensors that a layer may have: weights (out, in, row, column), biases (out,), the effect of a shift of the
input before padding (out, 1, row, column), and the slopes of a PReLU (out,)."""

_KINDS = ("convolution", "max_pool", "average_pool", "sum")
_LARGEST_WINDOW = 64
_MOST_LAYERS = 2000


@dataclass(frozen=True)
class Window:
    """Window of a convolution or a pooling.

    Parameters
    ----------
    size, stride, padding : int
        Size, stride and padding, equal for rows and columns. Maximum poolings are padded with minus infinity,
        other layers with zeros.
    """

    size: int
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class LayerPlan:
    """Plan of a layer of a residual network, without its weights.

    Parameters
    ----------
    name : str
        Name of the layer, by which taps refer to it.
    kind : {"convolution", "max_pool", "average_pool", "sum"}
        Kind of the layer. A sum adds its inputs; channels, rows and columns that an input lacks are zero.
    inputs : tuple of str
        Names of the layers that are the inputs, or "input" for the network input.
    window : Window
        Window of a convolution or pooling.
    activation : {"none", "relu", "prelu"}
        Activation function applied to the output.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    window: Window = Window(1)
    activation: Activation = "none"


def plans_to_json(plans: Iterable[LayerPlan]) -> list[dict[str, Any]]:
    """Convert plans of layers to dictionaries that JSON can represent."""
    return [asdict(plan) for plan in plans]


def plans_from_json(given: Any) -> tuple[LayerPlan, ...]:
    """Convert the dictionaries of :func:`plans_to_json` to plans of layers, and check them.

    Raises
    ------
    ValueError
        If an entry is not a valid layer, or an input of it is not an earlier layer.
    """
    known = {INPUT}
    plans = []
    try:
        if not 0 < len(given) <= _MOST_LAYERS:
            raise ValueError("no layers, or too many")
        for entry in given:
            window = Window(*(int(entry["window"][key]) for key in ("size", "stride", "padding")))
            plan = LayerPlan(
                str(entry["name"]),
                entry["kind"],
                tuple(map(str, entry["inputs"])),
                window,
                entry["activation"],
            )
            _check_plan(plan, known)
            known.add(plan.name)
            plans.append(plan)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("invalid layers") from error
    return tuple(plans)


def _check_plan(plan: LayerPlan, known: set[str]) -> None:
    """Raise an error unless a layer has a new name, known inputs and a valid window."""
    window = plan.window
    sound = (
        plan.kind in _KINDS
        and plan.activation in ("none", "relu", "prelu")
        and plan.name not in known
        and "." not in plan.name
        and known.issuperset(plan.inputs)
        and (len(plan.inputs) >= 2 if plan.kind == "sum" else len(plan.inputs) == 1)
        and 1 <= window.size <= _LARGEST_WINDOW
        and 1 <= window.stride <= _LARGEST_WINDOW
        and 0 <= window.padding <= window.size // 2
    )
    if not sound:
        raise ValueError(f"invalid layer {plan.name[:80]!r}")


def plan_shapes(plans: Sequence[LayerPlan], channels: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Compute the number of channels and the stride (in pixels of the input) of each layer, by name.

    `channels` are the numbers of output channels of the convolutions.
    """
    shapes = {INPUT: (3, 1)}
    for plan in plans:
        read = [shapes[name] for name in plan.inputs]
        width = channels[plan.name] if plan.kind == "convolution" else max(width for width, _ in read)
        shapes[plan.name] = (width, max(stride for _, stride in read) * plan.window.stride)
    return {plan.name: shapes[plan.name] for plan in plans}


def check_tensors(plans: Sequence[LayerPlan], tensors: Mapping[str, np.ndarray]) -> None:
    """Check that tensors have the names and shapes that the layers need, and are finite.

    Raises
    ------
    ValueError
        If they do not; names the first layer with such an error.
    """
    width, wanted = {INPUT: 3}, set()
    for plan in plans:
        mine = {part: tensors[f"{plan.name}.{part}"] for part in TENSORS if f"{plan.name}.{part}" in tensors}
        wanted |= {f"{plan.name}.{part}" for part in mine}
        inputs = max(width[name] for name in plan.inputs)
        outputs = len(mine["weight"]) if "weight" in mine and mine["weight"].ndim else inputs
        side = plan.window.size
        shapes: dict[str, tuple[int, ...]] = {"slope": (outputs,)} if plan.activation == "prelu" else {}
        if plan.kind == "convolution":
            shapes |= {"weight": (outputs, inputs, side, side), "bias": (outputs,)}
            shapes |= {"shift": (outputs, 1, side, side)} if "shift" in mine else {}
        if {part: tensor.shape for part, tensor in mine.items()} != shapes:
            raise ValueError(f"the weights of layer {plan.name[:80]!r} have unexpected shapes")
        if not all(np.isfinite(tensor).all() for tensor in mine.values()):
            raise ValueError(f"the weights of layer {plan.name[:80]!r} contain infinite numbers")
        width[plan.name] = outputs
    if wanted != set(tensors):
        raise ValueError("there are weights without a layer")


def network_digest(plans: Sequence[LayerPlan], tensors: Mapping[str, np.ndarray]) -> str:
    """Compute the SHA-256 of the layers and their weights, in 64 hexadecimal characters."""
    hasher = hashlib.sha256(json.dumps(plans_to_json(plans), sort_keys=True).encode())
    for plan in plans:
        for part in TENSORS:
            if f"{plan.name}.{part}" in tensors:
                hasher.update(part.encode())
                hasher.update(np.ascontiguousarray(tensors[f"{plan.name}.{part}"], "<f4").data)
    return hasher.hexdigest()
