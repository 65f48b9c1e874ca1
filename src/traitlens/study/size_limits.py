"""Checks that workbooks, Parquet and MATLAB files fit into memory when unpacked, before they are read."""

import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat

from traitlens.problems import Problem, StudyError
from traitlens.study.mat_elements import find_mat_fault

AT_ONCE = 2**20
"""Number of bytes read or unpacked at once."""
COMPRESSED = 15
"""Data type of a compressed element in a MATLAB file (miCOMPRESSED)."""
MOST_BYTES = 2**29
"""Maximum unpacked size in bytes of the variables of a file: half a gigabyte."""
MOST_REFERENCES = 100_000
"""Maximum number of cells of cell arrays in a MATLAB file of version 7.3."""
DEEPEST = 3
"""Maximum nesting depth of cell arrays and structs in a MATLAB file of version 7.3."""
MOST_CELLS = 2**24
"""Maximum number of cells in the smallest rectangle that contains all cells of a sheet."""
MOST_VALUES = 2**26
"""Maximum number of values in a Parquet file."""
TOO_LARGE = "unpacks to more than half a gigabyte"

_CELL = re.compile(r"([A-Z]{0,3})(\d{1,9})")


def check_workbook(path: Path) -> None:
    """Check that the sheets of a workbook fit into memory.

    Raises
    ------
    StudyError
        If the smallest rectangle with all cells of a sheet has more than :data:`MOST_CELLS` cells.
    """
    rows, columns = measure_sheets(path)
    if rows * columns > MOST_CELLS:
        advice = "delete the cells far from the table, or save the table as CSV"
        raise StudyError(Problem(f"declares {rows:,} x {columns:,} cells", advice, path.name))


def check_parquet(path: Path) -> None:
    """Check that a Parquet file fits into memory.

    Raises
    ------
    StudyError
        If it declares more than :data:`MOST_VALUES` values.
    """
    from pyarrow.parquet import read_metadata

    declared = read_metadata(path)
    if declared.num_rows * declared.num_columns > MOST_VALUES:
        what = f"declares {declared.num_rows:,} rows and {declared.num_columns:,} columns"
        raise StudyError(Problem(what, f"at most {MOST_VALUES:,} values are read", path.name))


def measure_sheets(path: Path) -> tuple[int, int]:
    """Return the last row and the last column that any sheet of a workbook uses.

    Readers allocate the whole rectangle that contains all cells, so that two cells far apart take as much
    memory as a full sheet.

    Parameters
    ----------
    path : Path
        An .xlsx, .xlsm, .xlsb or .ods file; others (.xls) cannot exceed 65,536 rows and 256 columns.

    Returns
    -------
    (int, int)
        Number of rows of the longest sheet, and of columns of the widest.

    References
    ----------
    ECMA-376, Part 1, 18.3.1; [MS-XLSB] 2.1.4; OpenDocument 1.3, Part 3, 9.1.
    """
    if not zipfile.is_zipfile(path):
        return 0, 0
    rows = columns = 0
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            measure = (
                _measure_ods_sheets if name == "content.xml" else _EXTENTS.get(Path(name).suffix.lower())
            )
            if measure is _measure_xlsb_sheet and Path(path).suffix.lower() != ".xlsb":
                continue  # Other workbooks contain printer settings as .bin files.
            if measure is not None:
                with archive.open(name) as part:
                    row, column = measure(part)
                rows, columns = max(rows, row), max(columns, column)
    return rows, columns


