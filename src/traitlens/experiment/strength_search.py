"""Search for the strength of an alteration that changes a region's cue by a given step."""

import math
from collections.abc import Callable
from dataclasses import dataclass

CLOSE = 0.08
"""The search ends when the change differs from the step by at most this share of the step."""

TOLERANCE = 0.2
"""Maximum difference between change and step of a picture that is used, as a share of the step."""

OTHER_CUES = 0.2
"""Maximum change of another region's cue, in standard deviations."""

STRONGEST = 2.5
"""Maximum strength, in standard deviations of the cue."""

TRIES = 8
"""Maximum number of strengths that are tried."""


@dataclass(frozen=True)
class SearchResult:
    """A strength and the resulting change of the cue.

    Parameters
    ----------
    strength : float
        Strength of the alteration.
    change : float
        Change of the cue, in standard deviations.
    """

    strength: float
    change: float


def search_strength(measure: Callable[[float], float], step: float) -> SearchResult:
    """Find the strength at which the cue changes by a step, by the method of false position.

    Parameters
    ----------
    measure : callable
        Returns the change of the cue at a strength; it must be 0 at the strength 0.
    step : float
        Wanted change of the cue, in standard deviations; not 0.

    Returns
    -------
    SearchResult
        The tried strength with the change nearest to the step.

    Examples
    --------
    >>> found = search_strength(lambda strength: 0.4 * strength, step=1.0)
    >>> abs(found.change - 1.0) < 0.08
    True
    """
    below, above = SearchResult(0.0, 0.0), None
    best, strength = below, step
    for _ in range(TRIES):
        tried = SearchResult(strength, measure(strength))
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
