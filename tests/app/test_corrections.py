"""Single cells corrected in the app; faults alike shown together; messages in the app's words."""

import re

import openpyxl
import pandas as pd
import pytest

from traitlens.app.corrections import correct_cell, write_corrected
from traitlens.app.import_messages import reword_for_app
from traitlens.app.steps.check_step import check_workspace
from traitlens.app.steps.fault_list import group_faults
from traitlens.app.workspace import Correction
from traitlens.problems import StudyError, TraitlensError
from traitlens.study.formats import read_cells
from traitlens.study.reading import Study


def spoil(workspace, tmp_path, suffix, blank=False):
    """Write a table with two cells off the scale, the first row below a blank one where that is wanted."""
    table = pd.read_excel(workspace.table, engine="calamine").astype(object)
    table.loc[3, "AUT_02"], table.loc[7, "NON_01"] = 70, "seven"
    if blank:
        table = pd.concat([table.head(2), pd.DataFrame([dict.fromkeys(table, None)]), table.iloc[2:]])
    file = tmp_path / f"file{suffix}"
    table.to_csv(file, index=False) if suffix == ".csv" else table.to_excel(file, index=False)
    workspace.save_table(f"warm{suffix}", file)


@pytest.mark.parametrize(
    ("suffix", "blank"), [(".xlsx", False), (".csv", False), (".csv", True), (".xlsx", True)]
)
def test_cells_are_corrected_in_a_copy_and_the_table_stays(workspace, roles, tmp_path, suffix, blank):
    spoil(workspace, tmp_path, suffix, blank)
    original = workspace.table.read_bytes()
    workspace.change(roles=roles, trait="warm", groups_from_names=True, scale=(1.0, 9.0))
    found = check_workspace(workspace)
    assert isinstance(found, StudyError)
    cells = {(one.row, one.column) for one in found.problems}
    assert cells == {(5 + blank, "AUT_02"), (9 + blank, "NON_01")}
    for problem in found.problems:
        before = "70" if problem.column == "AUT_02" else "seven"
        correct_cell(workspace, Correction(row=problem.row, column=problem.column, before=before, after="9"))
        correct_cell(workspace, Correction(row=problem.row, column=problem.column, before=before, after="7"))
    study = check_workspace(workspace)
    assert isinstance(study, Study), study
    assert workspace.table.read_bytes() == original
    rating = study.ratings[(study.ratings["rater"] == "AUT_02") & study.ratings["image"].str.contains("004")]
    assert rating["rating"].tolist() == [7]
    listed = pd.read_csv(workspace.folder / "corrections.csv")
    assert listed["after"].tolist() == [7, 7]
    assert set(listed["before"].astype(str)) == {"70", "seven"}


def test_a_correction_to_nothing_leaves_the_cell_empty(workspace, tmp_path):
    correct_cell(workspace, Correction(sheet="Sheet1", row=2, column="AUT_01", before="6", after=""))
    assert read_cells(write_corrected(workspace)).loc[0, "AUT_01"] == ""
    assert openpyxl.load_workbook(write_corrected(workspace)).active["A2"].value == "face_001"


def test_a_cell_that_is_not_there_is_told(workspace):
    correct_cell(workspace, Correction(row=2, column="nowhere", before="", after="3"))
    with pytest.raises(TraitlensError, match="not in the table"):
        write_corrected(workspace)


def test_another_table_forgets_corrections(workspace, tmp_path):
    correct_cell(workspace, Correction(row=2, column="AUT_01", before="6", after=""))
    (tmp_path / "file").write_text("a,b\n1,2\n")
    workspace.save_table("new.csv", tmp_path / "file")
    assert workspace.choices.corrections == []
    assert write_corrected(workspace) == workspace.table


def test_faults_alike_stand_together(workspace, roles):
    workspace.change(roles=roles | {"years": "of rater"}, trait="warm", scale=(1.0, 9.0))
    found = check_workspace(workspace)
    groups = group_faults(list(found.problems))
    assert len(groups[0]) == 20
    assert len(groups) <= 3


@pytest.mark.parametrize(
    "text",
    ["correct it, or use --missing CODE", "use --missing -99, or --scale LOWEST HIGHEST if it is a rating",
     "remove one, name the column that numbers judgements 'repeat', or use --number-repeats",
     "use --by-number; where they count the rows of a loop & merge table", "say --image COLUMN",
     "24 identities by --identity image", "means no rating (--missing)"],
)  # fmt: skip
def test_options_of_the_command_line_become_fields_of_the_app(text):
    assert not re.search(r"--\w", reword_for_app(text))


def test_options_that_the_app_has_not_are_named_as_such():
    assert "command" in reword_for_app("use --files-are traits, groups, raters or parts")
