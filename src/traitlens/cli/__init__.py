"""The command line `traitlens`: parses arguments, calls the package, and prints results and errors.

Each module contains the commands of one topic; :data:`COMMANDS` groups them under the headings of the help.
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
from traitlens.cli.terminal import (
    USER_ERROR,
    confirm,
    messages,
    print_only_json,
    print_problems,
    print_result,
)
from traitlens.problems import Problem, TraitlensError

INTERRUPTED = 130
"""Exit code of a command stopped by Ctrl-C or SIGTERM; shells use the same code for Ctrl-C."""

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
"""Commands by heading of the help, in the order of an analysis."""

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


def _print_version(wanted: bool) -> None:
    if wanted:
        print_result({"version": traitlens.__version__}, f"traitlens {traitlens.__version__}")
        raise typer.Exit


@app.callback()
def _read_global_options(
    version: Annotated[  # noqa: ARG001 (handled by its callback)
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
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
    """Handle the options that precede the command."""
    print_only_json(as_json)


def main() -> None:
    """Run a command and exit: with code 0, with 2 after an error, or with 130 after Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, _interrupt)  # a killed command then releases locks and stops its processes
    for stream in (sys.stdout, sys.stderr):  # their encoding may lack some characters
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # `--json` and `--debug` may also follow the command.
    arguments = sorted(sys.argv[1:], key=lambda argument: argument not in (JSON, DEBUG))
    print_only_json(JSON in arguments)
    if not arguments and open_app.is_offered() and confirm("The app opens in the browser."):
        arguments = ["app"]
    try:
        code = app(arguments, prog_name="traitlens", standalone_mode=False)
    except typer.Abort:
        code = INTERRUPTED
    except TraitlensError as error:
        print_problems(error.problems)
        code = USER_ERROR
    except OSError as error:
        file = None if error.filename is None else str(error.filename)
        advice = "finished work is kept; run the same command to continue"
        print_problems((Problem(error.strerror or str(error), advice, file),))
        code = USER_ERROR
    except Exception as error:
        problem = _usage_problem(error) or _report_unexpected(error, DEBUG in arguments)
        if problem.what:  # it is empty if the help was printed because there was no command
            print_problems((problem,))
        code = USER_ERROR
    if code == INTERRUPTED:
        messages.print("Stopped. Finished work is kept; run the same command to continue.")
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Stop the command as Ctrl-C does."""
    raise KeyboardInterrupt


def _report_unexpected(error: Exception, debug: bool) -> Problem:
    """Print the traceback of an unexpected error or write it to a file; return a problem that says so."""
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


def _usage_problem(error: Exception) -> Problem | None:
    """Return an error in the use of the command line as a problem; None for errors of other kinds."""
    tell = getattr(error, "format_message", None)  # only errors of the argument parser have it
    if tell is None:
        return None
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "traitlens"
    text = " ".join(tell().split()).rstrip(".").replace(". Did", "; did")
    return Problem(text[:1].lower() + text[1:], f"see {command} --help")
