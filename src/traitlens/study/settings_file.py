"""Reading `study.toml` with all its errors, and writing a `study.toml` that explains every setting."""

import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from traitlens.problems import Problem, TraitlensError, nearest
from traitlens.storage import atomic_write
from traitlens.study.settings import Settings
from traitlens.study.toml_file import read_toml

WIDTH = 96
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
"""Words for the limits of a number, by the name of the limit in pydantic."""

HEAD = (
    "Settings of a traitlens study, all at their defaults. Settings without a default are commented out by "
    "#. A setting that is left out has its default. The command `traitlens check` finds invalid settings."
)


def read_settings(path: Path) -> tuple[Settings, list[Problem]]:
    """Read `study.toml`.

    Parameters
    ----------
    path : Path
        The file; if it is missing, all settings have their defaults.

    Returns
    -------
    settings : Settings
        The settings, with defaults for invalid ones, so that the rest of the study can be checked.
    problems : list of Problem
        Every error in the file.
    """
    path = Path(path)
    if not path.exists():
        return Settings(name=path.parent.resolve().name), []
    try:
        values = read_toml(path)
    except (OSError, tomllib.TOMLDecodeError) as error:
        return Settings(), [Problem(f"cannot be read as TOML ({error})", "correct the file", path.name)]
    values.setdefault("name", path.parent.resolve().name)
    try:
        return Settings.model_validate(values), []
    except ValidationError as error:
        faults = error.errors()
    return _drop_invalid(values, [fault["loc"] for fault in faults]), [
        _as_problem(f, path.name) for f in faults
    ]


def _drop_invalid(values: dict[str, Any], places: list[tuple[int | str, ...]]) -> Settings:
    """Return the settings with defaults for the invalid ones, which are given by their keys."""
    for place in places:
        section: Any = values
        for key in place[:-1]:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.pop(place[-1] if place else None, None)
        elif place:
            values.pop(str(place[0]), None)
    try:
        return Settings.model_validate(values)
    except ValidationError:
        return Settings()


def _as_problem(fault: Any, file: str) -> Problem:
    """Convert an error of pydantic to a problem with advice."""
    keys = [str(part) for part in fault["loc"]]
    setting = ".".join(keys)
    if fault["type"] == "extra_forbidden":
        section: type[BaseModel] = Settings
        for key in keys[:-1]:
            annotation = section.model_fields[key].annotation
            assert isinstance(annotation, type)
            section = annotation
        near = nearest(keys[-1], section.model_fields, 1)
        advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(section.model_fields)}"
        return Problem(f"unknown setting {setting!r}", advice, file)
    return Problem(f"setting {setting!r} is {fault['input']!r}: {fault['msg']}", "correct it", file)


def begin_study(folder: Path) -> Path:
    """Create the folder of a new study with an empty folder `images` and a commented `study.toml`.

    Parameters
    ----------
    folder : Path
        The study's folder, which may exist.

    Returns
    -------
    Path
        The new `study.toml`.

    Raises
    ------
    TraitlensError
        If the folder already has a `study.toml`.
    """
    target = Path(folder) / "study.toml"
    if target.exists():
        raise TraitlensError(Problem("already exists", "edit it, or name a new folder", str(target)))
    (Path(folder) / "images").mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as temporary:
        temporary.write_text(settings_template(Path(folder).resolve().name), encoding="utf-8")
    return target


def settings_template(name: str) -> str:
    r"""Return the content of a `study.toml` with every setting at its default, explained in comments.

    Returns
    -------
    str
        The settings as TOML.

    Examples
    --------
    >>> print(settings_template("Faces").split("\n\n")[1])
    # Name of the study; if not set, the folder's name. (text)
    name = "Faces"
    """
    sections = {key: field for key, field in Settings.model_fields.items() if _is_section(field)}
    lines = [*_wrap_comment(HEAD), *_explain_settings(Settings, Settings(name=name), leave_out=sections)]
    for key in sections:
        section = getattr(Settings(), key)
        lines += [
            "",
            "",
            f"[{key}]",
            *_wrap_comment(_read_summary(type(section))),
            *_explain_settings(type(section), section),
        ]
    return "\n".join(lines) + "\n"


