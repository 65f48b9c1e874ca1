"""Order of the steps of a session: consent, trials, attention checks, pauses and questionnaires.

All functions are deterministic: the same design, group and number in the group give the same steps on every
machine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

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
"""Kinds of the steps of a session."""

RATED: tuple[Kind, ...] = ("practice", "trial", "check")
"""Kinds of steps that ask for a rating."""


@dataclass(frozen=True)
class SessionDesign:
    """Design of all sessions of a study.

    Parameters
    ----------
    groups, traits, images : tuple of str
        Names of the groups, traits and images.
    low, high, step : float
        The ends of the scale, and the distance between neighbouring answers.
    answer : {"buttons", "slider"}
        Answer format.
    confirm : bool
        Whether participants must confirm an answer given by button.
    order : {"blocked", "interleaved"}
        Whether traits are rated one after the other or mixed.
    repeats : float
        Share of trials that are repeated.
    practice, checks : int
        Number of practice trials and of attention checks.
    pause_after : int
        Number of trials between pauses; 0: no pauses.
    seed : int
        Seed of all random orders.
    practice_images : tuple of str
        Names of the practice images; there is no practice if empty.
    lists : tuple of tuple of (str, str)
        Counterbalanced lists of (image, trait), assigned to the participants of a group in turn; everybody
        rates all images on all traits if empty.
    questionnaires : tuple of str
        Names of the questionnaires that follow the ratings.
    places : int
        Maximum number of participants in each group; 0: no limit.
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
        """Return the images that a participant rates on a trait; all images if the design has no lists.

        Parameters
        ----------
        trait : str
            The trait.
        place : int
            Number of participants of the group who began earlier, which selects the list.
        """
        if not self.lists:
            return self.images
        return tuple(image for image, asked in self.lists[place % len(self.lists)] if asked == trait)


@dataclass(frozen=True)
class SessionStep:
    """One page of a session.

    Parameters
    ----------
    kind : str
        Kind of the step.
    traits : tuple of str
        The trait of a trial, or the traits of a block.
    image : str or None
        Name of the face shown.
    repeat : int
        1 for the first rating of this image on this trait, 2 for the second.
    wanted : float or None
        The answer that an attention check asks for.
    questionnaire : str
        Name of the questionnaire on the page.
    """

    kind: Kind
    traits: tuple[str, ...] = ()
    image: str | None = None
    repeat: int = 1
    wanted: float | None = None
    questionnaire: str = ""


def opening_steps(design: SessionDesign, known: str | None = None) -> tuple[SessionStep, ...]:
    """Return the first steps: consent, and the question about the group if it is not known beforehand."""
    asks = known is None and len(design.groups) > 1
    return (SessionStep("consent"), SessionStep("group")) if asks else (SessionStep("consent"),)


def make_steps(
    design: SessionDesign, group: str = "", place: int = 0, known: str | None = None
) -> tuple[SessionStep, ...]:
    """Return all steps of a participant's session, from the consent to the last page.

    Parameters
    ----------
    design : SessionDesign
        Design of the sessions.
    group : str
        The participant's group.
    place : int
        Number of participants of the group who began earlier, which selects the row of the Latin square.
    known : str, optional
        The group if it is known beforehand; participants are not asked for it then.

    Examples
    --------
    >>> design = SessionDesign(("a", "b"), ("warm",), ("1.png", "2.png"), repeats=0.5, practice=0, checks=0)
    >>> [step.kind for step in make_steps(design)]
    ['consent', 'group', 'instructions', 'block', 'trial', 'trial', 'trial', 'end']
    """
    number = design.groups.index(group) if group in design.groups else len(design.groups)
    rng = np.random.default_rng([design.seed, number, place])
    blocks = _make_blocks(design, place, rng)
    trials = [step for block in blocks for step in block[1:]]
    checked = _spread_checks(design, len(trials), rng)
    steps = [*opening_steps(design, known), SessionStep("instructions"), *_make_practice_trials(design, rng)]
    done = 0
    for block in blocks:
        steps.append(block[0])
        for index, trial in enumerate(block[1:], start=1):
            steps.append(trial)
            done += 1
            steps += [replace(check, traits=trial.traits) for check in checked.get(done, ())]
            if _is_pause_due(design.pause_after, index, len(block) - 1):
                steps.append(SessionStep("pause"))
    asked = [SessionStep("questionnaire", questionnaire=name) for name in design.questionnaires]
    return (*steps, *asked, SessionStep("end"))


def screened_steps(design: SessionDesign) -> tuple[SessionStep, ...]:
    """Return the steps of a participant who is turned away because the group is full."""
    return (*opening_steps(design), SessionStep("screened"))


