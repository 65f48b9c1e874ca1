"""State of all rating sessions: participants' progress, and validation and storage of their answers."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from statistics import median
from typing import Any

from traitlens.collecting.answer_validation import find_fault, is_device, nearest_answer
from traitlens.collecting.database import AnswerDatabase
from traitlens.collecting.design import COLLECTED, EVERYONE, Stimuli, prepare_stimuli, read_design
from traitlens.collecting.panels import PANEL_FILE, PanelIds, panel_link, read_identifiers
from traitlens.collecting.questionnaires import Questionnaire, read_questionnaires
from traitlens.collecting.session_steps import (
    RATED,
    SessionDesign,
    SessionStep,
    count_trials,
    make_steps,
    opening_steps,
    screened_steps,
    upcoming_images,
)
from traitlens.collecting.transactions import (
    Answer,
    Job,
    Participant,
    complete_step,
    start_session,
    store_answer,
    store_questionnaire,
)
from traitlens.collecting.translations import Texts, check_translations, read_texts
from traitlens.problems import Problem, StudyError, TraitlensError, unknown_choice
from traitlens.progress import Watcher
from traitlens.study.settings import CollectingSettings, Settings

PAUSED = "paused"
"""Name under which the database stores whether all sessions are paused."""
USUAL_SECONDS = 6.0
"""Assumed duration of a trial until a participant's own response times are known."""


class RequestRefused(Exception):
    """A request that is refused and changes nothing.

    Parameters
    ----------
    status : int
        HTTP status code of the response.
    reason : str
        Reason for the refusal.
    state : dict, optional
        The participant's state, for pages that show another step.
    """

    def __init__(self, status: int, reason: str, state: dict[str, Any] | None = None):
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.state = state


