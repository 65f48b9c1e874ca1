"""PatternNet and PatternAttribution (Kindermans et al. 2018, arXiv:1705.05598).

PatternNet propagates back with patterns (see :mod:`traitlens.features.patterns`) instead of weights,
PatternAttribution with patterns times weights; otherwise both are computed as gradients.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from traitlens.features.backbone import Backbone, Layer
from traitlens.features.patterns import Patterns
from traitlens.relevance.methods import Method
from traitlens.relevance.rules import Rule, Share, Term, gradient

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class PatternMethod(Method):
    """A method whose convolutions propagate back with given weights.

    Parameters
    ----------
    rules : tuple of Rule
        Rule of each convolution, first to last.
    """

    rules: tuple[Rule, ...] = ()

    def rule_for(self, convolution: int) -> Rule:
        """Return the rule of a convolution by its index."""
        return self.rules[convolution]


def pattern_net(patterns: Patterns, backbone: Backbone) -> Method:
    """Return the method PatternNet: the signal in the pixels that the prediction detects.

    Readouts are passed with their own weights, as gradients are.
    """
    return _method("pattern.net", patterns, backbone, times_weight=False)


def pattern_attribution(patterns: Patterns, backbone: Backbone) -> Method:
    """Return the method PatternAttribution: the signal's contribution to the prediction.

    Readouts are passed with their own weights, as gradients are.

    Examples
    --------
    >>> patterns = estimate_patterns(backbone, images, "block4_pool")  # doctest: +SKIP
    >>> maps = analyze(backbone, readouts, images, pattern_attribution(patterns, backbone))  # doctest: +SKIP
    """
    return _method("pattern.attribution", patterns, backbone, times_weight=True)


def _method(name: str, patterns: Patterns, backbone: Backbone, times_weight: bool) -> Method:
    """Return a method whose convolutions propagate back with patterns, or with these times weights."""
    import torch

    def rule(layer: Layer) -> Rule:
        pattern = torch.from_numpy(patterns.tensors[layer.name].copy())

        def weigh(weight: "torch.Tensor") -> "torch.Tensor":
            here = pattern.to(weight)
            return here * weight if times_weight else here

        return Rule(name, (Share((Term("one", weigh),), divide=False, where="active"),))

    convolutions = [layer for layer in backbone.layers if layer.weight is not None]
    rules = tuple(rule(layer) for layer in convolutions if layer.name in patterns.tensors)
    slope = gradient()
    return PatternMethod(name, slope, slope, average="even", gradients=True, rules=rules)
