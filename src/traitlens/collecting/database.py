"""Answers of participants in one SQLite file; an answer is on disk before it is acknowledged.

One thread writes and combines waiting writes into one transaction, so that two hundred participants do not
wait for two hundred disk syncs.
"""

import json
import re
import secrets
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from traitlens.collecting.database_recovery import is_damaged, recover
from traitlens.collecting.trials import SessionStep
from traitlens.problems import Problem, TraitlensError, unknown_choice

ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""Letters and digits that cannot be confused with one another."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS participants (
    id TEXT PRIMARY KEY,
    token TEXT NOT NULL UNIQUE,
    "group" TEXT,
    steps TEXT,
    position INTEGER NOT NULL DEFAULT 0,
    began TEXT,
    seen TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS answers (
    participant TEXT NOT NULL REFERENCES participants (id),
    step INTEGER NOT NULL,
    kind TEXT NOT NULL,
    trait TEXT NOT NULL,
    image TEXT,
    repeat INTEGER NOT NULL,
    wanted REAL,
    rating REAL NOT NULL,
    moved INTEGER,
    rt REAL NOT NULL,
    time TEXT NOT NULL,
    device TEXT NOT NULL,
    language TEXT NOT NULL,
    PRIMARY KEY (participant, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
"""
ISSUED = "last pseudonym"
"""The fact that holds the last number issued, so that no pseudonym is used twice."""
MOST_TOGETHER = 256
"""Maximum number of writes in a transaction."""

_Result = TypeVar("_Result")
Job = Callable[[sqlite3.Connection], _Result]


@dataclass(frozen=True)
class Participant:
    """A participant and the progress of the session.

    Parameters
    ----------
    id : str
        The pseudonym: P001, P002 ...
    token : str
        The secret of the participant's link.
    group : str or None
        The group; None before it is known.
    begun : bool
        Whether the session has been created.
    seen : str
        Time of the last write, UTC; empty before the first.
    """

    id: str
    token: str
    group: str | None
    position: int
    begun: bool
    seen: str


@dataclass(frozen=True)
class Answer:
    """The answer at one step.

    Parameters
    ----------
    rt : float
        Response time in milliseconds.
    moved : bool or None
        Whether the slider was moved; None for buttons.
    device, language : str
        Device and language of the participant.
    """

    rating: float
    rt: float
    moved: bool | None
    device: str
    language: str


class OutOfTurn(Exception):
    """The step is not the participant's current one; nothing was changed."""


class AnswerDatabase:
    """The answers of a study.

    Parameters
    ----------
    path : Path
        The SQLite file; created if missing.

    Examples
    --------
    >>> import tempfile
    >>> with AnswerDatabase(Path(tempfile.mkdtemp()) / "answers.sqlite") as store:
    ...     [participant.id for participant in store.add_participants(2)]
    ['P001', 'P002']
    """

    def __init__(self, path: Path):
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)  # it holds the tokens
            if is_damaged(path):
                raise TraitlensError(recover(path))
            self._reading = _connect(path)
            self._writing = _connect(path)
            self._writing.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            problem = Problem(f"cannot be opened ({error})", "check the disk and the file", str(path))
            raise TraitlensError(problem) from error
        self.path = path
        self._sessions: dict[str, tuple[SessionStep, ...]] = {}
        self._jobs: SimpleQueue[tuple[Job, Future] | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="answers", daemon=True)
        self._writer.start()

    def __enter__(self) -> "AnswerDatabase":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish waiting writes and close the file."""
        self._jobs.put(None)
        self._writer.join()
        self._reading.close()
        self._writing.close()

    def submit(self, job: Job[_Result]) -> "Future[_Result]":
        """Run a job within a transaction.

        Parameters
        ----------
        job : callable
            Called with the connection; an exception rolls back this job only.

        Returns
        -------
        Future
            Its result, available once it is on disk.
        """
        future: Future[_Result] = Future()
        self._jobs.put((job, future))
        return future

    def _write(self) -> None:
        """Run waiting jobs, many in a transaction."""
        while (first := self._jobs.get()) is not None:
            waiting = [first]
            while len(waiting) < MOST_TOGETHER and not self._jobs.empty():
                further = self._jobs.get()
                if further is None:
                    self._jobs.put(None)
                    break
                waiting.append(further)
            self._do(waiting)

    def _do(self, waiting: Sequence[tuple[Job, Future]]) -> None:
        """Run jobs in one transaction; set their results when it is on disk."""
        outcomes: list[tuple[Any, Exception | None]] = []
        try:
            self._writing.execute("BEGIN IMMEDIATE")
            for job, _ in waiting:
                self._writing.execute("SAVEPOINT job")
                try:
                    outcomes.append((job(self._writing), None))
                except Exception as error:  # the caller gets the exception; other jobs continue
                    self._writing.execute("ROLLBACK TO job")
                    outcomes.append((None, error))
                self._writing.execute("RELEASE job")
            self._writing.execute("COMMIT")
        except sqlite3.Error as error:
            if self._writing.in_transaction:
                self._writing.execute("ROLLBACK")
            outcomes = [(None, error)] * len(waiting)
        for (_, future), (result, raised) in zip(waiting, outcomes, strict=True):
            if raised is None:
                future.set_result(result)
            else:
                future.set_exception(raised)

    def add_participants(self, number: int, group: str | None = None) -> list[Participant]:
        """Add participants.

        Parameters
        ----------
        group : str, optional
            Their group, if known beforehand.

        Returns
        -------
        list of Participant
            The new participants, each with a token.
        """

        def job(connection: sqlite3.Connection) -> None:
            last = _last_issued(connection)
            rows = [(f"P{last + i + 1:03d}", new_token(), group) for i in range(number)]
            connection.executemany('INSERT INTO participants (id, token, "group") VALUES (?, ?, ?)', rows)
            _keep_fact(connection, ISSUED, str(last + number))

        before = {one.id for one in self.participants()}
        self.submit(job).result()
        return [one for one in self.participants() if one.id not in before]

    def withdraw(self, participant: str) -> int:
        """Delete a participant and all answers from the file.

        Parameters
        ----------
        participant : str
            The pseudonym, which will not be used again.

        Raises
        ------
        TraitlensError
            If there is no such participant.
        """
        if participant not in {one.id for one in self.participants()}:
            raise unknown_choice("participant", participant, [one.id for one in self.participants()])

        def job(connection: sqlite3.Connection) -> int:
            _keep_fact(connection, ISSUED, str(_last_issued(connection)))
            deleted = connection.execute("DELETE FROM answers WHERE participant = ?", (participant,)).rowcount
            connection.execute("DELETE FROM participants WHERE id = ?", (participant,))
            return deleted

        deleted = self.submit(job).result()
        self._sessions.pop(participant, None)
        # Free pages and the write-ahead log would still hold the deleted data.
        self._writing.execute("VACUUM")
        self._writing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted

    def fact(self, name: str, value: str, replace: bool = False) -> str:
        """Return a stored fact; store the given value if there is none.

        Parameters
        ----------
        replace : bool, default False
            Whether to replace an existing value.
        """
        query = "SELECT value FROM facts WHERE name = ?"
        row = self._reading.execute(query, (name,)).fetchone()
        if row is not None and not replace:
            return str(row[0])
        self.submit(lambda connection: _keep_fact(connection, name, value)).result()
        return value

    def participants(self) -> list[Participant]:
        """Return the participants.

        Returns
        -------
        list of Participant
            Ordered by number.
        """
        return [_participant(row) for row in self._reading.execute(f"{_SELECT} ORDER BY rowid")]

    def find(self, token: str) -> Participant | None:
        """Return the participant with a token.

        Returns
        -------
        Participant or None
            None if the token is unknown.
        """
        row = self._reading.execute(f"{_SELECT} WHERE token = ?", (token,)).fetchone()
        return None if row is None else _participant(row)

    def steps(self, participant: str) -> tuple[SessionStep, ...] | None:
        """Return the steps of a participant's session.

        Returns
        -------
        tuple of SessionStep or None
            None before the group is known.
        """
        if participant not in self._sessions:
            query = "SELECT steps FROM participants WHERE id = ?"
            row = self._reading.execute(query, (participant,)).fetchone()
            if row is None or row[0] is None:
                return None
            try:
                self._sessions[participant] = tuple(
                    SessionStep(**{**step, "traits": tuple(step["traits"])}) for step in json.loads(row[0])
                )
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                advice = f"delete the participant: traitlens rate withdraw STUDY {participant}"
                what = f"the session of {participant} is damaged"
                raise TraitlensError(Problem(what, advice, str(self.path))) from error
        return self._sessions[participant]

    def answers(self) -> list[dict[str, Any]]:
        """Return all answers.

        Returns
        -------
        list of dict
            Columns of the answers and the participant's group, ordered by participant and step.
        """
        query = (
            'SELECT answers.*, "group" FROM answers JOIN participants ON participants.id = participant '
            "ORDER BY participants.rowid, step"
        )
        cursor = self._reading.execute(query)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def recent_times(self, participant: str, count: int = 20) -> list[float]:
        """Return a participant's latest response times.

        Parameters
        ----------
        count : int, default 20
            How many.

        Returns
        -------
        list of float
            Milliseconds, the latest first.
        """
        query = "SELECT rt FROM answers WHERE participant = ? ORDER BY step DESC LIMIT ?"
        return [rt for (rt,) in self._reading.execute(query, (participant, count))]


def _last_issued(connection: sqlite3.Connection) -> int:
    """Return the largest number of any participant, including those who withdrew."""
    (kept,) = connection.execute("SELECT max(value) FROM facts WHERE name = ?", (ISSUED,)).fetchone()
    numbers = [int(kept or 0)]
    for (name,) in connection.execute("SELECT id FROM participants"):
        if re.fullmatch("P[0-9]{1,9}", name):
            numbers.append(int(name[1:]))
    return max(numbers)


def _keep_fact(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Write a fact."""
    connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


def complete_step(participant: str, step: int) -> Job[None]:
    """Return the job that marks a step without an answer as done.

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
    participant: str, step: int, group: str, lay_out: Callable[[int], Sequence[SessionStep]]
) -> Job[None]:
    """Return the job that stores a participant's session, once the group is known.

    Parameters
    ----------
    step : int
        Number of the current step, which the job marks as done.
    lay_out : callable
        Called with the participant's number in the group, from 0; returns the steps.

    Returns
    -------
    callable
        For :meth:`AnswerDatabase.submit`; raises :class:`OutOfTurn` if another step is the current one.
    """

    def job(connection: sqlite3.Connection) -> None:
        complete_step(participant, step)(connection)
        query = 'SELECT count(*) FROM participants WHERE "group" = ? AND steps IS NOT NULL'
        (place,) = connection.execute(query, (group,)).fetchone()
        steps = json.dumps([asdict(step) for step in lay_out(place)])
        connection.execute(
            'UPDATE participants SET "group" = ?, steps = ?, began = ? WHERE id = ?',
            (group, steps, now(), participant),
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


def new_token() -> str:
    """Return a random token that can be read aloud and typed.

    Returns
    -------
    str
        Twelve letters and digits in groups of four: 59 bits.
    """
    letters = "".join(secrets.choice(ALPHABET) for _ in range(12))
    return "-".join(letters[i : i + 4] for i in (0, 4, 8))


def now() -> str:
    """Return the current time.

    Returns
    -------
    str
        UTC, to the millisecond.
    """
    return datetime.now(UTC).isoformat(timespec="milliseconds")


_SELECT = 'SELECT id, token, "group", position, steps IS NOT NULL, seen FROM participants'


def _participant(row: Sequence[Any]) -> Participant:
    """Return the participant of a row."""
    identity, token, group, position, begun, seen = row
    return Participant(identity, token, group, position, bool(begun), seen or "")


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file so that every transaction is on disk when it ends."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    return connection
