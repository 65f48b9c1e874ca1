"""Compare the speed of the innermost loop of sparse convolution with the same loop in plain numba.

    python benchmarks/kernel.py [--rounds 8]

Prints the processor time of both loops, for layers of VGG16 and for one to three vectors of maps, and whether
the results are bitwise equal. Set NUMBA_CPU_NAME=generic to simulate an older processor.
"""

import argparse
import time
from functools import partial

import numpy as np
from numba import njit

from traitlens.relevance.sparse_kernels import POSITIONS_AT_ONCE, convolve_listed
from traitlens.relevance.unit_lists import LANES, Receivers, Units

plain = njit(nogil=True, fastmath={"contract"})  # allow fused multiply-add instructions


@plain
def add_eight(sums, low, values, unit, weight, channel, asked, vectors):
    """Add the products of eight sending units to the sums of a position's receivers."""
    first, second, third, fourth = channel[unit], channel[unit + 1], channel[unit + 2], channel[unit + 3]
    fifth, sixth, seventh, eighth = channel[unit + 4], channel[unit + 5], channel[unit + 6], channel[unit + 7]
    rows = (weight[first], weight[second], weight[third], weight[fourth])
    more = (weight[fifth], weight[sixth], weight[seventh], weight[eighth])
    p, q, r, s = values[unit], values[unit + 1], values[unit + 2], values[unit + 3]
    t, u, v, w = values[unit + 4], values[unit + 5], values[unit + 6], values[unit + 7]
    for place in range(len(asked)):
        to, total = asked[place], sums[low + place]
        a, b, c, d = rows[0][to], rows[1][to], rows[2][to], rows[3][to]
        e, f, g, h = more[0][to], more[1][to], more[2][to], more[3][to]
        for one in range(len(vectors) * LANES):  # a compile-time constant
            sum_of_four = total[one] + a * p[one] + b * q[one] + c * r[one] + d * s[one]
            total[one] = sum_of_four + e * t[one] + f * u[one] + g * v[one] + h * w[one]


@plain
def add_one(sums, low, values, unit, weight, channel, asked, vectors):
    """Add the products of one sending unit."""
    row, value = weight[channel[unit]], values[unit]
    for place in range(len(asked)):
        factor, total = row[asked[place]], sums[low + place]
        for one in range(len(vectors) * LANES):
            total[one] = total[one] + factor * value[one]


@plain
def send_plainly(
    weight, start, channel, values, size, start_to, channel_to, factor, place, strip, vectors, sent
):
    """Convolve from listed units to listed units as `convolve_listed` does, without LLVM code."""
    rows, columns = size
    sums = np.empty((POSITIONS_AT_ONCE * weight.shape[2], values.shape[1]), np.float32)
    for row in range(strip[0], strip[1]):
        for low in range(0, columns, POSITIONS_AT_ONCE):
            high = min(low + POSITIONS_AT_ONCE, columns)
            first, end = start_to[row * columns + low], start_to[row * columns + high]
            sums[: end - first] = 0
            for tap in range(9):
                from_row = row + 1 - tap // 3
                if from_row < 0 or from_row >= rows:
                    continue
                for column in range(low, high):
                    from_column = column + 1 - tap % 3
                    if from_column < 0 or from_column >= columns:
                        continue
                    to, source = row * columns + column, from_row * columns + from_column
                    begin, unit, last = start_to[to], start[source], start[source + 1]
                    asked = channel_to[begin : start_to[to + 1]]
                    while unit + 8 <= last:
                        add_eight(sums, begin - first, values, unit, weight[tap], channel, asked, vectors)
                        unit += 8
                    while unit < last:
                        add_one(sums, begin - first, values, unit, weight[tap], channel, asked, vectors)
                        unit += 1
            for one in range(first, end):
                for number in range(values.shape[1]):
                    sent[place[one], number] = sums[one - first, number] * factor[one]


def draw_units(rng, size: int, channels: int, share: float) -> Units:
    """Draw at random which units are active."""
    on = rng.random((size * size, channels)) < share
    start = np.concatenate([[0], np.cumsum(on.sum(1))]).astype(np.int64)
    return Units((size, size), start, np.nonzero(on)[1].astype(np.uint16))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    for size, channels, share in ((14, 512, 0.15), (56, 256, 0.2), (112, 128, 0.3)):
        senders, units = (draw_units(rng, size, channels, share) for _ in range(2))
        number = len(units.channel)
        receivers = Receivers(
            units, rng.normal(size=number).astype(np.float32), np.arange(number, dtype=np.int32)
        )
        weight = rng.normal(size=(9, channels, channels)).astype(np.float32)
        reached, strip = np.ones((size, size), bool), (0, 4)
        for maps in (LANES, 2 * LANES, 3 * LANES):
            values = rng.normal(size=(len(senders.channel), maps)).astype(np.float32)
            written = [np.zeros((number, maps), np.float32) for _ in range(2)]

            compiled = partial(
                convolve_listed, weight, senders, values, reached, receivers, strip, written[0]
            )
            vectors = (0,) * (maps // LANES)
            lists = (senders.size, units.start, units.channel, receivers.factor, receivers.place)
            by_numba = partial(
                send_plainly,
                weight,
                senders.start,
                senders.channel,
                values,
                *lists,
                strip,
                vectors,
                written[1],
            )
            taken = {compiled: [], by_numba: []}
            for work in list(taken) * (rounds + 1):  # the first round compiles
                start = time.thread_time()
                work()
                taken[work].append(time.thread_time() - start)
            one, other = (min(times[1:]) for times in taken.values())
            same = written[0].tobytes() == written[1].tobytes()
            print(
                f"{size}x{size}, {channels} channels, {maps} maps: {other / one:.2f} times, same bits: {same}"
            )


if __name__ == "__main__":
    main()
