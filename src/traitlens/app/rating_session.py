"""Rating sessions that the app starts and stops, and that are served to this computer only."""

import json
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from traitlens.app import background
from traitlens.app.workspace import FOLDER, SESSION_FILE
from traitlens.collecting.collected_data import export_ratings
from traitlens.collecting.database import AnswerDatabase
from traitlens.collecting.design import COLLECTED
from traitlens.collecting.experimenter import make_cards
from traitlens.explorer.loopback import LOOPBACK
from traitlens.problems import Problem, TraitlensError
from traitlens.storage import atomic_write
from traitlens.study.settings_file import to_toml

USUAL_PORT = 8080
MOST_PARTICIPANTS = 500
"""Maximum number of participants that the app creates."""


def write_questions(folder: Path, traits: str, groups: str, low: str, high: str) -> None:
    """Write a `study.toml` with the traits, groups and scale of a new study.

    Parameters
    ----------
    folder : Path
        The study folder, without settings.
    traits, groups : str
        Comma-separated names.
    low, high : str
        Lowest and highest possible rating.

    Raises
    ------
    TraitlensError
        If there is no trait, or the scale is not valid.
    """
    problems = []
    names = [name.strip() for name in traits.split(",") if name.strip()]
    if not names:
        problems.append(Problem("no trait is named", "write what is rated, such as warm, trustworthy"))
    try:
        scale = [float(end.replace(",", ".")) for end in (low, high)]
        if not scale[0] < scale[1]:
            problems.append(Problem("the lowest rating must be below the highest", "such as 1 and 7"))
    except ValueError:
        problems.append(Problem("the lowest and the highest rating must be numbers", "such as 1 and 7"))
    if problems:
        raise TraitlensError(problems)
    settings = {"traits": names, "scale": scale}
    if of_raters := [name.strip() for name in groups.split(",") if name.strip()]:
        settings = {"groups": of_raters, **settings}
    lines = [f"{name} = {to_toml(value)}" for name, value in settings.items()]
    with atomic_write(folder / "study.toml") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def start_session(folder: Path, participants: str) -> None:
    """Start a rating session in a separate process, at the address of the previous one if it is free.

    Parameters
    ----------
    folder : Path
        The study folder.
    participants : str
        Total number of participants, as typed; participants are created up to this number.

    Raises
    ------
    TraitlensError
        If the number of participants is not valid.
    """
    if not participants.strip().isdecimal() or int(participants) > MOST_PARTICIPANTS:
        what = f"the number of participants is not a whole number up to {MOST_PARTICIPANTS}"
        raise TraitlensError(Problem(what, "such as 20", participants))
    if background.read_progress(folder, "collect").state == "working":
        return
    file = folder / FOLDER / SESSION_FILE
    port = _free_port(int(_read(folder).get("port", USUAL_PORT)))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)  # readable by the owner only, because it contains a token
    facts = {"port": port, "secret": secrets.token_urlsafe(24), "participants": int(participants)}
    file.write_text(json.dumps(facts), encoding="utf-8")
    background.start(folder, "collect")


def _read(folder: Path) -> dict[str, Any]:
    """Read port, token and number of participants of the latest session; empty before the first."""
    with suppress(OSError, ValueError):
        return dict(json.loads((folder / FOLDER / SESSION_FILE).read_text(encoding="utf-8")))
    return {}


def _free_port(wanted: int) -> int:
    """Return the wanted port if it is free, so that links stay the same; otherwise any free port."""
    for port in (wanted, 0):
        with socket.socket() as trial, suppress(OSError, OverflowError):
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((LOOPBACK, port))
            return int(trial.getsockname()[1])
    return wanted


def experimenter_page(folder: Path) -> str:
    """Return the address of the experimenter's page of a running session, with its token."""
    session = _read(folder)
    return f"http://localhost:{session['port']}/experimenter#{session['secret']}"


def list_cards(folder: Path) -> list[dict[str, str]]:
    """Return participant, link, code and QR code of each participant of a running session."""
    with AnswerDatabase(_answers(folder)) as store:
        return make_cards(store, f"http://localhost:{_read(folder)['port']}")


def has_answers(folder: Path) -> bool:
    """Return whether participants have given answers."""
    return _answers(folder).exists()


def use_ratings(folder: Path) -> Path:
    """Write the collected ratings to the study's `ratings.csv`, replacing earlier ones; return its path."""
    return export_ratings(folder, replace=True)[0]


def _answers(folder: Path) -> Path:
    """Return the path of the database of answers."""
    return folder / COLLECTED / "answers.sqlite"
