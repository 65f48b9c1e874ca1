"""Joining of several networks to one, whose readouts can use layers of all of them."""

from collections.abc import Iterable, Sequence

import numpy as np

from traitlens.features.backbone import Backbone, Layer, load_backbone
from traitlens.features.custom_backbones import CustomBackbone, check_name, store_backbone
from traitlens.features.network_layers import INPUT, TENSORS, LayerPlan, Window
from traitlens.features.preprocessing import Preprocessing
from traitlens.features.weights import Tensors


def join_backbones(names: Sequence[str], name: str) -> CustomBackbone:
    """Join several networks side by side, and store them as one network.

    The joined network has the preprocessing of the first network, to which the first convolutions of the
    other networks are adapted without changing their output.

    Parameters
    ----------
    names : sequence of str
        Names of the networks to join.
    name : str
        Name of the joined network, whose layers are named "vgg16-block4_pool" and so on.

    Returns
    -------
    CustomBackbone
        The stored network.

    Raises
    ------
    TraitlensError
        If a network is unknown, or the name is invalid.

    Examples
    --------
    >>> join_backbones(["vgg16", "face-resnet"], "both")  # doctest: +SKIP
    """
    check_name(name)
    parts = [load_backbone(part) for part in dict.fromkeys(names)]
    preprocessing = parts[0].preprocessing
    plans: list[LayerPlan] = []
    tensors: Tensors = {}
    for part in parts:
        for plan, layer in _prefixed_layers(part):
            own = {key: getattr(layer, key).numpy() for key in TENSORS if getattr(layer, key) is not None}
            if INPUT in plan.inputs:
                own = _adapt_to_preprocessing(own, plan.window, part.preprocessing, preprocessing)
            tensors |= {f"{plan.name}.{key}": np.ascontiguousarray(own[key], "<f4") for key in own}
            plans.append(plan)
    source = " + ".join(f"{part.name} ({part.source})" for part in parts)
    added = CustomBackbone(name, tensors, preprocessing, source, tuple(plans))
    store_backbone(added)
    return added


def _prefixed_layers(backbone: Backbone) -> Iterable[tuple[LayerPlan, Layer]]:
    """Yield each layer and its plan, in which names of layers are prefixed by the name of the network."""
    below = INPUT
    for layer in backbone.layers:
        plan = layer.plan
        if plan is None and layer.weight is not None:
            plan = LayerPlan(layer.name, "convolution", (below,), Window(3, 1, 1), "relu")
        elif plan is None:
            plan = LayerPlan(layer.name, "max_pool", (below,), Window(2, 2))
        inputs = tuple(name if name == INPUT else f"{backbone.name}-{name}" for name in plan.inputs)
        yield (
            LayerPlan(f"{backbone.name}-{plan.name}", plan.kind, inputs, plan.window, plan.activation),
            layer,
        )
        below = layer.name


def _adapt_to_preprocessing(
    own: Tensors, window: Window, trained: Preprocessing, given: Preprocessing
) -> Tensors:
    """Return the tensors of a first convolution that is given pixels with another preprocessing."""
    if trained == given:
        return own
    weight = own["weight"].astype(np.float64)
    adapted = np.empty_like(weight)
    shift = own.get("shift", np.zeros((len(weight), 1, window.size, window.size))).astype(np.float64)
    for channel, colour in enumerate(trained.channels):
        place = given.channels.index(colour)
        mean, by = trained.mean[channel], trained.divide_by[channel]
        adapted[:, place] = weight[:, channel] * given.divide_by[place] / by
        shift = shift + weight[:, channel : channel + 1] * (given.mean[place] - mean) / by
    own = own | {"weight": adapted}
    if window.padding:  # padding is added after preprocessing
        return own | {"shift": shift}
    return own | {"bias": own["bias"] + shift.sum((1, 2, 3))}
