"""Commands about the installation, citation, the state of results, and clusters."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from traitlens.cli.terminal import FAULT, answer

MARKS = {"good": "[green]✓[/green]", "missing": "[yellow]–[/yellow]", "bad": "[red]✗[/red]"}


def doctor(
    folder: Annotated[Path, typer.Argument(help="The folder you want to work in.")] = Path(),
) -> None:
    """Check the installation: versions, device, weights, writable folders.

    Example: traitlens doctor
    """
    from rich.text import Text

    from traitlens.administration.installation import check_installation

    findings = check_installation(folder)
    lines = [
        Text.from_markup(f"{MARKS[finding.state]} {finding.what}: {escape(finding.message)}")
        for finding in findings
    ]
    bad = [finding.what for finding in findings if finding.state == "bad"]
    verdict = (
        f"The installation is incomplete; fix: {', '.join(bad)}" if bad else "The installation is complete."
    )
    answer({"works": not bad, "findings": [vars(finding) for finding in findings]}, *lines, verdict)
    if bad:
        raise typer.Exit(FAULT)


def launcher(
    remove: Annotated[bool, typer.Option("--remove", help="Remove the icon.")] = False,
) -> None:
    """Create an icon that opens the app, in the Start menu, in Applications, or among the programs.

    Example: traitlens launcher
    """
    from traitlens.administration.launcher import remove_launcher, write_launcher

    file = remove_launcher() if remove else write_launcher()
    told = "There was no icon." if file is None else f"{'Removed' if remove else 'Written'}: {file}"
    answer({"launcher": file}, told)


def cite(
    results: Annotated[
        Path | None, typer.Argument(metavar="[RESULTS]", help="A results folder, to cite what it used.")
    ] = None,
) -> None:
    """Print what to cite, in APA style: traitlens, and the works that an analysis rests on.

    Example: traitlens cite mystudy/results
    """
    from traitlens.report.citing import list_references

    references = list_references(results)
    answer({"references": references}, *references)


def status(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A results folder.")],
) -> None:
    """List the stages of a results folder: current, stale or missing, with time and disk use.

    Example: traitlens status mystudy/results
    """
    from rich.table import Table

    from traitlens.administration.status import examine_results

    found = examine_results(results)
    table = Table("stage", "state", "seconds", "MB", "", box=None)
    for stage in found.stages:
        size = f"{stage.bytes / 1e6:.1f}"
        table.add_row(stage.name, stage.state, f"{stage.seconds:.1f}", size, escape(stage.reason))
    notes = [f"{number} blocks of {name} wait to be finished." for name, number in found.unfinished.items()]
    if found.holder is not None:
        notes.append(
            f"Process {found.holder.get('process')} on {found.holder.get('host')} works here since "
            f"{found.holder.get('since')}."
        )
    facts = {**vars(found), "stages": [vars(stage) for stage in found.stages]}
    answer(facts, f"Results of {found.study}:", table, *notes, f"Disk in total: {found.bytes / 1e6:.1f} MB")


cluster = typer.Typer(no_args_is_help=True, help="Work on a cluster of computers.")


@cluster.command()
def slurm(
    study: Annotated[str, typer.Argument(help="The study's folder on the cluster.")] = "mystudy",
    nodes: Annotated[int, typer.Option(min=1, help="Computers.")] = 2,
    cores: Annotated[int, typer.Option(min=1, help="Number of workers on each computer.")] = 16,
    hours: Annotated[int, typer.Option(min=1, help="Longest time.")] = 24,
) -> None:
    """Print a commented sbatch script that runs scheduler, workers and analysis in one allocation.

    Example: traitlens cluster slurm mystudy --nodes 4 > run.sbatch
    """
    from traitlens.administration.slurm import write_sbatch

    script = write_sbatch(study, nodes, cores, hours)
    answer({"script": script}, script)
