"""State of the sessions: progress of participants, and handling of their answers."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from statistics import median
from typing import Any

from traitlens.collecting.database import AnswerDatabase
from traitlens.collecting.design import COLLECTED, EVERYONE, Stimuli, prepare_stimuli, read_design
from traitlens.collecting.panels import PANEL_FILE, PanelIds, panel_link, read_identifiers
from traitlens.collecting.questionnaires import Questionnaire, read_questionnaires
from traitlens.collecting.transactions import (
    Answer,
    Job,
    Participant,
    complete_step,
    start_session,
    store_answer,
    store_questionnaire,
)
from traitlens.collecting.translations import Texts, check_words, read_texts
from traitlens.collecting.trials import (
    RATED,
    SessionDesign,
    SessionStep,
    find_fault,
    is_device,
    make_steps,
    nearest_answer,
    opening_steps,
    progress,
    screened_steps,
    upcoming_images,
)
from traitlens.problems import Problem, StudyError, TraitlensError, unknown_choice
from traitlens.progress import Watcher
from traitlens.study.settings import CollectingSettings, Settings

PAUSED = "paused"
"""The fact that says whether all sessions are paused."""
USUAL_SECONDS = 6.0
"""Seconds of a trial, used before a participant's own times are known."""


class RequestRefused(Exception):
    """A request that changes nothing.

    Parameters
    ----------
    state : dict, optional
        The participant's state, for pages that are out of step.
    """

    def __init__(self, status: int, reason: str, state: dict[str, Any] | None = None):
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.state = state


@dataclass(frozen=True)
class SessionManager:
    """Computes the responses to requests.

    Parameters
    ----------
    design : SessionDesign
        Design of the sessions.
    settings : CollectingSettings
        The panel, its links, and the maximum number of participants.
    questionnaires : tuple of Questionnaire
        The questionnaires of the design.
    panel_ids : PanelIds
        Identifiers of the panel, apart from the answers.
    log : Logger
        Log of refused requests.
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
        """Pause all sessions, or continue them; participants see it after their next answer."""
        self.store.fact(PAUSED, "yes" if paused else "no", replace=True)

    def steps(self, participant: Participant) -> tuple[SessionStep, ...]:
        """Return a participant's steps.

        Returns
        -------
        tuple of SessionStep
            The whole session; only its opening before the group is known.
        """
        return self.store.steps(participant.id) or opening_steps(self.design, participant.group)

    def state(self, participant: Participant) -> dict[str, Any]:
        """Return a participant's progress and next step.

        Returns
        -------
        dict
            Data for a page: step, progress, and the next step.
        """
        steps = self.steps(participant)
        position = participant.position
        begun = participant.begun
        everything = steps if begun else make_steps(self.design, known=participant.group)
        done, total = progress(everything, position)
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
        """Return the link back to the panel at the end of a session."""
        value = {"end": self.settings.completion, "screened": self.settings.screen_out}.get(step.kind)
        panel = self.settings.panel
        identifier = self.panel_ids.identifier(participant.id) if value and panel else ""
        return panel_link(panel, value, identifier) if value and panel and identifier else None

    def opening(self) -> dict[str, Any]:
        """Return the state of someone who has not agreed yet, and of whom nothing is stored."""
        return self.state(Participant("", "", None, 0, False, ""))

    def join(self, given: object, agreed: bool) -> str | None:
        """Return the token of someone who comes from the panel; create the participant upon agreement.

        Returns
        -------
        str or None
            None for a new person who has not agreed.

        Raises
        ------
        RequestRefused
            If there is no panel, the identifiers have another form, or all places are taken.
        """
        panel = self.settings.panel
        identifiers = None if panel is None else read_identifiers(panel, given)
        if panel is None or identifiers is None:
            raise RequestRefused(422, "the identifiers in the address have an unknown form")
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
        self.store.submit(self.job(new, {"step": 0})).result()
        return new.token

    def _is_full(self, everybody: Sequence[Participant]) -> bool:
        """Return whether no group has a place left."""
        groups = self.design.groups or (EVERYONE,)
        counts = [sum(one.begun and one.group == group for one in everybody) for group in groups]
        return self.design.places > 0 and all(count >= self.design.places for count in counts)

    def _minutes_left(self, participant: Participant, steps: tuple[SessionStep, ...]) -> int:
        """Estimate the remaining minutes from the latest response times."""
        left = sum(step.kind in RATED for step in steps[participant.position :])
        times = self.store.recent_times(participant.id) if participant.begun else []
        seconds = median(times) / 1000 + 1.5 if len(times) >= 5 else USUAL_SECONDS
        return math.ceil(left * seconds / 60)

    def job(self, participant: Participant, body: Mapping[str, Any]) -> Job[None]:
        """Return the database job for an answer to the current step.

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
            raise RequestRefused(409, f"step {number} while at {position}", self.state(participant))
        step = steps[position]
        if step.kind in ("end", "screened"):
            raise RequestRefused(409, "the session is over", self.state(participant))
        if step.kind in RATED:
            return store_answer(participant.id, position, step, self._answer(body))
        if step.kind == "questionnaire":
            return self._store_questionnaire(participant, position, step, body)
        last_before = not participant.begun and position == len(steps) - 1
        if not last_before:
            return complete_step(participant.id, position)
        known = participant.group
        group = self._group(step, body) if known is None else known

        def lay_out(place: int) -> tuple[SessionStep, ...]:
            if known is None and 0 < self.design.places <= place:
                return screened_steps(self.design)
            return make_steps(self.design, group, place, known)

        return start_session(participant.id, position, group, lay_out)

    def _store_questionnaire(
        self, participant: Participant, position: int, step: SessionStep, body: Mapping[str, Any]
    ) -> Job[None]:
        """Return the job that stores the validated answers to a questionnaire."""
        asked = next(one for one in self.questionnaires if one.name == step.questionnaire)
        answers = body.get("answers")
        fault = asked.find_fault(answers)
        if fault is not None or not isinstance(answers, dict):
            raise RequestRefused(422, fault or "the answers of the questionnaire are missing")
        return store_questionnaire(participant.id, position, asked.name, answers)

    def _group(self, step: SessionStep, body: Mapping[str, Any]) -> str:
        """Return the chosen group, or the only one."""
        if step.kind != "group":
            return self.design.groups[0] if self.design.groups else EVERYONE
        group = body.get("group")
        if not isinstance(group, str) or group not in self.design.groups:
            raise RequestRefused(422, "there is no such group")
        return group

    def _answer(self, body: Mapping[str, Any]) -> Answer:
        """Return a validated answer."""
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
    """Open a study's sessions.

    Parameters
    ----------
    folder : Path
        The study's folder; answers, shown faces and the log of refused requests are in its `collected/`.
    watcher : Watcher, optional
        Shows the progress.

    Returns
    -------
    SessionManager
        The sessions; their store must be closed.

    Raises
    ------
    StudyError
        With every fault of settings, texts and images, and every session that no longer matches the study.
    """
    folder = Path(folder)
    design, settings = read_design(folder)
    texts = session_texts(folder, design, settings)
    questionnaires = read_questionnaires(folder, design.questionnaires, settings.collecting.languages)
    faces = prepare_stimuli(folder, design, watcher)
    store = AnswerDatabase(folder / COLLECTED / "answers.sqlite")
    try:
        problems = [*_sessions_that_no_longer_fit(store, design, faces), *_changed_questions(store, design)]
        if problems:
            raise StudyError(problems)
    except TraitlensError:
        store.close()
        raise
    log = _open_log(folder / COLLECTED / "refused.log")
    panel_ids = PanelIds(folder / COLLECTED / PANEL_FILE)
    return SessionManager(design, texts, faces, store, log, settings.collecting, questionnaires, panel_ids)


