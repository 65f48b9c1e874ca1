"""Participant panels (Prolific, SONA): links to the panel, and identifiers stored apart from the answers."""

import re
import sqlite3
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pandas as pd

from traitlens.problems import Problem
from traitlens.study.settings import CollectingSettings

PANEL_FILE = "panel_ids.sqlite"
"""File in `collected/` that assigns the panel's identifiers to pseudonyms."""
IDENTIFIER = r"[A-Za-z0-9_-]{1,64}"
"""Pattern of valid identifiers of a panel."""
COLUMNS = ["participant", "panel", "panel_id", "study_id", "session_id"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS panel_ids (
    panel_id TEXT PRIMARY KEY,
    participant TEXT NOT NULL UNIQUE,
    panel TEXT NOT NULL,
    study_id TEXT NOT NULL,
    session_id TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True)
class Panel:
    """A participant panel.

    Parameters
    ----------
    title : str
        Name of the panel as participants know it.
    parameters : tuple of str
        Parameters of the web address with the identifiers of participant, study and session (if any).
    """

    title: str
    parameters: tuple[str, ...]


PANELS = {
    "prolific": Panel("Prolific", ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")),
    "sona": Panel("SONA", ("id",)),
}


def check_panel_settings(settings: CollectingSettings) -> list[Problem]:
    """Check the settings `panel`, `completion` and `screen_out`, and return their problems."""
    given = {"completion": settings.completion, "screen_out": settings.screen_out}
    if settings.panel is None:
        return [
            Problem(f"{name} needs a panel", 'set panel = "prolific" or "sona"', "study.toml", column=name)
            for name, value in given.items()
            if value
        ]
    problems = []
    if not settings.completion:
        advice = "set the link or code by which the panel knows that someone took part"
        problems.append(Problem("completion is missing", advice, "study.toml", column="completion"))
    for name, value in given.items():
        if value and panel_link(settings.panel, value, "x") is None:
            advice = "write an https link"
            advice += " with {id} for the survey code" if settings.panel == "sona" else ", or Prolific's code"
            problems.append(Problem(f"{value!r} is not a valid link", advice, "study.toml", column=name))
    return problems


def panel_link(panel: str, value: str, identifier: str) -> str | None:
    """Return the link that brings a participant back to the panel.

    Parameters
    ----------
    panel : {"prolific", "sona"}
        The panel.
    value : str
        A link, in which {id} is replaced by the identifier, or a completion code of Prolific.
    identifier : str
        The panel's identifier of the participant.

    Returns
    -------
    str or None
        The link; None if the value is neither a link nor a code.

    Examples
    --------
    >>> panel_link("prolific", "C1A2B3", "5f0")
    'https://app.prolific.com/submissions/complete?cc=C1A2B3'
    >>> panel_link("sona", "https://uni.sona-systems.com/credit?survey_code={id}", "42")
    'https://uni.sona-systems.com/credit?survey_code=42'
    """
    if panel == "prolific" and re.fullmatch("[A-Za-z0-9]{4,40}", value):
        return f"https://app.prolific.com/submissions/complete?cc={value}"
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    if parts.scheme != "https" or not parts.hostname or re.search(r"[\s\"'<>]", value):
        return None
    if panel == "sona" and "{id}" not in value:
        return None
    return value.replace("{id}", quote(identifier, safe=""))


def join_address(panel: str, address: str) -> str:
    """Return the link to enter in the panel, with placeholders that the panel replaces by its identifiers.

    Examples
    --------
    >>> join_address("sona", "https://rate.example.org")
    'https://rate.example.org/?id=%SURVEY_CODE%'
    """
    fields = {"PROLIFIC_PID": "{{%PROLIFIC_PID%}}", "STUDY_ID": "{{%STUDY_ID%}}"}
    fields |= {"SESSION_ID": "{{%SESSION_ID%}}", "id": "%SURVEY_CODE%"}
    return f"{address}/?" + "&".join(f"{name}={fields[name]}" for name in PANELS[panel].parameters)


def read_identifiers(panel: str, given: object) -> dict[str, str] | None:
    """Read panel_id, study_id and session_id from the parameters of a web address.

    Returns
    -------
    dict or None
        None if the participant's identifier is missing, or an identifier is not valid (such as a placeholder
        that was not replaced).
    """
    if not isinstance(given, Mapping):
        return None
    values = [given.get(name, "") for name in PANELS[panel].parameters]
    if not all(isinstance(value, str) for value in values) or not re.fullmatch(IDENTIFIER, values[0]):
        return None
    if any(value and not re.fullmatch(IDENTIFIER, value) for value in values[1:]):
        return None
    names = ("panel_id", "study_id", "session_id")
    return {**dict.fromkeys(names, ""), **dict(zip(names, values, strict=False))}


class PanelIds:
    """Database of a panel's identifiers by pseudonym, stored apart from the answers.

    Parameters
    ----------
    path : Path
        The SQLite file; created when the first participant agrees.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.lock = threading.Lock()

    def find(self, panel_id: str) -> str | None:
        """Return the pseudonym of a panel's identifier; None if the identifier is unknown."""
        if not self.path.exists():
            return None
        with closing(self._open()) as connection:
            query = "SELECT participant FROM panel_ids WHERE panel_id = ?"
            row = connection.execute(query, (panel_id,)).fetchone()
        return None if row is None else str(row[0])

    def identifier(self, participant: str) -> str:
        """Return the panel's identifier of a participant; "" if there is none."""
        if not self.path.exists():
            return ""
        with closing(self._open()) as connection:
            query = "SELECT panel_id FROM panel_ids WHERE participant = ?"
            row = connection.execute(query, (participant,)).fetchone()
        return "" if row is None else str(row[0])

    def add(self, participant: str, panel: str, identifiers: Mapping[str, str]) -> None:
        """Store the panel's identifiers of a participant."""
        self.path.touch(mode=0o600)
        with closing(self._open()) as connection:
            row = (
                identifiers["panel_id"],
                participant,
                panel,
                identifiers["study_id"],
                identifiers["session_id"],
            )
            connection.execute("INSERT INTO panel_ids VALUES (?, ?, ?, ?, ?)", row)

    def remove(self, participant: str) -> None:
        """Delete the panel's identifiers of a participant."""
        if self.path.exists():
            with closing(self._open()) as connection:
                connection.execute("DELETE FROM panel_ids WHERE participant = ?", (participant,))
                connection.execute("VACUUM")

    def table(self) -> pd.DataFrame:
        """Return all identifiers as a table: participant, panel, panel_id, study_id, session_id."""
        if not self.path.exists():
            return pd.DataFrame(columns=COLUMNS, dtype=str)
        with closing(self._open()) as connection:
            rows: list[Any] = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM panel_ids").fetchall()
        return pd.DataFrame(rows, columns=COLUMNS, dtype=str)

    def _open(self) -> sqlite3.Connection:
        """Open a connection with which every statement is on disk when it ends."""
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=30)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.executescript(SCHEMA)
        return connection
