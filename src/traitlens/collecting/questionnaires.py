"""Questionnaires read from TOML files, with reverse-scored items and sub-scales, and their scoring."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd

from traitlens.columns import RATER
from traitlens.problems import Problem, StudyError
from traitlens.study.toml_file import read_toml

BUILT_IN = Path(__file__).parent / "example_questionnaires"
NAME = r"[A-Za-z][A-Za-z0-9_]{0,23}"
"""Pattern of valid names of questionnaires, items and scales."""
MOST_ITEMS = 60
MOST_ANSWERS = 11
KEYS = ("language", "title", "instructions", "answers", "lowest", "items", "source")
ITEM_KEYS = ("name", "text", "scale", "reverse")
TEXT_KEYS = ("title", "instructions", "answers", "items")


@dataclass(frozen=True)
class Item:
    """An item of a questionnaire.

    Parameters
    ----------
    name : str
        Name of the item.
    scale : str
        Name of the item's sub-scale.
    reverse : bool
        Whether the item is reverse-scored.
    """

    name: str
    scale: str
    reverse: bool


@dataclass(frozen=True)
class Questionnaire:
    """A questionnaire.

    Parameters
    ----------
    name : str
        Name of the questionnaire and of its file.
    items : tuple of Item
        The items, in the order of the page.
    lowest, highest : int
        Numbers of the first and the last answer.
    texts : dict
        Texts keyed by language: title, instructions, answers (list), and items (text by name).
    source : str
        Reference of the questionnaire.
    """

    name: str
    items: tuple[Item, ...]
    lowest: int
    highest: int
    texts: dict[str, dict[str, Any]]
    source: str

    @property
    def scales(self) -> tuple[str, ...]:
        """Names of the sub-scales, in the order of the items."""
        return tuple(dict.fromkeys(item.scale for item in self.items))

    def find_fault(self, answers: object) -> str | None:
        """Return the reason why answers from a page are not valid, or None.

        Valid answers are a mapping from names of items to numbers of answers, or to None for items left out.
        """
        if not isinstance(answers, Mapping):
            return "the answers of the questionnaire are missing"
        names = {item.name for item in self.items}
        if not set(answers) <= names:
            return "there is no such item"
        for value in answers.values():
            if value is None:
                continue
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or not self.lowest <= value <= self.highest:
                return "the answer to an item is off its scale"
        return None

    def score(self, answers: Mapping[str, int | None]) -> dict[str, float]:
        """Compute the mean of each sub-scale's items, with reverse scoring; NaN if an item was left out.

        Examples
        --------
        >>> items = (Item("a", "calm", False), Item("b", "calm", True))
        >>> Questionnaire("mood", items, 1, 5, {}, "").score({"a": 4, "b": 1})
        {'mood_calm': 4.5}
        """
        scores = {}
        for scale in self.scales:
            values = []
            for item in self.items:
                if item.scale == scale:
                    value = answers.get(item.name)
                    if value is not None and item.reverse:
                        value = self.lowest + self.highest - value
                    values.append(float("nan") if value is None else float(value))
            scores[f"{self.name}_{scale}"] = sum(values) / len(values)
        return scores


def read_questionnaires(
    folder: Path, names: Sequence[str], languages: Sequence[str]
) -> tuple[Questionnaire, ...]:
    """Read and check a study's questionnaires.

    Parameters
    ----------
    folder : Path
        The study folder, with files `questionnaires/NAME.toml`; a missing file may be built into traitlens.
    names : sequence of str
        Names of the questionnaires.
    languages : sequence of str
        Languages of the study, in which every questionnaire must be complete.

    Raises
    ------
    StudyError
        If the files have faults, with all of them.
    """
    problems: list[Problem] = []
    read = []
    for name in names:
        file = f"questionnaires/{name}.toml"
        path = Path(folder) / file
        if not re.fullmatch(NAME, name):
            advice = "use letters, digits and _, 24 at most"
            problems.append(Problem(f"{name!r} cannot be the name of a questionnaire", advice, "study.toml"))
            continue
        if not path.exists():
            path = BUILT_IN / f"{name}.toml"
        if not path.exists():
            known = ", ".join(sorted(one.stem for one in BUILT_IN.glob("*.toml")))
            problems.append(Problem("is missing", f"write it, or use a built-in one: {known}", file))
            continue
        try:
            content = read_toml(path)
        except (OSError, tomllib.TOMLDecodeError) as error:
            problems.append(Problem(f"cannot be read ({error})", "correct it", file))
            continue
        faults = [Problem(what, advice, file) for what, advice in _find_faults(content, languages)]
        problems += faults
        if not faults:
            read.append(_make_questionnaire(name, content, languages))
    if problems:
        raise StudyError(problems)
    return tuple(read)


def _find_faults(content: Mapping[str, Any], languages: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Yield a description and advice for each fault in the content of a questionnaire's file."""
    for key in content:
        if key not in KEYS and not isinstance(content[key], Mapping):
            yield f"unknown key {key!r}", f"known keys: {', '.join(KEYS)}, and a section for each language"
    for key in ("title", "instructions"):
        if not isinstance(content.get(key), str):
            yield f"{key} is missing", "write it as text in quotes"
    answers = content.get("answers")
    if not _are_texts(answers) or not 2 <= len(answers) <= MOST_ANSWERS:
        yield "answers is not a list of texts", f"write 2 to {MOST_ANSWERS} answers, from the lowest number"
    lowest = content.get("lowest", 1)
    if isinstance(lowest, bool) or not isinstance(lowest, int) or not 0 <= lowest <= 1:
        yield "lowest is neither 0 nor 1", "write the number of the first answer"
    items = content.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_ITEMS:
        yield "items are missing", f"write 1 to {MOST_ITEMS} sections [[items]]"
        return
    names = []
    for number, item in enumerate(items, start=1):
        if not isinstance(item, Mapping) or set(item) - set(ITEM_KEYS):
            yield f"item {number} has unknown keys", f"known keys: {', '.join(ITEM_KEYS)}"
            continue
        for key in ("name", "scale"):
            if not isinstance(item.get(key), str) or not re.fullmatch(NAME, item[key]):
                yield f"{key} of item {number} is not a name", "use letters, digits and _, 24 at most"
        if not isinstance(item.get("text"), str):
            yield f"item {number} has no text", "add it"
        if not isinstance(item.get("reverse", False), bool):
            yield f"reverse of item {number} is neither true nor false", "write reverse = true"
        names.append(item.get("name"))
    if len(set(map(str, names))) < len(names):
        yield "two items have the same name", "rename one"
    for language in _translated_languages(content, languages):
        own = content.get(language)
        if not isinstance(own, Mapping) or set(own) - set(TEXT_KEYS):
            yield f"has no section [{language}]", f"write {', '.join(TEXT_KEYS)} in this language"
            continue
        if not all(isinstance(own.get(key), str) for key in ("title", "instructions")):
            yield f"title or instructions are missing in [{language}]", "add them"
        if (
            not _are_texts(own.get("answers"))
            or not _are_texts(answers)
            or len(own["answers"]) != len(answers)
        ):
            yield f"[{language}] has a different number of answers", "translate every answer"
        given = own.get("items")
        if not isinstance(given, Mapping) or set(given) != set(map(str, names)):
            yield (
                f"[{language}.items] does not name the same items as the sections [[items]]",
                "write NAME = text for each item",
            )
        elif not _are_texts(list(given.values())):
            yield f"[{language}.items] contains a value that is not text", "write the texts in quotes"


