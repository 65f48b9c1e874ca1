"""Compiled convolution between lists of active units.

For each receiving unit, the convolution adds products over the listed units around it. This is as fast as a
matrix product only if the sums of several maps stay in vector registers. Numba does not keep them there (maps
took 1.7 to 3.5 times as long; `benchmarks/kernel.py`). The innermost loop is therefore written in LLVM's
intermediate representation, which numba compiles with the rest; :func:`convolve_listed` checks the arrays
first. `TRAITLENS_WHOLE_LAYERS` switches these loops off (see :mod:`traitlens.relevance.propagation`).
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from traitlens.relevance.unit_lists import LANES, Receivers, Units

UNITS_AT_ONCE = (8, 5, 4)
"""Number of sending units added in one pass, for one, two and three vectors of maps; as many as fit into 16
registers (measured)."""

POSITIONS_AT_ONCE = 8
"""Number of positions computed in turn with the same filter weights, which stay in the processor cache."""


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function with numba when it is first called; cache the result on disk if possible."""
    in_memory = njit(nogil=True)(function)
    try:
        kept = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the folder of the package nor that of the user is writable
        return in_memory

    @wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return kept(*arguments)
        except OSError:  # raised by the cache, for example if the disk is full
            return in_memory(*arguments)

    return call


@_compile
def list_active(factor: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List the units with a nonzero factor, given factors as float32 (position, channel).

    Returns the index in the list at which each position starts (position + 1,), and the channel (uint16) and
    factor of each listed unit.
    """
    positions, channels = factor.shape
    start = np.zeros(positions + 1, np.int64)
    for position in range(positions):
        found = 0
        for channel in range(channels):
            found += factor[position, channel] != 0
        start[position + 1] = start[position] + found
    listed = np.empty(start[-1], np.uint16)
    value = np.empty(start[-1], np.float32)
    place = 0
    for position in range(positions):
        for channel in range(channels):
            if factor[position, channel] != 0:
                listed[place] = channel
                value[place] = factor[position, channel]
                place += 1
    return start, listed, value


@_compile
def list_pooled(
    factor: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """List the outputs of a 2x2 maximum pooling whose maximum has a nonzero factor.

    `factor`, float32 (row, column, channel), is the factor of the pooling's inputs: nonzero at most once in
    each window. `start` is from :func:`list_active` for the same factors. Returns what that function returns,
    for the outputs of the pooling, and the index (int32) of each output's maximum in the list of inputs.
    """
    rows, columns, channels = factor.shape
    pooled = np.zeros((rows // 2) * (columns // 2) + 1, np.int64)
    listed = np.empty(start[-1], np.uint16)
    value = np.empty(start[-1], np.float32)
    places = np.empty(start[-1], np.int32)
    following = np.empty(4, np.int64)
    found = 0
    for window in range(len(pooled) - 1):
        row, column = 2 * (window // (columns // 2)), 2 * (window % (columns // 2))
        for corner in range(4):
            following[corner] = start[(row + corner // 2) * columns + column + corner % 2]
        for channel in range(channels):
            for corner in range(4):
                one = factor[row + corner // 2, column + corner % 2, channel]
                if one != 0:
                    listed[found] = channel
                    value[found] = one
                    places[found] = following[corner]
                    following[corner] += 1
                    found += 1
        pooled[window + 1] = found
    return pooled, listed, value, places


def _inner_loop(several: bool) -> Any:
    """Return the innermost loop, which adds the products of a few sending units to the sums of receivers.

    Its arguments are the addresses of the sums (receiver, map), values (sender, map), filters (channel of the
    sender, channel of the receiver) and channels of senders; the number of channels in the receivers' layer;
    the address and number of the receivers' channels; and a tuple with one zero per vector of maps.
    """

    @intrinsic
    def add(_, sums, values, filters, channels, width, asked, count, vectors):  # type: ignore[no-untyped-def]  # noqa: ARG001
        units = UNITS_AT_ONCE[vectors.count - 1] if several else 1
        return types.void(*[types.intp] * 7, vectors), _generate_inner_loop(units, vectors.count)

    return add


def _generate_inner_loop(units: int, vectors: int) -> Callable[..., Any]:
    """Return a code generator of the innermost loop, for a number of sending units and of vectors of maps."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        sums, values, filters, channels, width, asked, count, _ = arguments
        word, single, short = count.type, ir.FloatType(), ir.IntType(16)
        vector = ir.VectorType(single, LANES)
        kind = ir.FunctionType(vector, [vector] * 3)
        name = f"llvm.fmuladd.v{LANES}f32"
        multiply_add = cgutils.get_or_insert_function(builder.module, kind, name)
        nothing = ir.Constant(vector, ir.Undefined)
        first = ir.Constant(ir.IntType(32), 0)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)

        def address(start: Any, place: Any, size: int, kind: Any) -> Any:
            step = builder.mul(place, ir.Constant(word, size))
            return builder.inttoptr(builder.add(start, step), kind.as_pointer())

        def load(start: Any, place: Any, size: int, kind: Any) -> Any:
            return builder.load(address(start, place, size, kind), align=min(size, 4))

        def spread(number: Any) -> Any:
            alone = builder.insert_element(nothing, number, first)
            return builder.shuffle_vector(alone, nothing, everywhere)

        held, rows = [], []
        for unit in range(units):
            places = [ir.Constant(word, unit * vectors + part) for part in range(vectors)]
            held.append([load(values, place, 4 * LANES, vector) for place in places])
            channel = builder.zext(load(channels, ir.Constant(word, unit), 2, short), word)
            rows.append(builder.mul(channel, width))
        with cgutils.for_range(builder, count) as loop:
            channel = builder.zext(load(asked, loop.index, 2, short), word)
            begin = builder.mul(loop.index, ir.Constant(word, vectors))
            places = [builder.add(begin, ir.Constant(word, part)) for part in range(vectors)]
            totals = [load(sums, place, 4 * LANES, vector) for place in places]
            for row, mine in zip(rows, held, strict=True):
                weight = spread(load(filters, builder.add(row, channel), 4, single))
                totals = [
                    builder.call(multiply_add, [weight, value, total])
                    for value, total in zip(mine, totals, strict=True)
                ]
            for place, total in zip(places, totals, strict=True):
                builder.store(total, address(sums, place, 4 * LANES, vector), align=4)
        return context.get_dummy_value()

    return generate


