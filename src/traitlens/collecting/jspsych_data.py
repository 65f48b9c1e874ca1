"""Reading of data collected with the jsPsych experiment."""

import io
import json
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from traitlens.collecting.answer_validation import find_fault, is_device, nearest_answer
from traitlens.collecting.panels import IDENTIFIER
from traitlens.collecting.questionnaires import Questionnaire
from traitlens.collecting.session_steps import RATED, SessionDesign
from traitlens.problems import Problem, StudyError
from traitlens.study.formats import read_cells

SUFFIXES = (".json", ".txt", ".csv", ".zip", ".jzip")
"""Suffixes of data files: participants' files, results of JATOS (text or archive), and of Pavlovia (CSV)."""
LARGEST = 500 * 2**20
"""Maximum size in bytes of a file, or of the unpacked content of an archive."""
TEXTS = ("participant", "group", "kind", "trait", "image", "time", "device", "language")
NUMBERS = ("step", "repeat", "rating", "rt")
NEEDED = (*TEXTS, *NUMBERS, "wanted", "moved")
"""Required columns; jsPsych's own columns are ignored."""
PARTICIPANT = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
"""Pattern of valid names of participants; it excludes spreadsheet formulas."""
MOST_STEPS = 100_000


@dataclass(frozen=True)
class ExperimentData:
    """Data collected with the jsPsych experiment.

    Parameters
    ----------
    answers : list of dict
        Ratings, as returned by :meth:`~traitlens.collecting.database.AnswerDatabase.answers`.
    questionnaires : list of dict
        Answers to questionnaires: participant, questionnaire, item, answer.
    panel_ids : dict of str to str
        The panel's identifiers of person, study and session, separated by spaces, keyed by participant.
    """

    answers: list[dict[str, Any]]
    questionnaires: list[dict[str, Any]]
    panel_ids: dict[str, str]


def read_experiment(
    files: Sequence[Path],
    design: SessionDesign,
    languages: Collection[str],
    taken: Collection[str] = (),
    questionnaires: Sequence[Questionnaire] = (),
) -> ExperimentData:
    """Read and check data collected with the jsPsych experiment.

    An answer that occurs several times (data saved twice) counts once.

    Parameters
    ----------
    files : sequence of Path
        Files or folders with files: JSON, JSON lines (JATOS), CSV (Pavlovia), or archives of JATOS.
    design : SessionDesign
        Design of the sessions, which the answers must match.
    languages : collection of str
        Languages of the study.
    taken : collection of str
        Pseudonyms of the server's participants, which must not occur in the files.
    questionnaires : sequence of Questionnaire
        The study's questionnaires, which the answers must match.

    Raises
    ------
    StudyError
        If the data have faults, with all of them: missing columns, images or traits of another study, answers
        off the scale, invalid values, or different answers for the same step.
    """
    answers: dict[tuple[str, int], dict[str, Any]] = {}
    filled: dict[tuple[str, str], dict[str, int | None]] = {}
    panel_ids: dict[str, str] = {}
    problems: list[Problem] = []
    for path in [path for given in files for path in _list_files(Path(given))]:
        for file, cells in _read_tables(path, problems):
            for row, answer in _read_answers(cells, file, design, languages, problems):
                if answer["participant"] in taken:
                    what = (
                        f"participant {answer['participant']!r} has the name of a participant of the server"
                    )
                    problems.append(Problem(what, "rename the participant", file, row))
                key = (answer["participant"], answer["step"])
                if answers.setdefault(key, answer) != answer:
                    what = f"step {key[1]} of participant {key[0]!r} has another answer elsewhere"
                    problems.append(Problem(what, "remove one of the two", file, row))
            filled |= _read_questionnaire_answers(cells, file, questionnaires, problems)
            panel_ids |= _read_panel_ids(cells, file, problems)
    if problems:
        raise StudyError(problems)
    flat = [
        {"participant": participant, "questionnaire": name, "item": item, "answer": answer}
        for (participant, name), given in sorted(filled.items())
        for item, answer in given.items()
    ]
    return ExperimentData([answers[key] for key in sorted(answers)], flat, panel_ids)


