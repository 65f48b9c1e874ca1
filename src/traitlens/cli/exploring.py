"""`traitlens explore`: look at the results in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from traitlens.cli.options import Device, Precision, Weights
from traitlens.cli.terminal import answer, messages


def explore(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A results folder, or its study.")],
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    device: Device = "cpu",
    precision: Precision = "float32",
    weights: Weights = None,
) -> None:
    """Look at faces and maps in the browser, and drop in a new face; ends with Ctrl-C.

    The page is served to this computer only.

    Example: traitlens explore mystudy/results
    """
    from traitlens.explorer.serving import explore as serve
    from traitlens.pipeline import Machine

    def announce(address: str) -> None:
        answer(
            {"address": address},
            f"Explorer: {address}",
            "It is served to this computer only; Ctrl-C ends it.",
        )
        if browser:
            import webbrowser

            webbrowser.open(address)

    try:
        serve(results, Machine(device, precision, weights), announce)
    except KeyboardInterrupt:
        messages.print("Ended.")
