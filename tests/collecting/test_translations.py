"""Texts: each language whole, a study's changes checked, every trait and group with its words."""

import pytest

from traitlens.collecting.session_manager import open_sessions
from traitlens.collecting.translations import BUILT_IN, check_texts, check_translations, fill, read_texts
from traitlens.problems import StudyError


@pytest.mark.parametrize("language", sorted(path.stem for path in BUILT_IN.glob("*.toml")))
def test_our_languages_are_whole(language, tmp_path):
    texts = read_texts(tmp_path, [language], ["a"], ["warm"])[language]
    assert check_texts({**texts, "trait": texts["traits"]["warm"]}, "file", ["warm"]) == []
    assert "warm" in texts["traits"]["warm"]["question"]
    assert texts["groups"] == {"a": "a"}


def test_a_study_changes_what_it_names_and_nothing_else(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "en.toml").write_text(
        '[groups]\na = "I am autistic."\n[traits.warm]\nquestion = "Is this person warm?"\n'
        '[end]\ntitle = "Done"\n'
    )
    texts = read_texts(tmp_path, ["en"], ["a", "b"], ["warm", "strong"])["en"]
    assert texts["groups"] == {"a": "I am autistic.", "b": "b"}
    assert texts["traits"]["warm"]["question"] == "Is this person warm?"
    assert texts["traits"]["warm"]["low"] == "not at all warm"
    assert texts["traits"]["strong"]["question"] == "How strong does this person look?"
    assert texts["end"]["title"] == "Done"
    assert texts["consent"]["title"] == "Before you start"


def test_every_fault_of_a_studys_texts_is_told(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "en.toml").write_text(
        '[consnt]\ntext = ["a"]\n[end]\ntitel = "Done"\ntext = "one"\n[traits.wram]\nlow = "a"\n'
    )
    (tmp_path / "texts" / "fr.toml").write_text('language = "français"\n')
    with pytest.raises(StudyError) as caught:
        read_texts(tmp_path, ["en", "fr", "xx"], [], ["warm"])
    told = str(caught.value)
    for words in (
        "texts/en.toml: unknown text 'consnt'; did you mean 'consent'?",
        "unknown text 'end.titel'; did you mean 'title'?",
        "'end.text' is not a list of texts",
        "traits.wram is not a trait of the study; traits: warm",
        "texts/fr.toml: text 'consent' is missing",
        "texts/xx.toml: is missing",
    ):
        assert words in told


def test_a_further_language_without_words_for_traits_and_groups_is_refused(make_study):
    folder = make_study(settings='languages = ["en", "de"]\n')
    (folder / "texts").mkdir()
    (folder / "texts" / "de.toml").write_text(
        '[groups]\nautistic = "Ich bin autistisch."\n[traits.warm]\nquestion = "Wie warm?"\nlow = "kalt"\n'
    )
    with pytest.raises(StudyError) as caught:
        open_sessions(folder)
    assert [problem.what for problem in caught.value.problems] == [
        "trait 'warm' has no high in this language",
        "trait 'critical' has no question, low, high in this language",
        "group 'non-autistic' has no words in this language",
    ]
    assert check_translations(folder, ["en"], ["a", "b"], ["warm"]) == []
    assert (
        len(check_translations(folder, ["en", "de"], ["only"], ["warm"])) == 1
    )  # a single group is never asked


def test_braces_that_name_nothing_stay():
    assert fill("{a} {b}", a=1) == "1 {b}"
