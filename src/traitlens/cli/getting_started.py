"""Commands to start with: a demonstration, new and simulated studies, and public datasets."""

from pathlib import Path
from typing import Annotated

import typer

from traitlens.cli.analysis import run
from traitlens.cli.options import Device, Precision, Weights
from traitlens.cli.terminal import Terminal, confirm, print_result
from traitlens.problems import Problem, TraitlensError
from traitlens.storage import atomic_write

FETCHED = ["3dsk", "omi", "london", "face-resnet"]
"""Names of the datasets and networks that can be downloaded."""


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder of the study.")] = Path("demo"),
    device: Device = "cpu",
    precision: Precision = "float32",
    weights: Weights = None,
) -> None:
    """Simulate a small study of drawn faces and analyse it.

    Example: traitlens demo
    """
    from traitlens.study.simulated_study import simulate_demo

    if not (folder / "study.toml").exists():
        simulate_demo(folder, Terminal())
    run(folder, None, device, precision, weights)


def init(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study; created if missing.")],
) -> None:
    """Create the folder of a new study, with a study.toml that explains every setting.

    Example: traitlens init mystudy
    """
    from traitlens.study.settings_file import begin_study

    settings = begin_study(folder)
    print_result(
        {"study": folder, "settings": settings},
        f"Settings: {settings}",
        f"Put the images into {folder / 'images'} and the ratings, with the columns rater, group, image, "
        f"trait and rating, into {folder / 'ratings.csv'}. Next: traitlens check {folder}",
    )


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder of the new study.")],
    identities: Annotated[int, typer.Option(help="Number of identities.")] = 40,
    images: Annotated[int, typer.Option(help="Number of images of each identity.")] = 5,
    traits: Annotated[int, typer.Option(help="Number of traits, at most six.")] = 3,
    raters: Annotated[int, typer.Option(help="Number of raters in each group.")] = 20,
    effect: Annotated[float, typer.Option(help="Size of the true group difference; 0 for none.")] = 0.6,
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same study.")] = 1,
) -> None:
    """Simulate a study of drawn faces and two groups of raters; the ground truth is written to OUT/truth.

    Example: traitlens simulate mystudy --identities 50 --images 10 --effect 0.6 --seed 1
    """
    from traitlens.study.simulated_study import simulate_study

    with Terminal().stage("Drawing faces", identities * images) as advance:
        simulate_study(out, identities, images, traits, raters, effect, seed, progress=advance)
    print_result({"study": out}, f"Study: {out}. Next: traitlens run {out}")


def fetch(
    name: Annotated[
        str,
        typer.Argument(
            help="What to download: 3dsk, omi, london or face-resnet.", autocompletion=lambda: FETCHED
        ),
    ],
    out: Annotated[Path | None, typer.Argument(help="Folder for the dataset.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Copy on this computer, to be used in place of a download.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the licence without being asked.")] = False,
    fit: Annotated[
        bool,
        typer.Option(
            "--fit", help="Also fit a model of the 34 impressions in omi (takes hours on a laptop)."
        ),
    ] = False,
) -> None:
    """Download a public dataset, after showing its licence, or a network trained on faces (face-resnet).

    Example: traitlens fetch 3dsk downloads/3dsk
    """
    if name == "face-resnet":
        from traitlens.features.dlib_network import fetch_face_resnet

        added = fetch_face_resnet(source, Terminal().say)
        facts = {"name": added.name, "convolutions": added.convolutions, "digest": added.digest}
        print_result(
            facts, f"Added: {added.name} ({added.convolutions} convolutions, weights {added.digest[:12]})"
        )
        return
    if out is None:
        raise TraitlensError(Problem("a dataset needs a folder", f"traitlens fetch {name} FOLDER"))
    if fit and name != "omi":
        raise TraitlensError(Problem(f"no model can be fitted to {name!r} alone", "--fit is for omi"))
    from traitlens.study.fetching import fetch as fetch_set

    folder = fetch_set(name, out, source, None if yes else confirm, Terminal())
    if fit:
        fit_impressions(folder)
    else:
        print_result({"folder": folder}, f"Fetched: {folder}")


def fit_impressions(folder: Path) -> None:
    """Fit a model to the 34 impressions of the dataset omi, and print its performance and noise ceiling."""
    from traitlens.api import Run
    from traitlens.artifacts import MODELS, PERFORMANCE
    from traitlens.study.impressions_study import impression_ceilings, write_impressions_study
    from traitlens.study.reading import Study

    done = Run(Study.load(write_impressions_study(folder)), watcher=Terminal())
    done.fit()
    done.close()
    scores = PERFORMANCE.read(done.results).merge(impression_ceilings(), "left", "trait", suffixes=("_", ""))
    scores = scores[["trait", "r", "r2", "ceiling_r2"]]
    with atomic_write(folder / "impressions.csv") as temporary:
        scores.to_csv(temporary, index=False)
    models = MODELS.of(done.results)
    mean, ceiling = scores["r2"].mean(), scores["ceiling_r2"].mean()
    print_result(
        {"models": models, "performance": scores.to_dict("records")},
        f"Models with a model card: {models}; r and R² of each impression: {folder / 'impressions.csv'}.",
        f"The mean out-of-fold R² of {len(scores)} impressions is {mean:.2f}; their mean noise ceiling is "
        f"{ceiling:.2f}. The licence of the dataset (CC BY-NC-SA 4.0) also applies to the models.",
    )
