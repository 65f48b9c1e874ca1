"""The command line: arguments in, pipeline called, messages out."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import traitlens
from traitlens.problems import TraitlensError

FAULT = 2
"""Exit code where the user can mend something."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it."""

DEMO_IDENTITIES, DEMO_IMAGES = 40, 5
DEMO_SIZE = 160
"""Side of what the network sees in the demonstration: small, so that it takes minutes on a laptop."""

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
importing = typer.Typer(no_args_is_help=True, help="Turn data from elsewhere into a study.")
app.add_typer(importing, name="import", rich_help_panel="Begin")

output = Console(highlight=False)
messages = Console(stderr=True, highlight=False)

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")]
ResultsFolder = Annotated[
    Path | None, typer.Option("--out", metavar="RESULTS", help="Results folder; STUDY/results if not given.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto for the best that is there.")]
Precision = Annotated[str, typer.Option(help="float32, or bf16 where the processor has it.")]
Weights = Annotated[
    Path | None, typer.Option(help="A file with the VGG16 weights; found or fetched if not given.")
]


class Terminal:
    """Shows progress: a bar with the time left in a terminal, plain lines in a log."""

    def say(self, text: str) -> None:
        """Print a line."""
        messages.print(escape(text))

    def stage(self, name: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Show a stage's progress."""
        return self._bar(name, total) if messages.is_terminal else self._lines(name, total)

    @contextmanager
    def _bar(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=messages) as progress:
            task = progress.add_task(escape(name), total=total)
            yield lambda steps: progress.advance(task, steps)
            progress.update(task, completed=total)

    @contextmanager
    def _lines(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        done = tenth = 0

        def advance(steps: int) -> None:
            nonlocal done, tenth
            done += steps
            if total >= 50 and done * 10 // total > tenth and done < total:
                tenth = done * 10 // total
                self.say(f"  {done} of {total}")

        self.say(f"{name} ({total})" if total > 1 else name)
        yield advance


def _machine(device: str, precision: str, weights: Path | None) -> Any:
    """Put the options of a machine together."""
    from traitlens.pipeline import Machine

    return Machine(device, precision, weights)


def _print_performance(done: Any) -> None:
    """Print the performance table and the path of the report."""
    table = Table("group", "trait", "images", "r", "95 % interval", "R²", "RMSE", "ceiling of r", box=None)
    for row in done.performance.itertuples():
        ceiling = getattr(row, "ceiling_r", float("nan"))
        table.add_row(
            escape(str(row.group)),
            escape(str(row.trait)),
            str(row.n_images),
            f"{row.r:.2f}",
            f"{row.ci_low:.2f} to {row.ci_high:.2f}",
            f"{row.r2:.2f}",
            f"{row.rmse:.2f}",
            f"{ceiling:.2f}" if ceiling == ceiling else "-",
        )
    output.print("How well each group's ratings are predicted, for identities that the readout did not see:")
    output.print(table)
    output.print(f"Report: {escape(str(done.results / 'report.html'))}", soft_wrap=True)


def _print_notices(study: Any) -> None:
    """Print what the reader should know but need not mend."""
    for notice in study.notices:
        messages.print(f"Note: {escape(str(notice))}")


@app.command(rich_help_panel="Begin")
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to make the study.")] = Path("demo"),
    device: Device = "cpu",
    precision: Precision = "float32",
    weights: Weights = None,
) -> None:
    """Simulate a small study of drawn faces and take it to a report.

    Example: traitlens demo
    """
    from traitlens.study.simulation import simulate_study

    if not (folder / "study.toml").exists():
        with Terminal().stage(f"Drawing {folder.name}", DEMO_IMAGES * DEMO_IDENTITIES) as advance:
            simulate_study(folder, DEMO_IDENTITIES, DEMO_IMAGES, seen_size=DEMO_SIZE, progress=advance)
    run(folder, None, device, precision, weights)


@app.command(rich_help_panel="Analyse")
def check(study: StudyFolder) -> None:
    """Check a study's tables and images, and list every fault.

    Example: traitlens check mystudy
    """
    from traitlens import pipeline

    checked = pipeline.check(study, Terminal())
    _print_notices(checked)
    output.print(escape(str(checked)))
    output.print("No fault was found.")


@app.command(rich_help_panel="Analyse")
def run(
    study: StudyFolder,
    out: ResultsFolder = None,
    device: Device = "cpu",
    precision: Precision = "float32",
    weights: Weights = None,
) -> None:
    """Take a study to a report: check, features, fit, explain, compare, report.

    Stopped half-way, the same command goes on where it was.

    Example: traitlens run mystudy --out results
    """
    from traitlens import pipeline

    done = pipeline.run(study, out, _machine(device, precision, weights), Terminal())
    _print_notices(done.study)
    _print_performance(done)


@importing.command("3dsk")
def import_3dsk(
    source: Annotated[Path, typer.Argument(help="The folder with ratings.csv, female/ and male/.")],
    out: Annotated[Path, typer.Argument(help="The study to make.")],
) -> None:
    """Make a study of the 3DSK faces (DeBruine and Jones 2020), groups by the raters' gender.

    Example: traitlens import 3dsk downloads/3dsk mystudy
    """
    from traitlens.study.import_3dsk import import_3dsk as make_study

    make_study(source, out)
    output.print(f"Study: {escape(str(out))}. Next: traitlens run {escape(str(out))}", soft_wrap=True)


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


if __name__ == "__main__":
    main()
