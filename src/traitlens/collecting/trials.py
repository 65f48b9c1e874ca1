"""Steps of a session, and validity of answers.

All functions are deterministic: the same design, group and number in the group give the same steps on every
machine.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeGuard

import numpy as np

Kind = Literal[
    "consent",
    "group",
    "instructions",
    "practice",
    "block",
    "trial",
    "check",
    "pause",
    "questionnaire",
    "end",
    "screened",
]
"""Kinds of steps; practice, trial and check ask for a rating."""

RATED: tuple[Kind, ...] = ("practice", "trial", "check")
LONGEST_TIME = 24 * 60 * 60 * 1000.0
"""The longest plausible response time in milliseconds."""

NEAR = 0.05
"""Tolerance of an attention check with a slider, as a share of the scale."""


@dataclass(frozen=True)
class SessionDesign:
    """Design of all sessions of a study.

    Parameters
    ----------
    low, high, step : float
        The ends of the scale, and the distance between answers.
    answer : {"buttons", "slider"}
        Kind of answers.
    confirm : bool
        Whether an answer by button must be confirmed.
    order : {"blocked", "interleaved"}
        Whether traits are rated one after the other, or mixed.
    repeats : float
        Share of repeated trials.
    practice, checks, pause_after : int
        Number of practice trials and attention checks; trials between pauses (0: no pause).
    practice_images : tuple of str
        Names of the practice images; no practice if empty.
    lists : tuple of tuple of (str, str)
        Counterbalanced lists of images and the traits to rate them on, which the participants of a group take
        in turn; everybody rates all images on all traits if empty.
    questionnaires : tuple of str
        Names of the questionnaires after the ratings.
    places : int
        Number of participants of each group who can begin; 0: no limit.
    """

    groups: tuple[str, ...]
    traits: tuple[str, ...]
    images: tuple[str, ...]
    low: float = 1
    high: float = 7
    step: float = 1
    answer: Literal["buttons", "slider"] = "buttons"
    confirm: bool = True
    order: Literal["blocked", "interleaved"] = "blocked"
    repeats: float = 0.1
    practice: int = 3
    checks: int = 2
    pause_after: int = 40
    seed: int = 0
    practice_images: tuple[str, ...] = ()
    lists: tuple[tuple[tuple[str, str], ...], ...] = ()
    questionnaires: tuple[str, ...] = ()
    places: int = 0

    def rated_images(self, trait: str, place: int) -> tuple[str, ...]:
        """Return the images that a participant rates on a trait.

        Parameters
        ----------
        trait : str
            The trait.
        place : int
            Number of participants of the group who began earlier; it selects the list.

        Returns
        -------
        tuple of str
            All images, or those of the participant's list.
        """
        if not self.lists:
            return self.images
        return tuple(image for image, asked in self.lists[place % len(self.lists)] if asked == trait)


@dataclass(frozen=True)
class SessionStep:
    """One page of a session.

    Parameters
    ----------
    traits : tuple of str
        The trait of a trial; those of a block.
    image : str or None
        The face shown.
    repeat : int
        1 for the first judgement of this image and trait, 2 for the second.
    wanted : float or None
        The answer that an attention check asks for.
    questionnaire : str
        Name of the questionnaire that is asked.
    """

    kind: Kind
    traits: tuple[str, ...] = ()
    image: str | None = None
    repeat: int = 1
    wanted: float | None = None
    questionnaire: str = ""


def opening_steps(design: SessionDesign, known: str | None = None) -> tuple[SessionStep, ...]:
    """Return the steps before the session is created.

    Parameters
    ----------
    known : str, optional
        The participant's group, if known beforehand.

    Returns
    -------
    tuple of SessionStep
        Consent, and the question for the group if it is unknown.
    """
    asks = known is None and len(design.groups) > 1
    return (SessionStep("consent"), SessionStep("group")) if asks else (SessionStep("consent"),)


def make_steps(
    design: SessionDesign, group: str = "", place: int = 0, known: str | None = None
) -> tuple[SessionStep, ...]:
    """Return all steps of one participant's session.

    Parameters
    ----------
    place : int
        Number of participants of the group who began earlier; it selects the row of the Latin square.
    known : str, optional
        The group, if it is known beforehand and not asked.

    Returns
    -------
    tuple of SessionStep
        From consent to the end page.

    Examples
    --------
    >>> design = SessionDesign(("a", "b"), ("warm",), ("1.png", "2.png"), repeats=0.5, practice=0, checks=0)
    >>> [step.kind for step in make_steps(design)]
    ['consent', 'group', 'instructions', 'block', 'trial', 'trial', 'trial', 'end']
    """
    number = design.groups.index(group) if group in design.groups else len(design.groups)
    rng = np.random.default_rng([design.seed, number, place])
    blocks = _blocks(design, place, rng)
    trials = [step for block in blocks for step in block[1:]]
    checked = _spread_checks(design, len(trials), rng)
    steps = [*opening_steps(design, known), SessionStep("instructions"), *_practice(design, rng)]
    done = 0
    for block in blocks:
        steps.append(block[0])
        for index, trial in enumerate(block[1:], start=1):
            steps.append(trial)
            done += 1
            steps += [replace(check, traits=trial.traits) for check in checked.get(done, ())]
            if _pauses(design.pause_after, index, len(block) - 1):
                steps.append(SessionStep("pause"))
    asked = [SessionStep("questionnaire", questionnaire=name) for name in design.questionnaires]
    return (*steps, *asked, SessionStep("end"))


def screened_steps(design: SessionDesign) -> tuple[SessionStep, ...]:
    """Return the steps of a participant for whom there is no place in the group.

    Returns
    -------
    tuple of SessionStep
        The opening, and a page with thanks.
    """
    return (*opening_steps(design), SessionStep("screened"))


def _pauses(pause_after: int, index: int, total: int) -> bool:
    """Return whether a pause follows a trial: at regular intervals, but not near the end of a block."""
    return pause_after > 0 and index % pause_after == 0 and total - index > pause_after // 4


def _blocks(design: SessionDesign, place: int, rng: np.random.Generator) -> list[list[SessionStep]]:
    """Return the blocks of trials; each begins with a page about its questions."""
    if design.order == "blocked":
        row = counterbalanced(len(design.traits), place)
        rated = {design.traits[i]: design.rated_images(design.traits[i], place) for i in row}
        return [
            [
                SessionStep("block", (trait,)),
                *_with_repeats(_in_random_order(images, trait, rng), design.repeats, rng),
            ]
            for trait, images in rated.items()
            if images
        ]
    trials = _in_rounds(design, rng)
    if design.lists:
        own = set(design.lists[place % len(design.lists)])
        trials = [step for step in trials if (step.image, step.traits[0]) in own]
    asked = tuple(trait for trait in design.traits if any(step.traits == (trait,) for step in trials))
    return [[SessionStep("block", asked), *_with_repeats(trials, design.repeats, rng)]]


def _in_random_order(images: Sequence[str], trait: str, rng: np.random.Generator) -> list[SessionStep]:
    """Return trials of one trait with each face once."""
    return [SessionStep("trial", (trait,), images[i]) for i in rng.permutation(len(images))]


def _in_rounds(design: SessionDesign, rng: np.random.Generator) -> list[SessionStep]:
    """Return trials with mixed traits: in each round every face occurs once, each time on another trait."""
    traits = np.array([rng.permutation(len(design.traits)) for _ in design.images])
    steps: list[SessionStep] = []
    for number in range(len(design.traits)):
        faces = list(rng.permutation(len(design.images)))
        if steps and len(faces) > 1 and steps[-1].image == design.images[faces[0]]:
            faces.append(faces.pop(0))
        steps += [SessionStep("trial", (design.traits[traits[i, number]],), design.images[i]) for i in faces]
    return steps


def _with_repeats(trials: Sequence[SessionStep], share: float, rng: np.random.Generator) -> list[SessionStep]:
    """Append repeats of the first trials in a new order, as late as possible."""
    count = round(share * len(trials))
    again = [replace(trials[i], repeat=2) for i in rng.permutation(count)]
    return [*trials, *again]


def _practice(design: SessionDesign, rng: np.random.Generator) -> list[SessionStep]:
    """Return practice trials, which cycle through the traits."""
    images = design.practice_images
    if not images:
        return []
    faces = rng.permutation(len(images))
    return [
        SessionStep("practice", (design.traits[i % len(design.traits)],), images[faces[i % len(images)]])
        for i in range(design.practice)
    ]


def _spread_checks(
    design: SessionDesign, trials: int, rng: np.random.Generator
) -> dict[int, list[SessionStep]]:
    """Return attention checks by the number of trials before them, one in each of equal stretches."""
    checks: dict[int, list[SessionStep]] = {}
    for number in range(design.checks):
        first, last = trials * number // design.checks + 1, max(trials * (number + 1) // design.checks, 1)
        answers = scale_values(design) if design.answer == "buttons" else [design.low, design.high]
        wanted = float(answers[rng.integers(len(answers))])
        place = int(rng.integers(min(first, last), last + 1))
        checks.setdefault(place, []).append(SessionStep("check", wanted=wanted))
    return checks


def counterbalanced(count: int, place: int) -> list[int]:
    """Order conditions by a row of Williams's square.

    Over all rows every condition has every position equally often, and follows every other equally often.

    Parameters
    ----------
    place : int
        Number of the row; rows repeat after `count` (`2 * count` where that is odd).

    Returns
    -------
    list of int
        The conditions 0 to count - 1.

    References
    ----------
    Williams, E. J. (1949). Experimental designs balanced for the estimation of residual effects of
    treatments. Australian Journal of Scientific Research A, 2, 149-168.

    Examples
    --------
    >>> [counterbalanced(4, place) for place in range(4)]
    [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]
    """
    first = [0]
    for number in range(1, count):
        first.append((number + 1) // 2 if number % 2 else count - number // 2)
    row = [(condition + place) % count for condition in first]
    return row[::-1] if count % 2 and place // count % 2 else row


def scale_values(design: SessionDesign) -> list[float]:
    """Return the possible answers.

    Returns
    -------
    list of float
        From the lowest to the highest.
    """
    return [design.low + i * design.step for i in range(round((design.high - design.low) / design.step) + 1)]


def find_fault(design: SessionDesign, rating: object, rt: object, moved: object) -> str | None:
    """Return why an answer is not valid.

    Parameters
    ----------
    rating, rt, moved : object
        The rating, the response time in milliseconds, and whether the slider was moved.

    Returns
    -------
    str or None
        The reason; None if it is valid.

    Examples
    --------
    >>> design = SessionDesign((), ("warm",), ("1.png",))
    >>> find_fault(design, 4, 812.5, None) is None, find_fault(design, 4.5, 812.5, None)
    (True, 'the rating is not one of the answers')
    """
    if not _is_number(rating):
        return "the rating is not a number"
    if not design.low <= rating <= design.high:
        return "the rating is off the scale"
    steps = (rating - design.low) / design.step
    if abs(steps - round(steps)) > 1e-6:
        return "the rating is not one of the answers"
    if not _is_number(rt) or not 0 <= rt <= LONGEST_TIME:
        return "the response time is not plausible"
    if design.answer == "slider" and moved is not True:
        return "the slider was not moved"
    return None


def is_device(text: object) -> TypeGuard[str]:
    """Return whether a text describes a device: pointer and window size.

    Returns
    -------
    bool
        True for texts such as "touch 390x844".
    """
    return isinstance(text, str) and re.fullmatch(r"[a-z]{1,12} [0-9]{1,5}x[0-9]{1,5}", text) is not None


def nearest_answer(design: SessionDesign, rating: float) -> float:
    """Return the answer of the scale nearest to a rating, which may be rounded.

    Parameters
    ----------
    rating : float
        A valid rating, see :func:`find_fault`.

    Examples
    --------
    >>> nearest_answer(SessionDesign((), ("warm",), ("1.png",)), 5.0000001)
    5.0
    """
    return float(design.low + round((rating - design.low) / design.step) * design.step)


def _is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def passes_check(design: SessionDesign, rating: float, wanted: float) -> bool:
    """Return whether an attention check was passed.

    Parameters
    ----------
    rating, wanted : float
        The given and the requested rating.

    Returns
    -------
    bool
        True if the two match; slider answers only need to match approximately.
    """
    allowed = NEAR * (design.high - design.low) if design.answer == "slider" else 1e-9
    return abs(rating - wanted) <= allowed


def progress(steps: Sequence[SessionStep], position: int) -> tuple[int, int]:
    """Return the progress in trials.

    Returns
    -------
    done, total : int
        Number of trials done and in total, without practice.
    """
    counts = [step.kind == "trial" for step in steps]
    return sum(counts[:position]), sum(counts)


def upcoming_images(steps: Sequence[SessionStep], position: int, count: int = 2) -> Iterator[str]:
    """Yield the next faces, for a page to load in advance.

    Parameters
    ----------
    count : int, default 2
        Number of steps to look ahead.
    """
    for step in steps[position + 1 : position + 1 + count]:
        if step.image is not None:
            yield step.image
