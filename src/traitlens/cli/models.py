"""Commands that apply and share fitted models, and list networks."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from traitlens.cli.options import Weights
from traitlens.cli.terminal import Terminal, answer, confirm, messages

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A folder of readouts, RESULTS/models, or hf://OWNER/NAME on the hub."
    ),
]
IMPRESSIONS = "Impressions that raters would form, not facts about the person shown:"


def predict(
    model: Model,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files or folders.")],
    csv: Annotated[Path | None, typer.Option(help="CSV file for the table.")] = None,
    weights: Weights = None,
) -> None:
    """Predict the impressions that raters would form of new faces.

    Example: traitlens predict mystudy/results/models face.jpg --csv predicted.csv
    """
    from traitlens.prediction.new_faces import list_faces, load_models, predict_new_faces
    from traitlens.storage import write_table

    models, backbone = load_models(model, weights, messages.print)
    images = list_faces(images)
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
    from traitlens.prediction.new_faces import load_models, write_new_maps

    models, backbone = load_models(model, weights, messages.print)
    with Terminal().stage("Explaining", len(models.traits)) as advance:
        files = write_new_maps(models, backbone, image, out, method, advance)
    answer({"maps": files}, "Relevance of each pixel, in rating points:", *map(str, files))


def share(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder of readouts: RESULTS/models.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Name on the hub.")],
    public: Annotated[bool, typer.Option("--public", help="Make it public; private by default.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Share without confirmation.")] = False,
) -> None:
    """Share a model on the Hugging Face hub, after listing the files; images and ratings are never sent.

    Example: traitlens share mystudy/results/models owner/name
    """
    from traitlens.readouts.hub import ADDRESS
    from traitlens.readouts.hub import share as share_models

    address = share_models(model, repository, private=not public, confirm=None if yes else confirm)
    name = ADDRESS + repository
    answer(
        {"address": address, "name": name}, f"Shared: {address}. Use it: traitlens predict {name} face.jpg"
    )


def backbones() -> None:
    """List the available networks and the source of their weights.

    Example: traitlens backbones
    """
    from traitlens.features.backbone_catalogue import describe_backbones

    known = [backbone.as_dict() for backbone in describe_backbones()]
    shown = Table("name", "convolutions", "weights", "source", "here", box=None)
    for entry in known:
        here = "yes" if entry["here"] else "downloaded when first used"
        cells = (
            entry["name"],
            str(entry["convolutions"]),
            entry["digest"][:12],
            escape(entry["source"]),
            here,
        )
        shown.add_row(*cells)
    answer({"backbones": known}, shown)


def join_backbones(
    names: Annotated[list[str], typer.Argument(metavar="NETWORK...", help="Names of networks.")],
    name: Annotated[str, typer.Option(help="Name in study.toml.")],
) -> None:
    """Join networks, so that a readout reads layers of all of them (vgg16-block4_pool and so on).

    Example: traitlens join-backbones vgg16 face-resnet --name both
    """
    from traitlens.features import joined_backbones

    added = joined_backbones.join_backbones(names, name)
    facts = {"name": name, "convolutions": added.convolutions, "digest": added.digest}
    answer(facts, f"Added: {name} ({added.convolutions} convolutions, weights {added.digest[:12]})")


def add_backbone(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A state dict: safetensors, or torch's own.")],
    name: Annotated[str, typer.Option(help="Name in study.toml.")],
    preprocessing: Annotated[
        str,
        typer.Option(
            "--input", help="What it was trained on: caffe, torchvision, arcface, vgg_face or vgg_face_bgr."
        ),
    ],
    source: Annotated[str, typer.Option(help="Source, for reports and model cards.")] = "",
) -> None:
    """Add a VGG or residual network, for `backbone` in the section `readout` of study.toml.

    Residual networks are torchvision's ResNet and those trained with ArcFace (iresnet). Nothing in the file
    is run. Networks of another kind are refused.

    Example: traitlens add-backbone vgg19.pth --name vgg19 --input torchvision
    """
    from traitlens.features import custom_backbones

    added = custom_backbones.add_backbone(file, name, preprocessing, source)
    facts = {"name": name, "convolutions": added.convolutions, "digest": added.digest}
    answer(facts, f"Added: {name} ({added.convolutions} convolutions, weights {added.digest[:12]})")
