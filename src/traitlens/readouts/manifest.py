"""The manifest of a saved model: its format, and checks of a model's files before they are used."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from traitlens.digests import digest_file
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.region_features import RegionalFaces
from traitlens.features.taps import Tap
from traitlens.problems import ModelError, Problem
from traitlens.readouts.readout import Readout, Stored, Tail
from traitlens.readouts.registry import readout_kinds

MANIFEST, TENSORS, CARD = "manifest.json", "readouts.safetensors", "README.md"
AVERAGE_FACE = "average_face"
FORMAT = "traitlens readouts 1"
LARGEST_MANIFEST = 16 * 2**20
LARGEST_HEADER = 64 * 2**20
LARGEST_RATING = 1e6

Name = Annotated[str, Field(pattern=r"^\P{Cc}*$", max_length=300)]
"""A string without control characters, which a terminal would interpret."""

Shift = Annotated[float, Field(ge=-1e4, le=1e4)]
Divisor = Annotated[float, Field(ge=1e-4, le=1e4)]
Colour = Annotated[int, Field(ge=0, le=255)]

ReadArray = Callable[[str, tuple[int | None, ...]], np.ndarray]
"""Function that returns an array by name after checking its shape; None stands for any length."""


class Checked(BaseModel):
    """Base class of the sections of the manifest; unknown fields and infinite numbers are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SpaceEntry(Checked):
    """Description of a feature space in the manifest."""

    layer: str = Field(pattern=r"^[A-Za-z0-9_]{1,64}$")
    grid: int | tuple[int, int] | None
    view: Name
    transform: Literal["none", "sqrt"]
    mirror: bool
    region: Name = ""

    def space(self) -> FeatureSpace:
        """Return the described feature space."""
        return FeatureSpace(Tap(self.layer, self.grid), self.view, self.transform, self.mirror, self.region)


class ViewEntry(Checked):
    """Description of a view in the manifest."""

    name: Name
    box: tuple[float, float, float, float]
    size: tuple[int, int]


class RegionsEntry(Checked):
    """Settings of regional faces. The average face is stored with the arrays."""

    polygons: dict[Name, tuple[int, ...] | tuple[tuple[float, float], ...]]
    join_sides: bool


class BackboneEntry(Checked):
    """Name of the network, and source and digest of its weights."""

    name: Name
    source: Name = ""
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")


class PreprocessingEntry(Checked):
    """Preprocessing of the network's input."""

    channels: Literal["BGR", "RGB"]
    mean: tuple[Shift, Shift, Shift]
    divide_by: tuple[Divisor, Divisor, Divisor]


