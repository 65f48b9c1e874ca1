"""Commands that simulate studies to estimate the error rates of tests, and power."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from traitlens.cli.options import Device, Precision, Weights
from traitlens.cli.terminal import Terminal, print_result
from traitlens.problems import Problem, TraitlensError


def validate(
    folder: Annotated[Path, typer.Argument(help="Folder for simulated faces and results.")] = Path(
        "validation"
    ),
    null_studies: Annotated[
        int,
        typer.Option(
            min=1, help="Number of simulated studies without a group difference, for each condition."
        ),
    ] = 100,
    studies: Annotated[
        int,
        typer.Option(min=0, help="Number of simulated studies with a group difference, for each condition."),
    ] = 100,
    study: Annotated[
        Path | None,
        typer.Option(help="Study of real faces from which the true cues of simulated raters are taken."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same studies.")] = 1,
    statistics: Annotated[
        bool,
        typer.Option(
            "--statistics", help="Check all tests and intervals of the report, not only the test of cue use."
        ),
    ] = False,
    device: Device = "cpu",
    precision: Precision = "float32",
    weights: Weights = None,
) -> None:
    """Estimate the false positive rate and the power of the test of cue use in simulated studies.

    Example: traitlens validate validation --study mystudy
    """
    from traitlens.computing import Machine
    from traitlens.simulation.validation import run_validation

    if statistics:
        from traitlens.simulation.error_rate_study import run_error_rates

        table = run_error_rates(folder, 4 * null_studies, seed, Terminal())
        worst = table[table["measure"] == "false positives"].nlargest(1, "low").iloc[0]
        line = f"Most false positives: {worst['test']}, {worst['design']}: {worst['rate']:.1%}"
        print_result({"folder": folder}, line, f"Table: {folder / 'error_rates.csv'}")
        return
    machine = Machine(device, precision, weights)
    rates = run_validation(folder, null_studies, studies, study, seed, machine, Terminal())
    print_result({"folder": folder, "rates": rates}, _tabulate_rates(rates), f"Table and figure: {folder}")


def power(
    folder: Annotated[Path, typer.Argument(help="Folder for the table and the figure.")] = Path("power"),
    raters: Annotated[str, typer.Option(help="Numbers of raters per group, such as 20,40.")] = "10,20,40,80",
    differences: Annotated[
        str,
        typer.Option(help="Sizes of the true difference in cue use between the groups, separated by commas."),
    ] = "0.2,0.4,0.6",
    images: Annotated[int, typer.Option(min=10, help="Number of faces.")] = 80,
    traits: Annotated[int, typer.Option(min=1, help="Number of traits.")] = 3,
    pilot: Annotated[
        Path | None,
        typer.Option(help="Pilot study from which the noise and the mean ratings of raters are taken."),
    ] = None,
    studies: Annotated[int, typer.Option(min=1, help="Simulated studies per number of raters.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same studies.")] = 1,
) -> None:
    """Estimate the power to find a difference between two groups, before data are collected.

    Example: traitlens power plan --raters 20,40,80 --differences 0.2,0.4 --pilot mypilot
    """
    from traitlens.comparison.calibration import behaviour_of_pilot
    from traitlens.comparison.face_sets import synthetic_faces
    from traitlens.ratings.reliability import reliability_table
    from traitlens.simulation.validation import run_power
    from traitlens.study.reading import Study

    numbers = [int(number) for number in _parse_numbers(raters, "--raters", 2)]
    behaviour = None
    if pilot is not None:
        behaviour = behaviour_of_pilot(reliability_table(Study.load(pilot).ratings))
    table = run_power(
        folder,
        numbers,
        _parse_numbers(differences, "--differences", 0),
        synthetic_faces(images, traits, seed=seed),
        behaviour,
        studies,
        seed,
        Terminal(),
    )
    print_result({"folder": folder, "power": table}, _tabulate_rates(table), f"Table and figure: {folder}")


def _parse_numbers(text: str, option: str, lowest: float) -> list[float]:
    """Return the numbers in a comma-separated option, and raise an error if any is too low."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or min(values) < lowest:
        raise TraitlensError(
            Problem(f"{option} is {text!r}", f"give numbers of at least {lowest:g}, separated by commas")
        )
    return values


def _tabulate_rates(rates: Any) -> Table:
    """Return a table of error rates or power for the terminal."""
    table = Table("faces", "condition", "measure", "studies", "%", "95 % interval", box=None)
    for row in rates.to_dict("records"):
        table.add_row(
            str(row.get("faces", "")),
            row["condition"],
            row["measure"],
            str(row["studies"]),
            f"{100 * row['estimate']:.1f}",
            f"{100 * row['low']:.0f} to {100 * row['high']:.0f}",
        )
    return table
