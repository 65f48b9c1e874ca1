"""The chosen table becomes the study's; faults leave the study as it was, doubts are asked."""

import os

import pandas as pd
import pytest

from traitlens.app.import_upload import ImportQuestion, import_chosen_table
from traitlens.app.questions import write_answers
from traitlens.app.steps.check_step import check_workspace
from traitlens.problems import StudyError, TraitlensError
from traitlens.study.accounts import read_account
from traitlens.study.reading import Study
from traitlens.study.settings_file import read_settings


def test_a_wrong_column_is_told_by_its_cells_and_mended_by_its_list(workspace, roles):
    workspace.change(roles=roles | {"years": "of rater"}, trait="warm", scale=(1.0, 9.0))
    found = check_workspace(workspace)
    assert isinstance(found, StudyError)
    assert {problem.column for problem in found.problems if problem.column} == {"years"}
    assert all("warm.xlsx" in str(problem.file) for problem in found.problems if problem.file)
    assert not (workspace.folder / "study.toml").exists()
    workspace.change(roles=roles, groups_from_names=True)
    study = check_workspace(workspace)
    assert isinstance(study, Study)
    assert workspace.choices.checked
    assert (study.groups, study.traits, len(study.images)) == (["AUT", "NON"], ["warm"], 24)
    assert study.settings.scale == (1, 9)
    assert read_account(workspace.folder).used == 288
    assert not (workspace.private / workspace.folder.name).exists()


def test_another_import_replaces_the_first_and_a_faulty_one_does_not(workspace, roles):
    workspace.change(roles=roles, trait="warm", groups_from_names=True)
    import_chosen_table(workspace)
    workspace.change(trait="kind", may_publish=True)
    import_chosen_table(workspace)
    study = Study.load(workspace.folder)
    assert study.traits == ["kind"]
    assert study.images["may_publish"].all()
    workspace.change(scale=(1.0, 2.0))
    with pytest.raises(StudyError):
        import_chosen_table(workspace)
    assert Study.load(workspace.folder).traits == ["kind"]


def test_what_is_in_doubt_is_asked_and_the_answer_remembered(workspace, roles, tmp_path):
    table = pd.read_excel(workspace.table, engine="calamine")
    table.loc[[2, 5], "AUT_01"] = -99
    table.to_excel(tmp_path / "file.xlsx", index=False)
    workspace.save_table("warm.xlsx", tmp_path / "file.xlsx")
    workspace.change(roles=roles, trait="warm", groups_from_names=True)
    with pytest.raises(ImportQuestion, match="-99") as doubt:
        import_chosen_table(workspace)
    workspace.change(agreed=[doubt.value.problems[0].what])
    assert import_chosen_table(workspace).left_out_cells == 2


def test_answers_stay_when_the_table_is_imported_again(workspace, roles):
    workspace.change(roles=roles, trait="warm", groups_from_names=True, answers={"keep": "none"})
    check_workspace(workspace)
    assert Study.load(workspace.folder).settings.run.keep_maps == "none"
    write_answers(workspace.folder, {"keep": "all"})
    workspace.change(answers={"keep": "sample"}, checked=False)
    check_workspace(workspace)
    assert Study.load(workspace.folder).settings.run.keep_maps == "sample"


def test_settings_that_were_written_by_hand_stay(workspace, roles):
    workspace.change(roles=roles, trait="warm", groups_from_names=True)
    check_workspace(workspace)
    by_hand = '[comparison]\nwithin = ["site"]\n\n[faces]\nregions = { "chin" = [1, 2, 3] }\n'
    file = workspace.folder / "study.toml"
    file.write_text(file.read_text().replace("seed = 0", "seed = 7\ndescription = 'mine'") + by_hand)
    workspace.change(trait="kind", checked=False)
    import_chosen_table(workspace)
    settings = read_settings(workspace.folder / "study.toml")[0]
    assert settings.comparison.within == ("site",)
    assert settings.faces.regions == {"chin": (1, 2, 3)}
    assert settings.traits == ("kind",)
    assert (settings.seed, settings.description) == (7, "mine")


def test_a_report_counts_until_settings_or_tables_change(workspace, roles):
    workspace.change(roles=roles, trait="warm", groups_from_names=True)
    check_workspace(workspace)
    assert not workspace.is_report_current
    workspace.results.mkdir()
    workspace.report.write_text("report")
    assert workspace.is_report_current
    os.utime(workspace.report, (1, 1))
    assert not workspace.is_report_current


def test_without_a_table_there_is_an_error_that_says_where_to_choose_one(workspace):
    workspace.change(table="")
    with pytest.raises(TraitlensError, match="choose one in the step Ratings"):
        import_chosen_table(workspace)
