"""Relevance methods: which rule each kind of layer has; named as in iNNvestigate and zennit."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from traitlens.problems import unknown_choice
from traitlens.relevance.rules import (
    FLAT,
    W_SQUARE,
    Z_PLUS,
    Z_PLUS_FAST,
    Rule,
    Share,
    Term,
    Z,
    alpha_beta,
    epsilon,
    gamma,
    gradient,
    negative,
    ones,
    positive,
    z_box,
)

if TYPE_CHECKING:
    import torch

Samples = Callable[["torch.Tensor"], Iterable[tuple["torch.Tensor", float]]]


@dataclass(frozen=True)
class Method:
    """A relevance method: which rule is used for each kind of layer.

    Parameters
    ----------
    name : str
        Name of the method.
    convolution : Rule
        Rule of convolutions.
    dense : Rule
        Rule of the hidden layer of a dense readout.
    first : Rule or None
        Rule of the first convolutions; `convolution` if None.
    first_count : int, default 1
        Number of convolutions with the rule `first`.
    last : Rule or None
        Rule of the last layer of a dense readout; `dense` if None.
    average : {"proportional", "even"}
        Whether an average distributes relevance in proportion to activations (z rule) or evenly.
    starts_with : {"deviation", "one", "positive_deviation"}
        Relevance at the output of the readout: the explained deviation, its positive part, or one.
    gradients : bool, default False
        Whether the method computes gradients; propagation then starts with slopes of readouts.
    samples : callable or None
        Function that yields network inputs and weights, given a network input; the map is the weighted sum
        of their maps.
    bounds_sums : bool, default True
        Whether a sum in a residual network splits relevance in proportion to absolute values if its inputs
        nearly cancel; otherwise always in proportion to the values.

    Examples
    --------
    >>> mine = Method("mine", convolution=gamma(0.1), dense=epsilon(0.1), first=FLAT)
    >>> register(mine)
    >>> find_method("mine").first.name
    'flat'
    """

    name: str
    convolution: Rule
    dense: Rule
    first: Rule | None = None
    first_count: int = 1
    last: Rule | None = None
    average: Literal["proportional", "even"] = "proportional"
    starts_with: Literal["deviation", "one", "positive_deviation"] = "deviation"
    gradients: bool = False
    samples: Samples | None = None
    bounds_sums: bool = True

    def rule_for(self, convolution: int) -> Rule:
        """Return the rule of a convolution.

        Parameters
        ----------
        convolution : int
            Index of the convolution, from 0.

        Returns
        -------
        Rule
            The rule.
        """
        return self.first if self.first is not None and convolution < self.first_count else self.convolution

    @property
    def is_linear(self) -> bool:
        """Whether maps are a linear function of the relevance at the taps."""
        rules = [self.convolution, self.first or self.convolution]
        return all(rule.is_linear for rule in rules) and self.samples is None


def _path_from_grey(values: "torch.Tensor", steps: int = 64) -> Iterable[tuple["torch.Tensor", float]]:
    """Yield inputs at the midpoints of equal steps from zero to the input, with weights."""
    for step in range(steps):
        share = (step + 0.5) / steps
        # The rule of the first layer multiplies by the scaled input; the weight undoes that scale.
        yield values * share, 1 / (share * steps)


def _noisy_copies(values: "torch.Tensor", copies: int = 64) -> Iterable[tuple["torch.Tensor", float]]:
    """Yield copies of the input with normal noise (SD 15 % of its range; Smilkov et al. 2017), weighted."""
    import torch

    random = torch.Generator().manual_seed(0)
    spread = 0.15 * float(values.max() - values.min())
    for _ in range(copies):
        noise = torch.randn(values.shape, generator=random).to(values)
        yield values + spread * noise, 1 / copies


_PRESET_A = alpha_beta(1, 0)
_PRESET_B = alpha_beta(2, 1)
_DENSE = epsilon(0.1)
_SLOPE = gradient()
_GUIDED, _DECONVOLVED = gradient(clip=True), gradient(gate=False, clip=True)
_GRADIENT = Method("gradient", _SLOPE, _SLOPE, average="even", starts_with="one", gradients=True)
_INPUT_TIMES_GRADIENT = replace(_GRADIENT, name="input_t_gradient", first=gradient(times_input=True))
_DEEP_TAYLOR = Method("deep_taylor", Z_PLUS, Z_PLUS, average="even", starts_with="positive_deviation")


def _zennit_alpha_beta(alpha: float, beta: float) -> Rule:
    """Return zennit's alpha-beta rule, in which each denominator contains only the bias of its own sign."""
    supporting = (Term("positive", positive, positive), Term("negative", negative))
    opposing = (Term("positive", negative, negative), Term("negative", positive))
    shares = [Share(supporting, alpha, 1e-6), Share(opposing, -beta, 1e-6)]
    return Rule(f"zennit alpha {alpha:g} beta {beta:g}", tuple(shares[: 2 if beta else 1]))


