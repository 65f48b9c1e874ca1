"""Networks added by the user: read from a state dict, checked, and stored with their preprocessing.

A state dict contains tensors and their names, but neither strides nor poolings. Only networks for which these
follow from the names are therefore accepted. Networks built like VGG (Simonyan and Zisserman 2015) have 3x3
convolutions with stride 1 and padding 1, each with a bias and a ReLU, and a 2x2 maximum pooling after each
block. Residual networks are read by :mod:`traitlens.features.residual_networks`. Dense layers are ignored.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from traitlens.features.backbone_catalogue import METADATA, custom_backbones_folder, read_metadata
from traitlens.features.network_layers import LayerPlan, check_tensors, network_digest, plans_to_json
from traitlens.features.preprocessing import PREPROCESSINGS, Preprocessing
from traitlens.features.residual_networks import is_residual, read_residual
from traitlens.features.weights import Tensors, weights_digest
from traitlens.problems import Problem, WeightsError, unknown_choice
from traitlens.storage import atomic_write

if TYPE_CHECKING:
    import torch

_NUMBERED = re.compile(
    r"(?:\w+\.)*features\.(\d+)\.(weight|bias|running_mean|running_var|num_batches_tracked)"
)
_NAMED = re.compile(r"(?:\w+\.)*(?:conv|block)(\d+)_(?:conv)?(\d+)\.(weight|bias)")
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
_DENSE = re.compile(r"(?:\w+\.)*(?:classifier\.\d+|fc\d*|predictions)\.(?:weight|bias)")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_BATCH_NORM_EPSILON = 1e-5
_KNOWN = "those built like VGG (VGG11 to VGG19, VGG-Face), torchvision's ResNet, and ArcFace's (iresnet)"
LONGEST_NAME = 200


@dataclass(frozen=True, eq=False)
class CustomBackbone:
    """A network added by the user: weights, preprocessing and source.

    Parameters
    ----------
    name : str
        Name of the network in study.toml.
    tensors : dict of str to ndarray
        float32 ``LAYER.weight`` and ``LAYER.bias``, from first to last layer. The layers of a network built
        like VGG are named ``blockB_convC``.
    preprocessing : Preprocessing
        Preprocessing of the pixels.
    source : str
        Source of the weights.
    plans : tuple of LayerPlan or None
        Layers of a residual network; None for a network built like VGG.
    """

    name: str
    tensors: Tensors
    preprocessing: Preprocessing
    source: str
    plans: tuple[LayerPlan, ...] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the weights and, for a residual network, of its layers."""
        return (
            weights_digest(self.tensors) if self.plans is None else network_digest(self.plans, self.tensors)
        )

    @property
    def convolutions(self) -> int:
        """Number of convolutions."""
        return sum(name.endswith(".weight") for name in self.tensors)


def read_custom_backbone(path: Path) -> tuple[tuple[LayerPlan, ...] | None, Tensors]:
    """Read a network from a state dict, without running code in the file.

    Parameters
    ----------
    path : Path
        A safetensors file, or a file written by ``torch.save``, of which only tensors are read. Networks
        built like VGG have names as in torchvision (``features.0.weight``; batch normalisation is folded into
        the convolutions), as in VGG-Face (``conv1_1.weight``), or ``block1_conv1.weight``. For residual
        networks see :func:`traitlens.features.residual_networks.read_residual`.

    Returns
    -------
    plans : tuple of LayerPlan or None
        Layers of a residual network; None for a network built like VGG.
    tensors : dict of str to ndarray
        float32 weights and biases. Those of a network built like VGG are named ``blockB_convC.weight`` (out,
        in, 3, 3) and ``.bias`` (out,), from first to last.

    Raises
    ------
    WeightsError
        If the file cannot be read, or contains a network of another kind.

    Examples
    --------
    >>> list(read_custom_backbone(Path("vgg19.pth"))[1])[:2]  # doctest: +SKIP
    ['block1_conv1.weight', 'block1_conv1.bias']
    """
    path = Path(path)
    state = _read_state(path)
    if not is_residual(state):
        return None, _read_sequence(state, path)
    try:
        plans, tensors = read_residual(state)
        check_tensors(plans, tensors)
    except ValueError as error:
        raise _unsupported_network(f"this is not a known residual network: {error}", path) from None
    return plans, tensors


