"""Changes of single settings in `study.toml`; comments and all other lines stay as they are."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traitlens.problems import Problem, TraitlensError
from traitlens.storage import atomic_write
from traitlens.study.settings_file import to_toml
from traitlens.study.toml_file import read_toml

Setting = tuple[str, str]
"""Section and name of a setting; the section is "" for settings outside of sections."""


def write_settings(folder: Path, settings: Mapping[Setting, Any]) -> None:
    """Change settings in `study.toml` line by line, and check that nothing else changed.

    Parameters
    ----------
    folder : Path
        The study folder.
    settings : mapping
        New values keyed by (section, setting); None removes a setting.

    Raises
    ------
    TraitlensError
        If the file is written in a form that cannot be changed safely.
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
        if not _has_settings(temporary, wanted):
            what = "is written in a form that the app cannot change"
            raise TraitlensError(Problem(what, "edit the settings in the file yourself", file.name))


def _has_settings(file: Path, wanted: Mapping[str, Any]) -> bool:
    """Return whether a TOML file contains exactly the wanted settings."""
    try:
        return _without_empty_sections(read_toml(file)) == _without_empty_sections(wanted)
    except tomllib.TOMLDecodeError:
        return False


def _without_empty_sections(values: Mapping[str, Any]) -> dict[str, Any]:
    """Remove empty sections."""
    return {name: value for name, value in values.items() if value != {}}


def change_setting(text: str, section: str, name: str, value: Any) -> str:
    r"""Change one setting in the text of a TOML file.

    Parameters
    ----------
    text : str
        Text of the file.
    section : str
        Name of the section, which is added at the end if missing; "" for settings outside of sections.
    name : str
        Name of the setting.
    value : any
        New value; None removes the setting.

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
