"""Commands that check, analyse and export a study."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from traitlens.cli.options import (
    Device,
    KeepMaps,
    Precision,
    ResultsFolder,
    Scheduler,
    StudyFolder,
    Weights,
    Workers,
)
from traitlens.cli.terminal import Terminal, messages, print_result

MARKS = {
    "found": "●", "alone": "? uncertain:", "not found": "○", "exploratory": "? exploratory:", "about": "●",
}  # fmt: skip
"""Marks printed before the sentences at the end of a run, by kind of finding."""


def check(study: StudyFolder) -> None:
    """Check the tables and images of a study, and list all errors.

    Example: traitlens check mystudy
    """
    from traitlens.collecting.data_quality import find_poor_answers
    from traitlens.pipeline.study_check import check as check_study
    from traitlens.study.accounts import read_account

    checked = check_study(study, Terminal())
    signs = find_poor_answers(checked)
    _print_notices(checked)
    account = read_account(study)
    facts = {
        "study": study,
        "import": None if account is None else account.to_dict(),
        "images": len(checked.images),
        "ratings": len(checked.ratings),
        "groups": checked.groups,
        "traits": checked.traits,
        "notices": list(map(str, checked.notices)),
        "answers_worth_a_look": signs,
    }
    imported = [] if account is None else [f"Imported: {line}" for line in account.lines()]
    print_result(facts, str(checked), *imported, *_describe_quality(signs), "No errors were found.")


def run(
    study: StudyFolder,
    out: ResultsFolder = None,
    device: Device = "cpu",
    precision: Precision = "float32",
    weights: Weights = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    keep_maps: KeepMaps = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="default, or cao2023 to analyse as the published scripts did (in STUDY/results-cao2023)."
        ),
    ] = "default",
) -> None:
    """Run the whole analysis: check, features, fit, explain, compare, report.

    If the run is stopped, run the same command again to continue.

    Example: traitlens run mystudy --out results
    """
    if workers and scheduler is None:
        from traitlens.computing.forking import start_forkserver

        start_forkserver()
    from traitlens.api import run as run_study
    from traitlens.report.findings import list_findings
    from traitlens.report.results import read_results
    from traitlens.report.summary import CAUTION

    machine = _make_machine(device, precision, weights, workers, scheduler)
    done = run_study(study, out, machine, Terminal(), protocol, keep_maps)
    _print_notices(done.study)
    report = done.results / "report.html"
    results = read_results(done.results)
    findings = list_findings(results)
    facts = {
        "results": done.results,
        "report": report,
        "performance": done.performance,
        "headlines": [text for finding in findings for text in finding.headlines],
    }
    said = [f"{MARKS[finding.kind]} {text}" for finding in findings for text in finding.headlines]
    print_result(
        facts,
        *_tabulate_performance(done.performance, results),
        *said,
        CAUTION,
        f"Report: {report}",
        f"Next: open the report, or look at single faces with: traitlens explore {done.results}",
    )


def sanity(
    study: StudyFolder,
    out: ResultsFolder = None,
    images: Annotated[int, typer.Option(min=2, help="Number of images; each takes about a minute.")] = 4,
    device: Device = "cpu",
    precision: Precision = "float32",
    weights: Weights = None,
) -> None:
    """Run sanity checks of the maps, and add them to the report.

    Do maps change if ratings or network are randomised? Do predictions change if the pixels with the highest
    relevance are replaced? Do maps sum to the predictions, and do methods agree?

    Example: traitlens sanity mystudy
    """
    from traitlens.api import Run
    from traitlens.pipeline.study_check import check as check_study
    from traitlens.report.map_check_results import summarise
    from traitlens.report.results import read_results

    machine = _make_machine(device, precision, weights)
    run = Run(check_study(study, Terminal()), out, machine, Terminal())
    try:
        report = run.check_maps(images)
    finally:
        run.close()
    findings = summarise(read_results(run.results).checks)
    print_result(
        {"results": run.results, "report": report, "findings": findings}, *findings, f"Report: {report}"
    )


def export(
    study: StudyFolder,
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="Format of the export: psych-ds, csv-long, csv-wide, sav (SPSS) or mat (MATLAB, with maps).",
            autocompletion=lambda: ["psych-ds", "csv-long", "csv-wide", "sav", "mat"],
        ),
    ] = "psych-ds",
    results: Annotated[
        Path | None, typer.Option(help="Results folder; STUDY/results by default, if it exists.")
    ] = None,
) -> None:
    """Export a study and its results for other programs, without the images.

    Example: traitlens export mystudy for_spss --format sav
    """
    from traitlens.study.exporting import export_study
    from traitlens.study.reading import Study

    if results is None and (study / "results").is_dir():
        results = study / "results"
    files = export_study(Study.load(study), out, form, results, Terminal())
    print_result({"folder": out, "files": files}, f"Written: {out} ({len(files)} files)")


def _make_machine(
    device: str,
    precision: str,
    weights: Path | None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Any:
    """Return the machine that the options of a command describe."""
    from traitlens.computing import Machine

    return Machine(device, precision, weights, workers, scheduler)


def _tabulate_performance(performance: Any, results: Any) -> tuple[str, Table]:
    """Return a heading and the performance table for the terminal, in the order of the study."""
    table = Table("trait", "group", "r", "95 % interval", "ceiling", box=None)
    rows = {(row.trait, row.group): row for row in performance.itertuples()}
    order = [(trait, group) for trait in results.traits for group in results.groups]
    for row in (rows[key] for key in order if key in rows):
        ceiling = getattr(row, "ceiling_r", float("nan"))
        table.add_row(
            escape(str(row.trait)),
            escape(str(row.group)),
            f"{row.r:.2f}",
            f"{row.ci_low:.2f} to {row.ci_high:.2f}",
            f"{ceiling:.2f}" if ceiling == ceiling else "-",
        )
    return "Performance for each group and trait, on faces to which the readouts were not fitted:", table


def _describe_quality(signs: Any) -> list[str]:
    """Return sentences about raters with signs of poor data quality, whose ratings are not left out."""
    return [
        f"Check the data quality of {row.n_raters} raters: {row.sign} ({row.raters})"
        + (f"; rule: {row.rule}" if row.rule else "")
        for row in signs.itertuples()
    ]


def _print_notices(study: Any) -> None:
    """Print the notices about a study; unlike errors, they need no correction."""
    for notice in study.notices:
        messages.print(f"Note: {escape(str(notice))}")
