"""The step Pictures: choose a folder, say who is shown and what may be printed, check the detected faces."""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from nicegui import ui

from traitlens.app import background
from traitlens.app.elements import button, checkbox, choice, faults, files, text
from traitlens.app.steps.progress_view import begin, draw_progress
from traitlens.storage import read_table
from traitlens.study.identities import guess_identities

if TYPE_CHECKING:
    from traitlens.app.app_page import AppPage

CHOOSE: Final = "Choose the folder of your pictures"
WHO: Final = {
    "": "choose …",
    "image": "another person in each picture",
    "folder": "one person in each sub-folder",
    "name": "the same person if the names of files begin alike (anna_1, anna_2)",
}
WHY_WHO: Final = (
    "A model must not be tested on a person whom it was trained on. traitlens therefore needs to know "
    "which pictures show the same person."
)


def draw(page: "AppPage") -> None:
    """Draw the step Pictures."""
    workspace = page.workspace
    demo = background.read_progress(workspace.folder, "demo")
    if demo.state == "working":
        text("p", "The faces of the demonstration are being drawn.")
        draw_progress(page, "demo")
        return
    pictures = workspace.pictures
    if pictures:
        text("p", f"{len(pictures)} pictures are in the study.").props("id=pictures")
        with ui.element("div").classes("row"):
            button("Next: ratings", lambda: page.go("ratings"), "main")
    else:
        text("p", "Choose the folder of your pictures. Pictures in its sub-folders are included.")
    state = text("p", "", "faint").props('role="status"')

    def show(event: Any) -> None:
        upload = event.args
        if not upload.get("finished"):
            state.text = f"{upload['done']} of {upload['total']} files copied"
            return
        workspace.change(checked=False)
        left_out = upload["total"] - sum(upload["kept"]) - len(upload["refused"])
        page.draw()
        with page.messages:
            if left_out:
                text("p", f"{left_out} files are neither pictures nor landmarks and were left out.", "note")
            for one in upload["refused"][:20]:
                text("p", one, "note")

    label = "Add pictures of another folder" if pictures else CHOOSE
    files(label, "/upload/picture", show, folder=True)
    if not pictures:
        return
    if workspace.table is None and (workspace.folder / "images.csv").exists():
        text("p", "The file images.csv says who is shown and which pictures may be printed.", "faint")
    else:
        _draw_people(page, pictures)
        _draw_permission(page)
    _draw_faces(page)
    with ui.element("details"):
        text("summary", "Remove the pictures from the study")
        text("p", "The copies in the study are deleted; your own files are not touched.", "faint")
        button("Remove all pictures from the study", partial(_remove, page))


def _draw_permission(page: "AppPage") -> None:
    """Ask whether the pictures may be printed."""
    workspace = page.workspace
    text("h2", "May the pictures be printed?")
    checkbox(
        "Single pictures may be shown in a report or paper: those shown, or the owner of the rights, agree",
        workspace.choices.may_publish,
        lambda value: workspace.change(may_publish=value, checked=False),
    )


def _remove(page: "AppPage") -> None:
    """Remove the pictures from the study, and draw the step again."""
    page.workspace.remove_pictures()
    page.draw()


def _draw_people(page: "AppPage", pictures: list[str]) -> None:
    """Ask which pictures show the same person; a clear guess is chosen already."""
    workspace = page.workspace
    text("h2", "Who is shown?")
    text("p", WHY_WHO)
    if not workspace.choices.identity:
        guess, doubt = guess_identities(pictures)
        if not doubt:
            workspace.change(identity=guess)
        else:
            text("p", f"Please choose: {doubt}.", "note")
    choice(
        "The pictures show",
        WHO if not workspace.choices.identity else {k: v for k, v in WHO.items() if k},
        workspace.choices.identity,
        lambda value: workspace.change(identity=value, checked=False, agreed=[]),
    )


def _draw_faces(page: "AppPage") -> None:
    """Draw the face sheet with the notices on doubtful faces, and the button that makes it."""
    workspace = page.workspace
    text("h2", "Were the faces found?")
    progress = background.read_progress(workspace.folder, "faces")
    if progress.state == "working":
        draw_progress(page, "faces")
        return
    if progress.state == "failed":
        faults(progress.problems)
    sheets = sorted((workspace.folder / "faces").glob("faces_*.png"))
    if progress.state == "done" and sheets:
        notices = _read_notices(page)
        if len(notices):
            text("p", f"{len(notices)} pictures need a look; they come first on the sheet:")
            with ui.element("ul").classes("faults"):
                for row in notices.head(20).itertuples():
                    with ui.element("li"):
                        text("span", str(row.image), "where")
                        text("span", f"{row.notice}; {row.advice}")
        else:
            text("p", "A face was found in every picture, and no face looks unusual.")
        for sheet in sheets:
            image = ui.element("img").classes("sheet")
            image.props["src"] = f"/faces/{sheet.name}?{int(sheet.stat().st_mtime)}"
            image.props["alt"] = "Every face with its landmarks and regions, the doubtful ones first"
    else:
        text(
            "p",
            "The face sheet shows every face with its landmarks and regions. It takes about a second per "
            "picture.",
        )
    button(
        "Draw the face sheet again" if sheets else "Draw the face sheet",
        partial(begin, page, "faces"),
    )


def _read_notices(page: "AppPage") -> pd.DataFrame:
    """Read the table of notices on doubtful faces; empty if there is none."""
    file = page.workspace.folder / "faces" / "notices.csv"
    return read_table(file).fillna("") if file.exists() else pd.DataFrame()
