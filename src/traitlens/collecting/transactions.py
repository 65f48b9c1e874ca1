"""Transactions of the database of answers, which start a session, complete a step or store an answer."""

import json
import re
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from traitlens.collecting.session_steps import SessionStep

Result = TypeVar("Result")
Job = Callable[[sqlite3.Connection], Result]
"""A function that is called with a connection, within a transaction."""

ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""Letters and digits that are not easily confused with one another."""

ISSUED = "last pseudonym"
"""Name under which the database stores the last number issued, so that no pseudonym is used twice."""


@dataclass(frozen=True)
class Participant:
    """A participant with the progress of the session.

    Parameters
    ----------
    id : str
        The pseudonym, such as P001.
    token : str
        Secret token in the participant's link.
    group : str or None
        The group; None before it is known.
    position : int
        Number of the current step, from 0.
    begun : bool
        Whether the session has been created.
    seen : str
        Time of the last completed step, UTC; "" before the first.
    """

    id: str
    token: str
    group: str | None
    position: int
    begun: bool
    seen: str


@dataclass(frozen=True)
class Answer:
    """A rating given at one step.

    Parameters
    ----------
    rating : float
        The rating.
    rt : float
        Response time in milliseconds.
    moved : bool or None
        Whether the slider was moved; None for buttons.
    device, language : str
        Device (such as "touch 390x844") and language of the participant.
    """

    rating: float
    rt: float
    moved: bool | None
    device: str
    language: str


class OutOfTurn(Exception):
    """The step to complete is not the participant's current step; nothing was changed."""


def last_issued(connection: sqlite3.Connection) -> int:
    """Return the largest number of any pseudonym, including those of participants who withdrew."""
    (kept,) = connection.execute("SELECT max(value) FROM facts WHERE name = ?", (ISSUED,)).fetchone()
    numbers = [int(kept or 0)]
    for (name,) in connection.execute("SELECT id FROM participants"):
        if re.fullmatch("P[0-9]{1,9}", name):
            numbers.append(int(name[1:]))
    return max(numbers)


def insert_fact(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Store a value under a name, replacing an earlier value."""
    connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


def complete_step(participant: str, step: int) -> Job[None]:
    """Return the job that marks the current step as done.

    Parameters
    ----------
    step : int
        Number of the step, from 0; must be the current one.

    Returns
    -------
    callable
        For :meth:`AnswerDatabase.submit`; raises :class:`OutOfTurn` if another step is the current one.
    """

    def job(connection: sqlite3.Connection) -> None:
        moved = connection.execute(
            "UPDATE participants SET position = position + 1, seen = ? WHERE id = ? AND position = ?",
            (now(), participant, step),
        )
        if moved.rowcount != 1:
            raise OutOfTurn

    return job


def start_session(
    participant: str, step: int, group: str, plan_steps: Callable[[int], Sequence[SessionStep]]
) -> Job[None]:
    """Return the job that stores a participant's session, once the group is known.

    Parameters
    ----------
    step : int
        Number of the current step, from 0, which the job marks as done.
    group : str
        The participant's group.
    plan_steps : callable
        Called with the number of earlier participants of the group; returns the steps of the session.

    Returns
    -------
    callable
        For :meth:`AnswerDatabase.submit`; raises :class:`OutOfTurn` if another step is the current one.
    """

    def job(connection: sqlite3.Connection) -> None:
        complete_step(participant, step)(connection)
        query = 'SELECT count(*) FROM participants WHERE "group" = ? AND steps IS NOT NULL'
        (place,) = connection.execute(query, (group,)).fetchone()
        steps = plan_steps(place)
        # The group of a participant who is turned away is not stored.
        known = None if steps[-1].kind == "screened" else group
        connection.execute(
            'UPDATE participants SET "group" = ?, steps = ?, began = ? WHERE id = ?',
            (known, json.dumps([asdict(step) for step in steps]), now(), participant),
        )

    return job


def store_answer(participant: str, number: int, step: SessionStep, answer: Answer) -> Job[None]:
    """Return the job that stores an answer and marks its step as done.

    Parameters
    ----------
    number : int
        Number of the step, from 0; must be the current one.

    Returns
    -------
    callable
        For :meth:`AnswerDatabase.submit`; raises :class:`OutOfTurn` if another step is the current one.
    """

    def job(connection: sqlite3.Connection) -> None:
        complete_step(participant, number)(connection)
        row = (
            participant, number, step.kind, step.traits[0], step.image, step.repeat, step.wanted,
            answer.rating, answer.moved, answer.rt, now(), answer.device, answer.language,
        )  # fmt: skip
        connection.execute(f"INSERT INTO answers VALUES ({', '.join('?' * len(row))})", row)

    return job


def store_questionnaire(
    participant: str, number: int, questionnaire: str, answers: Mapping[str, int | None]
) -> Job[None]:
    """Return the job that stores the answers to a questionnaire and marks its step as done.

    Parameters
    ----------
    number : int
        Number of the step, from 0; must be the current one.
    answers : mapping of str to int or None
        Number of the answer, keyed by item; None for an item left out.

    Returns
    -------
    callable
        For :meth:`AnswerDatabase.submit`; raises :class:`OutOfTurn` if another step is the current one.
    """

    def job(connection: sqlite3.Connection) -> None:
        complete_step(participant, number)(connection)
        rows = [(participant, questionnaire, item, answer, now()) for item, answer in answers.items()]
        connection.executemany("INSERT INTO questionnaires VALUES (?, ?, ?, ?, ?)", rows)

    return job


def new_token() -> str:
    """Return a random token of 59 bits that is easy to type: twelve letters and digits in groups of four."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(12))
    return "-".join(letters[i : i + 4] for i in (0, 4, 8))


def now() -> str:
    """Return the current time in UTC, in ISO format to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


SELECT = 'SELECT id, token, "group", position, steps IS NOT NULL, seen FROM participants'


def participant_from_row(row: Sequence[Any]) -> Participant:
    """Create a participant from a row of the query `SELECT`."""
    identity, token, group, position, begun, seen = row
    return Participant(identity, token, group, position, bool(begun), seen or "")
