"""Validation of participants' answers, and of attention checks."""

import math
import re
from typing import TypeGuard

from traitlens.collecting.session_steps import SessionDesign

LONGEST_TIME = 24 * 60 * 60 * 1000.0
"""Longest plausible response time in milliseconds."""

CHECK_TOLERANCE = 0.05
"""Tolerance of an attention check with a slider, as a share of the scale."""


def find_fault(design: SessionDesign, rating: object, rt: object, moved: object) -> str | None:
    """Return the reason why an answer is not valid, or None.

    Parameters
    ----------
    design : SessionDesign
        Design of the sessions, with the scale and the answer format.
    rating, rt, moved : object
        The rating, the response time in milliseconds, and whether the slider was moved.

    Examples
    --------
    >>> design = SessionDesign((), ("warm",), ("1.png",))
    >>> find_fault(design, 4, 812.5, None) is None, find_fault(design, 4.5, 812.5, None)
    (True, 'the rating is not one of the possible answers')
    """
    if not _is_number(rating):
        return "the rating is not a number"
    if not design.low <= rating <= design.high:
        return "the rating is off the scale"
    steps = (rating - design.low) / design.step
    if abs(steps - round(steps)) > 1e-6:
        return "the rating is not one of the possible answers"
    if not _is_number(rt) or not 0 <= rt <= LONGEST_TIME:
        return "the response time is not plausible"
    if design.answer == "slider" and moved is not True:
        return "the slider was not moved"
    return None


def nearest_answer(design: SessionDesign, rating: float) -> float:
    """Return the possible answer nearest to a valid rating, to remove rounding errors.

    Examples
    --------
    >>> nearest_answer(SessionDesign((), ("warm",), ("1.png",)), 5.0000001)
    5.0
    """
    return float(design.low + round((rating - design.low) / design.step) * design.step)


def passes_check(design: SessionDesign, rating: float, wanted: float) -> bool:
    """Return whether the rating in an attention check is the requested one; approximately for a slider."""
    allowed = CHECK_TOLERANCE * (design.high - design.low) if design.answer == "slider" else 1e-9
    return abs(rating - wanted) <= allowed


def is_device(text: object) -> TypeGuard[str]:
    """Return whether a value describes a device by pointer and window size, such as "touch 390x844"."""
    return isinstance(text, str) and re.fullmatch(r"[a-z]{1,12} [0-9]{1,5}x[0-9]{1,5}", text) is not None


def _is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a finite number; booleans are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False
