"""Commands for experiments: faces altered in one region, and the analysis of their ratings."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from traitlens.cli.options import StudyFolder, Weights
from traitlens.cli.terminal import Terminal, answer, messages
from traitlens.problems import Problem, TraitlensError

OutFolder = Annotated[
    Path | None, typer.Option("--out", help="The experiment's folder; STUDY/experiment by default.")
]


def stimuli(
    study: StudyFolder,
    out: OutFolder = None,
    traits: Annotated[str, typer.Option(help="Traits, with commas between them; all by default.")] = "",
    regions: Annotated[
        str,
        typer.Option(help="Regions, with commas between them; those with the strongest cues by default."),
    ] = "",
    faces: Annotated[
        str, typer.Option(help="Base faces, with commas between them; drawn at random by default.")
    ] = "",
    number: Annotated[int, typer.Option(min=2, help="Number of base faces.")] = 12,
    steps: Annotated[
        str, typer.Option(help="Shifts of a cue in standard deviations, separated by commas.")
    ] = "-0.5,0.5",
    versions: Annotated[
        str, typer.Option(help="Versions of a base face that a rater sees: a number, or all.")
    ] = "1",
    seed: Annotated[int, typer.Option(help="Seed of base faces and lists.")] = 0,
    weights: Weights = None,
) -> None:
    """Alter faces of a finished study in one region each, as an experiment for `traitlens rate`.

    Only faces whose may_publish is true are altered. Look at the contact sheet before you use them.

    Example: traitlens stimuli mystudy --traits warm --regions eyes,mouth
    """
    from traitlens.artifacts import REGIONAL_MODEL
    from traitlens.experiment.cue_reader import CueReader
    from traitlens.experiment.experiment_folder import FOLDER, write_experiment_folder
    from traitlens.experiment.power import estimate_power, residual_noise
    from traitlens.experiment.stimuli import StimulusRequest, make_stimuli
    from traitlens.prediction.new_faces import load_models
    from traitlens.study.reading import Study

    seen = _versions(versions)
    request = StimulusRequest(_names(traits), _names(regions), _names(faces), number, _numbers(steps), seed)
    loaded, results, folder = Study.load(study), study / "results", out or study / FOLDER
    if not REGIONAL_MODEL.of(results).is_dir():
        what = "the study has no regional readouts yet"
        raise TraitlensError(Problem(what, f"run first: traitlens run {study}", str(results)))
    if (folder / "plan.json").exists():
        what = "the plan of this experiment is frozen: its pictures cannot be changed"
        raise TraitlensError(Problem(what, "choose another folder with --out", str(folder)))
    if len(loaded.groups) == 1:
        messages.print("Note: the study has one group; effects are estimated, but groups are not compared.")
    models, backbone = load_models(str(REGIONAL_MODEL.of(results)), weights, messages.print)
    tables = make_stimuli(loaded, results, CueReader(models, backbone), folder, request, Terminal())
    design = write_experiment_folder(loaded, tables, folder, seen, seed)
    facts: dict[str, Any] = {"folder": folder, "pictures": design.pictures, "left_out": tables.left_out}
    lines: list[Any] = [
        f"{len(design.pictures)} altered pictures: {folder / 'images'}",
        f"{len(tables.left_out)} were left out; reasons: {folder / 'left_out.csv'}",
    ]
    if loaded.has_raters:
        power = estimate_power(design, residual_noise(loaded.ratings), loaded.scale, seed=seed)
        facts["power"] = power
        lines += ["Power, if the predictions are right:", _tabulate_power(power)]
    answer(
        facts,
        *lines,
        f"Look at {folder / 'contact_sheet_01.png'}, adapt {folder / 'ethics.md'}.",
        f"Next: traitlens plan {folder}, then: traitlens rate serve {folder} --participants NUMBER",
    )


def experiment(
    study: StudyFolder,
    ratings: Annotated[
        Path | None,
        typer.Argument(metavar="RATINGS", help="Table of ratings; ratings.csv of the experiment by default."),
    ] = None,
    folder: OutFolder = None,
    exploratory: Annotated[
        bool,
        typer.Option(
            "--exploratory", help="Analyse without a frozen plan, or answers that are older than it."
        ),
    ] = False,
    simulated: Annotated[
        int, typer.Option(min=0, help="Rehearse with simulated answers of this many raters per group.")
    ] = 0,
    permutations: Annotated[int, typer.Option(min=99, help="Permutations of raters.")] = 999,
) -> None:
    """Analyse the ratings of altered faces: observed against predicted effects, and groups.

    Example: traitlens experiment mystudy collected.csv
    """
    from traitlens.experiment.experiment_analysis import analyse_experiment
    from traitlens.experiment.experiment_folder import FOLDER
    from traitlens.experiment.power import write_simulated_answers
    from traitlens.report.experiment_results import describe_experiment
    from traitlens.report.page import write_report
    from traitlens.report.results import read_results
    from traitlens.study.reading import Study

    results, folder = study / "results", folder or study / FOLDER
    read_results(results)
    if simulated:
        ratings = write_simulated_answers(folder, Study.load(study), simulated)
    found = analyse_experiment(folder, ratings, exploratory or bool(simulated), permutations)
    found.facts["simulated"] = bool(simulated)
    found.write(results)
    report = write_report(results)
    facts = {
        "report": report,
        "effects": found.effects,
        "differences": found.differences,
        "agreement": found.agreement,
        "experiment": found.facts,
    }
    answer(facts, *describe_experiment(read_results(results)), f"Report: {report}")


def _names(text: str) -> tuple[str, ...]:
    """Read names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[float, ...]:
    """Read steps separated by commas."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        problem = Problem(f"--steps is {text!r}", "write numbers such as -0.5,0.5")
        raise TraitlensError(problem) from None


def _versions(text: str) -> int | None:
    """Read the number of versions that a rater sees."""
    if text == "all":
        return None
    if not text.isdigit() or int(text) < 1:
        raise TraitlensError(Problem(f"--versions is {text!r}", "write a number from 1 on, or all"))
    return int(text)


def _tabulate_power(power: Any) -> Table:
    """Format the power table for the terminal."""
    table = Table("raters per group", "effects found", "group x region found", box=None)
    for row in power.itertuples():
        differ = f"{row.group_x_region:.0%}" if row.group_x_region == row.group_x_region else "-"
        table.add_row(str(row.raters), f"{row.effects:.0%}", differ)
    return table