def _is_pause_due(pause_after: int, index: int, total: int) -> bool:
    """Return whether a pause follows a trial; pauses are regular, but not near the end of a block."""
    return pause_after > 0 and index % pause_after == 0 and total - index > pause_after // 4


def _make_blocks(design: SessionDesign, place: int, rng: np.random.Generator) -> list[list[SessionStep]]:
    """Return the blocks of trials; each block begins with a page that shows its questions."""
    if design.order == "blocked":
        row = williams_row(len(design.traits), place)
        rated = {design.traits[i]: design.rated_images(design.traits[i], place) for i in row}
        return [
            [
                SessionStep("block", (trait,)),
                *_append_repeats(_shuffle_trials(images, trait, rng), design.repeats, rng),
            ]
            for trait, images in rated.items()
            if images
        ]
    trials = _mix_traits(design, rng)
    if design.lists:
        own = set(design.lists[place % len(design.lists)])
        trials = [step for step in trials if (step.image, step.traits[0]) in own]
    asked = tuple(trait for trait in design.traits if any(step.traits == (trait,) for step in trials))
    return [[SessionStep("block", asked), *_append_repeats(trials, design.repeats, rng)]]


def _shuffle_trials(images: Sequence[str], trait: str, rng: np.random.Generator) -> list[SessionStep]:
    """Return trials of one trait that show each image once, in random order."""
    return [SessionStep("trial", (trait,), images[i]) for i in rng.permutation(len(images))]


def _mix_traits(design: SessionDesign, rng: np.random.Generator) -> list[SessionStep]:
    """Return trials with mixed traits, in rounds that show every face once, each time with another trait."""
    traits = np.array([rng.permutation(len(design.traits)) for _ in design.images])
    steps: list[SessionStep] = []
    for number in range(len(design.traits)):
        faces = list(rng.permutation(len(design.images)))
        if steps and len(faces) > 1 and steps[-1].image == design.images[faces[0]]:
            faces.append(faces.pop(0))
        steps += [SessionStep("trial", (design.traits[traits[i, number]],), design.images[i]) for i in faces]
    return steps


def _append_repeats(
    trials: Sequence[SessionStep], share: float, rng: np.random.Generator
) -> list[SessionStep]:
    """Append repetitions of the first trials, in a new random order."""
    count = round(share * len(trials))
    again = [replace(trials[i], repeat=2) for i in rng.permutation(count)]
    return [*trials, *again]


def _make_practice_trials(design: SessionDesign, rng: np.random.Generator) -> list[SessionStep]:
    """Return the practice trials, whose traits take turns."""
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
    """Place one attention check at random in each of several equally long parts of the session.

    The checks are keyed by the number of trials that precede them.
    """
    checks: dict[int, list[SessionStep]] = {}
    for number in range(design.checks):
        first, last = trials * number // design.checks + 1, max(trials * (number + 1) // design.checks, 1)
        answers = scale_values(design) if design.answer == "buttons" else [design.low, design.high]
        wanted = float(answers[rng.integers(len(answers))])
        place = int(rng.integers(min(first, last), last + 1))
        checks.setdefault(place, []).append(SessionStep("check", wanted=wanted))
    return checks


def williams_row(count: int, place: int) -> list[int]:
    """Return a row of Williams's Latin square, which counterbalances the order of conditions.

    Over all rows, each condition occurs equally often at each position and after each other condition.

    Parameters
    ----------
    count : int
        Number of conditions.
    place : int
        Number of the row; rows repeat after `count` rows, or after `2 * count` if `count` is odd.

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
    >>> [williams_row(4, place) for place in range(4)]
    [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]
    """
    first = [0]
    for number in range(1, count):
        first.append((number + 1) // 2 if number % 2 else count - number // 2)
    row = [(condition + place) % count for condition in first]
    return row[::-1] if count % 2 and place // count % 2 else row


def scale_values(design: SessionDesign) -> list[float]:
    """Return all possible answers, from the lowest to the highest."""
    return [design.low + i * design.step for i in range(round((design.high - design.low) / design.step) + 1)]


def count_trials(steps: Sequence[SessionStep], position: int) -> tuple[int, int]:
    """Return the number of trials before a position and the total number, both without practice."""
    counts = [step.kind == "trial" for step in steps]
    return sum(counts[:position]), sum(counts)


def upcoming_images(steps: Sequence[SessionStep], position: int, count: int = 2) -> Iterator[str]:
    """Yield the images of the next `count` steps, which the page loads in advance."""
    for step in steps[position + 1 : position + 1 + count]:
        if step.image is not None:
            yield step.image
