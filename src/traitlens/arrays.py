"""Labelled arrays on disk: an xarray Dataset in zarr, written image by image and read lazily.

The store has zarr format 2 with text coordinates as objects, which every zarr reader opens without a warning.
Variables with rows and columns are chunked by image.
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from traitlens.columns import IMAGE, X, Y
from traitlens.problems import Problem, TraitlensError

CODECS = ("blosc", "vlen-utf8")
"""The only codecs that are opened. Others could run code ("pickle") or fill the memory ("gzip")."""

LARGEST_CHUNK = 2**30
LARGEST_DIMENSION = 10**7
DEEPEST = 64
"""Bounds of metadata that are opened: bytes of a chunk, length of a dimension, nesting of the JSON."""


def write_arrays(
    path: Path,
    dataset: xr.Dataset,
    large: Mapping[str, tuple[tuple[str, ...], str]] | None = None,
    blocks: Iterable[tuple[np.ndarray, Mapping[str, np.ndarray]]] = (),
    scales: Mapping[str, float] | None = None,
) -> None:
    """Write a dataset; large variables are written block by block to bound memory.

    Parameters
    ----------
    path : Path
        The store; must not exist.
    dataset : Dataset
        Coordinates and small variables; those with a dimension image are filled by the blocks too.
    large : mapping of str to (dimensions, type)
        The large variables that the blocks fill, all with a dimension image.
    blocks : iterable of (positions, arrays)
        Positions of a block's images, and its arrays by name of variable, in the order of the variable's
        dimensions.
    scales : mapping of str to float
        Factors by which the blocks' values of large variables have been divided; readers multiply by them.

    Examples
    --------
    >>> import tempfile
    >>> store = Path(tempfile.mkdtemp()) / "a.zarr"
    >>> small = xr.Dataset(coords={"image": np.array(["a", "b"], object), "y": [0.5], "x": [0.5]})
    >>> write_arrays(store, small, {"v": (("image", "y", "x"), "f4")},
    ...              [(np.array([1]), {"v": np.ones((1, 1, 1))})])
    >>> open_arrays(store).v.values.ravel().tolist()
    [nan, 1.0]
    """
    import zarr

    text = {
        name: values.astype(object) for name, values in dataset.coords.items() if values.dtype.kind in "UT"
    }
    dataset = dataset.assign_coords(text)
    dataset.to_zarr(path, mode="w-", zarr_format=2, consolidated=False)
    store: Any = zarr.open_group(path, mode="r+", zarr_format=2)
    dimensions = {str(name): variable.dims for name, variable in dataset.data_vars.items()}
    for name, (dims, kind) in (large or {}).items():
        shape = tuple(dataset.sizes[dim] for dim in dims)
        chunks = tuple(1 if dim == IMAGE else n for dim, n in zip(dims, shape, strict=True))
        # With a fill value, 0 would be read as missing, and xarray would compute scaled values in the
        # precision of the store.
        scaled = name in (scales or {})
        empty: Any = np.nan if np.dtype(kind).kind == "f" and not scaled else None
        array = store.create_array(name, shape=shape, chunks=chunks, dtype=kind, fill_value=empty)
        array.attrs["_ARRAY_DIMENSIONS"] = list(dims)
        if scales and scaled:
            array.attrs["scale_factor"] = scales[name]
        dimensions[name] = dims
    for positions, arrays in blocks:
        for name, values in arrays.items():
            axis = dimensions[name].index(IMAGE)
            for place, position in enumerate(positions):
                where: tuple[Any, ...] = (slice(None),) * axis
                array = store[name]
                array[(*where, int(position))] = values[(*where, place)]
    zarr.consolidate_metadata(store.store, zarr_format=2)


def open_arrays(path: Path) -> xr.Dataset:
    """Open a store; values are read when they are used.

    Raises
    ------
    TraitlensError
        If the metadata cannot be read, or name codecs, types or sizes that :func:`write_arrays` never writes.
    """
    check_metadata(path)
    # Only the consolidated metadata are read: those that were checked.
    return xr.open_zarr(path, chunks=None, consolidated=True, zarr_format=2)


def check_metadata(path: Path) -> None:
    """Check that opening a store runs no code and allocates no more than a chunk.

    Raises
    ------
    TraitlensError
        If the consolidated metadata are missing, damaged, or name other codecs than :data:`CODECS`, other
        types than numbers and text, or sizes beyond the bounds.
    """
    file = Path(path) / ".zmetadata"
    try:
        text = file.read_text(encoding="utf-8")
        if _depth(text) > DEEPEST:
            raise ValueError("it is nested too deeply")
        entries = json.loads(text)["metadata"]
        faults = [
            Problem(fault, "do not use this folder; ask its author for a new one", f"{path}, {key}")
            for key, value in entries.items()
            if key.rpartition("/")[2] not in (".zattrs", ".zgroup") and (fault := _find_fault(value))
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TraitlensError(
            Problem(f"cannot be read ({error})", "run the study again", str(file))
        ) from error
    if faults:
        raise TraitlensError(faults)


def _depth(text: str) -> int:
    """Return an upper bound of the nesting of a JSON text, without parsing it."""
    brackets = np.frombuffer(text.encode(), np.uint8)
    steps = np.isin(brackets, (ord("["), ord("{"))).astype(int) - np.isin(brackets, (ord("]"), ord("}")))
    return int(steps.cumsum().max(initial=0))


def _find_fault(array: Mapping[str, Any]) -> str:
    """Return what is not allowed in an array's metadata, or an empty string."""
    codecs = [array["compressor"], *(array["filters"] or ())]
    for codec in codecs:
        if codec is not None and codec["id"] not in CODECS:
            return f"asks for the codec {codec['id']!r}, which could run code or fill the memory"
    is_text = any(codec is not None and codec["id"] == "vlen-utf8" for codec in codecs)
    kind = np.dtype(array["dtype"]) if isinstance(array["dtype"], str) else None
    if kind is None or not (kind.kind in "biuf" or (kind.kind == "O" and is_text)):
        return f"holds values of the type {str(array['dtype'])[:40]!r}, not numbers or text"
    sizes = [*array["shape"], *array["chunks"]]
    if not all(type(size) is int and 0 <= size <= LARGEST_DIMENSION for size in sizes):
        return "has a dimension that is too long"
    if math.prod(array["chunks"]) * kind.itemsize > LARGEST_CHUNK:
        return "has chunks that are too large"
    return ""


def map_coordinates(size: int) -> dict[str, np.ndarray]:
    """Return the coordinates of a square image's pixel centres.

    Returns
    -------
    dict
        `y` and `x`, from 0.5 to `size` - 0.5.
    """
    return {Y: np.arange(size) + 0.5, X: np.arange(size) + 0.5}
