"""Commands that use what was fitted on faces of no study, and tell what there is to fit on."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from traitlens.cli.options import Weights
from traitlens.cli.terminal import Terminal, answer, messages

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A folder of readouts: RESULTS/models.")]
METHOD = "lrp.sequential_preset_a_flat"
IMPRESSIONS = "Impressions that raters would form, not facts about the person shown:"


def predict(
    model: Model,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files.")],
    csv: Annotated[Path | None, typer.Option(help="Write the table here.")] = None,
    weights: Weights = None,
) -> None:
    """Predict the impressions that raters would form of new faces.

    Example: traitlens predict mystudy/results/models face.jpg --csv predicted.csv
    """
    from traitlens.keeping import write_table
    from traitlens.pipeline.new_faces import load_models, predict_new_faces

    models, backbone = load_models(model, weights, messages.print)
    with Terminal().stage("Predicting", len(images)) as advance:
        table = predict_new_faces(models, backbone, {str(path): path for path in images}, advance)
    if csv is not None:
        write_table(csv, table)
    shown = Table("image", "group", "trait", "predicted", box=None)
    for row in table.itertuples():
        shown.add_row(
            *(escape(str(cell)) for cell in (row.image, row.group, row.trait)), f"{row.predicted:.2f}"
        )
    answer({"predictions": table, "csv": csv}, IMPRESSIONS, shown)


def explain(
    model: Model,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image file.")],
    out: Annotated[Path, typer.Option(help="Folder for the maps: one picture per trait.")] = Path("maps"),
    method: Annotated[
        str, typer.Option(help="Name of the relevance method.")
    ] = "lrp.sequential_preset_a_flat",
    weights: Weights = None,
) -> None:
    """Show which pixels of a new face carried the predictions.

    Example: traitlens explain mystudy/results/models face.jpg --out maps
    """
    from traitlens.pipeline.new_faces import load_models, write_new_maps

    models, backbone = load_models(model, weights, messages.print)
    with Terminal().stage("Explaining", len(models.traits)) as advance:
        files = write_new_maps(models, backbone, image, out, method, advance)
    answer({"maps": files}, "Relevance of each pixel, in rating points:", *map(str, files))


def backbones() -> None:
    """List the networks that readouts can read, and where their weights come from.

    Example: traitlens backbones
    """
    from traitlens.features.backbone import describe_backbones

    known = describe_backbones()
    shown = Table("name", "convolutions", "weights", "source", "here", box=None)
    for entry in known:
        here = "yes" if entry["here"] else "fetched when first used"
        shown.add_row(entry["name"], str(entry["convolutions"]), entry["digest"][:12], entry["source"], here)
    answer({"backbones": known}, shown)
