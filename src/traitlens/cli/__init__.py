"""The command line: arguments in, pipeline called, messages out.

Each module holds the commands of one topic; :data:`COMMANDS` says under which heading of the help they stand.
"""

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.markup import escape

import traitlens
from traitlens.cli import analysing, beginning
from traitlens.cli.importing import importing
from traitlens.cli.terminal import messages, output
from traitlens.problems import TraitlensError

FAULT = 2
"""Exit code where the user can mend something."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it."""

COMMANDS: dict[str, tuple[Callable[..., Any], ...]] = {
    "Begin": (beginning.demo, beginning.simulate, beginning.fetch),
    "Analyse": (analysing.check, analysing.run, analysing.export),
}
"""The commands in the order of work, by the heading they stand under in the help."""

app = typer.Typer(
    name="traitlens",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "From face images and ratings to maps of what carried the impressions, compared between groups.\n\n"
        "Predictions are impressions that raters would form, never facts about the person shown."
    ),
)
app.add_typer(importing, name="import", rich_help_panel="Begin")
for heading, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=heading)(command)


def _version(wanted: bool) -> None:
    if wanted:
        output.print(f"traitlens {traitlens.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run the command line; faults that the user can mend end with code 2, an interruption with 130."""
    try:
        app()
    except TraitlensError as error:
        for problem in error.problems:
            messages.print(f"[red]✗[/red] {escape(str(problem))}", soft_wrap=True)
        if len(error.problems) > 1:
            messages.print(f"{len(error.problems)} faults in all. Mend them and run the command again.")
        sys.exit(FAULT)
    except OSError as error:
        messages.print(f"[red]✗[/red] {escape(str(error))}; what was finished is kept", soft_wrap=True)
        sys.exit(FAULT)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            messages.print("Stopped. What was finished is kept; the same command goes on from there.")
        raise
