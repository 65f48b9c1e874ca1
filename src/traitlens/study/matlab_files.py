"""Reading of MATLAB files as tables: from vectors, structs, and matrices with names of rows and columns."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from traitlens.problems import Problem, StudyError
from traitlens.study.size_limits import check_matlab
from traitlens.study.tables import as_text, check_columns

MOST_BYTES = 2**29
"""Maximum size of a variable in bytes: half a gigabyte."""


def read_matlab(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read the variables of a MATLAB file as the columns of one table.

    Each column of a matrix becomes a column of the table. It is named by the text variable that has as many
    elements as the matrix has columns, or else `ratings(:,1)`, which matches no image or rater.

    Returns
    -------
    table : DataFrame
        The table.
    notes : list of str
        Assumptions about the variables.

    Raises
    ------
    StudyError
        If the lengths or names of the variables do not make one table.
    """
    variables = _unpack_structs(read_mat_variables(path))
    matrices = {name: value for name, value in variables.items() if _is_matrix(value)}
    vectors = {
        name: np.array([_unpack_cell(item) for item in value.ravel()], dtype=object)
        for name, value in variables.items()
        if name not in matrices
    }
    if not variables:
        advice = (
            "save the table's columns as variables; of a MATLAB table: save table2struct(T, 'ToScalar', true)"
        )
        raise StudyError(Problem("holds no variable that can be read", advice, path.name))
    notes: list[str] = []
    if not matrices:
        lengths = [len(cells) for cells in vectors.values()]
        rows = max(set(lengths), key=lengths.count)
    else:
        rows = next(iter(matrices.values())).shape[0]
    columns: dict[str, np.ndarray] = {}
    used: set[str] = set()
    for name, value in matrices.items():
        check_columns(value.shape[1], path.name)
        if value.shape[0] != rows:
            raise _length_error(path, {**matrices, **vectors})
        names = [
            vector for vector, cells in vectors.items() if len(cells) == value.shape[1] and _is_text(cells)
        ]
        if value.shape[1] == rows and names:
            what = f"it is not known whether {', '.join(names)} names the rows or the columns of {name}"
            raise StudyError(Problem(what, "save a struct with a field for each column", path.name))
        if len(names) > 1:
            what = f"both {' and '.join(names)} could name the columns of {name}"
            raise StudyError(Problem(what, "save a struct with a field for each column", path.name))
        headings = [f"{name}(:,{number + 1})" for number in range(value.shape[1])]
        top = [_unpack_cell(cell) for cell in value[0]]
        if (
            not names
            and len(matrices) == 1
            and value.dtype == object
            and _is_text(top)
            and len(set(top)) == len(top)
        ):
            headings, rows = [as_text(cell) for cell in top], rows - 1
            value = np.array([[_unpack_cell(cell) for cell in row] for row in value[1:]], dtype=object)
            notes.append(f"the first row of {name} holds the headings")
        if names:
            used.add(names[0])
            headings = [as_text(cell) for cell in vectors[names[0]]]
            notes.append(f"{names[0]} names the columns of {name}")
        if len(set(headings)) != len(headings):
            raise StudyError(Problem(f"{names[0] if names else name} names columns twice", "", path.name))
        if shared := set(headings) & set(columns):
            what = f"several matrices have the same columns ({', '.join(sorted(shared)[:3])} ...)"
            advice = "save each matrix with its names in a file of its own, and import the files together"
            raise StudyError(Problem(what, advice, path.name))
        columns |= {heading: value[:, number] for number, heading in enumerate(headings)}
    left = {name: cells for name, cells in vectors.items() if name not in used}
    wrong = [name for name, cells in left.items() if len(cells) not in (rows, 1)]
    if wrong:
        raise _length_error(path, {**matrices, **vectors})
    for name, cells in left.items():
        if len(cells) == rows:
            columns[name] = cells
        else:
            notes.append(f"variable {name} holds one value and was not read")
    # The columns that describe the rows come first, as in other tables.
    order = [*(name for name in columns if name in left), *(name for name in columns if name not in left)]
    return pd.DataFrame({name: columns[name] for name in order}), notes