class PreparedEntry(BaseModel):
    """Settings of image preparation; unknown fields are allowed."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    crop: Literal["full", "face", "reference"] | None = None
    size: int | None = Field(None, ge=32, le=1024)
    larger: float | None = Field(None, gt=-0.9, le=5)
    up: float | None = Field(None, ge=-2, le=2)
    rotate: bool | None = None
    background: tuple[Colour, Colour, Colour] | None = None


class ReadoutEntry(Checked):
    """Description of a readout, whose arrays are named by its index in the manifest."""

    kind: str
    group: Name
    trait: Name
    fold: int = Field(ge=-1, le=10_000)
    mean: float = Field(ge=-LARGEST_RATING, le=LARGEST_RATING)
    spaces: tuple[int, ...] = Field(min_length=1)
    tail: int | None = Field(None, ge=0)


class TailEntry(Checked):
    """Names of the fine-tuned layers of a readout, first to last."""

    layers: tuple[Annotated[str, Field(pattern=r"^block[0-9]{1,2}_(conv[0-9]{1,2}|pool)$")], ...] = Field(
        min_length=1
    )

    @property
    def convolutions(self) -> list[str]:
        """Names of the layers that have weights."""
        return [name for name in self.layers if not name.endswith("_pool")]


class Manifest(Checked):
    """Contents of `manifest.json`."""

    format: Literal["traitlens readouts 1"]
    made_with: Name
    backbone: BackboneEntry
    preprocessing: PreprocessingEntry
    prepared: PreparedEntry
    views: tuple[ViewEntry, ...]
    spaces: tuple[SpaceEntry, ...] = Field(min_length=1)
    regions: RegionsEntry | None = None
    readouts: tuple[ReadoutEntry, ...] = Field(min_length=1)
    tails: tuple[TailEntry, ...] = ()
    performance: list[dict[str, Any]]
    tensors: str = Field(pattern=r"^[0-9a-f]{64}$")


def regular_file(folder: Path, name: str, largest: int | None = None) -> Path:
    """Return the path of a file of a model, after checking that it is no link and not too large."""
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise ModelError(
            Problem(f"there is no regular file {name}", "use a folder that traitlens saved", str(folder))
        )
    if largest is not None and path.stat().st_size > largest:
        raise ModelError(
            Problem(f"the file has more than {largest} bytes, which is too large for a model", "", str(path))
        )
    return path


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a model.

    Raises
    ------
    ModelError
        If the manifest is missing, too large or invalid.
    """
    path = regular_file(folder, MANIFEST, LARGEST_MANIFEST)
    try:
        manifest = Manifest.model_validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        raise ModelError(
            [
                Problem(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}", "", str(path))
                for fault in error.errors()[:10]
            ]
        ) from None
    except OSError as error:
        fault = f"the file cannot be read ({error})"
        raise ModelError(Problem(fault, "save the model again", str(path))) from None
    problems, kinds = [], readout_kinds()
    named = {"image", *(view.name for view in manifest.views)}
    for space in manifest.spaces:
        sides = space.grid if isinstance(space.grid, tuple) else (space.grid or 1,)
        if not all(1 <= side <= 256 for side in sides):
            problems.append(Problem(f"grid {space.grid} is not between 1 and 256", "", str(path)))
        if space.view not in named:
            problems.append(Problem(f"the view {space.view!r} is used but not described", "", str(path)))
    for view in manifest.views:
        left, top, right, bottom = view.box
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            problems.append(Problem(f"view {view.name!r}: the box exceeds the image", "", str(path)))
        if not all(16 <= side <= 1024 for side in view.size):
            fault = f"view {view.name!r}: the size {view.size} is not between 16 and 1024"
            problems.append(Problem(fault, "", str(path)))
    for entry in manifest.readouts:
        if not all(0 <= index < len(manifest.spaces) for index in entry.spaces):
            problems.append(
                Problem(
                    f"trait {entry.trait!r}: its readout uses a feature space that the model does not list",
                    "",
                    str(path),
                )
            )
        elif len({manifest.spaces[index].space() for index in entry.spaces}) < len(entry.spaces):
            problems.append(
                Problem(f"trait {entry.trait!r}: its readout uses a feature space twice", "", str(path))
            )
        kind = kinds.get(entry.kind)
        if kind is None:
            fault = f"trait {entry.trait!r}: unknown kind of readout {entry.kind!r}"
            problems.append(Problem(fault, f"known: {', '.join(kinds)}", str(path)))
            continue
        if not kind.is_linear and len(entry.spaces) != 1:
            fault = f"trait {entry.trait!r}: {entry.kind} readouts read one space"
            problems.append(Problem(fault, "", str(path)))
        tails = range(len(manifest.tails)) if kind.has_tail else (None,)
        if entry.tail not in tails:
            problems.append(Problem(f"trait {entry.trait!r}: its layers are missing", "", str(path)))
    if problems:
        raise ModelError(problems)
    return manifest


