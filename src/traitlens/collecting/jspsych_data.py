"""Reader of the data of the jsPsych experiment."""

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from traitlens.collecting.trials import RATED, SessionDesign, find_fault, is_device, nearest_answer
from traitlens.problems import Problem, StudyError
from traitlens.study.formats import read_cells

SUFFIXES = (".json", ".csv")
TEXTS = ("participant", "group", "kind", "trait", "image", "time", "device", "language")
NUMBERS = ("step", "repeat", "rating", "rt")
NEEDED = (*TEXTS, *NUMBERS, "wanted", "moved")
"""Required columns, beside jsPsych's own."""
PARTICIPANT = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
"""Pattern of participants' names, which exclude spreadsheet formulas."""
MOST_STEPS = 100_000


def read_experiment(
    files: Sequence[Path], design: SessionDesign, languages: Collection[str], taken: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Read data that the jsPsych experiment saved.

    Parameters
    ----------
    files : sequence of Path
        Files (JSON or CSV), or folders of them.
    design : SessionDesign
        The design, which the answers must match.
    taken : collection of str
        Pseudonyms of the server's participants, which must not occur.

    Returns
    -------
    list of dict
        Answers, as :meth:`~traitlens.collecting.database.AnswerDatabase.answers` returns them; a step
        that occurs in two files of one participant (data saved twice) counts once.

    Raises
    ------
    StudyError
        With every fault: columns that are missing, images or traits of another study, answers off the scale,
        unknown texts, two different answers for one step.
    """
    paths = [path for given in files for path in _list(Path(given))]
    answers: dict[tuple[str, int], dict[str, Any]] = {}
    problems: list[Problem] = []
    for path in paths:
        for row, answer in _read(path, design, languages, problems):
            if answer["participant"] in taken:
                what = f"participant {answer['participant']!r} is one of the server's"
                problems.append(Problem(what, "rename the participant", path.name, row))
            key = (answer["participant"], answer["step"])
            if answers.setdefault(key, answer) != answer:
                what = f"step {key[1]} of participant {key[0]!r} has another answer elsewhere"
                problems.append(Problem(what, "remove one of the two", path.name, row))
    if problems:
        raise StudyError(problems)
    return [answers[key] for key in sorted(answers)]


def _list(given: Path) -> list[Path]:
    """Return the files, including those of folders."""
    if given.is_dir():
        found = sorted(path for path in given.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not found:
            raise StudyError(
                Problem("contains no JSON or CSV file", "give the folder with the data", str(given))
            )
        return found
    if not given.is_file():
        raise StudyError(Problem("there is no such file", "check the path", str(given)))
    return [given]


def _read(
    path: Path, design: SessionDesign, languages: Collection[str], problems: list[Problem]
) -> list[tuple[int, dict[str, Any]]]:
    """Read the rated steps of one file."""
    cells = read_cells(path).astype(str)
    missing = [name for name in NEEDED if name not in cells]
    if missing:
        advice = "give data of the experiment that traitlens wrote"
        problems.append(Problem(f"columns are missing: {', '.join(missing)}", advice, path.name))
        return []
    answers = []
    for index, row in cells[cells["kind"].isin(RATED)].iterrows():
        answer, fault = _answer(row, design, languages)
        if fault is not None:
            problems.append(Problem(fault, "remove or correct the answer", path.name, int(str(index)) + 2))
        else:
            answers.append((int(str(index)) + 2, answer))
    return answers


def _answer(
    row: pd.Series, design: SessionDesign, languages: Collection[str]
) -> tuple[dict[str, Any], str | None]:
    """Read and check one answer."""
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
        return {}, "the participant is not named by letters, digits, _, - and ., 64 at most"
    if not is_device(answer["device"]):
        return {}, "the device has an unknown form"
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
    """Return whether a text is a date and time as browsers write it."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
