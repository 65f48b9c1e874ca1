"""PatternNet and PatternAttribution (Kindermans et al. 2018, arXiv:1705.05598).

Both are gradients with other weights in the backward pass: PatternNet has patterns in place of weights (see
:mod:`traitlens.features.patterns`), PatternAttribution has patterns times weights.
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
    """A relevance method with a rule of its own for each convolution.

    Parameters
    ----------
    rules : tuple of Rule
        Rules of the convolutions, from first to last.
    """

    rules: tuple[Rule, ...] = ()

    def rule_for(self, convolution: int) -> Rule:
        """Return the rule of a convolution by its index."""
        return self.rules[convolution]


def pattern_net(patterns: Patterns, backbone: Backbone) -> Method:
    """Return the method PatternNet, whose maps show the signal that the prediction detects in the pixels.

    The weights of readouts are not replaced by patterns.
    """
    return _pattern_method("pattern.net", patterns, backbone, times_weight=False)


def pattern_attribution(patterns: Patterns, backbone: Backbone) -> Method:
    """Return the method PatternAttribution, whose maps show how the signal contributes to the prediction.

    The weights of readouts are not replaced by patterns.

    Examples
    --------
    >>> patterns = estimate_patterns(backbone, images, "block4_pool")  # doctest: +SKIP
    >>> maps = analyze(backbone, readouts, images, pattern_attribution(patterns, backbone))  # doctest: +SKIP
    """
    return _pattern_method("pattern.attribution", patterns, backbone, times_weight=True)


def _pattern_method(name: str, patterns: Patterns, backbone: Backbone, times_weight: bool) -> Method:
    """Return a method whose backward pass has patterns, or patterns times weights, in its convolutions."""
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
