"""The command line: arguments in, pipeline called, messages out.

Each module holds the commands of one topic; :data:`COMMANDS` groups them by the headings of the help.
"""

import io
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

import traitlens
from traitlens.cli import (
    admin,
    analysis,
    error_rates_and_power,
    experiments,
    explore,
    figure,
    getting_started,
    landmark_check,
    models,
    open_app,
    replication,
)
from traitlens.cli.importing import importing
from traitlens.cli.rating_sessions import plan, rate
from traitlens.cli.terminal import FAULT, answer, answer_as_json, confirm, messages, refuse
from traitlens.problems import Problem, TraitlensError

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells expect it after Ctrl-C."""

COMMANDS: dict[str, tuple[Callable[..., Any], ...]] = {
    "Begin": (
        open_app.app,
        getting_started.demo,
        getting_started.init,
        getting_started.simulate,
        getting_started.fetch,
    ),
    "Plan": (error_rates_and_power.power, error_rates_and_power.validate),
    "Collect": (plan,),
    "Analyse": (analysis.check, landmark_check.faces, analysis.run, analysis.sanity),
    "Replicate": (replication.replicate,),
    "Experiment": (experiments.stimuli, experiments.experiment),
    "Use": (models.predict, models.explain, models.backbones, models.add_backbone, models.join_backbones),
    "Look": (explore.explore, figure.figure),
    "Share": (models.share, analysis.export, admin.cite),
    "This installation": (admin.doctor, admin.launcher, admin.status),
}
"""The commands in the order of an analysis, by headings of the help."""

JSON = "--json"
DEBUG = "--debug"

app = typer.Typer(
    name="traitlens",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "Explain impressions of faces by the pixels that carried them, and compare groups of raters.\n\n"
        "Predictions are impressions that raters would form, never facts about the person shown.\n\n"
        "Example: traitlens demo"
    ),
)
app.add_typer(importing, name="import", rich_help_panel="Begin")
app.add_typer(rate, name="rate", rich_help_panel="Collect")
app.add_typer(admin.cluster, name="cluster", rich_help_panel="This installation")
for heading, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=heading)(command)


def _version(wanted: bool) -> None:
    if wanted:
        answer({"version": traitlens.__version__}, f"traitlens {traitlens.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: ARG001 (its callback has done all)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            JSON, help="Print the result as one JSON object, for scripts; works with every command."
        ),
    ] = False,
    debug: Annotated[  # noqa: ARG001 (read before the arguments are parsed)
        bool, typer.Option(DEBUG, help="Show the traceback of an unexpected error.")
    ] = False,
) -> None:
    """Handle the options before the command."""
    answer_as_json(as_json)


def main() -> None:
    """Run the command line; errors end with code 2, interruptions (Ctrl-C, SIGTERM) with 130."""
    signal.signal(signal.SIGTERM, _interrupt)  # so that locks are released and processes stopped
    for stream in (sys.stdout, sys.stderr):  # consoles and pipes may have other encodings
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # `--json` and `--debug` may also follow the command.
    arguments = sorted(sys.argv[1:], key=lambda argument: argument not in (JSON, DEBUG))
    answer_as_json(JSON in arguments)
    if not arguments and open_app.is_offered() and confirm("The app opens in the browser."):
        arguments = ["app"]
    try:
        code = app(arguments, prog_name="traitlens", standalone_mode=False)
    except typer.Abort:
        code = INTERRUPTED
    except TraitlensError as error:
        refuse(error.problems)
        code = FAULT
    except OSError as error:
        file = None if error.filename is None else str(error.filename)
        advice = "finished work is kept; run the same command to continue"
        refuse((Problem(error.strerror or str(error), advice, file),))
        code = FAULT
    except Exception as error:
        problem = _misuse(error) or _unexpected(error, DEBUG in arguments)
        if problem.what:  # without a command the help has been printed
            refuse((problem,))
        code = FAULT
    if code == INTERRUPTED:
        messages.print("Stopped. Finished work is kept; run the same command to continue.")
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Stop the command as Ctrl-C does."""
    raise KeyboardInterrupt


def _unexpected(error: Exception, debug: bool) -> Problem:
    """Report an unexpected error in one line; print its traceback or write it to a file."""
    lines = traceback.format_exception(error)
    advice = "finished work is kept. Please report it with the traceback"
    if debug:
        messages.print("".join(lines), markup=False, soft_wrap=True)
    else:
        try:
            descriptor, file = tempfile.mkstemp(prefix="traitlens-error-", suffix=".txt")
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as stream:
                stream.writelines(lines)
            advice += f" in {file}"
        except OSError:
            advice += ", which --debug shows"
    text = " ".join(str(error).split())[:200]
    what = f"an unexpected error stopped the command ({type(error).__name__}{text and f': {text}'})"
    return Problem(what, advice)


def _misuse(error: Exception) -> Problem | None:
    """Return an error of the command line's usage as one line; None for other errors."""
    tell = getattr(error, "format_message", None)  # attributes of the parser's errors
    if tell is None:
        return None
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "traitlens"
    text = " ".join(tell().split()).rstrip(".").replace(". Did", "; did")
    return Problem(text[:1].lower() + text[1:], f"see {command} --help")
