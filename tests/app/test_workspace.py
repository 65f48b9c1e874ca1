"""What was chosen is kept in the study's folder, and only there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traitlens.app import workspace as module
from traitlens.app.workspace import Workspace, add_to_recent_studies, is_inside, list_recent_studies
from traitlens.problems import TraitlensError


def test_choices_are_there_again_when_the_study_is_opened_again(tmp_path):
    first = Workspace(tmp_path / "study")
    first.change(step="ratings", roles={"a": "image"}, scale=(1.0, 7.0), agreed=["yes"])
    assert Workspace(tmp_path / "study").choices == first.choices
    assert not list((tmp_path / "study" / ".app").glob("*partial*"))


@pytest.mark.parametrize("content", ["", "{", '{"step": "nowhere"}', "[]", "\0"])
def test_choices_that_cannot_be_read_are_put_aside(tmp_path, content):
    Workspace(tmp_path).change(trait="warm")
    (tmp_path / ".app" / "choices.json").write_text(content)
    again = Workspace(tmp_path)
    assert again.choices.trait == ""
    assert (tmp_path / ".app" / "choices.unreadable").read_text() == content


def test_another_table_forgets_what_was_chosen_for_the_one_before(tmp_path):
    study = Workspace(tmp_path / "study")
    study.change(roles={"a": "image"}, agreed=["x"], checked=True, trait="warm")
    (tmp_path / "file").write_text("a\n1")
    study.save_table("new.csv", tmp_path / "file")
    assert (study.choices.roles, study.choices.agreed, study.choices.checked) == ({}, [], False)
    assert study.table == study.folder / "original" / "new.csv"


@pytest.mark.parametrize(
    "name",
    ["../a.png", "/a.png", "a/../../b.png", "C:/a.png", "a\\b.png", ".hidden/a.png", "a//b.png", "",
     "a\0.png", "con:a.png", "x" * 2000 + ".png", "a /b.png"],
)  # fmt: skip
def test_pictures_and_tables_stay_inside_the_study(tmp_path, name):
    study = Workspace(tmp_path / "study")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(TraitlensError):
        study.save_picture(name, tmp_path / "file")
    with pytest.raises(TraitlensError):
        study.save_table(name, tmp_path / "file")
    assert not (tmp_path / "study" / "images").exists()


@given(st.text(max_size=40))
def test_no_name_leads_out_of_its_folder(name):
    if is_inside(name):
        assert ".." not in name.split("/")
        assert not name.startswith(("/", "\\"))


def test_what_is_neither_picture_nor_landmarks_is_left_out(tmp_path):
    study = Workspace(tmp_path / "study")
    for name, kept in (("a.png", True), ("b/c.JPG", True), ("a.tem", True), ("Thumbs.db", False)):
        (tmp_path / "file").write_bytes(b"x")
        assert study.save_picture(name, tmp_path / "file") is kept
    assert study.pictures == ["a.png", "b/c.JPG"]


def test_recent_studies_come_latest_first_and_those_that_are_gone_are_not_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_recent_file", lambda: tmp_path / "config" / "recent.json")
    assert list_recent_studies() == []
    folders = [tmp_path / f"study {number}" for number in range(10)]
    for folder in folders:
        folder.mkdir()
        add_to_recent_studies(folder)
    add_to_recent_studies(folders[5])
    assert list_recent_studies()[:2] == [folders[5], folders[9]]
    assert len(list_recent_studies()) == module.MOST_RECENT
    folders[5].rmdir()
    assert list_recent_studies()[0] == folders[9]
    (tmp_path / "config" / "recent.json").write_text(json.dumps(3))
    assert list_recent_studies() == []
