"""Preparation of convolutions for their rule: modified weights (once) and denominators (for each image)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from traitlens.features.backbone import Layer
from traitlens.relevance.rules import Given, Modify, Rule, Share, Term, identity

if TYPE_CHECKING:
    import torch

Bounds = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(eq=False)
class TermGroup:
    """Terms of a rule with the same input, which are computed by one convolution.

    `forth` contains the weights from inputs to outputs (output, input, 3, 3), to propagate regions upwards;
    `back` those of the transposed convolution, to propagate relevance downwards.
    """

    given: Given
    shares: tuple[int, ...]
    forth: "torch.Tensor"

    @cached_property
    def back(self) -> "torch.Tensor":
        """Weights of the transposed convolution: (input, output, 3, 3)."""
        return _channels_last(self.forth.transpose(0, 1).flip(2, 3))

    @cached_property
    def weight_back(self) -> np.ndarray:
        """Weights from outputs to inputs for lists of units: (position in the filter, output, input)."""
        weight = self.forth.permute(2, 3, 0, 1)
        return weight.reshape(9, *weight.shape[2:]).contiguous().numpy()

    @cached_property
    def weight_forth(self) -> np.ndarray:
        """Weights from inputs to outputs for lists of units: (position in the filter, input, output)."""
        weight = self.forth.flip(2, 3).permute(2, 3, 1, 0)
        return weight.reshape(9, *weight.shape[2:]).contiguous().numpy()


def convolve(values: "torch.Tensor", weight: "torch.Tensor") -> "torch.Tensor":
    """Compute a 3x3 convolution with padding 1 and without a bias."""
    from torch.nn import functional

    return functional.conv2d(_channels_last(values), weight, padding=1)


def _channels_last(values: "torch.Tensor") -> "torch.Tensor":
    """Return values in channels-last memory layout, in which convolutions are fastest."""
    import torch

    return values.contiguous(memory_format=torch.channels_last)


@dataclass(eq=False)
class PreparedLayer:
    """A convolution with its rule, its modified weights, and the pooling after it."""

    layer: Layer
    rule: Rule
    is_first: bool
    pool: str | None = None
    sums: dict[tuple[Given, Modify], "torch.Tensor"] = field(default_factory=dict)
    groups: list[TermGroup] = field(default_factory=list)
    of_ones: dict[Any, "torch.Tensor"] = field(default_factory=dict)

    @property
    def top(self) -> str:
        """Name of the pooling, or of the convolution if no pooling follows."""
        return self.pool or self.layer.name


@dataclass(eq=False)
class Forward:
    """Forward pass of one image through a convolution and the pooling after it."""

    prepared: PreparedLayer
    given: list["torch.Tensor | None"]
    totals: list["torch.Tensor | None"]
    convolved: "torch.Tensor"
    output: "torch.Tensor"
    activations: dict[str, "torch.Tensor"]


def prepare_layer(layer: Layer, rule: Rule, is_first: bool) -> PreparedLayer:
    """Compute the modified weights that a rule needs for a convolution."""
    import torch

    assert layer.weight is not None
    prepared = PreparedLayer(layer, rule, is_first)
    terms = [
        (number, term) for number, share in enumerate(rule.shares) for term in _nonzero_terms(share, is_first)
    ]
    for number, term in terms:
        key = (term.given, term.weight)
        if rule.shares[number].divide and key not in prepared.sums and key != ("input", identity):
            prepared.sums[key] = _channels_last(term.weight(layer.weight))
    for given in dict.fromkeys(term.given for _, term in terms):
        by_share: dict[int, torch.Tensor] = {}
        for number, term in terms:
            if term.given == given:
                weight = term.weight(layer.weight)
                by_share[number] = by_share[number] + weight if number in by_share else weight
        weight = torch.cat(list(by_share.values()))
        if is_first and given == "one":
            weight = weight.sum(1, keepdim=True)  # maps are summed over colour channels, so sum their weights
        prepared.groups.append(TermGroup(given, tuple(by_share), _channels_last(weight)))
    return prepared


def _nonzero_terms(share: Share, is_first: bool) -> list[Term]:
    """Return the terms that can be nonzero; inputs after a ReLU have no negative part."""
    if is_first:
        return list(share.terms)
    if any(term.given in ("low", "high") for term in share.terms):
        raise ValueError("rules with bounds can only be used for the first layer")
    return [
        Term("input" if term.given == "positive" else term.given, term.weight, term.bias)
        for term in share.terms
        if term.given != "negative"
    ]


def run_forward(prepared: PreparedLayer, values: "torch.Tensor", bounds: Bounds) -> Forward:
    """Run one image through a convolution and its pooling, and compute the denominators of its rule."""
    import torch
    from torch.nn import functional

    layer, rule = prepared.layer, prepared.rule
    assert layer.weight is not None
    assert layer.bias is not None
    kinds = dict.fromkeys([kind for kind, _ in prepared.sums] + [group.given for group in prepared.groups])
    given = {kind: _term_input(kind, values, bounds) for kind in kinds}
    # Letting the convolution add the bias saves an operation and rounds as an ordinary forward pass does.
    sums: dict[tuple[Given, Modify], torch.Tensor] = {}
    sums["input", identity] = functional.conv2d(values, layer.weight, layer.bias, padding=1)
    for (kind, modify), weight in prepared.sums.items():
        here = given[kind]
        if kind not in ("one", "low", "high"):
            assert here is not None
            sums[kind, modify] = convolve(here, weight)
            continue
        key = (kind, modify, values.shape[2:])
        if key not in prepared.of_ones:
            filled = torch.ones_like(values) if here is None else here.expand_as(values)
            prepared.of_ones[key] = convolve(filled, weight)
        sums[kind, modify] = prepared.of_ones[key]
    bias = layer.bias.view(1, -1, 1, 1)
    convolved = sums["input", identity]
    totals: list[torch.Tensor | None] = []
    for share in rule.shares:
        if not share.divide:
            totals.append(None)
            continue
        total = None
        for term in share.terms:
            part = _term_sum(term, sums, bias, prepared.is_first)
            if part is not None:
                total = part if total is None else total + part
        totals.append(torch.zeros_like(convolved) if total is None else total)
    output = functional.relu(convolved)
    activations = {layer.name: output}
    if prepared.pool is not None:
        output = functional.max_pool2d(output, 2, 2)
        activations[prepared.pool] = output
    in_order = [given[group.given] for group in prepared.groups]
    return Forward(prepared, in_order, totals, convolved, output, activations)


def _term_sum(
    term: Term,
    sums: Mapping[tuple[Given, Modify], "torch.Tensor"],
    bias: "torch.Tensor",
    is_first: bool,
) -> "torch.Tensor | None":
    """Return a term's contribution to the denominator (convolution and bias); None if it is zero."""
    if is_first or term.given != "negative":
        given: Given = "input" if term.given == "positive" and not is_first else term.given
        convolved = sums[given, term.weight]
        if given == "input" and term.weight is identity:  # `convolved` includes the bias
            if term.bias is identity:
                return convolved
            convolved = convolved - bias
        return convolved if term.bias is None else convolved + term.bias(bias)
    return None if term.bias is None else term.bias(bias)


def _term_input(kind: Given, values: "torch.Tensor", bounds: Bounds) -> "torch.Tensor | None":
    """Return the input that a term multiplies by its weights; None if it is one everywhere."""
    if kind == "one":
        return None
    if kind == "positive":
        return values.clamp(min=0)
    if kind == "negative":
        return values.clamp(max=0)
    if kind in ("low", "high"):
        return values.new_tensor(bounds[kind == "high"]).view(1, 3, 1, 1)
    return values
