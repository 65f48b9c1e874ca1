"""The structure of MATLAB files of version 5 to 7, checked before they are read.

SciPy's reader trusts the sizes that a file states, and ends the process where they do not fit together.

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
"""Bytes of an item of each type of data."""
CELL, STRUCT, OBJECT, CHAR = 1, 2, 3, 4
NUMBERS = range(6, 16)
"""Classes of arrays of numbers."""
COMPLEX = 0x800
DEEPEST = 32
"""Maximum number of levels of cells and structs."""


class Fault(ValueError):
    """The parts of a file do not fit together."""


class Element(NamedTuple):
    """A part of a file: type, place of its data, and place of the next element."""

    kind: int
    start: int
    size: int
    after: int


def check_elements(content: bytes) -> None:
    """Check that the sizes stated in a file of version 5 to 7 fit together.

    Parameters
    ----------
    content : bytes
        The file; files of version 4 have another structure and are not checked.

    Raises
    ------
    Fault
        If they do not.
    """
    if content[126:128] not in (b"IM", b"MI"):
        return
    order = "<" if content[126:128] == b"IM" else ">"
    place = 128
    while place < len(content):
        element = _read_tag(content, place, len(content), order, padded=False)
        if element.kind == COMPRESSED:
            _check_top(_decompress(content[element.start : element.start + element.size]), order)
        else:
            _check_top(content[place : element.after], order)
        place = element.after


def find_mat_fault(content: bytes) -> str:
    """Return why a file of version 5 to 7 must not be read; empty if it can be."""
    try:
        check_elements(content)
    except Fault as fault:
        return f"is damaged: {fault}"
    return ""


def _decompress(packed: bytes) -> bytes:
    """Decompress an element; a part that is missing or damaged is a fault."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed)
    except zlib.error as error:
        raise Fault("a variable is damaged") from error
    if not unpacker.eof:
        raise Fault("a variable is cut off")
    return content


def _check_top(content: bytes, order: str) -> None:
    """Check a variable."""
    element = _read_tag(content, 0, len(content), order)
    if element.kind != MATRIX or element.size == 0:
        raise Fault("a variable is no array")
    _check_matrix(content, element, order, 0)


def _read_tag(content: bytes, place: int, end: int, order: str, padded: bool = True) -> Element:
    """Read type and size of the element at a place; it must end before `end`."""
    if place + 8 > end:
        raise Fault("an element is cut off")
    kind, size = struct.unpack_from(f"{order}II", content, place)
    if kind >> 16:  # a small element: type, size and up to four bytes of data in one tag
        kind, size, start, after = kind & 0xFFFF, kind >> 16, place + 4, place + 8
        if size > 4:
            raise Fault("a small element is too large")
    else:
        start = place + 8
        after = start + (size + -size % 8 if padded else size)
    if start + size > end:
        raise Fault("an element is longer than the file")
    return Element(kind, start, size, min(after, end))


def _check_matrix(content: bytes, matrix: Element, order: str, level: int) -> None:
    """Check an array: its flags, dimensions, name and data."""
    if level > DEEPEST:
        raise Fault("cells are nested too deeply")
    if matrix.size == 0:
        return
    end = matrix.start + matrix.size
    flags = _read_tag(content, matrix.start, end, order)
    if flags.kind != UINT32 or flags.size != 8:
        raise Fault("an array has no flags")
    (word,) = struct.unpack_from(f"{order}I", content, flags.start)
    kind, parts = word & 0xFF, 2 if word & COMPLEX else 1
    if kind not in (CELL, STRUCT, OBJECT, CHAR, *NUMBERS):  # sparse arrays, functions, opaque objects
        _check_rest(content, flags.after, end, order, level)
        return
    dimensions = _read_tag(content, flags.after, end, order)
    if dimensions.kind != INT32 or dimensions.size % 4 or not 8 <= dimensions.size <= 128:
        raise Fault("an array has no dimensions")
    lengths = struct.unpack_from(f"{order}{dimensions.size // 4}i", content, dimensions.start)
    count = math.prod(lengths)
    if min(lengths) < 0 or count > len(content):
        raise Fault("an array is larger than the file")
    name = _read_tag(content, dimensions.after, end, order)
    if name.kind != INT8:
        raise Fault("an array has no name")
    if kind in NUMBERS or kind == CHAR:
        place = _check_values(content, name.after, end, order, count, 1 if kind == CHAR else parts, kind)
    else:
        fields, place = (1, name.after)
        if kind != CELL:
            fields, place = _check_fields(content, name.after, end, order, kind)
        for _ in range(count * fields):
            inner = _read_tag(content, place, end, order)
            if inner.kind != MATRIX:
                raise Fault("a cell is no array")
            _check_matrix(content, inner, order, level + 1)
            place = inner.after
    if end - place >= 8:
        raise Fault("an array has more data than its dimensions say")


def _check_values(content: bytes, place: int, end: int, order: str, count: int, parts: int, kind: int) -> int:
    """Check the numbers or letters of an array; return where they end."""
    for _ in range(parts):
        if place >= end and count == 0:
            return place
        values = _read_tag(content, place, end, order)
        each = ITEM_BYTES.get(values.kind)
        if each is None:
            raise Fault("values have no type")
        longest = 4 * count if kind == CHAR and values.kind in (16, 17) else each * count
        if not each * count <= values.size <= longest and not (kind == CHAR and values.size == 0):
            raise Fault("an array has not as many values as its dimensions say")
        place = values.after
    return place


def _check_fields(content: bytes, place: int, end: int, order: str, kind: int) -> tuple[int, int]:
    """Check the names of a struct's fields; return how many there are and where they end."""
    if kind == OBJECT:
        place = _read_tag(content, place, end, order).after
    length = _read_tag(content, place, end, order)
    if length.kind != INT32 or length.size != 4:
        raise Fault("fields have no length of names")
    (each,) = struct.unpack_from(f"{order}i", content, length.start)
    names = _read_tag(content, length.after, end, order)
    if names.kind != INT8 or each < 1 or names.size % each:
        raise Fault("fields have no names")
    return names.size // each, names.after


def _check_rest(content: bytes, place: int, end: int, order: str, level: int) -> None:
    """Check that elements of any type follow each other to the end."""
    while end - place >= 8:
        element = _read_tag(content, place, end, order)
        if element.kind == MATRIX:
            _check_matrix(content, element, order, level + 1)
        elif element.kind not in ITEM_BYTES:
            raise Fault("an element has no type")
        place = element.after
