"""`traitlens app`: the analysis in a browser."""

import os
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from traitlens.cli.explore import private_page
from traitlens.cli.terminal import answer, messages


def app(
    study: Annotated[
        Path | None,
        typer.Argument(metavar="[STUDY]", help="The study's folder; the one opened last if not given."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Analyse pictures and a table of ratings in the browser; stop with Ctrl-C.

    The page is served to this computer only. A run continues when the page is closed or this command ends.

    Example: traitlens app
    """
    from traitlens.app.app_server import serve

    def announce(address: str) -> None:
        answer(
            {"address": address},
            f"App: {address}",
            "It is served to this computer only; Ctrl-C ends it. A run that was started goes on.",
        )
        if browser:
            import webbrowser

            webbrowser.open(stack.enter_context(private_page(address)).as_uri())

    with ExitStack() as stack:
        try:
            serve(study, announce)
        except KeyboardInterrupt:
            messages.print("Ended.")


def is_offered() -> bool:
    """Return whether to offer the app if no command is given: on a desktop with the app's packages."""
    has_screen = (
        sys.platform == "win32"
        or sys.platform == "darwin"
        or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    )
    asked = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    return has_screen and asked and find_spec("nicegui") is not None
