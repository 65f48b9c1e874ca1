"""The step Check: import the table, ask questions in case of doubt, and list all faults with their cells."""

from typing import TYPE_CHECKING

from nicegui import run, ui

from traitlens.app.elements import button, sentence, text
from traitlens.app.import_messages import reword_for_app
from traitlens.app.import_upload import ImportQuestion, import_chosen_table
from traitlens.app.questions import write_answers
from traitlens.app.steps.fault_list import draw_corrections, draw_faults
from traitlens.app.workspace import Workspace
from traitlens.problems import Problem, TraitlensError
from traitlens.study.accounts import read_account
from traitlens.study.reading import Study

if TYPE_CHECKING:
    from traitlens.app.app_page import AppPage


def draw(page: "AppPage") -> None:
    """Draw the step Check, and check the study if it has changed since the last check."""
    workspace = page.workspace
    if not workspace.pictures:
        text("p", "There are no pictures yet.")
        button("Go to Pictures", lambda: page.go("pictures"), "main")
        return
    if workspace.table is None and not workspace.has_ratings:
        text("p", "There is no table of ratings yet.")
        button("Go to Ratings", lambda: page.go("ratings"), "main")
        return
    waiting = text("p", "Checking ratings and pictures …").props('role="status"')
    box = ui.element("div")

    async def look() -> None:
        found = await run.io_bound(check_workspace, workspace)
        if not box.is_deleted:
            waiting.delete()
            page.draw_rail()
            with box:
                _draw_found(page, found)

    ui.timer(0, look, once=True)


def check_workspace(workspace: Workspace) -> Study | TraitlensError:
    """Import the uploaded table if it has changed, and check the study.

    Returns
    -------
    Study or TraitlensError
        The study if it is valid; otherwise an error with all faults, or a question to the user.
    """
    # Imported here so that the app starts fast.
    from traitlens.pipeline.study_check import check

    try:
        if workspace.table is not None and not workspace.choices.checked:
            import_chosen_table(workspace)
            write_answers(workspace.folder, workspace.choices.answers)
        study = check(workspace.folder)
        workspace.change(checked=True)
        return study
    except TraitlensError as error:
        workspace.change(checked=False)
        return error
    except OSError as error:
        workspace.change(checked=False)
        return TraitlensError(Problem(error.strerror or str(error), "check the disk", error.filename))


def _draw_found(page: "AppPage", found: Study | TraitlensError) -> None:
    """Draw the result of the check: the study's summary, its faults, or a question."""
    if isinstance(found, ImportQuestion):
        _ask(page, found)
    elif isinstance(found, TraitlensError):
        number = len(found.problems)
        text("p", f"{number} {'fault was' if number == 1 else 'faults were'} found.", "big bad")
        text(
            "p",
            "Correct your table and choose it again, or change what the columns hold. Nothing is lost.",
        )
        with ui.element("div").classes("row"):
            button("Fix: back to the table", lambda: page.go("ratings"), "main")
            button("Check again", lambda: page.draw())
        draw_faults(page, list(found.problems))
    else:
        text("p", "No fault was found.", "big good")
        text("p", str(found))
        with ui.element("div").classes("row"):
            button("Next: run", lambda: page.go("run"), "main")
            button("Check again", lambda: page.draw())
        if found.notices:
            text("h2", "Worth knowing")
            with ui.element("ul"):
                for notice in found.notices:
                    text("li", sentence(reword_for_app(str(notice))))
    draw_corrections(page)
    account = read_account(page.workspace.folder)
    if account is not None and not isinstance(found, TraitlensError):
        text("h2", "What was read from the table")
        with ui.element("ul").props("id=account"):
            for line in account.lines():
                text("li", sentence(reword_for_app(line)))


def _ask(page: "AppPage", doubt: ImportQuestion) -> None:
    """Ask a question of the import, with buttons for yes and no."""
    workspace = page.workspace
    question = str(doubt.problems[0].what)

    def agree() -> None:
        workspace.change(agreed=[*workspace.choices.agreed, question])
        page.draw()

    text("p", "Please decide:", "big")
    text("p", sentence(reword_for_app(question)))
    with ui.element("div").classes("row"):
        button("Yes, this is right", lambda: agree(), "main")
        button("No, back to the table", lambda: page.go("ratings"))
