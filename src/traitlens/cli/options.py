"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")]
ResultsFolder = Annotated[
    Path | None, typer.Option("--out", metavar="RESULTS", help="Results folder; STUDY/results if not given.")
]
Device = Annotated[
    str,
    typer.Option(
        help="cpu, cuda, mps, or auto for the best that is there.",
        autocompletion=lambda: ["cpu", "cuda", "mps", "auto"],
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="float32, or bf16 where the processor has it.", autocompletion=lambda: ["float32", "bf16"]
    ),
]
Weights = Annotated[
    Path | None, typer.Option(help="A file with the network's weights; found or fetched if not given.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Share the work among so many processes (Dask); threads if not given."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(help="Share the work among a Dask scheduler's workers: tcp://HOST:8786."),
]
KeepMaps = Annotated[
    str | None,
    typer.Option(
        help="Whose maps are kept: all, sample (200 images) or none; as study.toml says if not given.",
        autocompletion=lambda: ["all", "sample", "none"],
    ),
]