def _is_section(field: FieldInfo) -> bool:
    """Return whether a field of the settings is a section."""
    return isinstance(field.default, BaseModel)


def _explain_settings(kind: type[BaseModel], values: BaseModel, leave_out: Any = ()) -> Iterator[str]:
    """Yield the lines of TOML for one section: each setting below its explanation."""
    described = describe_settings(kind)
    message = ""
    for key, field in kind.model_fields.items():
        if key in leave_out:
            continue
        meaning = described.get(key, "")
        if meaning != message:
            yield ""
            yield from _wrap_comment(
                f"{meaning} ({_describe_field(field)})" if meaning else _describe_field(field)
            )
        message = meaning
        value = getattr(values, key)
        yield (
            f"{key} = {to_toml(value)}"
            if value is not None
            else f"#{key} = {to_toml(_example_value(key, field))}"
        )


def describe_settings(kind: type[BaseModel]) -> dict[str, str]:
    """Read the explanation of each setting from the docstring of its class.

    Parameters
    ----------
    kind : type
        A class whose docstring lists the settings as parameters.

    Returns
    -------
    dict of str to str
        Explanation of each setting; settings that are described together have the same explanation.

    Examples
    --------
    >>> from traitlens.study.settings import FoldSettings
    >>> describe_settings(FoldSettings)["number"]
    'Number of folds.'
    """
    text = inspect.getdoc(kind) or ""
    meanings: dict[str, str] = {}
    for names, meaning in re.findall(r"^(\w[\w, ]*) : .*\n((?:[ ]{4}.*\n?)+)", text, re.MULTILINE):
        meanings |= dict.fromkeys(names.split(", "), " ".join(meaning.split()))
    return meanings


def _read_summary(kind: type[BaseModel]) -> str:
    """Return the first line of the docstring of a section's class."""
    return (inspect.getdoc(kind) or "").split("\n", 1)[0]


def _describe_field(field: FieldInfo) -> str:
    """Describe the type and the limits of a setting in words."""
    limits = [
        f"{message} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, message in BOUNDS.items()
        if hasattr(limit, name)
    ]
    return " ".join([_describe_type(field.annotation), " and ".join(limits)]).strip()


def _describe_type(annotation: Any) -> str:
    """Describe the type of a setting in words."""
    kind, parts = get_origin(annotation), get_args(annotation)
    if kind is Literal:
        return "one of " + ", ".join(map(to_toml, parts))
    if kind is Annotated:
        return _describe_type(parts[0])
    if kind in (Union, UnionType):
        return " or ".join(_describe_type(part) for part in parts if part is not NoneType)
    if kind is tuple:
        several = f"{_describe_type(parts[0]).removesuffix('s')}s"
        return f"list of {several}" if parts[1] is ... else f"{len(parts)} {several}"
    if kind is dict:
        names = "" if parts[0] is str else f", {_describe_type(parts[0])}"
        return f"{_describe_type(parts[1])} by name{names}"
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}[annotation]


def _example_value(key: str, field: FieldInfo) -> Any:
    """Return an example value for a setting without a default."""
    return field.examples[0] if field.examples else key


def to_toml(value: Any) -> str:
    """Format a value as TOML.

    Parameters
    ----------
    value : any
        String, number or Boolean, or lists and mappings of these.

    Examples
    --------
    >>> print(to_toml({"kind": ["rating"], "scale": (1.0, 7.5)}))
    { "kind" = ["rating"], "scale" = [1, 7.5] }
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(to_toml(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{to_toml(key)} = {to_toml(item)}' for key, item in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)  # Basic strings have the same syntax in TOML and JSON.


def _wrap_comment(text: str) -> list[str]:
    """Wrap a text into lines of comments."""
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
