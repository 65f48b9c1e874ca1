"""The commented study.toml agrees with the settings classes, setting by setting."""

import json
import re
import time
import tomllib
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from traitlens.problems import TraitlensError
from traitlens.study import settings_file
from traitlens.study.settings import Settings
from traitlens.study.settings_file import begin_study, describe_settings, read_settings, settings_template

SECTIONS = {key: type(value) for key, value in Settings() if isinstance(value, BaseModel)}
CLASSES = [Settings, *SECTIONS.values()]


def test_read_again_it_gives_the_defaults():
    assert Settings.model_validate(tomllib.loads(settings_template('My "study"'))) == Settings(
        name='My "study"'
    )


def test_every_setting_stands_in_it_and_every_example_is_valid():
    text = re.sub(r"^#(\w+ = )", r"\1", settings_template("study"), flags=re.MULTILINE)
    values = tomllib.loads(text)
    assert set(values) == set(Settings.model_fields)
    for key, section in SECTIONS.items():
        assert set(values[key]) == set(section.model_fields), key
    full = Settings.model_validate(values)
    unset = [f"{key}.{name}" for key in SECTIONS for name, value in getattr(full, key) if value is None]
    assert unset == []
    assert full.scale is not None


@pytest.mark.parametrize("kind", CLASSES)
def test_every_setting_is_explained(kind):
    described = describe_settings(kind)
    explained = {name for name, meaning in described.items() if meaning}
    assert explained >= {key for key in kind.model_fields if key not in SECTIONS}
    assert set(described) <= set(kind.model_fields)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_explanation_stands_in_the_file(kind):
    text = " ".join(settings_template("study").replace("\n# ", " ").split())
    for name, meaning in describe_settings(kind).items():
        if name not in SECTIONS:
            assert meaning in text, name


def test_limits_are_told():
    assert "(whole number at least 64 and at most 1024)" in settings_template("study").replace("\n# ", " ")


def test_a_study_that_was_begun_is_left_alone(tmp_path):
    (tmp_path / "study.toml").write_text("seed = 5\n")
    with pytest.raises(TraitlensError, match="already exists"):
        begin_study(tmp_path)
    assert (tmp_path / "study.toml").read_text() == "seed = 5\n"


def test_every_kind_of_setting_can_be_told_and_read_again():
    told = {
        dict[
            Literal["image", "eyes"], Annotated[float, Field(gt=0)]
        ]: 'number by name, one of "image", "eyes"',
        tuple[str, ...]: "list of texts",
        tuple[float, float] | None: "2 numbers",
        Literal["a", "b"]: 'one of "a", "b"',
    }
    for annotation, words in told.items():
        assert settings_file._describe_type(annotation).startswith(words)
    for value in ({"image": 1.0, "eyes": 0.5}, ["x\\d+"], [1, 7], 'a "name"', True):
        assert tomllib.loads(f"key = {settings_file.to_toml(value)}")["key"] == value


@pytest.mark.parametrize(
    "text",
    [
        "name = " + "[" * 100_000,
        "x = " + "{a=" * 20_000,
        "seed = " + "9" * 5000,
        "a" + ".a" * 50_000 + " = 1",
        "[" + "a." * 30_000 + "a]",
        "x = {" + " 'a' . " * 30_000 + "a = 1}",
        "name = " + repr("x" * 2**21),
        "name = '\x00'",
    ],
)
def test_odd_files_end_in_one_line_and_little_time(tmp_path, text):
    (tmp_path / "study.toml").write_text(text)
    start = time.monotonic()
    _, [problem] = read_settings(tmp_path / "study.toml")
    assert "cannot be read as TOML" in problem.what
    assert len(str(problem)) < 500
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("section", "setting", "value"),
    [
        ("", "scale", "[-inf, inf]"),
        ("", "scale", "[0, 1e300]"),
        ("", "seed", "4294967296"),
        ("collecting", "step", "1e-320"),
        ("collecting", "step", "nan"),
        ("readout", "views", "{image = inf}"),
        ("readout", "whiten", "inf"),
        ("comparison", "permutations", "1000000000000"),
        ("cleaning", "fastest", "inf"),
        ("folds", "number", "1000000"),
    ],
)
def test_numbers_have_bounds(tmp_path, section, setting, value):
    head = f"[{section}]\n" if section else ""
    (tmp_path / "study.toml").write_text(f"{head}{setting} = {value}\n")
    _, problems = read_settings(tmp_path / "study.toml")
    assert any(setting in problem.what for problem in problems)


def test_a_long_description_is_no_deep_key(tmp_path):
    text = "One. Two. " * 200 + "(a [b] {c}) " * 200
    (tmp_path / "study.toml").write_text(f"description = {json.dumps(text)}\n")
    settings, problems = read_settings(tmp_path / "study.toml")
    assert (settings.description, problems) == (text, [])
