"""The commented study.toml agrees with the settings classes, setting by setting."""

import re
import tomllib
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from traitlens.problems import TraitlensError
from traitlens.study import settings_file
from traitlens.study.settings import Settings
from traitlens.study.settings_file import begin_study, describe_settings, write_settings

SECTIONS = {key: type(value) for key, value in Settings() if isinstance(value, BaseModel)}
CLASSES = [Settings, *SECTIONS.values()]


def test_read_again_it_gives_the_defaults():
    assert Settings.model_validate(tomllib.loads(write_settings('My "study"'))) == Settings(name='My "study"')


def test_every_setting_stands_in_it_and_every_example_is_valid():
    text = re.sub(r"^#(\w+ = )", r"\1", write_settings("study"), flags=re.MULTILINE)
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
    text = " ".join(write_settings("study").replace("\n# ", " ").split())
    for name, meaning in describe_settings(kind).items():
        if name not in SECTIONS:
            assert meaning in text, name


def test_limits_are_told():
    assert "(whole number at least 64 and at most 1024)" in write_settings("study").replace("\n# ", " ")


def test_a_study_that_was_begun_is_left_alone(tmp_path):
    (tmp_path / "study.toml").write_text("seed = 5\n")
    with pytest.raises(TraitlensError, match="is there already"):
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
        assert settings_file._type(annotation).startswith(words)
    for value in ({"image": 1.0, "eyes": 0.5}, ["x\\d+"], [1, 7], 'a "name"', True):
        assert tomllib.loads(f"key = {settings_file.to_toml(value)}")["key"] == value
