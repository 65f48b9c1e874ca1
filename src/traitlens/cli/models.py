"""Commands that apply and share fitted models, and that list and add networks."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from traitlens.cli.options import Weights
from traitlens.cli.terminal import Terminal, confirm, messages, print_result

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="Folder RESULTS/models of a run, or hf://OWNER/NAME on the Hugging Face hub."
    ),
]
IMPRESSIONS = "These are impressions that raters would form, not facts about the person shown:"


def predict(
    model: Model,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files or folders.")],
    csv: Annotated[Path | None, typer.Option(help="CSV file to write the table to.")] = None,
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
    print_result({"predictions": table, "csv": csv}, IMPRESSIONS, shown)


def explain(
    model: Model,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image file.")],
    out: Annotated[Path, typer.Option(help="Folder for images of the maps.")] = Path("maps"),
    method: Annotated[
        str, typer.Option(help="Name of the relevance method.")
    ] = "lrp.sequential_preset_a_flat",
    weights: Weights = None,
) -> None:
    """Show how much each pixel of a new face contributed to the predictions.

    Example: traitlens explain mystudy/results/models face.jpg --out maps
    """
    from traitlens.prediction.new_faces import load_models, write_new_maps

    models, backbone = load_models(model, weights, messages.print)
    with Terminal().stage("Explaining", len(models.traits)) as advance:
        files = write_new_maps(models, backbone, image, out, method, advance)
    print_result({"maps": files}, "Relevance of each pixel, in rating points:", *map(str, files))


def share(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder RESULTS/models of a run.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Name of the model on the hub.")],
    public: Annotated[
        bool, typer.Option("--public", help="Make the model public (default: private).")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Share without confirmation.")] = False,
) -> None:
    """Upload a model to the Hugging Face hub, after listing the files; images and ratings are never sent.

    Example: traitlens share mystudy/results/models owner/name
    """
    from traitlens.readouts.hub import ADDRESS
    from traitlens.readouts.hub import share as share_models

    address = share_models(model, repository, private=not public, confirm=None if yes else confirm)
    name = ADDRESS + repository
    print_result(
        {"address": address, "name": name},
        f"Shared: {address}. To use the model: traitlens predict {name} face.jpg",
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
    print_result({"backbones": known}, shown)


def join_backbones(
    names: Annotated[list[str], typer.Argument(metavar="NETWORK...", help="Names of the networks to join.")],
    name: Annotated[str, typer.Option(help="Name of the joined network in study.toml.")],
) -> None:
    """Join networks to one, so that readouts can use layers of all of them (such as vgg16-block4_pool).

    Example: traitlens join-backbones vgg16 face-resnet --name both
    """
    from traitlens.features import joined_backbones

    added = joined_backbones.join_backbones(names, name)
    facts = {"name": name, "convolutions": added.convolutions, "digest": added.digest}
    print_result(facts, f"Added: {name} ({added.convolutions} convolutions, weights {added.digest[:12]})")


def add_backbone(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="State dict: a safetensors file, or one written by torch.save."),
    ],
    name: Annotated[str, typer.Option(help="Name of the network in study.toml.")],
    preprocessing: Annotated[
        str,
        typer.Option(
            "--input", help="Preprocessing of pixels: caffe, torchvision, arcface, vgg_face or vgg_face_bgr."
        ),
    ],
    source: Annotated[str, typer.Option(help="Source of the network, for reports and model cards.")] = "",
) -> None:
    """Add a VGG or residual network, to be used as `backbone` in the section `readout` of study.toml.

    Residual networks can be torchvision's ResNet or networks trained with ArcFace (iresnet); networks of
    other kinds are refused. No code in the file is run.

    Example: traitlens add-backbone vgg19.pth --name vgg19 --input torchvision
    """
    from traitlens.features import custom_backbones

    added = custom_backbones.add_backbone(file, name, preprocessing, source)
    facts = {"name": name, "convolutions": added.convolutions, "digest": added.digest}
    print_result(facts, f"Added: {name} ({added.convolutions} convolutions, weights {added.digest[:12]})")