def _translated_languages(content: Mapping[str, Any], languages: Sequence[str]) -> list[str]:
    """Return the study's languages into which a questionnaire must be translated."""
    own = content.get("language", languages[0])
    return [language for language in languages if language != own]


def _are_texts(values: object) -> TypeGuard[list[str]]:
    """Return whether a value is a list of strings."""
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _make_questionnaire(name: str, content: Mapping[str, Any], languages: Sequence[str]) -> Questionnaire:
    """Create a questionnaire from the checked content of its file."""
    items = tuple(Item(one["name"], one["scale"], one.get("reverse", False)) for one in content["items"])
    own = {key: content[key] for key in ("title", "instructions", "answers")}
    texts = {language: dict(content[language]) for language in _translated_languages(content, languages)}
    for language in set(languages) - set(texts):
        texts[language] = {**own, "items": {one["name"]: one["text"] for one in content["items"]}}
    lowest = content.get("lowest", 1)
    highest = lowest + len(content["answers"]) - 1
    return Questionnaire(name, items, lowest, highest, texts, str(content.get("source", "")))


def describe_questionnaires(questionnaires: Sequence[Questionnaire]) -> dict[str, Any]:
    """Return what pages need to know about questionnaires, by name: lowest answer, items and texts."""
    return {
        one.name: {"lowest": one.lowest, "items": [item.name for item in one.items], "texts": one.texts}
        for one in questionnaires
    }


def score_answers(
    answers: Iterable[Mapping[str, Any]], questionnaires: Sequence[Questionnaire]
) -> pd.DataFrame:
    """Compute the scores of all raters on all sub-scales.

    Parameters
    ----------
    answers : iterable of mapping
        Answers with the keys participant, questionnaire, item and answer (None: left out).
    questionnaires : sequence of Questionnaire
        The questionnaires.

    Returns
    -------
    DataFrame
        A row per rater, with the column rater and a column for each sub-scale (the mean of its items; NaN if
        an item was left out).
    """
    given: dict[str, dict[str, dict[str, int | None]]] = {}
    for row in answers:
        filled = given.setdefault(row["participant"], {}).setdefault(row["questionnaire"], {})
        filled[row["item"]] = row["answer"]
    columns = [f"{one.name}_{scale}" for one in questionnaires for scale in one.scales]
    rows = []
    for participant, own in given.items():
        scores: dict[str, Any] = {RATER: participant}
        for one in questionnaires:
            scores |= one.score(own.get(one.name, {}))
        rows.append(scores)
    return pd.DataFrame(rows, columns=[RATER, *columns])
