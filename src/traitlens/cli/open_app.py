"""The command `traitlens app`, which runs the analysis in a browser."""

import os
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from traitlens.cli.explore import redirecting_page
from traitlens.cli.terminal import messages, print_result


def app(
    study: Annotated[
        Path | None,
        typer.Argument(metavar="[STUDY]", help="Folder of the study; by default the one opened last."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Analyse images and a table of ratings in the browser; stop with Ctrl-C.

    The page is available on this computer only. A run continues after the page is closed or the command is
    stopped.

    Example: traitlens app
    """
    from traitlens.app.app_server import serve

    def announce(address: str) -> None:
        print_result(
            {"address": address},
            f"App: {address}",
            "It is available on this computer only; stop with Ctrl-C. A run that was started then continues.",
        )
        if browser:
            import webbrowser

            webbrowser.open(stack.enter_context(redirecting_page(address)).as_uri())

    with ExitStack() as stack:
        try:
            serve(study, announce)
        except KeyboardInterrupt:
            messages.print("Ended.")


def is_offered() -> bool:
    """Return whether the app is offered if no command is given: with a screen and the packages of the app."""
    has_screen = (
        sys.platform == "win32"
        or sys.platform == "darwin"
        or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    )
    asked = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    return has_screen and asked and find_spec("nicegui") is not None
