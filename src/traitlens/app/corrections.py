"""Corrections of single cells: the uploaded table stays unchanged, and a corrected copy is imported."""

import csv
from pathlib import Path
from typing import Final

from traitlens.app.workspace import Correction, Workspace
from traitlens.problems import Problem, TraitlensError
from traitlens.storage import atomic_write
from traitlens.study.formats import read_sheets
from traitlens.study.identifiers import normal_text
from traitlens.study.tables import as_text
from traitlens.study.text_files import HEAD

FILE: Final = "corrections.csv"
"""Name of the file in the study folder that lists the corrections."""
TEXT: Final = frozenset({".csv", ".tsv", ".txt"})
CORRECTABLE: Final = TEXT | {".xlsx"}
"""Formats in which single cells can be corrected."""


def correct_cell(workspace: Workspace, correction: Correction) -> None:
    """Save a correction, replacing an earlier correction of the same cell."""
    others = [one for one in workspace.choices.corrections if one.cell != correction.cell]
    workspace.change(corrections=[*others, correction], checked=False)


def write_corrected(workspace: Workspace) -> Path:
    """Write the corrected copy of the uploaded table, and the list of corrections.

    Returns
    -------
    Path
        The table to import: the corrected copy, or the uploaded table if nothing was corrected.

    Raises
    ------
    TraitlensError
        If there is no table, or a corrected cell is not in the table.
    """
    table, corrections = workspace.table, workspace.choices.corrections
    if table is None:
        raise TraitlensError(Problem("there is no table of ratings", "choose one in the step Ratings"))
    if not corrections:
        return table
    target = workspace.private / "corrected" / table.name
    with atomic_write(target) as temporary:
        (_correct_text if table.suffix.lower() in TEXT else _correct_workbook)(table, temporary, corrections)
    with (
        atomic_write(workspace.folder / FILE) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["file", "sheet", "row", "column", "before", "after"])
        writer.writerows(
            [table.name, one.sheet, one.row, one.column, one.before, one.after] for one in corrections
        )
    return target


def _correct_text(table: Path, target: Path, corrections: list[Correction]) -> None:
    """Write a copy of a text table with corrected cells; empty lines remain, so row numbers do not change."""
    cells = read_sheets(table)[0].cells
    cells = cells.reindex(range(int(cells.index.max()) + 1), fill_value="")
    for one in corrections:
        if one.column not in cells or one.row - 2 not in cells.index:
            raise TraitlensError(_missing(table, one))
        cells.loc[one.row - 2, one.column] = one.after
    cells.to_csv(target, index=False)


def _correct_workbook(table: Path, target: Path, corrections: list[Correction]) -> None:
    """Write a copy of a workbook with corrected cells; formulas are replaced by their stored values."""
    from openpyxl import load_workbook

    book = load_workbook(table, data_only=True)
    for one in corrections:
        sheet = book[one.sheet] if one.sheet in book.sheetnames else book.worksheets[0]
        column = next(
            (
                cell.column
                for row in sheet.iter_rows(max_row=HEAD)
                for cell in row
                if normal_text(as_text(cell.value)) == one.column
            ),
            None,
        )
        if column is None:
            raise TraitlensError(_missing(table, one))
        sheet.cell(one.row, column).value = _as_value(one.after)
    with target.open("wb") as file:
        book.save(file)


def _as_value(text: str) -> float | str | None:
    """Return typed text as a value of a spreadsheet cell: a number if possible, None if empty."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return text or None


def _missing(table: Path, one: Correction) -> Problem:
    """Return the error for a corrected cell that is not in the table."""
    return Problem("this cell is not in the table", "choose the table again", table.name, one.row, one.column)
