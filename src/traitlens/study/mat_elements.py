"""Check of the structure of MATLAB files of version 5 to 7 before they are read.

SciPy trusts the sizes stated in the file, and crashes the process if they are inconsistent.

References
----------
MathWorks, "MAT-File Format", level 5.
"""

import math
import struct
import zlib
from typing import NamedTuple

INT8, UINT32, INT32, MATRIX, COMPRESSED = 1, 6, 5, 14, 15
ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
"""Number of bytes of one value of each data type."""
CELL, STRUCT, OBJECT, CHAR = 1, 2, 3, 4
NUMBERS = range(6, 16)
"""Codes of the classes of numeric arrays."""
COMPLEX = 0x800
DEEPEST = 32
"""Maximum nesting depth of cell arrays and structs."""


class DamagedFileError(ValueError):
    """The sizes or types stated in a file are inconsistent."""


class Element(NamedTuple):
    """A data element of a file: type, start and size of its data, and start of the next element."""

    kind: int
    start: int
    size: int
    after: int


def check_elements(content: bytes) -> None:
    """Check that the sizes and types stated in a MATLAB file of version 5 to 7 are consistent.

    Parameters
    ----------
    content : bytes
        Content of the file; files of version 4 have another structure and are not checked.

    Raises
    ------
    DamagedFileError
        If they are inconsistent.
    """
    if content[126:128] not in (b"IM", b"MI"):
        return
    order = "<" if content[126:128] == b"IM" else ">"
    place = 128
    while place < len(content):
        element = _read_tag(content, place, len(content), order, padded=False)
        if element.kind == COMPRESSED:
            _check_variable(_decompress(content[element.start : element.start + element.size]), order)
        else:
            _check_variable(content[place : element.after], order)
        place = element.after


def find_mat_fault(content: bytes) -> str:
    """Return why a file of version 5 to 7 must not be read; "" if it can be read."""
    try:
        check_elements(content)
    except DamagedFileError as fault:
        return f"is damaged: {fault}"
    return ""


def _decompress(packed: bytes) -> bytes:
    """Decompress an element; raise an error if it is truncated or damaged."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed)
    except zlib.error as error:
        raise DamagedFileError("a variable is damaged") from error
    if not unpacker.eof:
        raise DamagedFileError("a variable is truncated")
    return content


def _check_variable(content: bytes, order: str) -> None:
    """Check that an element is a variable and that its parts are consistent."""
    element = _read_tag(content, 0, len(content), order)
    if element.kind != MATRIX or element.size == 0:
        raise DamagedFileError("a variable is not an array")
    _check_matrix(content, element, order, 0)


def _read_tag(content: bytes, place: int, end: int, order: str, padded: bool = True) -> Element:
    """Read type and size of the element that begins at `place`; raise an error if it extends beyond `end`."""
    if place + 8 > end:
        raise DamagedFileError("an element is truncated")
    kind, size = struct.unpack_from(f"{order}II", content, place)
    if kind >> 16:  # A small element has type, size and up to four bytes of data in one tag.
        kind, size, start, after = kind & 0xFFFF, kind >> 16, place + 4, place + 8
        if size > 4:
            raise DamagedFileError("a small element is too large")
    else:
        start = place + 8
        after = start + (size + -size % 8 if padded else size)
    if start + size > end:
        raise DamagedFileError("an element is longer than the file")
    return Element(kind, start, size, min(after, end))


def _check_matrix(content: bytes, matrix: Element, order: str, level: int) -> None:
    """Check an array: its flags, dimensions, name and data."""
    if level > DEEPEST:
        raise DamagedFileError("cells are nested too deeply")
    if matrix.size == 0:
        return
    end = matrix.start + matrix.size
    flags = _read_tag(content, matrix.start, end, order)
    if flags.kind != UINT32 or flags.size != 8:
        raise DamagedFileError("an array has no flags")
    (word,) = struct.unpack_from(f"{order}I", content, flags.start)
    kind, parts = word & 0xFF, 2 if word & COMPLEX else 1
    if kind not in (CELL, STRUCT, OBJECT, CHAR, *NUMBERS):  # sparse array, function or opaque object
        _check_sequence(content, flags.after, end, order, level)
        return
    dimensions = _read_tag(content, flags.after, end, order)
    if dimensions.kind != INT32 or dimensions.size % 4 or not 8 <= dimensions.size <= 128:
        raise DamagedFileError("an array has no dimensions")
    lengths = struct.unpack_from(f"{order}{dimensions.size // 4}i", content, dimensions.start)
    count = math.prod(lengths)
    if min(lengths) < 0 or count > len(content):
        raise DamagedFileError("an array is larger than the file")
    name = _read_tag(content, dimensions.after, end, order)
    if name.kind != INT8:
        raise DamagedFileError("an array has no name")
    if kind in NUMBERS or kind == CHAR:
        place = _check_values(content, name.after, end, order, count, 1 if kind == CHAR else parts, kind)
    else:
        fields, place = (1, name.after)
        if kind != CELL:
            fields, place = _check_fields(content, name.after, end, order, kind)
        for _ in range(count * fields):
            inner = _read_tag(content, place, end, order)
            if inner.kind != MATRIX:
                raise DamagedFileError("a cell is not an array")
            _check_matrix(content, inner, order, level + 1)
            place = inner.after
    if end - place >= 8:
        raise DamagedFileError("an array has more data than its dimensions allow")


def _check_values(content: bytes, place: int, end: int, order: str, count: int, parts: int, kind: int) -> int:
    """Check the values of a numeric or character array; return the position after them."""
    for _ in range(parts):
        if place >= end and count == 0:
            return place
        values = _read_tag(content, place, end, order)
        each = ITEM_BYTES.get(values.kind)
        if each is None:
            raise DamagedFileError("values have no type")
        longest = 4 * count if kind == CHAR and values.kind in (16, 17) else each * count
        if not each * count <= values.size <= longest and not (kind == CHAR and values.size == 0):
            raise DamagedFileError("an array has more or fewer values than its dimensions say")
        place = values.after
    return place


def _check_fields(content: bytes, place: int, end: int, order: str, kind: int) -> tuple[int, int]:
    """Check the field names of a struct; return the number of fields and the position after the names."""
    if kind == OBJECT:
        place = _read_tag(content, place, end, order).after
    length = _read_tag(content, place, end, order)
    if length.kind != INT32 or length.size != 4:
        raise DamagedFileError("the length of field names is missing")
    (each,) = struct.unpack_from(f"{order}i", content, length.start)
    names = _read_tag(content, length.after, end, order)
    if names.kind != INT8 or each < 1 or names.size % each:
        raise DamagedFileError("fields have no names")
    return names.size // each, names.after


def _check_sequence(content: bytes, place: int, end: int, order: str, level: int) -> None:
    """Check that the bytes up to `end` are a sequence of valid elements."""
    while end - place >= 8:
        element = _read_tag(content, place, end, order)
        if element.kind == MATRIX:
            _check_matrix(content, element, order, level + 1)
        elif element.kind not in ITEM_BYTES:
            raise DamagedFileError("an element has no type")
        place = element.after