def read_tensors(folder: Path, manifest: Manifest) -> dict[str, np.ndarray]:
    """Read and check the arrays of a model; the header is checked before memory is allocated.

    Parameters
    ----------
    manifest : Manifest
        The manifest, which the arrays must match.

    Returns
    -------
    dict of str to ndarray
        Finite float32 arrays by name.

    Raises
    ------
    ModelError
        If the file is missing, damaged or altered, or if an array is not float32 or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = regular_file(folder, TENSORS)
    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > min(LARGEST_HEADER, path.stat().st_size):
            fault = "the header is longer than the file"
            raise ModelError(Problem(fault, "download the file again", str(path)))
        if digest_file(path) != manifest.tensors:
            raise ModelError(
                Problem(
                    "its digest differs from the manifest",
                    "the file was damaged or altered; download the model again from a source that you trust",
                    str(path),
                )
            )
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        fault = f"the file cannot be read as safetensors ({error})"
        raise ModelError(Problem(fault, "", str(path))) from None
    wrong = [name for name, tensor in tensors.items() if tensor.dtype != np.float32]
    not_finite = [
        name for name, tensor in tensors.items() if name not in wrong and not np.isfinite(tensor).all()
    ]
    problems = [Problem(f"the tensor {name} is not float32", "", str(path)) for name in wrong[:10]]
    problems += [
        Problem(f"the tensor {name} contains NaN or infinite values", "", str(path))
        for name in not_finite[:10]
    ]
    if problems:
        raise ModelError(problems)
    return tensors


def build_readouts(manifest: Manifest, tensors: Mapping[str, np.ndarray]) -> tuple[Readout, ...]:
    """Build the readouts of a model from the manifest and the arrays, and check the shapes of arrays.

    Returns
    -------
    tuple of Readout
        Readouts in the order of the manifest.

    Raises
    ------
    ModelError
        If an array is missing, has another shape or belongs to no readout.
    """
    spaces, kinds = [entry.space() for entry in manifest.spaces], readout_kinds()
    left = set(tensors) - {AVERAGE_FACE if manifest.regions else ""}

    def reader(prefix: str) -> ReadArray:
        """Return a function that reads arrays whose names start with a prefix."""

        def read_array(name: str, like: tuple[int | None, ...]) -> np.ndarray:
            left.discard(prefix + name)
            return _check_shape(tensors, prefix + name, like)

        return read_array

    tails = [_build_tail(entry, reader(f"tail{number}.")) for number, entry in enumerate(manifest.tails)]
    readouts = []
    for number, entry in enumerate(manifest.readouts):
        read = tuple(spaces[index] for index in entry.spaces)
        tail = None if entry.tail is None else tails[entry.tail]
        stored = Stored(
            entry.group, entry.trait, entry.fold, entry.mean, read, tail, reader(f"{number:05d}.")
        )
        readouts.append(kinds[entry.kind].restore(stored))
    if left:
        raise ModelError(Problem(f"the tensor {min(left)} belongs to no readout", "", TENSORS))
    return tuple(readouts)


def build_faces(manifest: Manifest, tensors: Mapping[str, np.ndarray]) -> RegionalFaces | None:
    """Build the settings by which regional faces of new images are made.

    Returns
    -------
    RegionalFaces or None
        None if no readout reads regions.

    Raises
    ------
    ModelError
        If a readout reads an unknown region, or if the average face is not a square image.
    """
    read = {space.region for space in manifest.spaces} - {""}
    if manifest.regions is None:
        if read:
            raise ModelError(Problem(f"the region {min(read)!r} is read but not described", "", MANIFEST))
        return None
    average = _check_shape(tensors, AVERAGE_FACE, (None, None, 3))
    if average.shape[0] != average.shape[1] or not np.isin(average, np.arange(256)).all():
        raise ModelError(Problem("the average face is not a square image", "", TENSORS))
    faces = RegionalFaces(
        average.astype(np.uint8), dict(manifest.regions.polygons), manifest.regions.join_sides
    )
    if unknown := read - set(faces.regions):
        raise ModelError(Problem(f"the region {min(unknown)!r} is read but not described", "", MANIFEST))
    return faces


def _build_tail(entry: TailEntry, read_array: ReadArray) -> Tail:
    """Build the fine-tuned layers of a readout, and check the shapes of their arrays."""
    found: dict[str, np.ndarray] = {}
    channels = None
    for name in entry.convolutions:
        weight = read_array(f"{name}.weight", (None, channels, 3, 3))
        channels = len(weight)
        found[f"{name}.weight"] = weight
        found[f"{name}.bias"] = read_array(f"{name}.bias", (channels,))
    if not found:
        raise ModelError(Problem("fine-tuned layers contain no convolution", "", MANIFEST))
    return Tail(entry.layers, found)


def _check_shape(tensors: Mapping[str, np.ndarray], name: str, like: tuple[int | None, ...]) -> np.ndarray:
    """Return an array by name after checking its shape; None stands for any length."""
    tensor = tensors.get(name)
    if tensor is None:
        raise ModelError(Problem(f"the tensor {name} is missing", "", TENSORS))
    fits = len(like) == tensor.ndim and all(
        side in (None, got) for side, got in zip(like, tensor.shape, strict=True)
    )
    if not fits:
        shape = re.sub("None", "any", str(like))
        raise ModelError(Problem(f"the tensor {name} has shape {tensor.shape}, not {shape}", "", TENSORS))
    return tensor