def _parse_xml(
    part: IO[bytes], start: Callable[[str, dict[str, str]], None], end: Callable[[str], None]
) -> None:
    """Parse XML with the given handlers; errors are ignored here and raised when the workbook is read."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        while piece := part.read(AT_ONCE):
            parser.Parse(piece)
        parser.Parse(b"", True)
    except expat.ExpatError:
        return


def _measure_xlsx_sheet(part: IO[bytes]) -> tuple[int, int]:
    """Return the largest row and column number in the XML of a sheet of an .xlsx file."""
    largest = [0, 0]

    def start(name: str, attributes: dict[str, str]) -> None:
        """Record the position of a cell or row."""
        if name.rpartition(" ")[2] in ("c", "row") and (found := _CELL.fullmatch(attributes.get("r", ""))):
            letters, row = found.groups()
            column = 0
            for letter in letters:
                column = 26 * column + ord(letter) - ord("A") + 1
            largest[:] = max(largest[0], int(row)), max(largest[1], column)

    _parse_xml(part, start, lambda _: None)
    return largest[0], largest[1]


def _measure_ods_sheets(part: IO[bytes]) -> tuple[int, int]:
    """Return the last row and column with content in the XML of an .ods file, which repeats equal cells."""
    place, largest = {"row": 0, "column": 0, "cell": 0, "rows": 1, "columns": 1}, [0, 0]

    def start(name: str, attributes: dict[str, str]) -> None:
        """Update the position, and record it if the cell has content."""
        local = name.rpartition(" ")[2]
        values = {key.rpartition(" ")[2]: value for key, value in attributes.items()}
        if local == "table":
            place.update(row=0)
        elif local == "table-row":
            place.update(column=0, rows=int(values.get("number-rows-repeated", 1)))
            place["row"] += place["rows"]
        elif local in ("table-cell", "covered-table-cell"):
            place["column"] += int(values.get("number-columns-repeated", 1))
            place["cell"] = 1
        if place["cell"] and (local not in ("table-cell", "covered-table-cell") or "value-type" in values):
            largest[:] = max(largest[0], place["row"]), max(largest[1], place["column"])

    def end(name: str) -> None:
        """Record that a cell has ended."""
        if name.rpartition(" ")[2] in ("table-cell", "covered-table-cell"):
            place["cell"] = 0

    _parse_xml(part, start, end)
    return largest[0], largest[1]


def _measure_xlsb_sheet(part: IO[bytes]) -> tuple[int, int]:
    """Return the largest row and column number in the records of a sheet of an .xlsb file."""
    data = part.read()
    rows = columns = position = 0

    def number(most: int) -> int:
        """Read an integer of at most `most` bytes, with seven bits in each byte."""
        nonlocal position
        value = 0
        for index in range(most):
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                break
        return value

    try:
        while position < len(data):
            kind, size = number(2), number(4)
            if kind == 0:  # BrtRowHdr
                rows = max(rows, struct.unpack_from("<I", data, position)[0] + 1)
            elif kind <= 11:  # BrtCellBlank to BrtFmlaError
                columns = max(columns, struct.unpack_from("<I", data, position)[0] + 1)
            position += size
    except (IndexError, struct.error):
        pass
    return rows, columns


_EXTENTS: dict[str, Callable[[IO[bytes]], tuple[int, int]]] = {
    ".xml": _measure_xlsx_sheet,
    ".bin": _measure_xlsb_sheet,
}


def check_matlab(path: Path) -> None:
    """Check that a MATLAB file can be read without opening other files and without exhausting memory.

    Raises
    ------
    StudyError
        If variables are stored in other files, unpack to more than :data:`MOST_BYTES`, have more than
        :data:`MOST_REFERENCES` cells, or are nested more deeply than :data:`DEEPEST` levels.

    References
    ----------
    MathWorks, "MAT-File Format".
    """
    import h5py

    if not h5py.is_hdf5(path):
        fault = TOO_LARGE if _measure_mat_file(path) > MOST_BYTES else find_mat_fault(path.read_bytes())
    else:
        with h5py.File(path, "r") as file:
            fault = _Variables(file).find_fault()
    if fault:
        advice = "save the table's columns as numbers and text, with save(..., '-v7')"
        raise StudyError(Problem(fault, advice, path.name))


class _Variables:
    """Check of the variables of a MATLAB file of version 7.3 (an :class:`h5py.File`) without reading them."""

    def __init__(self, file: Any):
        self.file = file
        self.known: dict[int, tuple[int, int]] = {}

    def find_fault(self) -> str:
        """Return why the file must not be read; "" if it can be read."""
        import h5py

        groups, seen = [self.file], set()
        while groups:
            group = groups.pop()
            if _get_address(group) in seen:
                continue
            seen.add(_get_address(group))
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    return "contains links to other variables or files"
                item = group[name]
                if isinstance(item, h5py.Group):
                    groups.append(item)
                elif isinstance(item, h5py.Dataset):
                    if item.external or item.is_virtual:
                        return "stores a variable in other files"
                    if item.dtype.hasobject and h5py.check_ref_dtype(item.dtype) is None:
                        return "contains values of a type that MATLAB does not write"
        try:
            sizes = [self.measure(self.file[name]) for name in self.file if not name.startswith("#")]
        except (RecursionError, ValueError):
            return "contains cell arrays that are nested too deeply"
        if sum(size for size, _ in sizes) > MOST_BYTES:
            return TOO_LARGE
        if sum(cells for _, cells in sizes) > MOST_REFERENCES:
            return f"contains more than {MOST_REFERENCES:,} cells of cell arrays"
        return ""

    def measure(self, item: Any, level: int = 0) -> tuple[int, int]:
        """Return the size in bytes and the number of cells of a variable, including nested variables."""
        import h5py

        if level > DEEPEST:
            raise ValueError("too deep")
        if isinstance(item, h5py.Group):
            parts = [self.measure(part, level + 1) for part in item.values()]
            return sum(part[0] for part in parts), sum(part[1] for part in parts)
        address = _get_address(item)
        if address in self.known:
            return self.known[address]
        size = item.size * max(item.dtype.itemsize, 1)
        cells = 0
        if h5py.check_ref_dtype(item.dtype) is not None and size <= MOST_BYTES:
            for reference in item[()].ravel() if item.size <= MOST_REFERENCES else ():
                if reference:
                    more, inner = self.measure(self.file[reference], level + 1)
                    size, cells = size + more, cells + inner
            cells += item.size
        self.known[address] = size, cells
        return size, cells


def _get_address(item: Any) -> int:
    """Return the address of an object in an HDF5 file, which is the same under all its names."""
    import h5py

    address: int = h5py.h5o.get_info(item.id).addr
    return address


def _measure_mat_file(path: Path) -> int:
    """Return the unpacked size in bytes of a MATLAB file of version 5 to 7; counting stops at the limit."""
    total = 0
    with path.open("rb") as file:
        header = file.read(128)
        order: Any = "<" if header[126:128] == b"IM" else ">"
        while total <= MOST_BYTES and len(tag := file.read(8)) == 8:
            kind, size = struct.unpack(f"{order}II", tag)
            if kind == COMPRESSED:
                total += _measure_compressed(file, size, MOST_BYTES - total)
            else:
                total += size
                file.seek(size, 1)
    return total


def _measure_compressed(file: IO[bytes], size: int, most: int) -> int:
    """Return the unpacked size in bytes of a compressed element; counting stops beyond `most`."""
    unpacker, total = zlib.decompressobj(), 0
    try:
        while size and total <= most:
            piece = file.read(min(size, AT_ONCE))
            size -= len(piece)
            if not piece:
                break
            while piece and total <= most:
                total += len(unpacker.decompress(piece, AT_ONCE))
                piece = unpacker.unconsumed_tail
    except zlib.error:
        pass  # Damaged elements raise an error when the file is read.
    file.seek(size, 1)
    return total
