"""Methods: which rule goes with which layer, by the names that users of iNNvestigate know."""

from dataclasses import dataclass

from traitlens.problems import unknown_choice
from traitlens.relevance.rules import Rule, alpha_beta_rule, flat_rule, z_rule


@dataclass(frozen=True)
class Method:
    """Which rule goes with which kind of layer.

    Parameters
    ----------
    name : str
        Its name in settings.
    dense : Rule
        For the dense layers of a readout.
    convolution : Rule
        For convolutions.
    first : Rule or None
        For the first convolution, next to the pixels; that of the others where None.
    """

    name: str
    dense: Rule
    convolution: Rule
    first: Rule | None = None


METHODS: dict[str, Method] = {}
"""The methods by name."""


def register_method(method: Method) -> Method:
    """Make a method known by its name.

    Parameters
    ----------
    method : Method
        The method.

    Returns
    -------
    Method
        The same.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    if method.name in METHODS:
        raise ValueError(f"a method named {method.name!r} is there already")
    METHODS[method.name] = method
    return method


def find_method(method: str | Method) -> Method:
    """Find a method by name.

    Parameters
    ----------
    method : str or Method
        The name; a method is returned as it is.

    Returns
    -------
    Method
        The method.

    Raises
    ------
    TraitlensError
        If there is none of that name.

    Examples
    --------
    >>> find_method("lrp.sequential_preset_a_flat").dense.epsilon
    0.1
    """
    if isinstance(method, Method):
        return method
    if method not in METHODS:
        raise unknown_choice("relevance method", method, METHODS)
    return METHODS[method]


for _letter, _alpha, _beta in (("a", 1.0, 0.0), ("b", 2.0, 1.0)):
    _preset = f"lrp.sequential_preset_{_letter}"
    _dense, _convolution = z_rule(epsilon=0.1), alpha_beta_rule(_alpha, _beta)
    register_method(Method(_preset, _dense, _convolution))
    register_method(Method(f"{_preset}_flat", _dense, _convolution, flat_rule()))
