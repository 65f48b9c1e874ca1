"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")]
ResultsFolder = Annotated[
    Path | None, typer.Option("--out", metavar="RESULTS", help="Results folder; STUDY/results by default.")
]
Device = Annotated[
    str,
    typer.Option(
        help="cpu, cuda, mps, or auto for the best available.",
        autocompletion=lambda: ["cpu", "cuda", "mps", "auto"],
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="float32, or bf16 if the processor supports it.", autocompletion=lambda: ["float32", "bf16"]
    ),
]
Weights = Annotated[
    Path | None, typer.Option(help="A file with the network's weights; found or downloaded by default.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Number of worker processes (Dask); threads by default."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(help="Address of a Dask scheduler: tcp://HOST:8786."),
]
KeepMaps = Annotated[
    str | None,
    typer.Option(
        help="Images whose maps are kept: all, sample (200 images) or none; as in study.toml by default.",
        autocompletion=lambda: ["all", "sample", "none"],
    ),
]
