"""What participants answered, in one SQLite file: an answer is on the disk before it is acknowledged.

Writes go through one thread that gathers what is waiting into one transaction, so that two hundred
participants do not wait for two hundred synchronisations of the disk.
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

from traitlens.collecting.database_recovery import is_damaged, rescue
from traitlens.collecting.trials import SessionStep
from traitlens.problems import Problem, TraitlensError, unknown_choice

ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""Letters and digits that cannot be mistaken for one another."""

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
"""The fact that numbers go on from, so that no pseudonym is given twice."""
MOST_TOGETHER = 256
"""How many writes share a transaction at most."""

_Result = TypeVar("_Result")
Job = Callable[[sqlite3.Connection], _Result]


@dataclass(frozen=True)
class Participant:
    """One participant, and how far the session is.

    Parameters
    ----------
    id : str
        The pseudonym: P001, P002 ...
    token : str
        The secret that opens the session.
    group : str or None
        The group; None before it is known.
    begun : bool
        Whether the session has been laid out.
    seen : str
        When something was last written, UTC; empty before the first time.
    """

    id: str
    token: str
    group: str | None
    position: int
    begun: bool
    seen: str


@dataclass(frozen=True)
class Answer:
    """What was answered at one step.

    Parameters
    ----------
    rt : float
        Response time in milliseconds.
    moved : bool or None
        Whether the slider was moved; None for buttons.
    device, language : str
        With what, and in which language it was given.
    """

    rating: float
    rt: float
    moved: bool | None
    device: str
    language: str


class OutOfTurn(Exception):
    """The step is not the one that the participant is at; nothing was changed."""


class AnswerDatabase:
    """The answers of a study.

    Parameters
    ----------
    path : Path
        The SQLite file; made where missing.

    Examples
    --------
    >>> import tempfile
    >>> with AnswerDatabase(Path(tempfile.mkdtemp()) / "answers.sqlite") as store:
    ...     [participant.id for participant in store.invite(2)]
    ['P001', 'P002']
    """

    def __init__(self, path: Path):
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)  # it holds the tokens
            if is_damaged(path):
                raise TraitlensError(rescue(path))
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
        """Finish what is waiting and close the file."""
        self._jobs.put(None)
        self._writer.join()
        self._reading.close()
        self._writing.close()

    def submit(self, job: Job[_Result]) -> "Future[_Result]":
        """Have a job done within a transaction.

        Parameters
        ----------
        job : callable
            Is given the connection; what it raises undoes what it did, and nothing else.

        Returns
        -------
        Future
            Its result, once it is on the disk.
        """
        future: Future[_Result] = Future()
        self._jobs.put((job, future))
        return future

    def _write(self) -> None:
        """Do what is waiting, many jobs to a transaction."""
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
        """Do some jobs in one transaction; tell their results when it is on the disk."""
        outcomes: list[tuple[Any, Exception | None]] = []
        try:
            self._writing.execute("BEGIN IMMEDIATE")
            for job, _ in waiting:
                self._writing.execute("SAVEPOINT job")
                try:
                    outcomes.append((job(self._writing), None))
                except Exception as error:  # the caller is told; the other jobs go on
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

    def invite(self, number: int, group: str | None = None) -> list[Participant]:
        """Add participants.

        Parameters
        ----------
        group : str, optional
            Their group, where it is known before they come.

        Returns
        -------
        list of Participant
            The new participants, each with a token of their own.
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
        """Delete a participant and every answer, so that nothing of them is left in the file.

        Parameters
        ----------
        participant : str
            The pseudonym; it is not given again.

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
        # Pages that are free and the log of changes would still hold what was deleted.
        self._writing.execute("VACUUM")
        self._writing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted

    def fact(self, name: str, value: str, replace: bool = False) -> str:
        """Return a fact of the collection; the value that is given is kept if there is none.

        Parameters
        ----------
        replace : bool, default False
            Whether what was true before is forgotten.
        """
        query = "SELECT value FROM facts WHERE name = ?"
        row = self._reading.execute(query, (name,)).fetchone()
        if row is not None and not replace:
            return str(row[0])
        self.submit(lambda connection: _keep_fact(connection, name, value)).result()
        return value

    def participants(self) -> list[Participant]:
        """List the participants.

        Returns
        -------
        list of Participant
            In the order of their numbers.
        """
        return [_participant(row) for row in self._reading.execute(f"{_SELECT} ORDER BY rowid")]

    def find(self, token: str) -> Participant | None:
        """Find whose token this is.

        Returns
        -------
        Participant or None
            None where it is nobody's.
        """
        row = self._reading.execute(f"{_SELECT} WHERE token = ?", (token,)).fetchone()
        return None if row is None else _participant(row)

    def steps(self, participant: str) -> tuple[SessionStep, ...] | None:
        """Give the session that was laid out for a participant.

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
        """List every answer.

        Returns
        -------
        list of dict
            The columns of the answers and the participant's group, in the order of participants and steps.
        """
        query = (
            'SELECT answers.*, "group" FROM answers JOIN participants ON participants.id = participant '
            "ORDER BY participants.rowid, step"
        )
        cursor = self._reading.execute(query)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def recent_times(self, participant: str, count: int = 20) -> list[float]:
        """List a participant's latest response times.

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
    """Return the largest number that was given to a participant, also to one who withdrew."""
    (kept,) = connection.execute("SELECT max(value) FROM facts WHERE name = ?", (ISSUED,)).fetchone()
    numbers = [int(kept or 0)]
    for (name,) in connection.execute("SELECT id FROM participants"):
        if re.fullmatch("P[0-9]{1,9}", name):
            numbers.append(int(name[1:]))
    return max(numbers)


