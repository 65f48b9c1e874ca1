"""Convolutions prepared for a rule: modified weights once per network, denominators once per image."""

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
    """Terms with the same input: one convolution, backward for maps and forward for regions.

    `forth` holds the weights from inputs to outputs (output, input, 3, 3), `back` those of the transposed
    convolution.
    """

    given: Given
    shares: tuple[int, ...]
    forth: "torch.Tensor"

    @cached_property
    def back(self) -> "torch.Tensor":
        """Weights from outputs to inputs."""
        return _channels_last(self.forth.transpose(0, 1).flip(2, 3))

    @cached_property
    def weight_back(self) -> np.ndarray:
        """The weights from listed outputs to listed inputs: (row and column of the filter, output, input)."""
        weight = self.forth.permute(2, 3, 0, 1)
        return weight.reshape(9, *weight.shape[2:]).contiguous().numpy()

    @cached_property
    def weight_forth(self) -> np.ndarray:
        """The weights from listed inputs to listed outputs: (row and column of the filter, input, output)."""
        weight = self.forth.flip(2, 3).permute(2, 3, 1, 0)
        return weight.reshape(9, *weight.shape[2:]).contiguous().numpy()


def convolve(values: "torch.Tensor", weight: "torch.Tensor") -> "torch.Tensor":
    """Compute a 3x3 convolution with padding 1 and without a bias."""
    from torch.nn import functional

    return functional.conv2d(_channels_last(values), weight, padding=1)


def _channels_last(values: "torch.Tensor") -> "torch.Tensor":
    """Return values in the memory layout channels-last, in which convolutions are fastest."""
    import torch

    return values.contiguous(memory_format=torch.channels_last)


@dataclass(eq=False)
class PreparedLayer:
    """A convolution with its rule and all modified weights."""

    layer: Layer
    rule: Rule
    is_first: bool
    pool: str | None = None
    sums: dict[tuple[Given, Modify], "torch.Tensor"] = field(default_factory=dict)
    groups: list[TermGroup] = field(default_factory=list)
    of_ones: dict[Any, "torch.Tensor"] = field(default_factory=dict)

    @property
    def top(self) -> str:
        """Name of the last layer of the step: the pooling, or the convolution."""
        return self.pool or self.layer.name


@dataclass(eq=False)
class Forward:
    """A convolution after its forward pass; its factors need the step above."""

    prepared: PreparedLayer
    given: list["torch.Tensor | None"]
    totals: list["torch.Tensor | None"]
    convolved: "torch.Tensor"
    output: "torch.Tensor"
    activations: dict[str, "torch.Tensor"]


def prepare(layer: Layer, rule: Rule, is_first: bool) -> PreparedLayer:
    """Compute the modified weights of a layer's rule."""
    import torch

    assert layer.weight is not None
    prepared = PreparedLayer(layer, rule, is_first)
    terms = [(number, term) for number, share in enumerate(rule.shares) for term in _terms(share, is_first)]
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
            weight = weight.sum(1, keepdim=True)  # colours are summed in the end, so sum them here
        prepared.groups.append(TermGroup(given, tuple(by_share), _channels_last(weight)))
    return prepared


def _terms(share: Share, is_first: bool) -> list[Term]:
    """Return the terms that can be nonzero: after a ReLU no input is negative."""
    if is_first:
        return list(share.terms)
    if any(term.given in ("low", "high") for term in share.terms):
        raise ValueError("rules with bounds are for the first layer")
    return [
        Term("input" if term.given == "positive" else term.given, term.weight, term.bias)
        for term in share.terms
        if term.given != "negative"
    ]


def run_forward(prepared: PreparedLayer, values: "torch.Tensor", bounds: Bounds) -> Forward:
    """Run a convolution and compute its rule's denominators."""
    import torch
    from torch.nn import functional

    layer, rule = prepared.layer, prepared.rule
    assert layer.weight is not None
    assert layer.bias is not None
    kinds = dict.fromkeys([kind for kind, _ in prepared.sums] + [group.given for group in prepared.groups])
    given = {kind: _given(kind, values, bounds) for kind in kinds}
    # The bias is added by the convolution: one operation less, and the same rounding as a plain forward pass.
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
    """Return a term's part of the denominator with its bias; after a ReLU it may be the bias only."""
    if is_first or term.given != "negative":
        given: Given = "input" if term.given == "positive" and not is_first else term.given
        convolved = sums[given, term.weight]
        if given == "input" and term.weight is identity:  # includes the bias
            if term.bias is identity:
                return convolved
            convolved = convolved - bias
        return convolved if term.bias is None else convolved + term.bias(bias)
    return None if term.bias is None else term.bias(bias)


def _given(kind: Given, values: "torch.Tensor", bounds: Bounds) -> "torch.Tensor | None":
    """Return the input of a term's weights; None stands for ones."""
    if kind == "one":
        return None
    if kind == "positive":
        return values.clamp(min=0)
    if kind == "negative":
        return values.clamp(max=0)
    if kind in ("low", "high"):
        return values.new_tensor(bounds[kind == "high"]).view(1, 3, 1, 1)
    return values
