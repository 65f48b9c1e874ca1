"""Format numbers and names in APA style."""

import math
from collections.abc import Callable
from typing import Any


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number.

    Parameters
    ----------
    value : any
        Value of a table's cell, or None.

    Returns
    -------
    bool
        False for None, text, NaN and infinities.
    """
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def decimal(value: Any, digits: int = 2) -> str:
    """Format a number with a fixed number of decimals and a true minus sign.

    Parameters
    ----------
    value : any
        The number; a dash where there is none.
    digits : int, default 2
        Decimals.

    Examples
    --------
    >>> decimal(-1.234), decimal(None)
    ('−1.23', '–')
    """
    if not is_number(value):
        return "–"
    text = f"{float(value):.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def bounded(value: Any, digits: int = 2) -> str:
    """Format a number that cannot exceed 1, such as a correlation, without a leading zero.

    Parameters
    ----------
    value : any
        The number; a dash where there is none.
    digits : int, default 2
        Decimals.

    Examples
    --------
    >>> bounded(0.625), bounded(-0.3), bounded(1.0)
    ('.62', '−.30', '1.00')
    """
    return decimal(value, digits).replace("0.", ".", 1) if abs_below_one(value) else decimal(value, digits)


def abs_below_one(value: Any) -> bool:
    """Return whether a value is a number between -1 and 1.

    Parameters
    ----------
    value : any
        Value of a table's cell, or None.

    Returns
    -------
    bool
        True if the absolute value is below 1.
    """
    return is_number(value) and abs(float(value)) < 1


def interval(low: Any, high: Any, write: Callable[[Any], str] = bounded) -> str:
    """Format the ends of an interval.

    Parameters
    ----------
    low, high : any
        Its ends; a dash where either is missing.
    write : callable, default `bounded`
        Function that writes each end.

    Examples
    --------
    >>> interval(0.481, 0.734), interval(-0.2, 1.5, decimal)
    ('[.48, .73]', '[−0.20, 1.50]')
    """
    return f"[{write(low)}, {write(high)}]" if is_number(low) and is_number(high) else "–"


def probability(value: Any) -> str:
    """Format a p value: exact to three decimals, never as zero or one.

    Parameters
    ----------
    value : any
        The p value; a dash where there is none.

    Examples
    --------
    >>> probability(0.0432), probability(0.00001), probability(1)
    ('.043', '< .001', '> .999')
    """
    if is_number(value) and float(value) < 0.001:
        return "< .001"
    return "> .999" if is_number(value) and float(value) >= 0.9995 else bounded(value, 3)


def p_value(value: Any, relation: str = "=") -> str:
    """Format a p value with its symbol and sign.

    Parameters
    ----------
    value : any
        The p value; a dash where there is none.
    relation : str, default "="
        Sign between "p" and the value where the value is written exactly.

    Examples
    --------
    >>> p_value(0.0432), p_value(0.00001), p_value(1), p_value(0.2, "≥")
    ('p = .043', 'p < .001', 'p > .999', 'p ≥ .200')
    """
    text = probability(value)
    return f"p {text}" if text[0] in "<>" else f"p {relation} {text}"


def count(value: Any) -> str:
    """Format a whole number with thousands separators.

    Parameters
    ----------
    value : any
        The number; a dash where there is none.

    Examples
    --------
    >>> count(12345)
    '12,345'
    """
    return f"{round(float(value)):,}" if is_number(value) else "–"


def several(names: list[str]) -> str:
    """Join names with commas and "and".

    Examples
    --------
    >>> several(["warm", "critical", "strong"])
    'warm, critical and strong'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def raters_of(group: str) -> str:
    """Return the name of a group's raters for use in a sentence.

    Returns
    -------
    str
        The name itself if it ends with "s", otherwise the name followed by "raters".

    Examples
    --------
    >>> raters_of("autistic"), raters_of("controls")
    ('autistic raters', 'controls')
    """
    return group if group.endswith("s") else f"{group} raters"
