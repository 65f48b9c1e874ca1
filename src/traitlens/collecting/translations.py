"""Participants' texts in one TOML file per language; a study can override the built-in texts."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from traitlens.problems import Problem, StudyError, nearest
from traitlens.study.toml_file import read_toml

BUILT_IN = Path(__file__).parent / "texts"
FREE = ("groups", "traits")
"""Sections whose keys are names of the study's groups and traits."""

Texts = dict[str, Any]


def read_texts(
    folder: Path, languages: Sequence[str], groups: Sequence[str], traits: Sequence[str]
) -> dict[str, Texts]:
    """Read the participants' texts in the languages of a study.

    Parameters
    ----------
    folder : Path
        The study folder; its `texts/LANGUAGE.toml` overrides built-in texts of the language, or provides all
        texts of another language.
    languages : sequence of str
        Codes of the languages, such as "en".
    groups, traits : sequence of str
        Names of the study's groups and traits.

    Returns
    -------
    dict of str to dict
        Texts keyed by language; each trait has question, definition, low and high.

    Raises
    ------
    StudyError
        If texts are missing, unknown or of the wrong type, with all of them.
    """
    texts, problems = {}, []
    for language in languages:
        own = Path(folder) / "texts" / f"{language}.toml"
        ours = BUILT_IN / f"{language}.toml"
        base = read_toml(ours) if ours.exists() else {}
        changes: Texts = {}
        if own.exists():
            try:
                changes = read_toml(own)
            except (OSError, tomllib.TOMLDecodeError) as error:
                problems.append(Problem(f"cannot be read ({error})", "correct it", f"texts/{own.name}"))
                continue
        elif not base:
            known = ", ".join(sorted(path.stem for path in BUILT_IN.glob("*.toml")))
            advice = f"write it; the languages built into traitlens are examples: {known}"
            problems.append(Problem("is missing", advice, f"texts/{own.name}"))
            continue
        merged = _merge(base, changes)
        problems += check_texts(merged, f"texts/{own.name}", traits)
        texts[language] = merged
    if problems:
        raise StudyError(problems)
    return {language: _add_groups_and_traits(text, groups, traits) for language, text in texts.items()}


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Texts:
    """Return built-in texts in which a study's texts replace those with the same keys."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def check_texts(texts: Mapping[str, Any], file: str, traits: Sequence[str]) -> list[Problem]:
    """Compare keys and types of the texts in a language with the English texts, and return the problems.

    Parameters
    ----------
    texts : mapping
        The texts.
    file : str
        Name of the file, for messages.
    traits : sequence of str
        The study's traits, whose sections may contain question, definition, low and high.
    """
    pattern = read_toml(BUILT_IN / "en.toml")
    own_traits = texts.get("traits", {})
    problems = [
        Problem(f"traits.{name} is not a trait of the study", f"traits: {', '.join(traits)}", file)
        for name in own_traits
        if name not in traits
    ]
    problems += [
        fault for part in own_traits.values() for fault in _compare(part, pattern["trait"], "", file)
    ]
    without = {key: value for key, value in texts.items() if key not in FREE}
    expected = {key: value for key, value in pattern.items() if key not in FREE}
    return problems + _compare(without, expected, "", file, whole=True)


def _compare(
    texts: Any, pattern: Mapping[str, Any], place: str, file: str, whole: bool = False
) -> list[Problem]:
    """Return problems of unknown keys and wrong types and, if the texts must be complete, of missing keys."""
    if not isinstance(texts, Mapping):
        return [Problem(f"{place or 'it'} is not a section with texts", "write [section] above it", file)]
    problems = []
    for key, value in texts.items():
        name = f"{place}.{key}" if place else key
        if key not in pattern:
            near = nearest(key, pattern, 1)
            advice = f"did you mean {near[0]!r}?" if near else f"known texts: {', '.join(pattern)}"
            problems.append(Problem(f"unknown text {name!r}", advice, file))
        elif isinstance(pattern[key], Mapping):
            problems += _compare(value, pattern[key], name, file, whole)
        elif isinstance(pattern[key], list):
            if not (isinstance(value, list) and all(isinstance(line, str) for line in value)):
                problems.append(Problem(f"{name!r} is not a list of texts", "write [...]", file))
        elif not isinstance(value, str):
            problems.append(Problem(f"{name!r} is not a text", "put it into quotes", file))
    missing = [key for key in pattern if whole and key not in texts]
    problems += [
        Problem(f"text {f'{place}.{key}' if place else key!r} is missing", "add it", file) for key in missing
    ]
    return problems


def _add_groups_and_traits(texts: Texts, groups: Sequence[str], traits: Sequence[str]) -> Texts:
    """Add the texts of every group and trait; a missing text of a group is its name."""
    own = texts.get("traits", {})
    return {
        **{key: value for key, value in texts.items() if key != "trait"},
        "groups": {group: texts.get("groups", {}).get(group, group) for group in groups},
        "traits": {
            trait: {
                key: fill(text, trait=trait) for key, text in {**texts["trait"], **own.get(trait, {})}.items()
            }
            for trait in traits
        },
    }


def check_translations(
    folder: Path, languages: Sequence[str], groups: Sequence[str], traits: Sequence[str]
) -> list[Problem]:
    """Return a problem for each trait or group that is not translated.

    The names in `study.toml` are assumed to be in the first language. Every further language needs
    `question`, `low` and `high` for each trait, and a text for each group that participants can choose.
    """
    problems = []
    for language in languages[1:]:
        file = f"texts/{language}.toml"
        own = Path(folder) / file
        texts = read_toml(own) if own.exists() else {}
        for trait in traits:
            given = texts.get("traits", {}).get(trait, {})
            missing = [key for key in ("question", "low", "high") if not given.get(key)]
            if missing:
                what = f"trait {trait!r} has no {', '.join(missing)} in this language"
                problems.append(Problem(what, f"add it below [traits.{trait}]", file))
        problems += [
            Problem(f"group {group!r} has no words in this language", "add them below [groups]", file)
            for group in (groups if len(groups) > 1 else ())
            if not texts.get("groups", {}).get(group)
        ]
    return problems


def fill(text: str, **values: object) -> str:
    """Replace the placeholders in a text by values; unknown placeholders stay.

    Examples
    --------
    >>> fill("{done} of {total} {faces}", done=3, total=60)
    '3 of 60 {faces}'
    """
    return re.sub(r"\{(\w+)\}", lambda place: str(values.get(place[1], place[0])), text)
