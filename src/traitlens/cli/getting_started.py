"""Commands to get started: demonstration, new and simulated studies, public datasets."""

from pathlib import Path
from typing import Annotated

import typer

from traitlens.cli.analysis import run
from traitlens.cli.options import Device, Precision, Weights
from traitlens.cli.terminal import Terminal, answer, confirm
from traitlens.problems import Problem, TraitlensError
from traitlens.storage import atomic_write

FETCHED = ["3dsk", "omi", "london", "face-resnet"]
"""What can be fetched."""


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
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder; created if missing.")],
) -> None:
    """Create a new study: write a study.toml in which every setting is explained.

    Example: traitlens init mystudy
    """
    from traitlens.study.settings_file import begin_study

    settings = begin_study(folder)
    answer(
        {"study": folder, "settings": settings},
        f"Settings: {settings}",
        f"Put the images into {folder / 'images'} and the ratings, with the columns rater, group, image, "
        f"trait and rating, into {folder / 'ratings.csv'}. Next: traitlens check {folder}",
    )


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder of the new study.")],
    identities: Annotated[int, typer.Option(help="Number of identities.")] = 40,
    images: Annotated[int, typer.Option(help="Images of each identity.")] = 5,
    traits: Annotated[int, typer.Option(help="Number of traits, at most six.")] = 3,
    raters: Annotated[int, typer.Option(help="Raters in each group.")] = 20,
    effect: Annotated[
        float, typer.Option(help="Size of the true difference between groups; 0 for none.")
    ] = 0.6,
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same study.")] = 1,
) -> None:
    """Simulate a study of drawn faces and two groups of raters; the ground truth is written to OUT/truth.

    Example: traitlens simulate mystudy --identities 50 --images 10 --effect 0.6 --seed 1
    """
    from traitlens.study.simulated_study import simulate_study

    with Terminal().stage("Drawing faces", identities * images) as advance:
        simulate_study(out, identities, images, traits, raters, effect, seed, progress=advance)
    answer({"study": out}, f"Study: {out}. Next: traitlens run {out}")


def fetch(
    name: Annotated[
        str, typer.Argument(help="3dsk, omi, london or face-resnet.", autocompletion=lambda: FETCHED)
    ],
    out: Annotated[Path | None, typer.Argument(help="Folder for the dataset.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="A copy on disk.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the licence without being asked.")] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="Also fit a model of its 34 impressions (omi; hours on a laptop).")
    ] = False,
) -> None:
    """Download a public dataset after showing its licence, or a network trained on faces (face-resnet).

    Example: traitlens fetch 3dsk downloads/3dsk
    """
    if name == "face-resnet":
        from traitlens.features.dlib_network import fetch_face_resnet

        added = fetch_face_resnet(source, Terminal().say)
        facts = {"name": added.name, "convolutions": added.convolutions, "digest": added.digest}
        answer(facts, f"Added: {added.name} ({added.convolutions} convolutions, weights {added.digest[:12]})")
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
        answer({"folder": folder}, f"Fetched: {folder}")


def fit_impressions(folder: Path) -> None:
    """Fit a model of 34 impressions to the fetched set, and print its performance beside the ceilings."""
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
    answer(
        {"models": models, "performance": scores.to_dict("records")},
        f"Models: {models}, with a model card; r and R² of each impression: {folder / 'impressions.csv'}.",
        f"Out of fold, R² is {mean:.2f} on average over {len(scores)} impressions; ratings of this "
        f"reliability allow {ceiling:.2f}. The set's licence (CC BY-NC-SA 4.0) holds for the models.",
    )
