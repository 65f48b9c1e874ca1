"""Description of available backbones (layers, preprocessing, digest) without loading their weights."""

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
"""Name of the header entry of a weight file that contains preprocessing, source and digest."""


@dataclass(frozen=True)
class BackboneDescription:
    """Description of a backbone, without its weights.

    Parameters
    ----------
    name : str
        Name of the network in `study.toml`.
    shapes : mapping of str to (int, int)
        Number of channels and stride (in pixels of the input) of each layer, from first to last.
    preprocessing : Preprocessing
        Preprocessing of the pixels.
    digest : str
        SHA-256 of the weights.
    source : str
        Source of the weights.
    here : bool
        Whether the weights are stored on this computer.
    """

    name: str
    shapes: Mapping[str, tuple[int, int]]
    preprocessing: Preprocessing
    digest: str
    source: str
    here: bool

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the layers, from first to last."""
        return tuple(self.shapes)

    @property
    def convolutions(self) -> int:
        """Number of convolutions."""
        return sum("conv" in name or name.endswith("_shortcut") for name in self.shapes)

    def as_dict(self) -> dict[str, Any]:
        """Return the description as a dictionary of values that JSON can represent.

        Returns
        -------
        dict
            name, convolutions, digest, source, preprocessing and here.
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
    """Describe a backbone from its metadata, without loading its weights.

    Parameters
    ----------
    name : str
        "vgg16", or a network added by :func:`traitlens.features.custom_backbones.add_backbone`.
    weights : Path or None
        File with the weights, if it is not the stored one.

    Returns
    -------
    BackboneDescription
        Layers, shapes, preprocessing and digest.

    Raises
    ------
    TraitlensError
        If the name is unknown, or the file of the network is damaged.

    Examples
    --------
    >>> describe_backbone("vgg16").shapes["block4_pool"]
    (512, 16)
    """
    if name == "vgg16":
        channels = [(layer, outputs) for layer, _, outputs in VGG16_LAYERS]
        source = "Simonyan and Zisserman (2015), Oxford, ImageNet; CC BY 4.0"
        here = (weights or vgg16_file()).exists()
        return BackboneDescription(name, vgg_shapes(channels), VGG_CAFFE, VGG16_DIGEST, source, here)
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
        Descriptions of VGG16, then of networks added by the user.
    """
    return [describe_backbone(name) for name in ("vgg16", *list_custom_backbones())]


def vgg_shapes(convolutions: Iterable[tuple[str, int]]) -> dict[str, tuple[int, int]]:
    """Compute channels and stride of each layer of a network built like VGG, including poolings.

    `convolutions` are the name (``blockB_convC``) and number of output channels of each convolution.
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
    """Return the folder in which networks added by the user are stored."""
    return cache_folder() / "backbones"


def list_custom_backbones() -> dict[str, Path]:
    """Return the files of the networks added by the user, by name of the network."""
    return {file.stem: file for file in sorted(custom_backbones_folder().glob("*.safetensors"))}


def read_metadata(
    header: Mapping[str, str] | None,
) -> tuple[Preprocessing, str, str, tuple[LayerPlan, ...] | None]:
    """Read preprocessing, source, digest and (of residual networks) layers from a safetensors header.

    Raises
    ------
    ValueError
        If the header was not written by :func:`traitlens.features.custom_backbones.add_backbone`.
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
    """Describe a network added by the user from the header of its file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            preprocessing, source, digest, plans = read_metadata(file.metadata())
            names = [key.removesuffix(".bias") for key in file.keys() if key.endswith(".bias")]  # noqa: SIM118
            channels = {layer: file.get_slice(f"{layer}.bias").get_shape()[0] for layer in names}
        if plans is None:
            shapes = vgg_shapes((layer, channels[layer]) for layer in sorted(channels, key=_block_and_index))
        else:
            shapes = plan_shapes(plans, channels)
    except (OSError, SafetensorError, ValueError, LookupError):
        advice = "add it again with traitlens add-backbone"
        problem = Problem("is not a network added by traitlens, or is damaged", advice, str(path))
        raise WeightsError(problem) from None
    return BackboneDescription(name, shapes, preprocessing, digest, source, here=True)


def _block_and_index(layer: str) -> tuple[int, int]:
    """Return the block B and number C of a convolution named ``blockB_convC``."""
    block, index = layer.removeprefix("block").split("_conv")
    return int(block), int(index)
