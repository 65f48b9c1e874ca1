"""List of faults in the table of ratings, grouped by kind, with fields to correct single cells."""

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from nicegui import ui

from traitlens.app.corrections import CORRECTABLE, correct_cell
from traitlens.app.elements import button, field, sentence, text
from traitlens.app.import_messages import reword_for_app
from traitlens.app.workspace import Correction
from traitlens.problems import Problem, StudyError
from traitlens.study.formats import read_sheets

if TYPE_CHECKING:
    from traitlens.app.app_page import AppPage

MOST_CELLS: Final = 20
"""Maximum number of cells shown for one kind of fault."""


def draw_faults(page: "AppPage", problems: list[Problem]) -> None:
    """Draw a list of faults, one entry for each kind."""
    with ui.element("ul").classes("faults"):
        for alike in group_faults(problems):
            with ui.element("li"):
                _draw_fault(page, alike)


def group_faults(problems: list[Problem]) -> list[list[Problem]]:
    """Group the faults of the same kind in the same column, in the order of the first fault of each group.

    Examples
    --------
    >>> cells = [Problem(f"{row} is off the scale", "", "a.csv", row, "x") for row in (12, 13)]
    >>> [len(group) for group in group_faults([cells[0], Problem("contains no image"), cells[1]])]
    [2, 1]
    """
    groups: dict[tuple[object, ...], list[Problem]] = {}
    for fault in problems:
        kind = re.sub(r"'[^']*'|-?\d+(\.\d+)?", "#", fault.what) if fault.row is not None else fault.what
        groups.setdefault((fault.file, fault.column, kind, fault.advice), []).append(fault)
    return list(groups.values())


def _draw_fault(page: "AppPage", alike: list[Problem]) -> None:
    """Draw the faults of one kind: location, description and advice."""
    first = alike[0]
    place = [first.file or "", "" if first.column is None else f"column “{first.column}”"]
    rows = [str(one.row) for one in alike if one.row is not None]
    if rows:
        shown = ", ".join(rows[:MOST_CELLS])
        place.append(f"row {shown}" if len(rows) == 1 else f"rows {shown}")
    where = ", ".join(part for part in place if part)
    if where:
        text("span", where, "where")
    number = f" ({len(alike)} cells of this kind)" if len(alike) > 1 else ""
    text("span", sentence(reword_for_app(first.what) + number))
    if first.advice:
        text("span", sentence(reword_for_app(first.advice)), "advice")
    table = page.workspace.table
    has_cells = first.row is not None and first.column is not None
    if table is None or not has_cells or not str(first.file).startswith(table.name):
        return
    if table.suffix.lower() in CORRECTABLE:
        with ui.element("details").classes("cells") as details:
            text("summary", "Show and correct the cells")
            details.on("toggle", partial(_draw_cells, page, details, alike), [])


def _draw_cells(page: "AppPage", details: ui.element, alike: list[Problem]) -> None:
    """Draw a text field for each faulty cell, when the list of cells is first unfolded."""
    table = page.workspace.table
    if table is None or len(details.default_slot.children) > 1:
        return
    try:
        sheets = read_sheets(table)
    except StudyError as error:
        page.refuse(error)
        return
    with details:
        for problem in alike[:MOST_CELLS]:
            named = re.search(r"sheet '(.+)'$", problem.file or "")
            sheet = next((one for one in sheets if named and one.name == named[1]), sheets[0])
            index, column = int(problem.row or 0) - 2, str(problem.column)
            if index not in sheet.cells.index or column not in sheet.cells:
                continue
            row = sheet.cells.loc[index]
            before = str(row[column])
            message = f"Row {problem.row} ({row.iloc[0]}), {column}"
            field(message, before, partial(_correct, page, sheet.name, index + 2, column, before), 12)
        button("Check again", page.draw)


def _correct(page: "AppPage", sheet: str, row: int, column: str, before: str, after: str) -> None:
    """Save the corrected content of a cell."""
    correction = Correction(sheet=sheet, row=row, column=column, before=before, after=after.strip())
    correct_cell(page.workspace, correction)


def draw_corrections(page: "AppPage") -> None:
    """List the corrections, with a button to undo them."""
    corrections = page.workspace.choices.corrections
    if not corrections:
        return
    text("h2", "Corrected here")
    text("p", "Your table stays as it was; the corrections are listed in corrections.csv.", "faint")
    with ui.element("ul"):
        for one in corrections:
            after = f"“{one.after}”" if one.after else "empty"
            text("li", f"Row {one.row}, column “{one.column}”: “{one.before}” is now {after}.")

    def forget() -> None:
        page.workspace.change(corrections=[], checked=False)
        page.draw()

    button("Undo all corrections", forget)
