"""Descriptions of backbones without their weights: layers, shapes, preprocessing and digest."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traitlens.features.network_layers import LayerPlan, plan_shapes, plans_from_json
from traitlens.features.preprocessing import VGG_CAFFE, Preprocessing
from traitlens.features.weights import VGG16_DIGEST, VGG16_LAYERS, cache_folder, vgg16_file
from traitlens.problems import Problem, TraitlensError, WeightsError, unknown_choice

METADATA = "traitlens"
"""Name of the entry in a weight file's header that holds preprocessing, source and digest."""


@dataclass(frozen=True)
class BackboneDescription:
    """A backbone without its weights.

    Parameters
    ----------
    name : str
        Its name in `study.toml`.
    shapes : mapping of str to (int, int)
        Channels and stride of each layer, first to last; the stride is relative to the image.
    preprocessing : Preprocessing
        Preprocessing of its input.
    digest : str
        SHA-256 of its weights.
    source : str
        Source of its weights.
    here : bool
        Whether the weights are on this computer.
    """

    name: str
    shapes: Mapping[str, tuple[int, int]]
    preprocessing: Preprocessing
    digest: str
    source: str
    here: bool

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(self.shapes)

    @property
    def convolutions(self) -> int:
        """Number of convolutions."""
        return sum("conv" in name or name.endswith("_shortcut") for name in self.shapes)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON.

        Returns
        -------
        dict
            name, convolutions, digest, source, preprocessing, here.
        """
        return {
            "name": self.name,
            "convolutions": self.convolutions,
            "digest": self.digest,
            "source": self.source,
            "preprocessing": self.preprocessing.as_dict(),
            "here": self.here,
        }


def describe_backbone(name: str, weights: Path | None = None) -> BackboneDescription:
    """Describe a backbone from its metadata; no weights are needed.

    Parameters
    ----------
    name : str
        "vgg16", or one that was added (see :func:`traitlens.features.custom_backbones.add_backbone`).
    weights : Path or None
        A file with its weights, if the user gave one.

    Returns
    -------
    BackboneDescription
        Layers, shapes, preprocessing and digest.

    Raises
    ------
    TraitlensError
        If the name is unknown, or its file is damaged.

    Examples
    --------
    >>> describe_backbone("vgg16").shapes["block4_pool"]
    (512, 16)
    """
    if name == "vgg16":
        channels = [(layer, outputs) for layer, _, outputs in VGG16_LAYERS]
        source = "Simonyan and Zisserman (2015), Oxford, ImageNet; CC BY 4.0"
        here = (weights or vgg16_file()).exists()
        return BackboneDescription(name, shapes_of(channels), VGG_CAFFE, VGG16_DIGEST, source, here)
    added = list_custom_backbones()
    if weights is None and name not in added:
        unknown = unknown_choice("backbone", name, ["vgg16", *added])
        how = Problem("other networks are added from a file", "traitlens add-backbone FILE --name NAME")
        raise TraitlensError([*unknown.problems, how])
    return _read_header(name, weights or added[name])


def describe_backbones() -> list[BackboneDescription]:
    """Describe all available backbones.

    Returns
    -------
    list of BackboneDescription
        VGG16 first.
    """
    return [describe_backbone(name) for name in ("vgg16", *list_custom_backbones())]


def shapes_of(convolutions: Iterable[tuple[str, int]]) -> dict[str, tuple[int, int]]:
    """Compute the shapes of a stack whose blocks each end in a maximum pooling.

    Parameters
    ----------
    convolutions : iterable of (str, int)
        Name (``blockB_convC``) and output channels of each convolution, first to last.

    Returns
    -------
    dict of str to (int, int)
        Channels and stride of each layer, poolings (``blockB_pool``) included.
    """
    listed = list(convolutions)
    shapes, stride = {}, 1
    blocks = [name.split("_")[0] for name, _ in listed]
    for index, (name, channels) in enumerate(listed):
        block = blocks[index]
        shapes[name] = (channels, stride)
        if blocks[index + 1 :][:1] != [block]:
            stride *= 2
            shapes[f"{block}_pool"] = (channels, stride)
    return shapes


def custom_backbones_folder() -> Path:
    """Return the folder of added networks."""
    return cache_folder() / "backbones"


def list_custom_backbones() -> dict[str, Path]:
    """Return the files of added networks by name."""
    return {file.stem: file for file in sorted(custom_backbones_folder().glob("*.safetensors"))}


def read_facts(
    header: Mapping[str, str] | None,
) -> tuple[Preprocessing, str, str, tuple[LayerPlan, ...] | None]:
    """Read preprocessing, source, digest and layers from the metadata of a weight file.

    Parameters
    ----------
    header : mapping of str to str or None
        Metadata of a safetensors file.

    Returns
    -------
    preprocessing : Preprocessing
        Preprocessing of the network's input.
    source, digest : str
        Source and SHA-256 of the weights.
    plans : tuple of LayerPlan or None
        Layers of a residual network; None for a sequence of convolutions.

    Raises
    ------
    ValueError
        If the metadata were not written by :func:`traitlens.features.custom_backbones.add_backbone`.
    """
    try:
        facts = json.loads((header or {})[METADATA])
        given = facts["preprocessing"]
        first, second, third = map(float, given["mean"])
        by_first, by_second, by_third = map(float, given["divide_by"])
        preprocessing = Preprocessing(
            given["channels"], (first, second, third), (by_first, by_second, by_third)
        )
        source, digest = str(facts["source"]), str(facts["digest"])
        plans = plans_from_json(facts["layers"]) if "layers" in facts else None
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("no metadata of traitlens") from error
    if not preprocessing.is_sound:
        raise ValueError("invalid preprocessing")
    return preprocessing, source, digest, plans


def _read_header(name: str, path: Path) -> BackboneDescription:
    """Describe a network from the header of its file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            preprocessing, source, digest, plans = read_facts(file.metadata())
            names = [key.removesuffix(".bias") for key in file.keys() if key.endswith(".bias")]  # noqa: SIM118
            channels = {layer: file.get_slice(f"{layer}.bias").get_shape()[0] for layer in names}
        if plans is None:
            shapes = shapes_of((layer, channels[layer]) for layer in sorted(channels, key=_place))
        else:
            shapes = plan_shapes(plans, channels)
    except (OSError, SafetensorError, ValueError, LookupError):
        advice = "add it again with traitlens add-backbone"
        problem = Problem("is not a network added by traitlens, or is damaged", advice, str(path))
        raise WeightsError(problem) from None
    return BackboneDescription(name, shapes, preprocessing, digest, source, here=True)


def _place(layer: str) -> tuple[int, int]:
    """Return block and number of a convolution named ``blockB_convC``."""
    block, index = layer.removeprefix("block").split("_conv")
    return int(block), int(index)
