"""The command `traitlens faces`, which draws landmarks and regions for inspection."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from traitlens.cli.options import StudyFolder
from traitlens.cli.terminal import USER_ERROR, Terminal, messages, print_result


def faces(
    study: StudyFolder,
    out: Annotated[Path | None, typer.Option(help="Output folder; STUDY/faces by default.")] = None,
    by: Annotated[
        str | None, typer.Option(help="Column of images.csv by which faces are grouped for average faces.")
    ] = None,
    cross_check: Annotated[
        bool,
        typer.Option(
            "--cross-check", help="Compare the landmarks with those of dlib (needs the extra cross-check)."
        ),
    ] = False,
) -> None:
    """Draw all faces with landmarks and regions, doubtful faces first, and draw average faces.

    To correct landmarks, edit the file landmarks.csv that is written, and save it in the folder of the study.

    Example: traitlens faces mystudy --by face_gender
    """
    from traitlens.faces.face_check import check_faces

    done = check_faces(study, out, by, cross_check, Terminal())
    for problem in done.unreadable:
        messages.print(f"[red]✗[/red] {escape(str(problem))}", soft_wrap=True)
    for problem in done.notices:
        messages.print(f"Note: {escape(str(problem))}", soft_wrap=True)
    sheet = done.sheet
    facts = {
        "pages": sheet.pages,
        "averages": sheet.averages,
        "landmarks": sheet.landmarks,
        "unreadable": list(map(str, done.unreadable)),
        "notices": list(map(str, done.notices)),
    }
    folder, number = sheet.landmarks.parent, len(sheet.order)
    print_result(
        facts,
        f"{number} faces on {len(sheet.pages)} pages, of which {len(done.notices)} need a check: {folder}",
        f"To correct landmarks, edit {sheet.landmarks} and save it as {study / 'landmarks.csv'}",
    )
    if done.unreadable:
        raise typer.Exit(USER_ERROR)
