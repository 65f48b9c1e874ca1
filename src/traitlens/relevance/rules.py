r"""Rules: how a convolution hands the relevance of its outputs to its inputs.

Every rule of layer-wise relevance propagation (Bach et al. 2015) is a sum of terms

.. math:: R_i = \sum_k g_k \, c_k(x_i) \sum_j V_k(w_{ij}) \frac{R_j}{\sum_{l \in k} d_l(x)_j},

where :math:`V_k` changes the weights, :math:`c_k` the inputs, and terms of the same *sign* share a denominator.
A rule is therefore data: a list of terms, the bias that enters each denominator, and the stabiliser.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

WeightPart = Literal["all", "positive", "negative", "squared", "one"]
InputPart = Literal["all", "positive", "negative", "one"]

ZERO_DENOMINATOR = 1e-7
"""What a denominator of zero is replaced by."""


@dataclass(frozen=True)
class Term:
    """One product of changed weights and changed inputs.

    Parameters
    ----------
    weights : {"all", "positive", "negative", "squared", "one"}
        What is taken of the weights.
    inputs : {"all", "positive", "negative", "one"}
        What is taken of the inputs; "one" ignores them.
    """

    weights: WeightPart
    inputs: InputPart


@dataclass(frozen=True)
class Share:
    """Terms that share one denominator.

    Parameters
    ----------
    gain : float
        Factor of the relevance that goes this way (alpha, or minus beta).
    terms : tuple of Term
        What the denominator adds up, and what relevance is divided among.
    bias : bool
        Whether the bias enters the denominator; its part of the relevance then leaks into it.
    """

    gain: float
    terms: tuple[Term, ...]
    bias: bool


@dataclass(frozen=True)
class Rule:
    """How one layer hands relevance down.

    Parameters
    ----------
    shares : tuple of Share
        The ways that relevance goes.
    epsilon : float
        Added to every denominator with its sign (zero counts as positive); 0 replaces only denominators of
        zero by :data:`ZERO_DENOMINATOR`.
    """

    shares: tuple[Share, ...]
    epsilon: float = 0.0


def z_rule(bias: bool = True, epsilon: float = 0.0) -> Rule:
    r"""Divide relevance in proportion to :math:`w_{ij} x_i` (Bach et al. 2015, equations 56 and 58).

    Parameters
    ----------
    bias : bool, default True
        Whether the bias enters the denominator.
    epsilon : float, default 0
        The stabiliser.

    Returns
    -------
    Rule
        The rule.

    Examples
    --------
    >>> z_rule(epsilon=0.1).epsilon
    0.1
    """
    return Rule((Share(1.0, (Term("all", "all"),), bias),), epsilon)


def alpha_beta_rule(alpha: float, beta: float, bias: bool = True) -> Rule:
    r"""Treat activating and inhibiting products apart (Bach et al. 2015, equation 60).

    Parameters
    ----------
    alpha : float
        Gain of the positive products.
    beta : float
        Loss through the negative ones; `alpha` - `beta` = 1 conserves relevance.
    bias : bool, default True
        Whether the bias enters both denominators, as in iNNvestigate.

    Returns
    -------
    Rule
        The rule.
    """
    activating = Share(alpha, (Term("positive", "positive"), Term("negative", "negative")), bias)
    inhibiting = Share(-beta, (Term("negative", "positive"), Term("positive", "negative")), bias)
    return Rule((activating, inhibiting) if beta else (activating,))


def flat_rule() -> Rule:
    """Divide relevance evenly over the inputs, whatever their values (Lapuschkin et al. 2017).

    Returns
    -------
    Rule
        The rule.
    """
    return Rule((Share(1.0, (Term("one", "one"),), bias=False),))


def w_square_rule() -> Rule:
    """Divide relevance in proportion to the squared weights (Montavon et al. 2017).

    Returns
    -------
    Rule
        The rule.
    """
    return Rule((Share(1.0, (Term("squared", "one"),), bias=False),))


def change_weights(weight: "torch.Tensor", part: WeightPart) -> "torch.Tensor":
    """Take a part of the weights.

    Parameters
    ----------
    weight : Tensor
        The layer's weights.
    part : {"all", "positive", "negative", "squared", "one"}
        What to take.

    Returns
    -------
    Tensor
        Of the same shape.
    """
    import torch

    match part:
        case "positive":
            return weight.clamp(min=0)
        case "negative":
            return weight.clamp(max=0)
        case "squared":
            return weight.square()
        case "one":
            return torch.ones_like(weight)
        case _:
            return weight


def change_inputs(values: "torch.Tensor", part: InputPart) -> "torch.Tensor":
    """Take a part of the inputs.

    Parameters
    ----------
    values : Tensor
        The layer's inputs.
    part : {"all", "positive", "negative", "one"}
        What to take.

    Returns
    -------
    Tensor
        Of the same shape.
    """
    import torch

    match part:
        case "positive":
            return values.clamp(min=0)
        case "negative":
            return values.clamp(max=0)
        case "one":
            return torch.ones_like(values)
        case _:
            return values


def stabilise(denominator: "torch.Tensor", epsilon: float) -> "torch.Tensor":
    """Keep a denominator away from zero.

    Parameters
    ----------
    denominator : Tensor
        The sums that relevance is divided by.
    epsilon : float
        Added with the sum's sign; 0 replaces sums of zero only.

    Returns
    -------
    Tensor
        Of the same shape, nowhere zero.
    """
    import torch

    if epsilon:
        sign = torch.where(denominator >= 0, 1.0, -1.0).to(denominator.dtype)
        return denominator + epsilon * sign
    return torch.where(denominator == 0, torch.full_like(denominator, ZERO_DENOMINATOR), denominator)
