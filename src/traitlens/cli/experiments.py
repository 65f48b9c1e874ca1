"""Commands for experiments: alter faces in one region, and analyse ratings of the altered faces."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from traitlens.cli.options import StudyFolder, Weights
from traitlens.cli.terminal import Terminal, messages, print_result
from traitlens.problems import Problem, TraitlensError

OutFolder = Annotated[
    Path | None, typer.Option("--out", help="Folder of the experiment; STUDY/experiment by default.")
]


def stimuli(
    study: StudyFolder,
    out: OutFolder = None,
    traits: Annotated[str, typer.Option(help="Traits, separated by commas; all by default.")] = "",
    regions: Annotated[
        str,
        typer.Option(help="Regions, separated by commas; by default those with the strongest cues."),
    ] = "",
    faces: Annotated[
        str, typer.Option(help="Images used as base faces, separated by commas; by default drawn at random.")
    ] = "",
    number: Annotated[int, typer.Option(min=2, help="Number of base faces.")] = 12,
    steps: Annotated[
        str, typer.Option(help="Changes of a region's cue in standard deviations, separated by commas.")
    ] = "-0.5,0.5",
    versions: Annotated[
        str, typer.Option(help="How many versions of each base face a rater sees: a number, or all.")
    ] = "1",
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same base faces and lists.")] = 0,
    weights: Weights = None,
) -> None:
    """Create an experiment: alter faces of an analysed study in one region each, to be rated again.

    Only faces whose may_publish is true are altered. Look at the contact sheet before using them.

    Example: traitlens stimuli mystudy --traits warm --regions eyes,mouth
    """
    from traitlens.artifacts import REGIONAL_MODEL
    from traitlens.experiment.cue_reader import CueReader
    from traitlens.experiment.experiment_folder import FOLDER, write_experiment_folder
    from traitlens.experiment.power import estimate_power, residual_noise
    from traitlens.experiment.stimuli import StimulusRequest, make_stimuli
    from traitlens.prediction.new_faces import load_models
    from traitlens.study.reading import Study

    seen = _parse_versions(versions)
    request = StimulusRequest(
        _split_names(traits), _split_names(regions), _split_names(faces), number, _parse_numbers(steps), seed
    )
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
        f"{len(tables.left_out)} others were left out; for the reasons see {folder / 'left_out.csv'}",
    ]
    if loaded.has_raters:
        power = estimate_power(design, residual_noise(loaded.ratings), loaded.scale, seed=seed)
        facts["power"] = power
        lines += ["Power, if the predicted effects are correct:", _tabulate_power(power)]
    print_result(
        facts,
        *lines,
        f"Look at {folder / 'contact_sheet_01.png'}, and adapt {folder / 'ethics.md'} to your experiment.",
        f"Next: traitlens plan {folder}, then: traitlens rate serve {folder} --participants NUMBER",
    )


def experiment(
    study: StudyFolder,
    ratings: Annotated[
        Path | None,
        typer.Argument(
            metavar="RATINGS",
            help="Table of ratings; by default ratings.csv in the folder of the experiment.",
        ),
    ] = None,
    folder: OutFolder = None,
    exploratory: Annotated[
        bool,
        typer.Option(
            "--exploratory", help="Analyse although no plan is frozen, or answers are older than the plan."
        ),
    ] = False,
    simulated: Annotated[
        int,
        typer.Option(
            min=0, help="Analyse simulated answers of this number of raters per group, as a rehearsal."
        ),
    ] = 0,
    permutations: Annotated[int, typer.Option(min=99, help="Number of permutations of raters.")] = 999,
) -> None:
    """Analyse ratings of altered faces: compare observed with predicted effects, and groups.

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
    print_result(facts, *describe_experiment(read_results(results)), f"Report: {report}")


def _split_names(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated option."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _parse_numbers(text: str) -> tuple[float, ...]:
    """Return the numbers in the comma-separated option --steps."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        problem = Problem(f"--steps is {text!r}", "give numbers separated by commas, such as -0.5,0.5")
        raise TraitlensError(problem) from None


def _parse_versions(text: str) -> int | None:
    """Return the number in the option --versions, or None for all."""
    if text == "all":
        return None
    if not text.isdigit() or int(text) < 1:
        raise TraitlensError(Problem(f"--versions is {text!r}", "give a number of at least 1, or all"))
    return int(text)


def _tabulate_power(power: Any) -> Table:
    """Return the table of power for the terminal."""
    table = Table("raters per group", "effects found", "group x region found", box=None)
    for row in power.itertuples():
        differ = f"{row.group_x_region:.0%}" if row.group_x_region == row.group_x_region else "-"
        table.add_row(str(row.raters), f"{row.effects:.0%}", differ)
    return table
