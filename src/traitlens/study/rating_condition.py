"""Parsing of a condition on ratings, such as "recognise >= 2"."""

import operator
import re
from collections.abc import Callable
from typing import Any

SIGNS: dict[str, Callable[[Any, float], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
"""Comparison operators of a condition."""
_CONDITION = re.compile(r"\s*([^<>=]*[^<>=\s])\s*(>=|<=|>|<|=)\s*(-?\d{1,9}(?:\.\d{1,9})?)\s*")


def parse_condition(text: str) -> tuple[str, str, float]:
    """Parse a condition on the ratings of one trait.

    Parameters
    ----------
    text : str
        A trait, a comparison operator of :data:`SIGNS`, and a number.

    Returns
    -------
    trait, sign : str
        The trait and the comparison operator.
    number : float
        The number.

    Raises
    ------
    ValueError
        If the text has another form.

    Examples
    --------
    >>> parse_condition("recognise >= 2")
    ('recognise', '>=', 2.0)
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise ValueError("it is not a valid condition; an example is recognise >= 2")
    return found[1], found[2], float(found[3])
