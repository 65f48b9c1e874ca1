"""Six questions that set options in `study.toml`."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from traitlens.problems import Problem, TraitlensError
from traitlens.storage import atomic_write
from traitlens.study.settings_file import read_settings, to_toml
from traitlens.study.toml_file import read_toml

Setting = tuple[str, str]
"""Section and name of a setting."""


@dataclass(frozen=True)
class RunAnswer:
    """An answer to a question.

    Parameters
    ----------
    name : str
        Its short name.
    label : str
        Its text on the page.
    settings : mapping
        Values keyed by (section, setting).
    """

    name: str
    label: str
    settings: Mapping[Setting, Any]


@dataclass(frozen=True)
class RunQuestion:
    """A question, and its answers; the first is the default.

    Parameters
    ----------
    name : str
        Its short name.
    text : str
        The question.
    help : str
        An explanation.
    answers : tuple of RunAnswer
        The answers.
    """

    name: str
    text: str
    help: str
    answers: tuple[RunAnswer, ...]


def _compared(parts: bool, pixels: int) -> dict[Setting, Any]:
    """Return the settings of the comparisons."""
    return {
        ("comparison", "use"): parts,
        ("comparison", "performance"): parts,
        ("comparison", "pixels"): pixels,
    }


QUESTIONS: Final = (
    RunQuestion(
        "purpose",
        "What is this run for?",
        "Tests shuffle the raters between the groups many times. More shuffles give finer p values and take "
        "longer.",
        (
            RunAnswer("paper", "For a paper (5,000 shuffles)", {("comparison", "permutations"): 5000}),
            RunAnswer("look", "A first look (200 shuffles)", {("comparison", "permutations"): 200}),
            RunAnswer("none", "No tests, only predictions and maps", {("comparison", "permutations"): 0}),
        ),
    ),
    RunQuestion(
        "where",
        "In what should the groups of raters be compared?",
        "Each comparison takes more time; that of single pixels takes the most.",
        (
            RunAnswer(
                "pixels", "Ratings, parts of the face, and single pixels of the face", _compared(True, 56)
            ),
            RunAnswer("parts", "Ratings and parts of the face", _compared(True, 0)),
            RunAnswer("ratings", "Ratings only", _compared(False, 0)),
        ),
    ),
    RunQuestion(
        "detail",
        "At what resolution should the pictures be analysed?",
        "Smaller pictures take about a third of the time and give coarser maps.",
        (
            RunAnswer(
                "fine",
                "Fine (224 × 224 pixels, as the network was trained)",
                {("faces", "size"): 224, ("readout", "grid"): 7},
            ),
            RunAnswer(
                "coarse", "Coarse (128 × 128 pixels)", {("faces", "size"): 128, ("readout", "grid"): 4}
            ),
        ),
    ),
    RunQuestion(
        "few",
        "Do you have fewer than about 150 pictures?",
        "With few pictures, each picture's mirror image is used too. This predicts a little better and takes "
        "twice the time.",
        (
            RunAnswer("no", "No", {("readout", "mirror"): False}),
            RunAnswer("yes", "Yes: use the mirror images too", {("readout", "mirror"): True}),
        ),
    ),
    RunQuestion(
        "raters",
        "Should careless raters be excluded?",
        "Decide this before you look at results. The report says who was excluded and why.",
        (
            RunAnswer(
                "no",
                "No, use all raters",
                {("cleaning", "one_value"): False, ("cleaning", "lowest_agreement"): None},
            ),
            RunAnswer(
                "yes",
                "Exclude raters who always gave the same rating, or whose ratings do not correlate with "
                "their group's",
                {("cleaning", "one_value"): True, ("cleaning", "lowest_agreement"): 0.0},
            ),
        ),
    ),
    RunQuestion(
        "keep",
        "Of which pictures should the maps be kept?",
        "Averages and regions use all pictures in any case. Maps of all pictures take the most disk space.",
        (
            RunAnswer("all", "All pictures", {("run", "keep_maps"): "all"}),
            RunAnswer("sample", "200 pictures", {("run", "keep_maps"): "sample"}),
            RunAnswer("none", "None", {("run", "keep_maps"): "none"}),
        ),
    ),
)
"""The questions, in the order of the page."""


def read_answers(folder: Path) -> dict[str, str]:
    """Read the answers to the questions from `study.toml`.

    Returns
    -------
    dict of str to str
        Answers keyed by question; "" if the settings match no answer.
    """
    settings = read_settings(folder / "study.toml")[0]

    def holds(answer: RunAnswer) -> bool:
        return all(
            getattr(getattr(settings, section), name) == value
            for (section, name), value in answer.settings.items()
        )

    return {
        question.name: next((answer.name for answer in question.answers if holds(answer)), "")
        for question in QUESTIONS
    }


def write_answers(folder: Path, answers: Mapping[str, str]) -> None:
    """Write answers to `study.toml`, leaving all else unchanged.

    Raises
    ------
    TraitlensError
        If the file has a form that cannot be changed safely.
    """
    settings: dict[Setting, Any] = {}
    for question in QUESTIONS:
        for answer in question.answers:
            if answers.get(question.name) == answer.name:
                settings |= answer.settings
    if settings and (folder / "study.toml").exists():
        write_settings(folder, settings)


def write_settings(folder: Path, settings: Mapping[Setting, Any]) -> None:
    """Change settings in `study.toml` line by line, and check that nothing else changed.

    Parameters
    ----------
    folder : Path
        The study's folder.
    settings : mapping
        Values keyed by (section, setting); None removes a setting.

    Raises
    ------
    TraitlensError
        If the file has a form that cannot be changed safely.
    """
    file = folder / "study.toml"
    wanted = read_toml(file)
    text = file.read_text(encoding="utf-8-sig")
    for (section, name), value in settings.items():
        text = change_setting(text, section, name, value)
        part = wanted.setdefault(section, {}) if section else wanted
        part.pop(name, None)
        if value is not None:
            part[name] = value
    with atomic_write(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
        if not _holds(temporary, wanted):
            what = "has a form that the app cannot change"
            raise TraitlensError(Problem(what, "change the settings in the file itself", file.name))


def _holds(file: Path, wanted: Mapping[str, Any]) -> bool:
    """Return whether a file contains exactly these settings."""
    try:
        return _filled(read_toml(file)) == _filled(wanted)
    except tomllib.TOMLDecodeError:
        return False


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without empty sections."""
    return {name: value for name, value in values.items() if value != {}}


