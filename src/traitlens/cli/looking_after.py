"""Commands about traitlens itself: whether it is well installed, and how it is cited."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from traitlens.cli.terminal import FAULT, answer

MARKS = {"good": "[green]✓[/green]", "missing": "[yellow]–[/yellow]", "bad": "[red]✗[/red]"}


def doctor(
    folder: Annotated[Path, typer.Argument(help="Where you want to work.")] = Path(),
) -> None:
    """Look whether everything is in place: versions, device, weights, folders that can be written.

    Example: traitlens doctor
    """
    from rich.text import Text

    from traitlens.pipeline.installation import examine_installation

    findings = examine_installation(folder)
    lines = [
        Text.from_markup(f"{MARKS[finding.state]} {finding.what}: {escape(finding.told)}")
        for finding in findings
    ]
    bad = [finding.what for finding in findings if finding.state == "bad"]
    verdict = f"traitlens cannot work like this; mend: {', '.join(bad)}" if bad else "traitlens can work."
    answer({"works": not bad, "findings": [vars(finding) for finding in findings]}, *lines, verdict)
    if bad:
        raise typer.Exit(FAULT)


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
