"""Commands that simulate studies: whether tests can be trusted, how many raters a difference needs."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from traitlens.cli.options import Device, Precision, Weights
from traitlens.cli.terminal import Terminal, answer
from traitlens.problems import Problem, TraitlensError


def validate(
    folder: Annotated[Path, typer.Argument(help="Where faces and results are kept.")] = Path("validation"),
    raters: Annotated[int, typer.Option(min=2, help="Raters in each group.")] = 20,
    effect: Annotated[float, typer.Option(help="How far the groups part where they differ.")] = 0.6,
    null_studies: Annotated[int, typer.Option(min=0, help="Studies without a difference.")] = 200,
    studies: Annotated[int, typer.Option(min=0, help="Studies with a difference.")] = 100,
    permutations: Annotated[int, typer.Option(min=19, help="Exchanges of raters in each study.")] = 499,
    seed: Annotated[int, typer.Option(help="The same seed gives the same studies.")] = 1,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Check every test and interval of the report instead.")
    ] = False,
    device: Device = "cpu",
    precision: Precision = "float32",
    weights: Weights = None,
) -> None:
    """Count on simulated studies how often the tests err, and whether they find what was planted.

    Example: traitlens validate validation --raters 20
    """
    from traitlens.computing import Machine
    from traitlens.simulation.validation import run_validation

    if statistics:
        from traitlens.simulation.error_rates import run_error_rates

        table = run_error_rates(folder, 2 * null_studies, seed, Terminal())
        worst = table[table["measure"] == "false positives"].nlargest(1, "low").iloc[0]
        line = f"Most false positives: {worst['test']}, {worst['design']}: {worst['rate']:.1%}"
        answer({"folder": folder}, line, f"Table: {folder / 'error_rates.csv'}")
        return
    if null_studies + studies == 0:
        raise TraitlensError(Problem("there is no study to simulate", "give --null-studies or --studies"))
    rates = run_validation(
        folder,
        raters,
        effect,
        null_studies,
        studies,
        permutations,
        seed,
        Machine(device, precision, weights),
        Terminal(),
    )
    answer({"folder": folder, "rates": rates}, _rates(rates), f"Table and figure: {folder}")


def power(
    folder: Annotated[Path, typer.Argument(help="Where the table and the figure are written.")] = Path(
        "power"
    ),
    raters: Annotated[str, typer.Option(help="Numbers of raters in each group.")] = "10,20,40,80",
    differences: Annotated[
        str, typer.Option(help="Differences, in standard deviations of the impression.")
    ] = "0.1,0.2,0.4",
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
    from traitlens.comparison.known_faces import Design, KnownFaces
    from traitlens.comparison.validation import design_of_pilot
    from traitlens.ratings.reliability import reliability_table
    from traitlens.simulation.validation import run_power
    from traitlens.study.reading import Study

    numbers = [int(number) for number in _numbers(raters, "--raters", 2)]
    design = Design(images=images, traits=traits)
    if pilot is not None:
        design = design_of_pilot(reliability_table(Study.load(pilot).ratings), design)
    table = run_power(
        folder,
        numbers,
        _numbers(differences, "--differences", 0),
        KnownFaces.of(design, seed),
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
    table = Table(
        "difference",
        "raters",
        "test",
        "studies",
        "significant (%)",
        "95 % interval",
        "right place (%)",
        box=None,
    )
    for row in rates.itertuples():
        right = row.right_region
        table.add_row(
            f"{row.difference:g}",
            f"{row.n_1} + {row.n_2}",
            row.test,
            str(row.studies),
            f"{100 * row.estimate:.1f}",
            f"{100 * row.ci_low:.0f} to {100 * row.ci_high:.0f}",
            f"{100 * right:.0f}" if right == right else "-",
        )
    return table
