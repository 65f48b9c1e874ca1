"""The command `traitlens replicate`, which compares a study with its replication."""

from pathlib import Path
from typing import Annotated

import typer

from traitlens.cli.options import Weights
from traitlens.cli.terminal import Terminal, print_result


def replicate(
    first: Annotated[Path, typer.Argument(metavar="FIRST", help="Folder of the original study.")],
    second: Annotated[Path, typer.Argument(metavar="SECOND", help="Folder of the replication.")],
    out: Annotated[Path, typer.Option(help="Folder for tables, figure and summary.")] = Path("replication"),
    predict: Annotated[
        bool, typer.Option(help="Predict the faces of SECOND with the readouts of FIRST.")
    ] = True,
    permutations: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Number of permutations of the raters of SECOND.")
    ] = 5000,
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same results.")] = 0,
    weights: Weights = None,
) -> None:
    """Test whether the group differences of one study replicate in another.

    Example: traitlens replicate online lab --out online_and_lab
    """
    from traitlens.prediction.replication_study import replicate as compare

    tables, lines = compare(
        first,
        second,
        out,
        predict=predict,
        permutations=permutations,
        seed=seed,
        weights=weights,
        watcher=Terminal(),
    )
    print_result({"folder": out, **tables}, *lines, f"Tables and figure: {out}")
