"""Arguments and options that are the same in several commands."""

from pathlib import Path
from typing import Annotated

import typer

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study.")]
ResultsFolder = Annotated[
    Path | None, typer.Option("--out", metavar="RESULTS", help="Results folder; STUDY/results by default.")
]
Device = Annotated[
    str,
    typer.Option(
        help="Device of the network: cpu, cuda, mps, or auto for the best available.",
        autocompletion=lambda: ["cpu", "cuda", "mps", "auto"],
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="Precision of the network: float32, or bf16 if the device supports it.",
        autocompletion=lambda: ["float32", "bf16"],
    ),
]
Weights = Annotated[
    Path | None, typer.Option(help="File with the weights of the network; found or downloaded by default.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Number of worker processes (with Dask); threads by default."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(help="Address of a Dask scheduler, such as tcp://HOST:8786."),
]
KeepMaps = Annotated[
    str | None,
    typer.Option(
        help="Images whose maps are kept: all, sample (200 images) or none; by default as in study.toml.",
        autocompletion=lambda: ["all", "sample", "none"],
    ),
]