@dataclass(frozen=True)
class SessionManager:
    """State of a study's sessions, and handling of participants' requests.

    Parameters
    ----------
    design : SessionDesign
        Design of the sessions.
    texts : dict of str to dict
        Participants' texts, by language.
    faces : Stimuli
        The faces as shown to participants.
    store : AnswerDatabase
        The database of participants and answers.
    log : Logger
        Log of refused requests.
    settings : CollectingSettings
        The panel, its links, and the maximum number of participants.
    questionnaires : tuple of Questionnaire
        The questionnaires of the design.
    panel_ids : PanelIds
        The panel's identifiers, stored apart from the answers.
    """

    design: SessionDesign
    texts: dict[str, Texts]
    faces: Stimuli
    store: AnswerDatabase
    log: logging.Logger
    settings: CollectingSettings
    questionnaires: tuple[Questionnaire, ...]
    panel_ids: PanelIds

    @property
    def paused(self) -> bool:
        """Whether the experimenter has paused all sessions."""
        return self.store.fact(PAUSED, "no") == "yes"

    def pause(self, paused: bool) -> None:
        """Pause or continue all sessions; participants see the pause after their next answer."""
        self.store.fact(PAUSED, "yes" if paused else "no", replace=True)

    def steps(self, participant: Participant) -> tuple[SessionStep, ...]:
        """Return all steps of a participant's session; only the opening steps before the group is known."""
        return self.store.steps(participant.id) or opening_steps(self.design, participant.group)

    def state(self, participant: Participant) -> dict[str, Any]:
        """Return a participant's current step, progress and next step, as data for the page."""
        steps = self.steps(participant)
        position = participant.position
        begun = participant.begun
        everything = steps if begun else make_steps(self.design, known=participant.group)
        done, total = count_trials(everything, position)
        step = steps[position]
        following = everything[position + 1].kind if position + 1 < len(everything) else ""
        blocks = [one.kind == "block" for one in everything]
        return {
            "participant": participant.id,
            "position": position,
            "paused": self.paused,
            "step": {
                "kind": step.kind,
                "traits": step.traits,
                "image": None if step.image is None else self.faces.number(step.image),
                "wanted": step.wanted,
                "questionnaire": step.questionnaire,
            },
            "completion": self._completion(participant, step),
            "next": following,
            "done": done,
            "total": total,
            "part": sum(blocks[: position + 1]),
            "parts": sum(blocks),
            "minutes": self._minutes_left(participant, everything),
            "ahead": [self.faces.number(name) for name in upcoming_images(steps, position)],
        }

    def _completion(self, participant: Participant, step: SessionStep) -> str | None:
        """Return the link back to the panel at the last step of a session; otherwise None."""
        value = {"end": self.settings.completion, "screened": self.settings.screen_out}.get(step.kind)
        panel = self.settings.panel
        identifier = self.panel_ids.identifier(participant.id) if value and panel else ""
        return panel_link(panel, value, identifier) if value and panel and identifier else None

    def opening_state(self) -> dict[str, Any]:
        """Return the state of a person who has not agreed yet and about whom nothing is stored."""
        return self.state(Participant("", "", None, 0, False, ""))

    def join(self, given: object, agreed: bool) -> str | None:
        """Return the token of a person who comes from the panel; create a new participant upon agreement.

        Parameters
        ----------
        given : object
            The panel's identifiers, from the parameters of the web address.
        agreed : bool
            Whether the person has agreed to take part.

        Returns
        -------
        str or None
            The token; None for a new person who has not agreed.

        Raises
        ------
        RequestRefused
            If there is no panel, the identifiers are not valid, or all places are taken.
        """
        panel = self.settings.panel
        identifiers = None if panel is None else read_identifiers(panel, given)
        if panel is None or identifiers is None:
            raise RequestRefused(422, "the identifiers in the address are not valid")
        with self.panel_ids.lock:
            known = self.panel_ids.find(identifiers["panel_id"])
            everybody = self.store.participants()
            token = next((one.token for one in everybody if one.id == known), None)
            if token is not None:
                return token
            if known is not None or len(everybody) >= self.settings.most_arrivals or self._is_full(everybody):
                raise RequestRefused(403, "all places are taken")
            if not agreed:
                return None
            (new,) = self.store.add_participants(1)
            self.panel_ids.add(new.id, panel, identifiers)
        self.store.submit(self.make_job(new, {"step": 0})).result()
        return new.token

    def _is_full(self, everybody: Sequence[Participant]) -> bool:
        """Return whether all places are taken in every group."""
        groups = self.design.groups or (EVERYONE,)
        counts = [sum(one.begun and one.group == group for one in everybody) for group in groups]
        return self.design.places > 0 and all(count >= self.design.places for count in counts)

    def _minutes_left(self, participant: Participant, steps: tuple[SessionStep, ...]) -> int:
        """Estimate the remaining minutes of a session from the participant's latest response times."""
        left = sum(step.kind in RATED for step in steps[participant.position :])
        times = self.store.recent_times(participant.id) if participant.begun else []
        seconds = median(times) / 1000 + 1.5 if len(times) >= 5 else USUAL_SECONDS
        return math.ceil(left * seconds / 60)

    def make_job(self, participant: Participant, body: Mapping[str, Any]) -> Job[None]:
        """Return the database job that stores the answer to the current step.

        Parameters
        ----------
        participant : Participant
            The participant.
        body : mapping
            The request: the number of the step, and the answer.

        Raises
        ------
        RequestRefused
            If the step is not the current one, or the answer is not valid.
        """
        steps, position = self.steps(participant), participant.position
        number = body.get("step")
        if isinstance(number, bool) or not isinstance(number, int):
            raise RequestRefused(422, "the step is not a number")
        if number != position:
            reason = f"the answer is to step {number}, but the current step is {position}"
            raise RequestRefused(409, reason, self.state(participant))
        step = steps[position]
        if step.kind in ("end", "screened"):
            raise RequestRefused(409, "the session is over", self.state(participant))
        if step.kind in RATED:
            return store_answer(participant.id, position, step, self._read_answer(body))
        if step.kind == "questionnaire":
            return self._store_questionnaire(participant, position, step, body)
        last_before = not participant.begun and position == len(steps) - 1
        if not last_before:
            return complete_step(participant.id, position)
        known = participant.group
        group = self._read_group(step, body) if known is None else known

        def plan_steps(place: int) -> tuple[SessionStep, ...]:
            if known is None and 0 < self.design.places <= place:
                return screened_steps(self.design)
            return make_steps(self.design, group, place, known)

        return start_session(participant.id, position, group, plan_steps)

    def _store_questionnaire(
        self, participant: Participant, position: int, step: SessionStep, body: Mapping[str, Any]
    ) -> Job[None]:
        """Validate the answers to a questionnaire, and return the job that stores them."""
        asked = next(one for one in self.questionnaires if one.name == step.questionnaire)
        answers = body.get("answers")
        fault = asked.find_fault(answers)
        if fault is not None or not isinstance(answers, dict):
            raise RequestRefused(422, fault or "the answers of the questionnaire are missing")
        return store_questionnaire(participant.id, position, asked.name, answers)

    def _read_group(self, step: SessionStep, body: Mapping[str, Any]) -> str:
        """Return the group that the participant chose, or the only group of the study."""
        if step.kind != "group":
            return self.design.groups[0] if self.design.groups else EVERYONE
        group = body.get("group")
        if not isinstance(group, str) or group not in self.design.groups:
            raise RequestRefused(422, "there is no such group")
        return group

    def _read_answer(self, body: Mapping[str, Any]) -> Answer:
        """Validate and return a rating with its response time, device and language."""
        moved, device, language = body.get("moved"), body.get("device"), body.get("language")
        fault = find_fault(self.design, body.get("rating"), body.get("rt"), moved)
        if fault is not None:
            raise RequestRefused(422, fault)
        if not is_device(device):
            raise RequestRefused(422, "the device is missing")
        if not isinstance(language, str) or language not in self.texts:
            raise RequestRefused(422, "there is no such language")
        moved = moved if self.design.answer == "slider" else None
        rating = nearest_answer(self.design, body["rating"])
        return Answer(rating, float(body["rt"]), moved, device, language)


