r"""Propagation of relevance through residual networks.

A shortcut adds two inputs. The relevance of their sum is split in proportion to the inputs,
:math:`R_i = a_i / \sum_k a_k \; R`, which is the z rule of a layer with weights of one; averages are treated
in the same way. The relevance of a maximum goes to the unit that is the maximum. Batch normalisation is
merged into the convolutions (Pahde et al. 2023). Convolutions follow the rules of the method; their inputs
may be negative.

At a tap, the relevance of a sum need not be in proportion to the sum: a feature below its average has
relevance, too. If two inputs nearly cancel, the split would be arbitrarily large; the relevance is then split
in proportion to absolute values.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from traitlens.features.backbone import Backbone, Layer
from traitlens.features.network_layers import INPUT, LayerPlan, Window
from traitlens.features.residual_pass import (
    PassedLayer,
    bias_map,
    common_size,
    pad_with_zeros,
    run_layers,
    sum_padded,
)
from traitlens.relevance.backward_steps import ELEMENTS_AT_ONCE, split_range
from traitlens.relevance.methods import Method
from traitlens.relevance.rules import Given, Modify, Rule, Share, identity

if TYPE_CHECKING:
    import torch

CANCELS = 0.1
"""Inputs nearly cancel if the absolute value of their sum, over the sum of absolute values, is below this."""

TINY = 1e-7


class ResidualPropagator:
    """Residual network with the modified weights of a relevance method; runs the forward pass of images."""

    def __init__(self, backbone: Backbone, method: Method):
        self.backbone = backbone
        self.method = method
        self.bounds = backbone.preprocessing.bounds()
        convolutions = [layer for layer in backbone.layers if layer.kind == "convolution"]
        # Several networks joined side by side each have a first convolution.
        self._first = [layer.name for layer in convolutions if layer.plan and INPUT in layer.plan.inputs]
        starts = [place for place, layer in enumerate(convolutions) if layer.name in self._first]
        self.rules = {
            layer.name: method.rule_for(place - max(start for start in starts if start <= place))
            for place, layer in enumerate(convolutions)
        }
        self._weights: dict[tuple[str, Modify], torch.Tensor] = {}

    def forward(self, values: "torch.Tensor", taps: Collection[str]) -> "ResidualForwardPass":
        """Run one preprocessed image (1, channel, row, column) up to the deepest tapped layer."""
        import torch

        depth = max(len(self.backbone.up_to(tap)) for tap in taps)
        with torch.no_grad():
            return ResidualForwardPass(self, values, frozenset(taps), self.backbone.layers[:depth])

    def weight(self, layer: Layer, modify: Modify) -> "torch.Tensor":
        """Return the weights of a convolution, modified as a term requires; cached."""
        assert layer.weight is not None
        if modify is identity:
            return layer.weight
        if (layer.name, modify) not in self._weights:
            self._weights[layer.name, modify] = modify(layer.weight)
        return self._weights[layer.name, modify]

    def term_input(self, kind: Given, layer: Layer, values: "torch.Tensor") -> "torch.Tensor":
        """Return the input that a term multiplies by its weights."""
        if kind in ("low", "high"):
            if layer.name not in self._first:
                raise ValueError("rules with bounds can only be used for the first layer")
            return values.new_tensor(self.bounds[kind == "high"]).view(1, 3, 1, 1).expand_as(values)
        if kind == "one":
            return values.new_ones(values.shape)
        if kind == "positive":
            return values.clamp(min=0)
        return values.clamp(max=0) if kind == "negative" else values

    @property
    def is_gradient(self) -> bool:
        """Whether the method computes gradients, which have no denominators."""
        return not self.method.convolution.shares[0].divide

    def stabilise(self, total: "torch.Tensor") -> "torch.Tensor":
        """Stabilise the denominators of sums and averages as the rule for convolutions does."""
        import torch

        epsilon = self.method.convolution.shares[0].epsilon
        if epsilon:
            return total + torch.where(total >= 0, epsilon, -epsilon)
        return total.where(total != 0, TINY)


@dataclass(eq=False)
class _Step:
    """A layer after the forward pass of an image, with the factors by which its relevance is multiplied.

    `terms` contains the inputs and weights of the terms, for each share of a convolution's rule. `factors`
    has one factor for each share of a convolution or each input of a sum, or one for an average; `entering`
    has the factors of relevance that enters at a sum.
    """

    passed: PassedLayer
    terms: list[list[tuple["torch.Tensor", "torch.Tensor"]]]
    factors: list["torch.Tensor"]
    entering: list["torch.Tensor"]

    @property
    def name(self) -> str:
        return self.passed.layer.name

    @property
    def plan(self) -> LayerPlan:
        assert self.passed.layer.plan is not None
        return self.passed.layer.plan


class ResidualForwardPass:
    """Forward pass of one image, through which relevance of any number of readouts is propagated back.

    `activations` contains the activations at the taps, by name of the layer.
    """

    def __init__(
        self,
        propagator: ResidualPropagator,
        values: "torch.Tensor",
        taps: frozenset[str],
        layers: Sequence[Layer],
    ):
        self._propagator = propagator
        self.shape = (values.shape[2], values.shape[3])
        self.activations: dict[str, torch.Tensor] = {}
        self._steps: list[_Step] = []
        self._largest = values.numel()
        for passed in run_layers(layers, values):
            name = passed.layer.name
            if name in taps:
                self.activations[name] = passed.output
            self._steps.append(self._prepare(passed, name in taps))
            self._largest = max(self._largest, passed.output.numel())

    def _prepare(self, passed: PassedLayer, is_tap: bool) -> _Step:
        """Compute the factors by which the relevance of a layer is multiplied."""
        propagator = self._propagator
        if passed.layer.kind == "convolution":
            return self._prepare_convolution(passed, propagator.rules[passed.layer.name])
        if propagator.is_gradient or passed.layer.kind == "max_pool":
            return _Step(passed, [], [], [])
        if passed.layer.kind == "average_pool":
            even = propagator.method.average == "even"
            return _Step(passed, [], [] if even else [1 / propagator.stabilise(passed.before)], [])
        size = common_size(passed.inputs)
        inputs = [pad_with_zeros(values, size) for values in passed.inputs]
        factors = [values / propagator.stabilise(passed.before) for values in inputs]
        entering = factors
        if is_tap and propagator.method.bounds_sums:
            absolute = sum_padded([values.abs() for values in inputs])
            cancels = passed.before.abs() < CANCELS * absolute
            shares = [values.abs() / propagator.stabilise(absolute) for values in inputs]
            entering = [share.where(cancels, factor) for share, factor in zip(shares, factors, strict=True)]
        return _Step(passed, [], factors, entering)

    def _prepare_convolution(self, passed: PassedLayer, rule: Rule) -> _Step:
        """Compute the terms and factors of the rule of a convolution."""
        from torch.nn import functional

        propagator, layer, (values,) = self._propagator, passed.layer, passed.inputs
        step = _Step(passed, [], [], [])
        window, active = step.plan.window, passed.before > 0
        bias = bias_map(layer, values)
        for share in rule.shares:
            terms = [
                (propagator.term_input(term.given, layer, values), propagator.weight(layer, term.weight))
                for term in share.terms
            ]
            total = passed.before
            if share.divide:
                sums = [
                    functional.conv2d(given, weight, None, window.stride, window.padding)
                    for given, weight in terms
                ]
                total = sum_padded(sums)
                added = share.bias(bias)
                if added is not None:
                    total = total + added * (active if self._leaves_out_bias(step, share) else 1)
            step.terms.append(terms)
            step.factors.append(share.factor(total, active if share.divide else None))
        return step

    @staticmethod
    def _leaves_out_bias(step: _Step, share: Share) -> bool:
        """Return whether the bias is left out of the denominators of inactive units.

        With it, such denominators could be close to zero.
        """
        of_both_signs = sum(term.bias is not None for term in share.terms) > 1
        return step.plan.activation == "relu" or of_both_signs

    def back(self, relevance: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Propagate relevance from the taps to the pixels, as `ForwardPass.back` does."""
        import torch

        for tap, values in relevance.items():
            if values.shape[1:] != self.activations[tap].shape[1:]:
                shape = tuple(self.activations[tap].shape[1:])
                raise ValueError(
                    f"relevance at {tap!r}: expected {shape} for each map, got {tuple(values.shape[1:])}"
                )
        count = len(next(iter(relevance.values())))
        with torch.no_grad():
            maps = [
                self._propagate_down({tap: values[part] for tap, values in relevance.items()})
                for part in split_range(count, max(1, ELEMENTS_AT_ONCE // self._largest))
            ]
        return torch.cat(maps)

    def forth(self, regions: "torch.Tensor") -> dict[str, "torch.Tensor"]:
        """Propagate regions of pixels up to the taps, as `ForwardPass.forth` does."""
        import torch

        if not self._propagator.method.is_linear:
            raise ValueError("the method is not linear in relevance, so there is no region operator")
        if tuple(regions.shape[1:]) != self.shape:
            raise ValueError(f"regions: expected {self.shape} for each map, got {tuple(regions.shape[1:])}")
        # back() is linear, so automatic differentiation computes its transpose.
        found: dict[str, list[torch.Tensor]] = {tap: [] for tap in self.activations}
        for region in regions:
            with torch.enable_grad():
                start = {
                    tap: torch.zeros_like(values).requires_grad_() for tap, values in self.activations.items()
                }
                maps = self._propagate_down(start)
            slopes = torch.autograd.grad(maps, list(start.values()), region[None].to(maps))
            for tap, slope in zip(start, slopes, strict=True):
                found[tap].append(slope)
        return {tap: torch.cat(values) for tap, values in found.items()}

    def _propagate_down(self, relevance: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Propagate relevance from the taps to the pixels, layer by layer."""
        carried: dict[str, torch.Tensor] = {}
        for step in reversed(self._steps):
            from_above, entering = carried.pop(step.name, None), relevance.get(step.name)
            if step.plan.kind == "sum" and step.factors:
                sent = _through_sum(step, from_above, entering)
            else:
                values = _add(from_above, entering)
                sent = [] if values is None else self._through_layer(step, values)
            for name, values in zip(step.plan.inputs, sent, strict=False):
                carried[name] = carried[name] + values if name in carried else values
        (values,) = carried.values()
        return values.float().sum(1)

    def _through_layer(self, step: _Step, relevance: "torch.Tensor") -> list["torch.Tensor"]:
        """Propagate the relevance of a layer's output to its inputs."""
        propagator, kind = self._propagator, step.plan.kind
        rule = propagator.rules.get(step.name, propagator.method.convolution)
        relevance = _through_activation(step, rule, relevance, propagator.is_gradient)
        if kind == "convolution":
            return [_through_convolution(step, relevance)]
        if kind == "max_pool":
            return [spread_maximum(relevance, step.plan.window, step.passed.inputs[0])]
        if kind == "average_pool":
            return [_through_average(step, relevance)]
        return [_crop_to_input(relevance, values) for values in step.passed.inputs]


def _add(some: "torch.Tensor | None", more: "torch.Tensor | None") -> "torch.Tensor | None":
    """Add two tensors of relevance; None stands for zero."""
    return more if some is None else some if more is None else some + more


def _crop_to_input(values: "torch.Tensor", like: "torch.Tensor") -> "torch.Tensor":
    """Crop the relevance of a sum to the size of one of its inputs, which may be smaller than the sum."""
    channels, rows, columns = like.shape[1:]
    return values[:, :channels, :rows, :columns]


def _through_activation(
    step: _Step, rule: Rule, relevance: "torch.Tensor", is_gradient: bool
) -> "torch.Tensor":
    """Propagate relevance through an activation: clip it if the rule says so; multiply it by the slope."""
    if step.plan.activation == "none":
        return relevance
    if rule.clip:
        relevance = relevance.relu()
    if not is_gradient or rule.shares[0].where == "everywhere":
        return relevance
    active = step.passed.before > 0
    slope = step.passed.layer.slope
    return (
        relevance * active if slope is None else relevance.where(active, relevance * slope.view(1, -1, 1, 1))
    )


def _through_convolution(step: _Step, relevance: "torch.Tensor") -> "torch.Tensor":
    """Propagate the relevance of a convolution to its input."""
    (below,) = step.passed.inputs
    total = None
    for terms, factor in zip(step.terms, step.factors, strict=True):
        sent = relevance * factor
        for given, weight in terms:
            total = _add(total, transpose_convolution(sent, weight, step.plan.window, below) * given)
    assert total is not None
    return total


def transpose_convolution(
    values: "torch.Tensor", weight: "torch.Tensor", window: Window, below: "torch.Tensor", groups: int = 1
) -> "torch.Tensor":
    """Apply the transpose of a convolution to values; the result has the rows and columns of `below`."""
    from torch.nn import functional

    used = [(side - 1) * window.stride - 2 * window.padding + window.size for side in values.shape[2:]]
    rest = [whole - part for whole, part in zip(below.shape[2:], used, strict=True)]
    return functional.conv_transpose2d(values, weight, None, window.stride, window.padding, rest, groups)


def spread_maximum(values: "torch.Tensor", window: Window, below: "torch.Tensor") -> "torch.Tensor":
    """Assign values of a maximum pooling to the first maximum of each window of its input `below`."""
    import torch
    from torch.nn import functional

    _, places = functional.max_pool2d(below, window.size, window.stride, window.padding, return_indices=True)
    result = values.new_zeros(len(values), *below.shape[1:]).flatten(2)
    places = places.flatten(2).expand(len(values), -1, -1)
    return torch.scatter_add(result, 2, places, values.flatten(2)).view(len(values), *below.shape[1:])


def spread_average(values: "torch.Tensor", plan: LayerPlan, below: "torch.Tensor") -> "torch.Tensor":
    """Apply the transpose of an average pooling: distribute values evenly over its windows."""
    channels, side = values.shape[1], plan.window.size
    weight = values.new_full((channels, 1, side, side), side**-2)
    return transpose_convolution(values, weight, plan.window, below, groups=channels)


def _through_average(step: _Step, relevance: "torch.Tensor") -> "torch.Tensor":
    """Distribute relevance over the units of each average, evenly or in proportion to activations."""
    (below,) = step.passed.inputs
    if not step.factors:
        return spread_average(relevance, step.plan, below)
    return spread_average(relevance * step.factors[0], step.plan, below) * below


def _through_sum(
    step: _Step, from_above: "torch.Tensor | None", entering: "torch.Tensor | None"
) -> list["torch.Tensor"]:
    """Split the relevance of a sum (from above, and entering at a tap) over its inputs."""
    sent = []
    for below, factor, at_tap in zip(step.passed.inputs, step.factors, step.entering, strict=True):
        values = _add(
            None if from_above is None else from_above * factor,
            None if entering is None else entering * at_tap,
        )
        if values is not None:
            sent.append(_crop_to_input(values, below))
    return sent