def change_setting(text: str, section: str, name: str, value: Any) -> str:
    r"""Change one setting in the text of a TOML file.

    Parameters
    ----------
    text : str
        The file's text.
    section : str
        The section, added at the end if missing; "" for settings outside of sections.
    name : str
        The setting.
    value : any
        Its value; None removes it.

    Examples
    --------
    >>> change_setting("seed = 1\n\n[run]\nkeep_maps = 'all'\n", "run", "keep_maps", "none")
    'seed = 1\n\n[run]\nkeep_maps = "none"\n'
    """
    lines = text.splitlines()
    heads = [number for number, line in enumerate(lines) if re.match(r"\s*\[", line)]
    head = -1 if not section else None
    if section:
        head = next((n for n in heads if re.match(rf"\s*\[\s*{re.escape(section)}\s*\]", lines[n])), None)
    if head is None:
        if value is None:
            return text
        return "\n".join([*lines, "", f"[{section}]", f"{name} = {to_toml(value)}"]) + "\n"
    end = next((number for number in heads if number > head), len(lines))
    place = next((n for n in range(head + 1, end) if re.match(rf"\s*{re.escape(name)}\s*=", lines[n])), None)
    new = [] if value is None else [f"{name} = {to_toml(value)}"]
    if place is None:
        lines[head + 1 : head + 1] = new
    else:
        lines[place : place + 1] = new
    return "\n".join(lines) + "\n"
