"""Numbers as the American Psychological Association's manual (7th edition) writes them."""

from collections.abc import Callable


def number(value: float, digits: int = 2) -> str:
    """Write a number that may pass 1.

    Parameters
    ----------
    value : float
        The number.
    digits : int, default 2
        Decimal places.

    Returns
    -------
    str
        With a zero before the point.

    Examples
    --------
    >>> number(0.456), number(-0.001)
    ('0.46', '0.00')
    """
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def bounded(value: float, digits: int = 2) -> str:
    """Write a number that cannot pass 1: no zero before the point.

    Parameters
    ----------
    value : float
        A correlation, a share, a reliability.
    digits : int, default 2
        Decimal places.

    Returns
    -------
    str
        The number.

    Examples
    --------
    >>> bounded(0.456), bounded(-0.456)
    ('.46', '-.46')
    """
    text = number(value, digits)
    return text.replace("0.", ".", 1) if abs(value) < 1 and "1." not in text else text


def p_value(p: float) -> str:
    """Write a p value.

    Parameters
    ----------
    p : float
        The p value.

    Returns
    -------
    str
        Exact to three places, or "p < .001" or "p > .999".

    Examples
    --------
    >>> p_value(0.0312), p_value(0.0002), p_value(1.0)
    ('p = .031', 'p < .001', 'p > .999')
    """
    if p < 0.001:
        return "p < .001"
    return "p > .999" if p >= 0.9995 else f"p = {bounded(p, 3)}"


def interval_text(low: float, high: float, write: Callable[[float], str] = number) -> str:
    """Write a 95 % interval.

    Parameters
    ----------
    low, high : float
        Its bounds.
    write : callable
        How to write a bound: `number` or `bounded`.

    Returns
    -------
    str
        The interval.

    Examples
    --------
    >>> interval_text(0.1, 0.2, bounded)
    '95% CI [.10, .20]'
    """
    return f"95% CI [{write(low)}, {write(high)}]"
