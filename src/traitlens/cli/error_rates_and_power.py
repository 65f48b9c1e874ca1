"""Commands that simulate studies: error rates of tests, and power."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from traitlens.cli.options import Device, Precision, Weights
from traitlens.cli.terminal import Terminal, answer
from traitlens.problems import Problem, TraitlensError


def validate(
    folder: Annotated[Path, typer.Argument(help="Folder for faces and results.")] = Path("validation"),
    null_studies: Annotated[
        int, typer.Option(min=1, help="Studies without a difference, for each condition and three traits.")
    ] = 100,
    studies: Annotated[
        int, typer.Option(min=0, help="Studies with a difference, for each condition and three traits.")
    ] = 100,
    study: Annotated[
        Path | None, typer.Option(help="A study of real faces, whose cues are used as the ground truth.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same studies.")] = 1,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Check all tests and intervals of the report instead.")
    ] = False,
    device: Device = "cpu",
    precision: Precision = "float32",
    weights: Weights = None,
) -> None:
    """Estimate the false positive rate and the power of the test of use on simulated studies.

    Example: traitlens validate validation --study mystudy
    """
    from traitlens.computing import Machine
    from traitlens.simulation.validation import run_validation

    if statistics:
        from traitlens.simulation.error_rate_study import run_error_rates

        table = run_error_rates(folder, 4 * null_studies, seed, Terminal())
        worst = table[table["measure"] == "false positives"].nlargest(1, "low").iloc[0]
        line = f"Most false positives: {worst['test']}, {worst['design']}: {worst['rate']:.1%}"
        answer({"folder": folder}, line, f"Table: {folder / 'error_rates.csv'}")
        return
    machine = Machine(device, precision, weights)
    rates = run_validation(folder, null_studies, studies, study, seed, machine, Terminal())
    answer({"folder": folder, "rates": rates}, _rates(rates), f"Table and figure: {folder}")


def power(
    folder: Annotated[Path, typer.Argument(help="Folder for the table and the figure.")] = Path("power"),
    raters: Annotated[str, typer.Option(help="Numbers of raters in each group.")] = "10,20,40,80",
    differences: Annotated[
        str, typer.Option(help="Differences between the groups' region weights (unit vectors).")
    ] = "0.2,0.4,0.6",
    images: Annotated[int, typer.Option(min=10, help="Number of faces.")] = 80,
    traits: Annotated[int, typer.Option(min=1, help="Number of traits.")] = 3,
    pilot: Annotated[
        Path | None, typer.Option(help="A pilot study from whose raters noise and mean levels are taken.")
    ] = None,
    studies: Annotated[int, typer.Option(min=1, help="Simulated studies for each number of raters.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same studies.")] = 1,
) -> None:
    """Estimate the power to find a difference between two groups, before data are collected.

    Example: traitlens power plan --raters 20,40,80 --differences 0.2,0.4 --pilot mypilot
    """
    from traitlens.comparison.calibration import behaviour_of_pilot
    from traitlens.comparison.face_sets import synthetic_faces
    from traitlens.ratings.reliability import reliability_table
    from traitlens.simulation.validation import run_power
    from traitlens.study.reading import Study

    numbers = [int(number) for number in _numbers(raters, "--raters", 2)]
    behaviour = None
    if pilot is not None:
        behaviour = behaviour_of_pilot(reliability_table(Study.load(pilot).ratings))
    table = run_power(
        folder,
        numbers,
        _numbers(differences, "--differences", 0),
        synthetic_faces(images, traits, seed=seed),
        behaviour,
        studies,
        seed,
        Terminal(),
    )
    answer({"folder": folder, "power": table}, _rates(table), f"Table and figure: {folder}")


def _numbers(text: str, option: str, lowest: float) -> list[float]:
    """Read a list of numbers separated by commas."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or min(values) < lowest:
        raise TraitlensError(
            Problem(f"{option} is {text!r}", f"write numbers from {lowest:g} on, with commas between them")
        )
    return values


def _rates(rates: Any) -> Table:
    """Format rates for the terminal."""
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
