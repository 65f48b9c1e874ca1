"""Search of the strength of an alteration that shifts a region's cue by a given step."""

import math
from collections.abc import Callable
from dataclasses import dataclass

CLOSE = 0.08
"""Relative distance from the step at which the search ends."""

TOLERANCE = 0.2
"""Largest relative distance from the step of a picture that is used."""

OTHER_CUES = 0.2
"""Largest change of another region's cue, in standard deviations."""

STRONGEST = 2.5
"""Largest strength, in standard deviations of the cue."""

TRIES = 8


@dataclass(frozen=True)
class Found:
    """A strength, and the resulting change of the cue.

    Parameters
    ----------
    strength : float
        Strength of the alteration.
    change : float
        Change of the cue, in standard deviations.
    """

    strength: float
    change: float


def search_strength(measure: Callable[[float], float], step: float) -> Found:
    """Find the strength at which the cue changes by a step, by the method of false position.

    Parameters
    ----------
    measure : callable
        Returns the change of the cue at a strength; 0 at 0.
    step : float
        Wanted change, in standard deviations; not 0.

    Returns
    -------
    Found
        The nearest strength that was tried.

    Examples
    --------
    >>> found = search_strength(lambda strength: 0.4 * strength, step=1.0)
    >>> abs(found.change - 1.0) < 0.08
    True
    """
    below, above = Found(0.0, 0.0), None
    best, strength = below, step
    for _ in range(TRIES):
        tried = Found(strength, measure(strength))
        if abs(tried.change - step) < abs(best.change - step):
            best = tried
        if abs(best.change - step) <= CLOSE * abs(step):
            break
        if tried.change / step >= 1:
            above = tried
        elif tried.strength / step > below.strength / step:
            below = tried
        limit = math.copysign(STRONGEST, step)
        if above is None:
            rise = below.change / below.strength if below.strength else 0.0
            guess = step / rise if rise > 0 else 2 * strength
            strength = guess if abs(guess) < abs(limit) else limit
            if tried.strength == limit:
                break
        else:
            share = (step - below.change) / (above.change - below.change)
            share = min(max(share, 0.15), 0.85)
            strength = below.strength + share * (above.strength - below.strength)
    return best
