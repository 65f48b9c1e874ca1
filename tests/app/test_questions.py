"""Six questions in place of settings."""

import pytest

from traitlens.app.questions import QUESTIONS, read_answers, write_answers
from traitlens.app.settings_editing import change_setting
from traitlens.problems import TraitlensError
from traitlens.study.settings import Settings
from traitlens.study.settings_file import begin_study, read_settings


def test_there_are_six_questions_and_their_first_answers_are_the_defaults():
    assert len(QUESTIONS) == 6
    for question in QUESTIONS:
        for (section, name), value in question.answers[0].settings.items():
            assert getattr(getattr(Settings(), section), name) == value


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
@pytest.mark.parametrize("begun", ["empty", "explained"])
def test_every_answer_is_written_and_read_and_changes_nothing_else(tmp_path, question, begun):
    if begun == "explained":
        begin_study(tmp_path)
    else:
        (tmp_path / "study.toml").write_text('name = "Faces"\nscale = [1, 7]\n')
    before = read_settings(tmp_path / "study.toml")[0].model_dump()
    for answer in (*question.answers, question.answers[0]):
        write_answers(tmp_path, {question.name: answer.name})
        assert read_answers(tmp_path)[question.name] == answer.name
        settings, problems = read_settings(tmp_path / "study.toml")
        assert problems == []
    assert settings.model_dump() == before


def test_what_is_no_answer_is_shown_as_none(tmp_path):
    (tmp_path / "study.toml").write_text("[comparison]\npermutations = 77\n")
    assert read_answers(tmp_path)["purpose"] == ""


def test_a_file_that_cannot_be_changed_safely_is_left_as_it_is(tmp_path):
    text = "comparison = { permutations = 10 }\n"
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(TraitlensError, match=r"study\.toml"):
        write_answers(tmp_path, {"purpose": "look"})
    assert (tmp_path / "study.toml").read_text() == text


def test_settings_above_all_sections_are_changed_there():
    assert change_setting("seed = 1\n[run]\n", "", "seed", 2) == "seed = 2\n[run]\n"
    assert change_setting("[run]\nseed = 1\n", "", "seed", 2) == "seed = 2\n[run]\nseed = 1\n"
    assert change_setting("seed = 1\n", "", "seed", None) == "\n"


def test_comments_stay():
    text = "# mine\n[run]  # what is kept\n# all of them\nkeep_maps = 'all'\n\n[plan]\ntests = []\n"
    changed = change_setting(text, "run", "keep_maps", "none")
    assert changed == text.replace("'all'", '"none"')
