"""The commented study.toml agrees with the settings classes, setting by setting."""

import re
import tomllib

import pytest
from pydantic import BaseModel

from traitlens.problems import TraitlensError
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
