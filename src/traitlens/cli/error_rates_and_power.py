"""Commands that simulate studies: whether tests can be trusted, how many raters a difference needs."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from traitlens.cli.options import Device, Precision, Weights
from traitlens.cli.terminal import Terminal, answer
from traitlens.problems import Problem, TraitlensError


def validate(
    folder: Annotated[Path, typer.Argument(help="Where faces and results are stored.")] = Path("validation"),
    null_studies: Annotated[
        int, typer.Option(min=1, help="Studies without a difference, for each condition and three traits.")
    ] = 100,
    studies: Annotated[int, typer.Option(min=0, help="Studies with a difference, likewise.")] = 50,
    study: Annotated[
        Path | None, typer.Option(help="A study of real faces, whose cues are taken as the truth.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same studies.")] = 1,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Check every test and interval of the report instead.")
    ] = False,
    device: Device = "cpu",
    precision: Precision = "float32",
    weights: Weights = None,
) -> None:
    """Count on simulated studies how often the test of use errs, and whether it finds what was planted.

    Example: traitlens validate validation --study mystudy
    """
    from traitlens.computing import Machine
    from traitlens.simulation.validation import run_validation

    if statistics:
        from traitlens.simulation.error_rates import run_error_rates

        table = run_error_rates(folder, 4 * null_studies, seed, Terminal())
        worst = table[table["measure"] == "false positives"].nlargest(1, "low").iloc[0]
        line = f"Most false positives: {worst['test']}, {worst['design']}: {worst['rate']:.1%}"
        answer({"folder": folder}, line, f"Table: {folder / 'error_rates.csv'}")
        return
    machine = Machine(device, precision, weights)
    rates = run_validation(folder, null_studies, studies, study, seed, machine, Terminal())
    answer({"folder": folder, "rates": rates}, _rates(rates), f"Table and figure: {folder}")


def power(
    folder: Annotated[Path, typer.Argument(help="Where the table and the figure are written.")] = Path(
        "power"
    ),
    raters: Annotated[str, typer.Option(help="Numbers of raters in each group.")] = "10,20,40,80",
    differences: Annotated[
        str, typer.Option(help="Differences of the weights of regions, whose squares sum to 1.")
    ] = "0.2,0.4,0.6",
    images: Annotated[int, typer.Option(min=10, help="Number of faces.")] = 80,
    traits: Annotated[int, typer.Option(min=1, help="Number of traits.")] = 3,
    pilot: Annotated[
        Path | None, typer.Option(help="A study whose raters tell noise and levels of the simulated ones.")
    ] = None,
    studies: Annotated[int, typer.Option(min=1, help="Simulated studies for each number of raters.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same studies.")] = 1,
) -> None:
    """Tell how often a difference between two groups would be found, before data are collected.

    Example: traitlens power plan --raters 20,40,80 --differences 0.2,0.4 --pilot mypilot
    """
    from traitlens.comparison.calibration import behaviour_of_pilot
    from traitlens.comparison.planted_faces import synthetic_faces
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
    """Read numbers between commas."""
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
    """Lay rates out for the terminal."""
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
