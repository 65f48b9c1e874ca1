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
DEMO_SIZE = 128
"""Side of what the network sees in the demonstration: small, so that it takes minutes on a laptop."""

DEMO_SETTINGS = """
# The test of regions refits the readouts under every exchange of raters; true takes some minutes more.
[comparison]
regions = false
"""

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
        with (folder / "study.toml").open("a", encoding="utf-8") as settings:
            settings.write(DEMO_SETTINGS)
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


@importing.command("table")
def import_table(
    files: Annotated[list[Path], typer.Argument(help="Tables of ratings in any usual format, then OUT.")],
    images: Annotated[Path, typer.Option(help="The folder of the images.")],
    group: Annotated[str | None, typer.Option(help="The column that tells the raters' group.")] = None,
    trait: Annotated[str | None, typer.Option(help="The trait, where the table is about one.")] = None,
    raters: Annotated[Path | None, typer.Option(help="A table with the columns rater and group.")] = None,
    scale: Annotated[tuple[float, float] | None, typer.Option(help="Lowest and highest rating.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Take the guessed mapping without asking.")] = False,
) -> None:
    """Make a study of a table: guess what its columns hold, show it, and write it down.

    Example: traitlens import table ratings.xlsx mystudy --images photos --group sex
    """
    from traitlens.study.import_table import import_table as make_study

    if len(files) < 2:
        raise TraitlensError("name the tables, then the study to make: import table FILE ... OUT")
    chosen: dict[str, Any] = {"group": group, "trait_name": trait}
    done = make_study(
        files[:-1],
        files[-1],
        images,
        raters=raters,
        scale=scale,
        confirm=None if yes or not messages.is_terminal else _confirm,
        **{name: value for name, value in chosen.items() if value is not None},
    )
    output.print(escape(str(done)))
    output.print(f"Next: traitlens run {escape(str(files[-1]))}", soft_wrap=True)


def _confirm(text: str) -> bool:
    """Show a text and ask whether to go on."""
    messages.print(escape(text))
    return typer.confirm("Go on?", err=True)


@importing.command("cao2023")
def import_cao2023(
    root: Annotated[Path, typer.Argument(help="Holds rateASD/, rateNT/, faces_cropped*/, 5-fold_list/.")],
    out: Annotated[Path, typer.Argument(help="The study to make.")],
) -> None:
    """Make a study of the layout that Cao et al. (2023) published, with their folds.

    Example: traitlens import cao2023 downloads/face_social_trait mystudy
    """
    from traitlens.study.import_cao2023 import import_cao2023 as make_study

    make_study(root, out)
    output.print(f"Study: {escape(str(out))}. Next: traitlens run {escape(str(out))}", soft_wrap=True)


@app.command(rich_help_panel="Begin")
def simulate(
    out: Annotated[Path, typer.Argument(help="The study to make.")],
    identities: Annotated[int, typer.Option(help="Number of identities.")] = 40,
    images: Annotated[int, typer.Option(help="Images of each identity.")] = 5,
    traits: Annotated[int, typer.Option(help="Number of traits, at most six.")] = 3,
    raters: Annotated[int, typer.Option(help="Raters in each group.")] = 20,
    effect: Annotated[float, typer.Option(help="How far the groups part; 0: alike in truth.")] = 0.6,
    seed: Annotated[int, typer.Option(help="The same seed makes the same study.")] = 1,
) -> None:
    """Draw faces and simulate two groups of raters whose truth is known (written to OUT/truth).

    Example: traitlens simulate mystudy --identities 50 --images 10 --effect 0.6 --seed 1
    """
    from traitlens.study.simulation import simulate_study

    with Terminal().stage("Drawing faces", identities * images) as advance:
        simulate_study(out, identities, images, traits, raters, effect, seed, progress=advance)
    output.print(f"Study: {escape(str(out))}. Next: traitlens run {escape(str(out))}", soft_wrap=True)


@app.command(rich_help_panel="Begin")
def fetch(
    name: Annotated[str, typer.Argument(help="3dsk, omi or london.")],
    out: Annotated[Path, typer.Argument(help="Where to put the set.")],
    source: Annotated[Path | None, typer.Option("--from", help="A copy on disk.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the licence without asking.")] = False,
) -> None:
    """Fetch a public set of faces and ratings, after showing its licence.

    Example: traitlens fetch 3dsk downloads/3dsk
    """
    from traitlens.study.fetching import fetch as fetch_set

    folder = fetch_set(name, out, source, accept=None if yes else _confirm)
    output.print(f"Fetched: {escape(str(folder))}", soft_wrap=True)


@app.command(rich_help_panel="Analyse")
def export(
    study: StudyFolder,
    out: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    results: Annotated[Path | None, typer.Option(help="A results folder whose tables are added.")] = None,
) -> None:
    """Write a study and its results as a Psych-DS dataset.

    Example: traitlens export mystudy dataset --results mystudy/results
    """
    from traitlens.study.reading import Study
    from traitlens.study.writing import write_psych_ds

    write_psych_ds(Study.load(study), out, results)
    output.print(f"Dataset: {escape(str(out))}", soft_wrap=True)


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