def open_sessions(folder: Path, watcher: Watcher | None = None) -> SessionManager:
    """Open the sessions of a study, new or already begun.

    Parameters
    ----------
    folder : Path
        The study folder; answers, shown faces and the log of refused requests are in its subfolder
        `collected`.
    watcher : Watcher, optional
        Shows the progress.

    Returns
    -------
    SessionManager
        The sessions; the caller must close their `store`.

    Raises
    ------
    StudyError
        If settings, texts or images have faults, or sessions no longer match the study; all are listed.
    """
    folder = Path(folder)
    design, settings = read_design(folder)
    texts = read_session_texts(folder, design, settings)
    questionnaires = read_questionnaires(folder, design.questionnaires, settings.collecting.languages)
    faces = prepare_stimuli(folder, design, watcher)
    store = AnswerDatabase(folder / COLLECTED / "answers.sqlite")
    try:
        problems = [*_find_lost_sessions(store, design, faces), *_check_scale(store, design)]
        if problems:
            raise StudyError(problems)
    except TraitlensError:
        store.close()
        raise
    log = _open_log(folder / COLLECTED / "refused.log")
    panel_ids = PanelIds(folder / COLLECTED / PANEL_FILE)
    return SessionManager(design, texts, faces, store, log, settings.collecting, questionnaires, panel_ids)


def read_session_texts(folder: Path, design: SessionDesign, settings: Settings) -> dict[str, Texts]:
    """Read the participants' texts in all languages, and check that traits and groups are translated.

    Raises
    ------
    StudyError
        If texts have faults, with all of them.
    """
    languages = settings.collecting.languages
    texts = read_texts(folder, languages, design.groups, design.traits)
    problems = check_translations(folder, languages, design.groups, design.traits)
    if problems:
        raise StudyError(problems)
    return texts


def _find_lost_sessions(store: AnswerDatabase, design: SessionDesign, faces: Stimuli) -> list[Problem]:
    """Return the problems of sessions that need images, traits or questionnaires the study no longer has."""
    images, traits = set(faces.names), set(design.traits)
    missing: set[str] = set()
    lost: list[Problem] = []
    for participant in store.participants():
        steps = store.steps(participant.id)
        if not 0 <= participant.position < len(steps or opening_steps(design, participant.group)):
            advice = f"delete the participant: traitlens rate withdraw STUDY {participant.id}"
            lost.append(Problem(f"the session of {participant.id} is damaged", advice, str(store.path)))
        for step in steps or ():
            missing |= {f"images/{step.image}"} if step.image not in images | {None} else set()
            missing |= {f"trait {trait!r}" for trait in step.traits if trait not in traits}
            asked = step.questionnaire
            missing |= {f"questionnaire {asked!r}"} if asked not in ("", *design.questionnaires) else set()
    return lost + [
        Problem(f"{what} is missing, but is part of sessions that have begun", "restore it", "study.toml")
        for what in sorted(missing)
    ]


def _check_scale(store: AnswerDatabase, design: SessionDesign) -> list[Problem]:
    """Return a problem if the scale has changed since the first session began."""
    now = f"{design.low:g} to {design.high:g} in steps of {design.step:g} by {design.answer}"
    begun = any(participant.begun for participant in store.participants())
    first = store.fact("scale", now, replace=not begun)
    if first == now:
        return []
    advice = f"restore it, or move {COLLECTED}/ away and start again"
    what = f"the scale is now {now}, but sessions have begun with {first}"
    return [Problem(what, advice, "study.toml", column="scale")]


def _open_log(path: Path) -> logging.Logger:
    """Open the log of refused requests, a file of limited size."""
    log = logging.Logger(f"traitlens.collecting.{path}")
    handler = RotatingFileHandler(path, maxBytes=10**6, backupCount=3, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    return log


def add_participants(sessions: SessionManager, number: int, group: str | None = None) -> list[Participant]:
    """Create participants until the study has a total number, and return all participants.

    Parameters
    ----------
    sessions : SessionManager
        The sessions.
    number : int
        Total number of participants.
    group : str, optional
        Group of the new participants.

    Raises
    ------
    TraitlensError
        If the study has no such group.
    """
    groups = sessions.design.groups
    if group is not None and group not in (groups or (EVERYONE,)):
        sessions.store.close()
        raise unknown_choice("group", group, groups or (EVERYONE,))
    there = sessions.store.participants()
    return there + sessions.store.add_participants(max(number - len(there), 0), group)
