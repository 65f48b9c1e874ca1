"""Commands that check the installation, say what to cite, show the state of results, and set up clusters."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from traitlens.cli.terminal import USER_ERROR, print_result

MARKS = {"good": "[green]✓[/green]", "missing": "[yellow]–[/yellow]", "bad": "[red]✗[/red]"}


def doctor(
    folder: Annotated[Path, typer.Argument(help="Folder in which you want to work.")] = Path(),
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
        f"The installation has errors. Fix: {', '.join(bad)}" if bad else "The installation is complete."
    )
    print_result({"works": not bad, "findings": [vars(finding) for finding in findings]}, *lines, verdict)
    if bad:
        raise typer.Exit(USER_ERROR)


def launcher(
    remove: Annotated[bool, typer.Option("--remove", help="Remove the icon.")] = False,
) -> None:
    """Create an icon that opens the app, in the Start menu, in Applications, or in the application menu.

    Example: traitlens launcher
    """
    from traitlens.administration.launcher import remove_launcher, write_launcher

    file = remove_launcher() if remove else write_launcher()
    told = "There was no icon." if file is None else f"{'Removed' if remove else 'Written'}: {file}"
    print_result({"launcher": file}, told)


def cite(
    results: Annotated[
        Path | None, typer.Argument(metavar="[RESULTS]", help="Results folder whose methods are cited.")
    ] = None,
) -> None:
    """Print references in APA style to cite: traitlens, and the methods that an analysis used.

    Example: traitlens cite mystudy/results
    """
    from traitlens.report.citing import list_references

    references = list_references(results)
    print_result({"references": references}, *references)


def status(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Results folder.")],
) -> None:
    """List the stages of a results folder: whether each is current, its time, and its disk space.

    Example: traitlens status mystudy/results
    """
    from rich.table import Table

    from traitlens.administration.status import examine_results

    found = examine_results(results)
    table = Table("stage", "state", "seconds", "MB", "", box=None)
    for stage in found.stages:
        size = f"{stage.bytes / 1e6:.1f}"
        table.add_row(stage.name, stage.state, f"{stage.seconds:.1f}", size, escape(stage.reason))
    notes = [
        f"Stage {name} was interrupted; {number} blocks of images are finished."
        for name, number in found.unfinished.items()
    ]
    if found.holder is not None:
        notes.append(
            f"Process {found.holder.get('process')} on {found.holder.get('host')} has been using this folder "
            f"since {found.holder.get('since')}."
        )
    facts = {**vars(found), "stages": [vars(stage) for stage in found.stages]}
    print_result(
        facts, f"Results of {found.study}:", table, *notes, f"Total size: {found.bytes / 1e6:.1f} MB"
    )


cluster = typer.Typer(no_args_is_help=True, help="Run analyses on a computer cluster.")


@cluster.command()
def slurm(
    study: Annotated[str, typer.Argument(help="Folder of the study on the cluster.")] = "mystudy",
    nodes: Annotated[int, typer.Option(min=1, help="Number of computers.")] = 2,
    cores: Annotated[int, typer.Option(min=1, help="Number of workers on each computer.")] = 16,
    hours: Annotated[int, typer.Option(min=1, help="Time limit of the job in hours.")] = 24,
) -> None:
    """Print a SLURM batch script that runs an analysis on several computers.

    Example: traitlens cluster slurm mystudy --nodes 4 > run.sbatch
    """
    from traitlens.administration.slurm import write_sbatch

    script = write_sbatch(study, nodes, cores, hours)
    print_result({"script": script}, script)
