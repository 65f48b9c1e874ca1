"""Recovery of a damaged database of answers."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from traitlens.problems import Problem

TABLES = {
    "participants": "rowid",
    "answers": "participant, step",
    "questionnaires": "participant, questionnaire, item",
    "facts": "rowid",
}
"""Columns by which each table is sorted when its rows are recovered."""


def is_damaged(path: Path) -> bool:
    """Return whether a database file is damaged; an empty file is not."""
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
    except sqlite3.OperationalError:  # locked or not readable, which is reported when the file is opened
        return False
    except sqlite3.DatabaseError:
        return True


def recover(path: Path) -> Problem:
    """Back up a damaged database, and replace the database by one with all readable rows.

    The database is not changed if no participant can be read.

    Returns
    -------
    Problem
        Message to the user about the outcome.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    copy = path.with_name(f"{path.stem}.damaged-{stamp}{path.suffix}")
    for ending in ("", "-wal", "-shm"):
        source = path.with_name(path.name + ending)
        if source.exists():
            shutil.copyfile(source, copy.with_name(copy.name + ending))
            copy.with_name(copy.name + ending).chmod(0o600)
    new = path.with_name(f".{path.name}.partial-rescue")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    counts = {}
    with closing(sqlite3.connect(copy)) as damaged, closing(sqlite3.connect(new)) as whole:
        for table, order in TABLES.items():
            counts[table] = _copy_table(damaged, whole, table, order)
        whole.commit()
    if not counts["participants"]:
        new.unlink()
        what = f"is damaged and cannot be read (a copy is {copy.name})"
        return Problem(what, "replace it by a backup", str(path))
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    new.replace(path)
    what = (
        f"was damaged; it now contains all readable rows ({counts['participants']} participants, "
        f"{counts['answers']} answers), and the damaged file was saved as {copy.name}"
    )
    return Problem(what, "compare with `traitlens rate status`, then run the command again", str(path))


def _copy_table(damaged: sqlite3.Connection, whole: sqlite3.Connection, table: str, order: str) -> int:
    """Copy the readable rows of a table, reading from both ends, and return the number of rows."""
    try:
        (schema,) = damaged.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        whole.execute(schema)
    except (sqlite3.DatabaseError, TypeError):  # the table is missing or not readable
        return 0
    count = 0
    for direction in ("ASC", "DESC"):
        terms = ", ".join(f"{term} {direction}" for term in order.split(", "))
        for row in _readable_rows(damaged, f"SELECT * FROM {table} ORDER BY {terms}"):
            try:
                marks = ", ".join("?" * len(row))
                count += whole.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row).rowcount
            except sqlite3.DatabaseError:  # a value that the column cannot hold
                continue
    return count


def _readable_rows(damaged: sqlite3.Connection, query: str) -> Iterator[tuple[object, ...]]:
    """Yield the rows of a query up to the first unreadable row."""
    try:
        yield from damaged.execute(query)
    except sqlite3.DatabaseError:
        return
