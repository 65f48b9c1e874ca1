"""SQLite database of participants' answers; an answer is on disk before it is acknowledged.

A single thread writes and combines waiting writes into one transaction, so that two hundred participants do
not wait for two hundred disk syncs.
"""

import json
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from traitlens.collecting.database_recovery import is_damaged, recover
from traitlens.collecting.session_steps import SessionStep
from traitlens.collecting.transactions import (
    ISSUED,
    SELECT,
    Job,
    Participant,
    Result,
    insert_fact,
    last_issued,
    new_token,
    participant_from_row,
)
from traitlens.problems import Problem, TraitlensError, unknown_choice

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
CREATE TABLE IF NOT EXISTS questionnaires (
    participant TEXT NOT NULL REFERENCES participants (id),
    questionnaire TEXT NOT NULL,
    item TEXT NOT NULL,
    answer INTEGER,
    time TEXT NOT NULL,
    PRIMARY KEY (participant, questionnaire, item)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
"""
MOST_TOGETHER = 256
"""Maximum number of jobs in one transaction."""


class AnswerDatabase:
    """Database of a study's participants, sessions and answers.

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
            path.touch(mode=0o600)  # readable by the owner only, because the file contains the tokens
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
        self._writer = threading.Thread(target=self._write_waiting, name="answers", daemon=True)
        self._writer.start()

    def __enter__(self) -> "AnswerDatabase":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish all waiting jobs and close the file."""
        self._jobs.put(None)
        self._writer.join()
        self._reading.close()
        self._writing.close()

    def submit(self, job: Job[Result]) -> "Future[Result]":
        """Run a job in a transaction of the writing thread.

        Parameters
        ----------
        job : callable
            Called with the connection; an exception rolls back this job only.

        Returns
        -------
        Future
            The job's return value, available once the changes are on disk.
        """
        future: Future[Result] = Future()
        self._jobs.put((job, future))
        return future

    def _write_waiting(self) -> None:
        """Run waiting jobs until the database is closed, several in one transaction (the writing thread)."""
        while (first := self._jobs.get()) is not None:
            waiting = [first]
            while len(waiting) < MOST_TOGETHER and not self._jobs.empty():
                further = self._jobs.get()
                if further is None:
                    self._jobs.put(None)
                    break
                waiting.append(further)
            self._run_in_transaction(waiting)

    def _run_in_transaction(self, waiting: Sequence[tuple[Job, Future]]) -> None:
        """Run jobs in one transaction, and set their results after it is on disk."""
        outcomes: list[tuple[Any, Exception | None]] = []
        try:
            self._writing.execute("BEGIN IMMEDIATE")
            for job, _ in waiting:
                self._writing.execute("SAVEPOINT job")
                try:
                    outcomes.append((job(self._writing), None))
                except Exception as error:  # raised in the caller of this job; other jobs continue
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
        """Create participants with new pseudonyms and tokens.

        Parameters
        ----------
        number : int
            Number of participants to create.
        group : str, optional
            Group of the new participants, if known beforehand.
        """

        def job(connection: sqlite3.Connection) -> list[Participant]:
            last = last_issued(connection)
            rows = [(f"P{last + i + 1:03d}", new_token(), group) for i in range(number)]
            connection.executemany('INSERT INTO participants (id, token, "group") VALUES (?, ?, ?)', rows)
            insert_fact(connection, ISSUED, str(last + number))
            return [Participant(name, token, group, 0, False, "") for name, token, group in rows]

        return self.submit(job).result()

    def withdraw(self, participant: str) -> int:
        """Delete a participant with all answers, and return the number of ratings deleted.

        Parameters
        ----------
        participant : str
            Pseudonym of the participant, which will not be used again.

        Raises
        ------
        TraitlensError
            If there is no such participant.
        """
        if participant not in {one.id for one in self.participants()}:
            raise unknown_choice("participant", participant, [one.id for one in self.participants()])

        def job(connection: sqlite3.Connection) -> int:
            insert_fact(connection, ISSUED, str(last_issued(connection)))
            deleted = connection.execute("DELETE FROM answers WHERE participant = ?", (participant,)).rowcount
            connection.execute("DELETE FROM questionnaires WHERE participant = ?", (participant,))
            connection.execute("DELETE FROM participants WHERE id = ?", (participant,))
            return deleted

        deleted = self.submit(job).result()
        self._sessions.pop(participant, None)
        # Without these commands, free pages and the write-ahead log would still contain the deleted data.
        self._writing.execute("VACUUM")
        self._writing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted

    def fact(self, name: str, value: str, replace: bool = False) -> str:
        """Return the value stored under a name; store the given value if there is none or to replace it."""
        query = "SELECT value FROM facts WHERE name = ?"
        row = self._reading.execute(query, (name,)).fetchone()
        if row is not None and not replace:
            return str(row[0])
        self.submit(lambda connection: insert_fact(connection, name, value)).result()
        return value

    def participants(self) -> list[Participant]:
        """Return all participants in the order of their creation."""
        return [participant_from_row(row) for row in self._reading.execute(f"{SELECT} ORDER BY rowid")]

    def find_by_token(self, token: str) -> Participant | None:
        """Return the participant with a token; None if the token is unknown."""
        row = self._reading.execute(f"{SELECT} WHERE token = ?", (token,)).fetchone()
        return None if row is None else participant_from_row(row)

    def steps(self, participant: str) -> tuple[SessionStep, ...] | None:
        """Return the stored steps of a participant's session; None before the session is created."""
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
        """Return all ratings as rows of the table `answers` with the participant's group, in order."""
        query = (
            'SELECT answers.*, "group" FROM answers JOIN participants ON participants.id = participant '
            "ORDER BY participants.rowid, step"
        )
        cursor = self._reading.execute(query)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def questionnaire_answers(self) -> list[dict[str, Any]]:
        """Return all answers to questionnaires as rows of participant, questionnaire, item and answer.

        The answer is None if the participant left the item out.
        """
        names = ("participant", "questionnaire", "item", "answer")
        query = f"SELECT {', '.join(names)} FROM questionnaires ORDER BY participant, questionnaire, item"
        return [dict(zip(names, row, strict=True)) for row in self._reading.execute(query)]

    def recent_times(self, participant: str, count: int = 20) -> list[float]:
        """Return a participant's last `count` response times in milliseconds, the latest first."""
        query = "SELECT rt FROM answers WHERE participant = ? ORDER BY step DESC LIMIT ?"
        return [rt for (rt,) in self._reading.execute(query, (participant, count))]


def _connect(path: Path) -> sqlite3.Connection:
    """Open a connection with which every transaction is on disk when it ends."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    return connection