def _list_files(given: Path) -> list[Path]:
    """Return a file, or all data files in a folder."""
    if given.is_dir():
        found = sorted(path for path in given.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not found:
            raise StudyError(
                Problem("contains no file with data", "name the folder with the data", str(given))
            )
        return found
    if not given.is_file():
        raise StudyError(Problem("there is no such file", "check the path", str(given)))
    return [given]


def _read_tables(path: Path, problems: list[Problem]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield name and table of each data file; an archive contains several."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        tables = [(path.name, read_cells(path).astype(str).replace("null", ""))]
    elif path.stat().st_size > LARGEST:
        problems.append(Problem("is too large", f"use files of up to {LARGEST >> 20} MB", path.name))
        return
    elif suffix in (".zip", ".jzip"):
        tables = _read_archive(path, problems)
    else:
        tables = [(path.name, _parse_records(path.read_bytes(), path.name, problems))]
    for name, cells in tables:
        missing = [column for column in NEEDED if column not in cells]
        if not missing:
            yield name, cells
        elif len(cells.columns) or suffix not in (".zip", ".jzip"):
            advice = "use data of the experiment that traitlens wrote"
            problems.append(Problem(f"columns are missing: {', '.join(missing)}", advice, name))


def _read_archive(path: Path, problems: list[Problem]) -> list[tuple[str, pd.DataFrame]]:
    """Read the data files of an archive of JATOS results; metadata and other files are ignored."""
    tables = []
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [one for one in archive.infolist() if one.filename.endswith(("data.txt", ".csv"))]
            if sum(one.file_size for one in entries) > LARGEST:
                problems.append(Problem("is too large", f"use up to {LARGEST >> 20} MB", path.name))
                return []
            for one in entries:
                name = f"{path.name}/{one.filename}"
                if one.filename.endswith(".csv"):
                    table = pd.read_csv(io.BytesIO(archive.read(one)), dtype=str, keep_default_na=False)
                    tables.append((name, table.replace("null", "")))
                else:
                    tables.append((name, _parse_records(archive.read(one), name, problems)))
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        problems.append(Problem(f"cannot be read ({error})", "export the results again", path.name))
    return tables


def _parse_records(content: bytes, name: str, problems: list[Problem]) -> pd.DataFrame:
    """Parse JSON records as a table of strings: one list of objects, or an object or list on each line."""
    records: list[Mapping[str, Any]] = []
    try:
        text = content.decode("utf-8-sig")
        try:
            parts = [json.loads(text)]
        except ValueError:
            parts = [json.loads(line) for line in text.splitlines() if line.strip()]
        for part in parts:
            records += part if isinstance(part, list) else [part]
        if not all(isinstance(record, dict) for record in records):
            raise ValueError("it contains something other than objects")
    except (ValueError, RecursionError) as error:
        problems.append(Problem(f"cannot be read as JSON ({error})", "export the results again", name))
        return pd.DataFrame(columns=list(NEEDED), dtype=str)
    if not records:
        return pd.DataFrame(columns=list(NEEDED), dtype=str)
    rows = [{str(key): _to_text(value) for key, value in record.items()} for record in records]
    return pd.DataFrame(rows).fillna("").astype(str)


def _to_text(value: object) -> str:
    """Return a JSON value as text."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_answers(
    cells: pd.DataFrame, file: str, design: SessionDesign, languages: Collection[str], problems: list[Problem]
) -> list[tuple[int, dict[str, Any]]]:
    """Return row number and answer of each rated step in a table; add invalid answers to the problems."""
    answers = []
    for index, row in cells[cells["kind"].isin(RATED)].iterrows():
        answer, fault = _read_answer(row, design, languages)
        if fault is not None:
            problems.append(Problem(fault, "remove or correct the answer", file, int(str(index)) + 2))
        else:
            answers.append((int(str(index)) + 2, answer))
    return answers


def _read_questionnaire_answers(
    cells: pd.DataFrame, file: str, questionnaires: Sequence[Questionnaire], problems: list[Problem]
) -> dict[tuple[str, str], dict[str, int | None]]:
    """Return the answers to questionnaires in a table, keyed by participant and questionnaire."""
    known = {one.name: one for one in questionnaires}
    filled = {}
    for index, row in cells[cells["kind"] == "questionnaire"].iterrows():
        name, participant = row.get("questionnaire", ""), row["participant"].strip()
        try:
            given = json.loads(row.get("answers", ""))
        except (ValueError, RecursionError):
            given = None
        if name not in known:
            fault: str | None = f"questionnaire {name!r} is not part of the study"
        elif not re.fullmatch(PARTICIPANT, participant):
            fault = "the participant's name must consist of at most 64 letters, digits, _, - and ."
        else:
            fault = known[name].find_fault(given)
        if fault is None:
            filled[participant, name] = given
        else:
            problems.append(Problem(fault, "remove or correct the answer", file, int(str(index)) + 2))
    return filled


def _read_panel_ids(cells: pd.DataFrame, file: str, problems: list[Problem]) -> dict[str, str]:
    """Return the panel's identifiers in a table, keyed by participant."""
    found = {}
    for index, row in cells[cells["kind"] == "panel"].iterrows():
        participant, given = row["participant"].strip(), row.get("panel_ids", "").strip()
        if re.fullmatch(PARTICIPANT, participant) and re.fullmatch(
            rf"{IDENTIFIER}( {IDENTIFIER}){{0,2}}", given
        ):
            found[participant] = given
        else:
            what = "the panel's identifiers are not valid"
            problems.append(Problem(what, "remove or correct them", file, int(str(index)) + 2))
    return found


def _read_answer(
    row: pd.Series, design: SessionDesign, languages: Collection[str]
) -> tuple[dict[str, Any], str | None]:
    """Read an answer from a row, and return the answer and the reason why it is not valid, or None."""
    moved = {"true": True, "false": False}.get(row["moved"].strip().lower())
    try:
        numbers = {name: float(row[name]) for name in NUMBERS}
        wanted = float(row["wanted"]) if row["kind"] == "check" else None
    except ValueError:
        return {}, f"one of {', '.join(NUMBERS)} and wanted is not a number"
    answer: dict[str, Any] = {name: row[name].strip() for name in TEXTS}
    for name in ("step", "repeat"):
        if not 0 <= numbers[name] <= MOST_STEPS or numbers[name] != int(numbers[name]):
            return {}, f"the {name} is not a whole number from 0 to {MOST_STEPS:,}"
        answer[name] = int(numbers[name])
    answer |= {"rating": numbers["rating"], "rt": numbers["rt"], "wanted": wanted, "moved": moved}
    if not re.fullmatch(PARTICIPANT, answer["participant"]):
        return {}, "the participant's name must consist of at most 64 letters, digits, _, - and ."
    if not is_device(answer["device"]):
        return {}, "the device is not of the form “touch 390x844”"
    if answer["language"] not in languages:
        return {}, "unknown language"
    if not _is_time(answer["time"]):
        return {}, "the time is not a date and time"
    if wanted is not None and not design.low <= wanted <= design.high:
        return {}, "the answer that the check asked for is off the scale"
    if row["kind"] == "trial" and answer["image"] not in design.images:
        return {}, f"image {answer['image']!r} is not part of the study"
    if answer["trait"] not in design.traits:
        return {}, f"trait {answer['trait']!r} is not part of the study"
    if design.groups and answer["group"] not in design.groups:
        return {}, f"group {answer['group']!r} is not part of the study"
    fault = find_fault(design, answer["rating"], answer["rt"], moved)
    if fault is None:
        answer["rating"] = nearest_answer(design, answer["rating"])
    return answer, fault


def _is_time(text: str) -> bool:
    """Return whether a string is a date and time in ISO format."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