def _read_sequence(state: Mapping[str, np.ndarray], path: Path) -> Tensors:
    """Read the convolutions of a network built like VGG from named tensors."""
    numbered: dict[int, dict[str, np.ndarray]] = {}
    named: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    strange = []
    for name, tensor in state.items():
        if len(name) > LONGEST_NAME:
            strange.append(name[:LONGEST_NAME])
        elif found := _NUMBERED.fullmatch(name):
            numbered.setdefault(int(found[1]), {})[found[2]] = tensor
        elif found := _NAMED.fullmatch(name):
            named.setdefault((int(found[1]), int(found[2])), {})[found[3]] = tensor
        elif not _DENSE.fullmatch(name):
            strange.append(name)
    if strange or bool(numbered) == bool(named):
        some = f" (it contains {', '.join(map(repr, strange[:3]))})" if strange else ""
        raise _unsupported_network(f"this is not a sequence of convolutions{some}", path)
    blocks = _split_blocks(_fold_batch_norms(numbered, path), path) if numbered else _renumber(named)
    _check_convolutions(blocks, path)
    return {
        f"block{block}_conv{index}.{part}": np.ascontiguousarray(parts[part], "<f4")
        for (block, index), parts in sorted(blocks.items())
        for part in ("weight", "bias")
    }


def _unsupported_network(what: str, path: Path) -> WeightsError:
    """Return an error that says what is wrong and which networks can be read."""
    return WeightsError(Problem(what, f"networks that can be read out: {_KNOWN}", str(path)))


