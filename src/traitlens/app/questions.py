"""The six questions of the step Run, whose answers are written to `study.toml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from traitlens.app.settings_editing import Setting, write_settings
from traitlens.study.settings_file import read_settings


@dataclass(frozen=True)
class RunAnswer:
    """A possible answer to a question.

    Parameters
    ----------
    name : str
        Short name of the answer.
    label : str
        Text of the answer on the page.
    settings : mapping
        Values that the answer sets, keyed by (section, setting).
    """

    name: str
    label: str
    settings: Mapping[Setting, Any]


@dataclass(frozen=True)
class RunQuestion:
    """A question with its possible answers; the first answer is the default.

    Parameters
    ----------
    name : str
        Short name of the question.
    text : str
        The question as shown on the page.
    help : str
        An explanation of the question.
    answers : tuple of RunAnswer
        The possible answers.
    """

    name: str
    text: str
    help: str
    answers: tuple[RunAnswer, ...]


def _comparisons(parts: bool, pixels: int) -> dict[Setting, Any]:
    """Return the settings for comparisons by parts of the face and by pixels of a template (0: none)."""
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
                "pixels", "Ratings, parts of the face, and single pixels of the face", _comparisons(True, 56)
            ),
            RunAnswer("parts", "Ratings and parts of the face", _comparisons(True, 0)),
            RunAnswer("ratings", "Ratings only", _comparisons(False, 0)),
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
                "Exclude raters who always gave the same rating, or whose ratings correlate negatively with "
                "those of the rest of their group",
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
"""The questions, in the order in which the page asks them."""


def read_answers(folder: Path) -> dict[str, str]:
    """Read the answers to the questions from `study.toml`.

    Returns
    -------
    dict of str to str
        Short names of answers keyed by question; "" if the settings match no answer.
    """
    settings = read_settings(folder / "study.toml")[0]

    def is_given(answer: RunAnswer) -> bool:
        return all(
            getattr(getattr(settings, section), name) == value
            for (section, name), value in answer.settings.items()
        )

    return {
        question.name: next((answer.name for answer in question.answers if is_given(answer)), "")
        for question in QUESTIONS
    }


def write_answers(folder: Path, answers: Mapping[str, str]) -> None:
    """Write the settings of the chosen answers to `study.toml`; other settings stay unchanged.

    Raises
    ------
    TraitlensError
        If the file is written in a form that cannot be changed safely.
    """
    settings: dict[Setting, Any] = {}
    for question in QUESTIONS:
        for answer in question.answers:
            if answers.get(question.name) == answer.name:
                settings |= answer.settings
    if settings and (folder / "study.toml").exists():
        write_settings(folder, settings)