_ZENNIT_PLUS = _zennit_alpha_beta(1, 0)
_ZENNIT_FLAT = Rule("zennit flat", (Share((Term("one", ones),), epsilon=1e-6),))
_ZENNIT_DENSE = epsilon(1e-6)

_METHODS = [
    Method("lrp.z", Z, Z),
    Method("lrp.z_ignore_bias", epsilon(0, bias=False), epsilon(0, bias=False)),
    Method("lrp.epsilon", epsilon(), epsilon()),
    Method("lrp.epsilon_ignore_bias", epsilon(bias=False), epsilon(bias=False)),
    Method("lrp.w_square", W_SQUARE, W_SQUARE),
    Method("lrp.flat", FLAT, FLAT),
    Method("lrp.alpha_beta", _PRESET_A, _PRESET_A),
    Method("lrp.alpha_1_beta_0", _PRESET_A, _PRESET_A),
    Method("lrp.alpha_1_beta_0_ignore_bias", Z_PLUS, Z_PLUS),
    Method("lrp.alpha_2_beta_1", _PRESET_B, _PRESET_B),
    Method("lrp.alpha_2_beta_1_ignore_bias", alpha_beta(2, 1, bias=False), alpha_beta(2, 1, bias=False)),
    Method("lrp.z_plus", Z_PLUS, Z_PLUS),
    Method("lrp.z_plus_fast", Z_PLUS_FAST, Z_PLUS_FAST),
    Method("lrp.sequential_preset_a", _PRESET_A, _DENSE),
    Method("lrp.sequential_preset_b", _PRESET_B, _DENSE),
    Method("lrp.sequential_preset_a_flat", _PRESET_A, _DENSE, first=FLAT),
    Method("lrp.sequential_preset_b_flat", _PRESET_B, _DENSE, first=FLAT),
    Method("lrp.sequential_preset_a_flat_until_idx", _PRESET_A, _DENSE, first=FLAT, first_count=4),
    Method("lrp.sequential_preset_b_flat_until_idx", _PRESET_B, _DENSE, first=FLAT, first_count=4),
    _DEEP_TAYLOR,
    replace(_DEEP_TAYLOR, name="deep_taylor.bounded", first=z_box()),
    _GRADIENT,
    _INPUT_TIMES_GRADIENT,
    Method("guided_backprop", _GUIDED, _GUIDED, average="even", gradients=True),
    Method("deconvnet", _DECONVOLVED, _DECONVOLVED, average="even", gradients=True),
    replace(_INPUT_TIMES_GRADIENT, name="integrated_gradients", samples=_path_from_grey),
    replace(_GRADIENT, name="smoothgrad", samples=_noisy_copies),
    Method("zennit.epsilon_plus", _ZENNIT_PLUS, _ZENNIT_DENSE),
    Method("zennit.epsilon_plus_flat", _ZENNIT_PLUS, _ZENNIT_DENSE, first=_ZENNIT_FLAT),
    Method("zennit.epsilon_alpha2_beta1", _zennit_alpha_beta(2, 1), _ZENNIT_DENSE),
    Method("zennit.epsilon_alpha2_beta1_flat", _zennit_alpha_beta(2, 1), _ZENNIT_DENSE, first=_ZENNIT_FLAT),
    Method("zennit.epsilon_gamma_box", gamma(), _ZENNIT_DENSE, first=z_box(1e-6)),
]

METHODS: dict[str, Method] = {
    method.name: replace(method, bounds_sums=not method.name.startswith("zennit.")) for method in _METHODS
}
"""Relevance methods by name."""

DEFAULT_METHOD = "lrp.sequential_preset_a_flat"


def register(method: Method) -> None:
    """Add a method to :data:`METHODS`.

    Parameters
    ----------
    method : Method
        The method; replaces any method of the same name.
    """
    METHODS[method.name] = method


def find_method(method: "str | Method") -> Method:
    """Return the method with a given name.

    Parameters
    ----------
    method : str or Method
        A name in :data:`METHODS`, or a method, which is returned unchanged.

    Returns
    -------
    Method
        The method.

    Raises
    ------
    TraitlensError
        If the name is unknown.
    """
    if isinstance(method, Method):
        return method
    if method not in METHODS:
        raise unknown_choice("method", method, METHODS)
    return METHODS[method]