_add_several, _add_one = _inner_loop(several=True), _inner_loop(several=False)


@njit(nogil=True)
def _add_products(sums, values, filters, channels, width, asked, count, units, vectors):  # type: ignore[no-untyped-def]
    """Add the products of all sending units to the sums of one position; see :func:`_inner_loop`."""
    several = UNITS_AT_ONCE[len(vectors) - 1]
    stride = len(vectors) * LANES * 4
    done = 0
    while done + several <= units:
        _add_several(sums, values + done * stride, filters, channels + done * 2, width, asked, count, vectors)
        done += several
    while done < units:
        _add_one(sums, values + done * stride, filters, channels + done * 2, width, asked, count, vectors)
        done += 1


@_compile
def _convolve_strip(  # type: ignore[no-untyped-def]
    weight, start, channel, values, reached, start_to, channel_to, factor, place, strip, vectors, sent
):
    """Compute :func:`convolve_listed` for the rows of a strip; `vectors` has one zero per eight maps."""
    rows, columns = reached.shape
    width, maps = weight.shape[2], len(vectors) * LANES
    sums = np.empty((POSITIONS_AT_ONCE * width, maps), np.float32)
    for row in range(*strip):
        for low in range(0, columns, POSITIONS_AT_ONCE):
            high = min(low + POSITIONS_AT_ONCE, columns)
            first, end = start_to[row * columns + low], start_to[row * columns + high]
            sums[: end - first] = 0
            for tap in range(9):
                from_row = row + 1 - tap // 3
                if from_row < 0 or from_row >= rows:
                    continue
                filters = weight.ctypes.data + tap * weight.strides[0]
                for column in range(low, high):
                    from_column = column + 1 - tap % 3
                    if from_column < 0 or from_column >= columns or not reached[from_row, from_column]:
                        continue
                    to, source = row * columns + column, from_row * columns + from_column
                    begin, unit = start_to[to], start[source]
                    _add_products(
                        sums.ctypes.data + (begin - first) * maps * 4,
                        values.ctypes.data + unit * maps * 4,
                        filters,
                        channel.ctypes.data + unit * 2,
                        width,
                        channel_to.ctypes.data + begin * 2,
                        start_to[to + 1] - begin,
                        start[source + 1] - unit,
                        vectors,
                    )
            for one in range(first, end):
                for number in range(maps):
                    sent[place[one], number] = sums[one - first, number] * factor[one]


def convolve_listed(
    weight: np.ndarray,
    senders: Units,
    values: np.ndarray,
    reached: np.ndarray,
    receivers: Receivers,
    strip: tuple[int, int],
    sent: np.ndarray,
) -> None:
    """Compute a 3x3 convolution with padding 1 from listed units to listed units, for a strip of rows.

    The shape of `weight` is (position in the filter, channel of the sender, channel of the receiver), in the
    order of the senders from one row and column below to one above. `values` (sender, map) are the values of
    the senders; they are zero except at positions where `reached` (row, column) is True. `strip` is the range
    of the receiving rows. The result is written to `sent` (receiver, map).
    """
    # The compiled loop uses addresses, so arrays of another form would lead to access out of bounds.
    for array, rows in ((weight, 9), (values, senders.start[-1]), (sent, len(receivers.place))):
        if not (array.flags.c_contiguous and array.dtype == np.float32 and len(array) == rows):
            raise ValueError(f"expected {rows} contiguous rows of float32, got {array.dtype} {array.shape}")
    for array in (senders.channel, receivers.units.channel):
        if not (array.flags.c_contiguous and array.dtype == np.uint16):
            raise ValueError(f"expected contiguous channels of uint16, got {array.dtype}")
    vectors = (0,) * (values.shape[1] // LANES)
    _convolve_strip(
        weight,
        senders.start,
        senders.channel,
        values,
        reached,
        receivers.units.start,
        receivers.units.channel,
        receivers.factor,
        receivers.place,
        strip,
        vectors,
        sent,
    )