def _length_error(path: Path, variables: dict[str, np.ndarray]) -> StudyError:
    """Return the error for variables whose lengths do not make one table."""
    sizes = ", ".join(
        f"{name} {'x'.join(map(str, value.shape))}" for name, value in list(variables.items())[:8]
    )
    advice = "save variables, or the fields of a struct, that have one row for each row of the table"
    return StudyError(Problem(f"its variables do not make one table ({sizes})", advice, path.name))


def _is_matrix(value: np.ndarray) -> bool:
    """Return whether a variable has more than one row and more than one column."""
    return value.ndim == 2 and min(value.shape) > 1


def _is_text(cells: Iterable[object]) -> bool:
    """Return whether all elements of a variable are strings."""
    return all(isinstance(cell, str) for cell in cells)


def _unpack_structs(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Replace structs by their fields; a struct may hold the columns, an array of structs the rows."""
    unpacked: dict[str, np.ndarray] = {}
    for name, value in variables.items():
        if not value.dtype.names:
            unpacked[name] = value
            continue
        for field in value.dtype.names:
            items = value[field].ravel()
            unpacked[field] = (
                np.asarray(items[0])
                if len(items) == 1
                else np.array([_unpack_cell(item) for item in items], dtype=object)
            )
    return unpacked


def _unpack_cell(item: Any) -> Any:
    """Return the content of a cell of a cell array; "" if the cell is empty."""
    while isinstance(item, np.ndarray) and item.size == 1:
        item = item.reshape(-1)[0]
    return "" if isinstance(item, np.ndarray) and item.size == 0 else item


def read_mat_variables(path: Path) -> dict[str, np.ndarray]:
    """Read the variables of a MATLAB file, of version 7.3 (HDF5) or older.

    Returns
    -------
    dict
        Arrays by name, in the file's order; structs of version 7.3 as structured arrays of one element.
    """
    import h5py
    from scipy.io import loadmat

    check_matlab(path)
    if not h5py.is_hdf5(path):
        read = loadmat(path, chars_as_strings=True)
        return {
            name: np.asarray(value)
            for name, value in read.items()
            if not name.startswith("__") and type(value).__name__ != "MatlabOpaque"
        }
    with h5py.File(path, "r") as file:
        return {
            name: _convert_hdf5(file, item)
            for name, item in file.items()
            if not name.startswith("#") and "MATLAB_object_decode" not in item.attrs
        }


def _convert_hdf5(file: Any, item: Any) -> np.ndarray:
    """Convert a variable in an HDF5 file to the array that SciPy returns for an older file."""
    import h5py

    if isinstance(item, h5py.Group):
        fields = {name: _convert_hdf5(file, part) for name, part in item.items()}
        struct = np.empty((1, 1), dtype=[(name, object) for name in fields])
        for name, value in fields.items():
            struct[name][0, 0] = value
        return struct
    if item.size * max(item.dtype.itemsize, 1) > MOST_BYTES:
        raise ValueError(f"{item.name} is larger than half a gigabyte")
    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if item.attrs.get("MATLAB_empty", 0):
        return np.empty((0, 0), dtype=object)
    value = np.asarray(item[()]).T
    if kind == "char":
        return np.array(["".join(chr(code) for code in row) for row in np.atleast_2d(value)], dtype=object)
    if kind == "cell" or value.dtype == object:
        # The field of an array of structs is stored as references, too.
        cells = [
            _convert_hdf5(file, file[reference])
            for reference in value.ravel()
            if isinstance(reference, h5py.Reference)
        ]
        unpacked = np.empty(len(cells), dtype=object)
        unpacked[:] = [_unpack_cell(cell) for cell in cells]
        return unpacked
    return value
