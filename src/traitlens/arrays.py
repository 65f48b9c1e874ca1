"""Labelled arrays on disk: xarray datasets in zarr stores, written block by block and read lazily.

Stores have zarr format 2 with string coordinates as objects, which every zarr reader opens without a warning.
Large variables have one chunk per image.
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
"""Codecs that a store may use; others could run code ("pickle") or exhaust memory ("gzip")."""

LARGEST_CHUNK = 2**30
LARGEST_DIMENSION = 10**7
DEEPEST = 64
"""Limits of the metadata of a store: bytes of a chunk, length of a dimension, nesting depth of the JSON."""


def write_arrays(
    path: Path,
    dataset: xr.Dataset,
    large: Mapping[str, tuple[tuple[str, ...], str]] | None = None,
    blocks: Iterable[tuple[np.ndarray, Mapping[str, np.ndarray]]] = (),
    scales: Mapping[str, float] | None = None,
) -> None:
    """Write a dataset to a zarr store, with large variables written block by block to limit memory.

    Parameters
    ----------
    path : Path
        The store; must not exist.
    dataset : Dataset
        Coordinates and small variables. Blocks may also fill small variables with a dimension image.
    large : mapping of str to (dimensions, dtype)
        Large variables, which are filled by the blocks and have a dimension image.
    blocks : iterable of (positions, arrays)
        Positions of the images of a block, and arrays of the block by name of variable.
    scales : mapping of str to float
        Factors by which the values of large variables in the blocks were divided; they are multiplied by
        these factors when the store is opened.

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
        # Scaled variables have no fill value: xarray would read 0 as missing, and would compute scaled values
        # in the precision of the store.
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
    """Open a store that :func:`write_arrays` has written; values are read on access.

    Raises
    ------
    TraitlensError
        If :func:`check_metadata` rejects the metadata of the store.
    """
    check_metadata(path)
    # Read only the consolidated metadata, which were checked.
    return xr.open_zarr(path, chunks=None, consolidated=True, zarr_format=2)


def check_metadata(path: Path) -> None:
    """Check that a store of unknown origin can be opened without running code or exhausting memory.

    Raises
    ------
    TraitlensError
        If the consolidated metadata are missing or damaged, or contain other codecs than :data:`CODECS`,
        other types than numbers and strings, or sizes above the limits.
    """
    file = Path(path) / ".zmetadata"
    try:
        text = file.read_text(encoding="utf-8")
        if _nesting_depth(text) > DEEPEST:
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


def _nesting_depth(text: str) -> int:
    """Return an upper bound of the nesting depth of a JSON string without parsing it."""
    brackets = np.frombuffer(text.encode(), np.uint8)
    steps = np.isin(brackets, (ord("["), ord("{"))).astype(int) - np.isin(brackets, (ord("]"), ord("}")))
    return int(steps.cumsum().max(initial=0))


def _find_fault(array: Mapping[str, Any]) -> str:
    """Return why the metadata of an array are rejected; "" if they are accepted."""
    codecs = [array["compressor"], *(array["filters"] or ())]
    for codec in codecs:
        if codec is not None and codec["id"] not in CODECS:
            return f"uses the codec {codec['id']!r}, which could run code or exhaust memory"
    is_text = any(codec is not None and codec["id"] == "vlen-utf8" for codec in codecs)
    kind = np.dtype(array["dtype"]) if isinstance(array["dtype"], str) else None
    if kind is None or not (kind.kind in "biuf" or (kind.kind == "O" and is_text)):
        return f"contains values of the type {str(array['dtype'])[:40]!r}, not numbers or text"
    sizes = [*array["shape"], *array["chunks"]]
    if not all(type(size) is int and 0 <= size <= LARGEST_DIMENSION for size in sizes):
        return "has a dimension that is too long"
    if math.prod(array["chunks"]) * kind.itemsize > LARGEST_CHUNK:
        return "has chunks that are too large"
    return ""


def map_coordinates(size: int) -> dict[str, np.ndarray]:
    """Return the coordinates y and x of the pixel centres of a square image, from 0.5 to `size` - 0.5."""
    return {Y: np.arange(size) + 0.5, X: np.arange(size) + 0.5}
