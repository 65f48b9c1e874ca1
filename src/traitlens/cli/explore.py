"""The command `traitlens explore`, which shows results in the browser."""

import html
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from traitlens.cli.options import Device, Precision, Weights
from traitlens.cli.terminal import messages, print_result


def explore(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Folder of results, or of a study.")],
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    device: Device = "cpu",
    precision: Precision = "float32",
    weights: Weights = None,
) -> None:
    """Browse faces and maps, and add new faces; stop with Ctrl-C.

    The page is available on this computer only.

    Example: traitlens explore mystudy/results
    """
    from traitlens.computing import Machine
    from traitlens.explorer.explorer_server import explore as serve

    def announce(address: str) -> None:
        print_result(
            {"address": address},
            f"Explorer: {address}",
            "It is available on this computer only; stop with Ctrl-C.",
        )
        if browser:
            import webbrowser

            webbrowser.open(stack.enter_context(redirecting_page(address)).as_uri())

    with ExitStack() as stack:
        try:
            serve(results, Machine(device, precision, weights), announce)
        except KeyboardInterrupt:
            messages.print("Ended.")


@contextmanager
def redirecting_page(address: str) -> Iterator[Path]:
    """Write a temporary page that redirects to an address, readable by this user only, and yield its path.

    The address contains a secret token, which other users could see in the command line of the browser.
    """
    with TemporaryDirectory(prefix="traitlens-") as folder:
        page = Path(folder) / "open.html"
        page.touch(mode=0o600)
        page.write_text(
            '<!doctype html><meta charset="utf-8"><title>traitlens</title>'
            f'<meta http-equiv="refresh" content="0;url={html.escape(address)}">',
            encoding="utf-8",
        )
        yield page