def _keep_fact(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Write a fact."""
    connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


def move_on(participant: str, step: int) -> Job[None]:
    """Make the job that marks a step without an answer as done.

    Parameters
    ----------
    step : int
        The number of the step, from 0; it must be the present one.

    Returns
    -------
    callable
        For :meth:`AnswerDatabase.submit`; raises :class:`OutOfTurn` where it is another step's turn.
    """

    def job(connection: sqlite3.Connection) -> None:
        moved = connection.execute(
            "UPDATE participants SET position = position + 1, seen = ? WHERE id = ? AND position = ?",
            (now(), participant, step),
        )
        if moved.rowcount != 1:
            raise OutOfTurn

    return job


def join_group(
    participant: str, step: int, group: str, lay_out: Callable[[int], Sequence[SessionStep]]
) -> Job[None]:
    """Make the job that lays out a participant's session, once the group is known.

    Parameters
    ----------
    step : int
        The number of the present step; it is done when the job is.
    lay_out : callable
        Is given the participant's place in the group, 0 for the first; gives the steps.

    Returns
    -------
    callable
        For :meth:`AnswerDatabase.submit`; raises :class:`OutOfTurn` where it is another step's turn.
    """

    def job(connection: sqlite3.Connection) -> None:
        move_on(participant, step)(connection)
        query = 'SELECT count(*) FROM participants WHERE "group" = ? AND steps IS NOT NULL'
        (place,) = connection.execute(query, (group,)).fetchone()
        steps = json.dumps([asdict(step) for step in lay_out(place)])
        connection.execute(
            'UPDATE participants SET "group" = ?, steps = ?, began = ? WHERE id = ?',
            (group, steps, now(), participant),
        )

    return job


def give_answer(participant: str, number: int, step: SessionStep, answer: Answer) -> Job[None]:
    """Make the job that keeps an answer and marks its step as done.

    Parameters
    ----------
    number : int
        The number of the step, from 0; it must be the present one.

    Returns
    -------
    callable
        For :meth:`AnswerDatabase.submit`; raises :class:`OutOfTurn` where it is another step's turn.
    """

    def job(connection: sqlite3.Connection) -> None:
        move_on(participant, number)(connection)
        row = (
            participant, number, step.kind, step.traits[0], step.image, step.repeat, step.wanted,
            answer.rating, answer.moved, answer.rt, now(), answer.device, answer.language,
        )  # fmt: skip
        connection.execute(f"INSERT INTO answers VALUES ({', '.join('?' * len(row))})", row)

    return job


def new_token() -> str:
    """Make a token that can be read aloud and typed.

    Returns
    -------
    str
        Twelve letters and digits in groups of four: 59 bits.
    """
    letters = "".join(secrets.choice(ALPHABET) for _ in range(12))
    return "-".join(letters[i : i + 4] for i in (0, 4, 8))


def now() -> str:
    """Tell the time.

    Returns
    -------
    str
        UTC, to the millisecond.
    """
    return datetime.now(UTC).isoformat(timespec="milliseconds")


_SELECT = 'SELECT id, token, "group", position, steps IS NOT NULL, seen FROM participants'


def _participant(row: Sequence[Any]) -> Participant:
    """Read one row."""
    identity, token, group, position, begun, seen = row
    return Participant(identity, token, group, position, bool(begun), seen or "")


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file: every transaction is on the disk when it ends."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    return connection