def session_texts(folder: Path, design: SessionDesign, settings: Settings) -> dict[str, Texts]:
    """Read the texts of a session, and refuse a language without words for a trait or group.

    Raises
    ------
    StudyError
        With every fault of the texts.
    """
    languages = settings.collecting.languages
    texts = read_texts(folder, languages, design.groups, design.traits)
    problems = check_words(folder, languages, design.groups, design.traits)
    if problems:
        raise StudyError(problems)
    return texts


def _sessions_that_no_longer_fit(
    store: AnswerDatabase, design: SessionDesign, faces: Stimuli
) -> list[Problem]:
    """Return problems of sessions that show images or traits which the study no longer has."""
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


def _changed_questions(store: AnswerDatabase, design: SessionDesign) -> list[Problem]:
    """Return a problem if the scale has changed since sessions began."""
    now = f"{design.low:g} to {design.high:g} in steps of {design.step:g} by {design.answer}"
    begun = any(participant.begun for participant in store.participants())
    first = store.fact("scale", now, replace=not begun)
    if first == now:
        return []
    advice = f"restore it, or move {COLLECTED}/ away and start again"
    what = f"the scale is now {now}; sessions have begun with {first}"
    return [Problem(what, advice, "study.toml", column="scale")]


def _open_log(path: Path) -> logging.Logger:
    """Open the log of refused requests, whose size is limited."""
    log = logging.Logger(f"traitlens.collecting.{path}")
    handler = RotatingFileHandler(path, maxBytes=10**6, backupCount=3, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    return log


def add_participants(sessions: SessionManager, number: int, group: str | None = None) -> list[Participant]:
    """Create participants up to a total number.

    Parameters
    ----------
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
