r"""Rules: how a layer distributes the relevance of its outputs over its inputs.

All rules of layer-wise relevance propagation here have one form (Bach et al. 2015; Montavon et al. 2019):

.. math:: R_i = \sum_s c_s \sum_{t \in s} a_{ti} \sum_j V_{tij} \frac{R_j}{z_{sj}}, \qquad
          z_{sj} = \sum_{t \in s} \big( \sum_i a_{ti} V_{tij} + b_{tj} \big)

A rule is a sum of *shares* :math:`s`, each with its own coefficient and denominator. A share is a sum of
*terms* :math:`t`, each a product of inputs :math:`a` (such as all inputs or their positive part) and weights
:math:`V` (such as all weights or their squares).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Modify = Callable[["torch.Tensor"], "torch.Tensor"]
Given = Literal["input", "positive", "negative", "one", "low", "high"]


def identity(values: "torch.Tensor") -> "torch.Tensor":
    """Return weights unchanged."""
    return values


def positive(values: "torch.Tensor") -> "torch.Tensor":
    """Return weights with negative ones set to zero."""
    return values.clamp(min=0)


def negative(values: "torch.Tensor") -> "torch.Tensor":
    """Return weights with positive ones set to zero."""
    return values.clamp(max=0)


def squared(values: "torch.Tensor") -> "torch.Tensor":
    """Return squared weights."""
    return values.square()


def ones(values: "torch.Tensor") -> "torch.Tensor":
    """Return ones instead of weights."""
    return values.new_ones(values.shape)


def minus_positive(values: "torch.Tensor") -> "torch.Tensor":
    """Return the positive weights with their sign reversed, and zero for negative ones."""
    return -values.clamp(min=0)


def minus_negative(values: "torch.Tensor") -> "torch.Tensor":
    """Return the negative weights with their sign reversed, and zero for positive ones."""
    return -values.clamp(max=0)


@dataclass(frozen=True)
class Term:
    """A term of a share: a product of inputs and weights.

    Parameters
    ----------
    given : {"input", "positive", "negative", "one", "low", "high"}
        What the weights are multiplied by: the layer's input, its positive or negative part, ones, or (in
        the first layer only) the lowest or highest possible input.
    weight : callable
        Function that computes the weights of the term from the weights of the layer.
    bias : callable or None
        Function that computes the bias in the denominator from the bias of the layer; no bias if None.
    """

    given: Given
    weight: Modify
    bias: Modify | None = None


@dataclass(frozen=True)
class Share:
    """A share of a rule: terms with a common denominator.

    Parameters
    ----------
    terms : tuple of Term
        The terms.
    coefficient : float, default 1
        Factor by which the share is multiplied.
    epsilon : float, default 0
        Stabiliser, which is added to positive and zero denominators and subtracted from negative ones. If 0,
        denominators of exactly zero are replaced by 1e-7.
    divide : bool, default True
        If False, relevance is not divided by a denominator, as for a gradient.
    where : {"everywhere", "active", "inactive"}
        Outputs to which the share applies: all, those that are positive before the ReLU, or the others.
    """

    terms: tuple[Term, ...]
    coefficient: float = 1.0
    epsilon: float = 0.0
    divide: bool = True
    where: Literal["everywhere", "active", "inactive"] = "everywhere"

    def bias(self, bias: "torch.Tensor") -> "torch.Tensor | None":
        """Return the sum of the biases that the terms add to the denominator, or None if there are none."""
        parts = [term.bias(bias) for term in self.terms if term.bias is not None]
        return sum(parts[1:], parts[0]) if parts else None

    def factor(
        self,
        total: "torch.Tensor | None",
        active: "torch.Tensor | None",
        numerator: "torch.Tensor | None" = None,
    ) -> "torch.Tensor":
        """Compute numerator x coefficient / stabilised denominator; zero where the share does not apply.

        `total` is the denominator before stabilisation (None if the share has none). `active` is a mask of
        the outputs above zero (None if the layer has no ReLU). `numerator` is one if None.
        """
        import torch

        if self.divide:
            assert total is not None
            if self.epsilon:
                total = total + torch.where(total >= 0, self.epsilon, -self.epsilon)
            else:
                total = total.where(total != 0, 1e-7)
            factor = total.reciprocal() if numerator is None else numerator / total
            if self.coefficient != 1:
                factor = factor.mul_(self.coefficient)
        else:
            assert active is not None or total is not None
            like = active if active is not None else total
            assert like is not None
            dtype = numerator.dtype if numerator is not None else torch.get_default_dtype()
            factor = torch.full_like(like, self.coefficient, dtype=dtype)
            factor = factor if numerator is None else factor * numerator
        if self.where != "everywhere" and active is not None:
            factor = factor * (active if self.where == "active" else ~active)
        return factor


@dataclass(frozen=True)
class Rule:
    """A rule of relevance propagation for a layer: a sum of shares.

    If `clip` is True, negative relevance at a ReLU is set to zero (guided backpropagation).
    """

    name: str
    shares: tuple[Share, ...]
    clip: bool = False

    @property
    def is_linear(self) -> bool:
        """Whether the relevance of inputs is a linear function of the relevance of outputs."""
        return not self.clip


_SAME_SIGN = (Term("positive", positive), Term("negative", negative))


def epsilon(value: float = 1e-7, bias: bool = True) -> Rule:
    """Return the epsilon rule (Bach et al. 2015, eq. 58), or the z rule if `value` is 0.

    `bias` says whether the denominator contains the bias.
    """
    name = f"epsilon {value:g}" if value else "z"
    return Rule(name, (Share((Term("input", identity, identity if bias else None),), epsilon=value),))


def alpha_beta(alpha: float, beta: float, bias: bool = True) -> Rule:
    """Return the alpha-beta rule (Bach et al. 2015, eq. 60); both denominators contain the whole bias.

    `alpha` and `beta` are the weights of positive and negative contributions; alpha - beta must be 1.
    """
    if abs(alpha - beta - 1) > 1e-9:
        raise ValueError(f"alpha - beta must be 1, but alpha is {alpha} and beta is {beta}")
    up, down = (positive, negative) if bias else (None, None)
    supporting = (Term("positive", positive, up), Term("negative", negative, down))
    opposing = (Term("positive", negative, down), Term("negative", positive, up))
    shares = [Share(supporting, coefficient=alpha)]
    if beta:
        shares.append(Share(opposing, coefficient=-beta))
    return Rule(f"alpha {alpha:g} beta {beta:g}", tuple(shares))


def gamma(value: float = 0.25, stabiliser: float = 1e-6) -> Rule:
    """Return the gamma rule (Montavon et al. 2019), for inputs and outputs of both signs.

    Weights with the sign of the output are multiplied by 1 + `value`; `stabiliser` is the `epsilon` of
    :class:`Share`.
    """

    def up(values: "torch.Tensor") -> "torch.Tensor":
        return values + value * values.clamp(min=0)

    def down(values: "torch.Tensor") -> "torch.Tensor":
        return values + value * values.clamp(max=0)

    supporting = (Term("positive", up, up), Term("negative", down))
    opposing = (Term("positive", down, down), Term("negative", up))
    for_positive = Share(supporting, epsilon=stabiliser, where="active")
    for_negative = Share(opposing, epsilon=stabiliser, where="inactive")
    return Rule(f"gamma {value:g}", (for_positive, for_negative))


def z_box(stabiliser: float = 0.0) -> Rule:
    """Return the rule for a first layer whose inputs have bounds (Montavon et al. 2017, eq. 14)."""
    terms = (Term("input", identity), Term("low", minus_positive), Term("high", minus_negative))
    return Rule("z box", (Share(terms, epsilon=stabiliser),))


def gradient(gate: bool = True, clip: bool = False, times_input: bool = False) -> Rule:
    """Return the rule of gradients and related methods.

    `gate` says whether inactive ReLUs block relevance, `clip` whether ReLUs set negative relevance to zero,
    and `times_input` whether relevance is multiplied by the input of the layer.
    """
    term = Term("input" if times_input else "one", identity)
    share = Share((term,), divide=False, where="active" if gate else "everywhere")
    return Rule("gradient", (share,), clip)


Z = epsilon(0)
FLAT = Rule("flat", (Share((Term("one", ones),)),))
W_SQUARE = Rule("w square", (Share((Term("one", squared),)),))
Z_PLUS = Rule("z plus", (Share(_SAME_SIGN),))
Z_PLUS_FAST = Rule("z plus fast", (Share((Term("input", positive),)),))