def _read_state(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a state dict as float32, by name."""
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or malicious file can raise any error in the library
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        advice = "save the state dict alone: torch.save(network.state_dict(), file), or safetensors"
        raise WeightsError(
            Problem(f"does not contain plain tensors ({first[:120]})", advice, str(path))
        ) from None
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    is_state = isinstance(found, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in found.items()
    )
    if not is_state:
        raise WeightsError(Problem("is not a state dict: it contains more than named tensors", "", str(path)))
    _check_tensors(found, path)
    return {name: np.asarray(tensor.detach().float().numpy()) for name, tensor in found.items()}


def _check_tensors(state: Mapping[str, "torch.Tensor"], path: Path) -> None:
    """Raise an error if tensors are not plain arrays in the file; checked before memory is allocated."""
    import torch

    most = path.stat().st_size
    faults = []
    for name, tensor in state.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain or tensor.is_complex():
            faults.append(f"{name[:80]!r} is not a plain tensor")
        elif tensor.numel() * tensor.element_size() > most:  # a few numbers expanded to many
            faults.append(f"{name[:80]!r} is larger than the file")
    if faults:
        raise WeightsError(
            [problem for fault in faults[:5] for problem in _unsupported_network(fault, path).problems]
        )


def _fold_batch_norms(
    numbered: Mapping[int, dict[str, np.ndarray]], path: Path
) -> dict[int, dict[str, np.ndarray]]:
    """Fold each batch normalisation into the convolution before it."""
    folded = {}
    for index, parts in numbered.items():
        if "running_mean" in parts:
            continue
        norm = numbered.get(index + 1, {})
        if "running_mean" in norm and parts.keys() >= {"weight", "bias"}:
            length = parts["weight"].shape[:1]
            if (
                any(name not in norm or norm[name].shape != length for name in _BATCH_NORM)
                or not (norm["running_var"] >= 0).all()
            ):
                what = f"features.{index + 1} is not a batch normalisation of features.{index}"
                raise _unsupported_network(what, path)
            scale = norm["weight"] / np.sqrt(norm["running_var"] + _BATCH_NORM_EPSILON)
            weight = parts["weight"] * scale.reshape(-1, 1, 1, 1)
            parts = {
                "weight": weight,
                "bias": (parts["bias"] - norm["running_mean"]) * scale + norm["bias"],
                "normalised": scale,
            }
        folded[index] = parts
    return folded


def _split_blocks(
    numbered: Mapping[int, dict[str, np.ndarray]], path: Path
) -> dict[tuple[int, int], dict[str, np.ndarray]]:
    """Split numbered layers into blocks at the poolings, which are gaps between the numbers."""
    blocks, block, index = {}, 1, 0
    expected = 0
    for number in sorted(numbered):
        if number == expected + 1 and index:
            block, index = block + 1, 0
        elif number != expected:
            raise _unsupported_network(
                f"the layer before features.{number} is neither a ReLU nor a pooling", path
            )
        index += 1
        blocks[block, index] = numbered[number]
        expected = number + 2 + ("normalised" in numbered[number])
    return blocks


def _renumber(
    named: Mapping[tuple[int, int], dict[str, np.ndarray]],
) -> dict[tuple[int, int], dict[str, np.ndarray]]:
    """Renumber blocks, and the convolutions of each block, from 1 without gaps."""
    numbers = {block: number for number, block in enumerate(sorted({block for block, _ in named}), 1)}
    found: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    for block, index in sorted(named):
        number = numbers[block]
        found[number, 1 + sum(other == number for other, _ in found)] = named[block, index]
    return found


def _check_convolutions(blocks: Mapping[tuple[int, int], Mapping[str, np.ndarray]], path: Path) -> None:
    """Raise an error unless all layers are 3x3 convolutions with a bias and matching channels."""
    faults = []
    channels = 3
    for (block, index), parts in sorted(blocks.items()):
        name = f"block {block}, convolution {index}"
        weight, bias = parts.get("weight"), parts.get("bias")
        if weight is None or bias is None:
            faults.append(f"{name}: it has no {'bias' if bias is None else 'weight'}")
            continue
        if weight.ndim != 4 or weight.shape[1:] != (channels, 3, 3) or bias.shape != weight.shape[:1]:
            shapes = f"shapes {weight.shape} and {bias.shape}"
            faults.append(f"{name}: {shapes} are not a 3x3 convolution of {channels} channels")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            faults.append(f"{name}: it contains infinite numbers")
        channels = weight.shape[0] if weight.ndim else 0
    if faults:
        raise WeightsError(
            [problem for fault in faults[:5] for problem in _unsupported_network(fault, path).problems]
        )


def add_backbone(
    path: Path, name: str, preprocessing: str | Preprocessing, source: str = ""
) -> CustomBackbone:
    """Read a network from a file and store it with its preprocessing, to be used by its name.

    Parameters
    ----------
    path : Path
        File with a state dict; see :func:`read_custom_backbone`.
    name : str
        Name of the network: lower-case letters, digits, "-" and "_".
    preprocessing : str or Preprocessing
        Preprocessing of the pixels, or its name in
        :data:`traitlens.features.preprocessing.PREPROCESSINGS`.
    source : str
        Source of the weights; the name of the file if empty.

    Returns
    -------
    CustomBackbone
        The stored network.

    Raises
    ------
    TraitlensError
        If the file, name or preprocessing is invalid.

    Examples
    --------
    >>> add_backbone(Path("vgg19.pth"), "vgg19", "torchvision")  # doctest: +SKIP
    """
    check_name(name)
    if isinstance(preprocessing, str):
        if preprocessing not in PREPROCESSINGS:
            raise unknown_choice("preprocessing", preprocessing, PREPROCESSINGS)
        preprocessing = PREPROCESSINGS[preprocessing]
    path = Path(path)
    plans, tensors = read_custom_backbone(path)
    added = CustomBackbone(name, tensors, preprocessing, source or path.name, plans)
    store_backbone(added)
    return added


def check_name(name: str) -> None:
    """Raise an error if a name is not allowed for a network added by the user."""
    if not _NAME.fullmatch(name) or name == "vgg16":
        advice = "use lower-case letters, digits, - and _; vgg16 is reserved"
        raise WeightsError(Problem(f"{name!r} cannot be the name of a network", advice))


def store_backbone(added: CustomBackbone) -> None:
    """Write a network to the cache folder, from which it is loaded by its name."""
    from safetensors.numpy import save_file

    facts: dict[str, Any] = {
        "preprocessing": added.preprocessing.as_dict(),
        "source": added.source,
        "digest": added.digest,
    }
    if added.plans is not None:
        facts["layers"] = plans_to_json(added.plans)
    with atomic_write(custom_backbones_folder() / f"{added.name}.safetensors") as temporary:
        save_file(added.tensors, temporary, metadata={METADATA: json.dumps(facts)})


def load_custom_backbone(path: Path) -> CustomBackbone:
    """Load and check a network stored by :func:`add_backbone`, without running code in the file.

    Raises
    ------
    WeightsError
        If the file is damaged, or was not written by :func:`add_backbone`.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    state = _read_state(path)
    try:
        with safe_open(path, "numpy") as file:
            preprocessing, source, digest, plans = read_metadata(file.metadata())
        if plans is None:
            tensors = _read_sequence(state, path)
        else:
            tensors = {name: np.ascontiguousarray(tensor, "<f4") for name, tensor in state.items()}
            check_tensors(plans, tensors)
        added = CustomBackbone(path.stem, tensors, preprocessing, source, plans)
        sound = digest == added.digest
    except (OSError, SafetensorError, ValueError):
        sound = False
    if not sound:
        advice = "add it again with traitlens add-backbone"
        raise WeightsError(Problem("is not a network added by traitlens, or is damaged", advice, str(path)))
    return added
