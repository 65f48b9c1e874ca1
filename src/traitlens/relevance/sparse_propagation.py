r"""Propagation of relevance through lists of active units, for many maps of an image at once.

After a ReLU most units are zero, and only one of the four inputs of a pooling is the maximum. Relevance thus
passes through 5 % to 67 % of the units of a layer, which are the same for all maps of an image. They are
listed once per image. Relevance is computed for listed units only: :math:`v_i = \sum_j w_{ij} s_j` for each
listed unit :math:`i` over the listed units :math:`j` around it, then :math:`s_i = v_i f_i` with the factors
of :mod:`traitlens.relevance.backward_steps`. The maps equal those of whole layers except for rounding.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from traitlens.relevance.backward_steps import LayerStep, split_range
from traitlens.relevance.prepared_layers import TermGroup
from traitlens.relevance.unit_lists import LANES, Receivers, Units

if TYPE_CHECKING:
    import torch

EachStrip = Callable[[int, Callable[[int, int], None]], None]

MOST_LANES = 24
"""Maximum number of maps in a batch."""

FAR_APART = 0.6
"""If eight regions cover less than this share of the image on average, regions are propagated in batches of
eight that skip positions not reached; otherwise in the larger batches of maps (measured)."""

COST_OF_WEIGHT = 10
"""Time to read a weight, relative to the time of multiplying it with one map (measured)."""


@dataclass(eq=False)
class Level:
    """The listed units of a convolution and the pooling after it.

    `units` are outputs of the convolution; `arriving` are the outputs of the pooling that have their values
    (the same as `units` without a pooling), and `place` is the index of each arriving unit in `units`.
    Relevance from above is multiplied by `factor` (unit,). At taps it is first multiplied by `carries`
    (unit,), and the initial relevance is added.
    """

    units: Units
    arriving: Units
    place: np.ndarray
    factor: np.ndarray
    carries: np.ndarray | None = None

    @cached_property
    def downwards(self) -> Receivers:
        """The units as receivers of relevance from the layer above."""
        factor = self.factor if self.carries is None else self.factor * self.carries
        return Receivers(self.arriving, factor, self.place)

    @cached_property
    def upwards(self) -> Receivers:
        """The units as receivers of regions from the layer below."""
        if self.arriving is self.units:
            return Receivers(self.units, self.factor, self.place)
        factor, place = np.empty_like(self.factor), np.empty_like(self.place)
        factor[self.place] = self.factor
        place[self.place] = np.arange(len(place), dtype=place.dtype)
        return Receivers(self.units, factor, place)


class ActiveUnits:
    """Lists of the units that relevance passes through in one image; :func:`can_list` must be True."""

    def __init__(self, steps: Sequence[LayerStep]):
        import torch

        self._steps = list(steps)
        self._pixels = [_list_pixels(group, steps[0].size) for group in steps[0].prepared.groups]
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            self._levels = list(pool.map(_list_level, steps))

    def is_faster(self, count: int) -> bool:
        """Return whether lists are faster than convolutions of whole layers for a number of maps."""
        listed = whole = 0.0
        below = self._pixels[0]
        for step, above in zip(self._steps, self._levels, strict=True):
            around = ndimage.correlate(above.units.counts(), np.ones((3, 3), int), mode="constant")
            listed += float((around * below.arriving.counts()).sum())
            whole += step.prepared.groups[0].forth.numel() * step.size[0] * step.size[1]
            below = above
        return cost_of_lists(count) * listed < count * whole

    def back(self, relevance: Mapping[str, "torch.Tensor"], maps: "torch.Tensor") -> None:
        """Propagate relevance (map, channel, row, column) at taps, and write maps (map, row, column)."""
        with _strips_in_threads() as each_strip:
            for part in split_range(len(maps), MOST_LANES):
                mine = {tap: values[part] for tap, values in relevance.items()}
                maps[part] = self._back_batch(mine, _padded_size(part), each_strip)[: part.stop - part.start]

    def _back_batch(
        self, relevance: Mapping[str, "torch.Tensor"], lanes: int, each_strip: EachStrip
    ) -> "torch.Tensor":
        """Propagate maps to the pixels; the batch is padded with zeros to a multiple of :data:`LANES`."""
        import torch

        values = np.zeros((len(self._levels[-1].place), lanes), np.float32)
        _add_initial_relevance(relevance, self._steps[-1], self._levels[-1], values)
        for index in reversed(range(1, len(self._steps))):
            above, below = self._levels[index], self._levels[index - 1]
            weight = self._steps[index].prepared.groups[0].weight_back
            values = _convolve(weight, above.units, values, below.downwards, each_strip)
            _add_initial_relevance(relevance, self._steps[index - 1], below, values)
        first, total = self._steps[0], None
        for group, given, pixels in zip(first.prepared.groups, first.given, self._pixels, strict=True):
            sent = _convolve(group.weight_back, self._levels[0].units, values, pixels.downwards, each_strip)
            by_colour = torch.from_numpy(sent).view(*first.size, -1, lanes).permute(3, 2, 0, 1)
            maps = (by_colour if given is None else by_colour * given).sum(1)
            total = maps if total is None else total + maps
        assert total is not None
        return total

    def forth(self, regions: "torch.Tensor") -> dict[str, "torch.Tensor"]:
        """Propagate regions (region, row, column) up to the taps; the transpose of :meth:`back`.

        Returns weights of units (region, channel, row, column) by tap.
        """
        import torch

        found: dict[str, list[torch.Tensor]] = {}
        covered = [(regions[part] != 0).any(0).float().mean() for part in split_range(len(regions), LANES)]
        at_once = LANES if np.mean(covered) < FAR_APART else MOST_LANES
        with _strips_in_threads() as each_strip:
            for part in split_range(len(regions), at_once):
                mine = regions.new_zeros(_padded_size(part), *regions.shape[1:])
                mine[: part.stop - part.start] = regions[part]
                for tap, values in self._forth_batch(mine, each_strip).items():
                    found.setdefault(tap, []).append(values[: part.stop - part.start])
        return {tap: torch.cat(values) for tap, values in found.items()}

    def _forth_batch(self, regions: "torch.Tensor", each_strip: EachStrip) -> dict[str, "torch.Tensor"]:
        """Propagate a batch of regions up to the taps."""
        first, lanes, values = self._steps[0], len(regions), None
        reached = (regions != 0).any(0).numpy()
        for group, given, pixels in zip(first.prepared.groups, first.given, self._pixels, strict=True):
            inputs = regions[:, None].expand(-1, group.forth.shape[1], -1, -1)
            here = (
                (inputs if given is None else inputs * given)
                .permute(2, 3, 1, 0)
                .reshape(-1, lanes)
                .contiguous()
                .numpy()
            )
            receivers = self._levels[0].upwards
            sent = _convolve(group.weight_forth, pixels.units, here, receivers, each_strip, reached=reached)
            values = sent if values is None else values + sent
        assert values is not None
        found: dict[str, torch.Tensor] = {}
        for index, (step, level) in enumerate(zip(self._steps, self._levels, strict=True)):
            if index:
                below, weight = self._levels[index - 1], step.prepared.groups[0].weight_forth
                values = _convolve(weight, below.arriving, values, level.upwards, each_strip, reached=reached)
            reached = _positions_reached(reached, step)
            if step.is_tap:
                found[step.prepared.top] = _arrange_as_layer(values, step, level)
            if level.carries is not None:
                values = values * level.carries[:, None]
        return found


def cost_of_lists(count: int) -> int:
    """Return the time that a pair of listed units takes for a number of maps, in multiplications."""
    return sum(COST_OF_WEIGHT + _padded_size(part) for part in split_range(count, MOST_LANES))


def can_list(steps: Sequence[LayerStep]) -> bool:
    """Return whether relevance can be propagated through lists of units.

    This requires rules with one share and (except in the first layer) one kind of input, single precision,
    and the CPU.
    """
    import torch

    return all(
        len(step.factors) == 1
        and (step is steps[0] or len(step.given) == 1)
        and step.plain_factors is None
        and not step.prepared.rule.clip
        and step.factors[0].dtype == torch.float32
        and step.factors[0].device.type == "cpu"
        for step in steps
    )


def _padded_size(part: slice) -> int:
    """Return the size of a batch after padding to a multiple of :data:`LANES`."""
    return -(-(part.stop - part.start) // LANES) * LANES


def _list_level(step: LayerStep) -> Level:
    """List the units of a step that have a nonzero factor."""
    from traitlens.relevance.sparse_kernels import list_active, list_pooled

    factor = _factors_by_position(step)
    start, channel, value = list_active(factor.reshape(-1, factor.shape[2]))
    units = arriving = Units(step.size, start, channel)
    place = np.arange(len(channel), dtype=np.int32)
    if step.prepared.pool is not None:
        pooled_start, pooled_channel, value, place = list_pooled(factor, start)
        arriving = Units((step.size[0] // 2, step.size[1] // 2), pooled_start, pooled_channel)
    level = Level(units, arriving, place, value)
    if step.is_tap and step.carries is not None:
        carries = step.carries[0].permute(1, 2, 0).reshape(-1).numpy()
        level.carries = carries[arriving.places(factor.shape[2])]
    return level


def _factors_by_position(step: LayerStep) -> np.ndarray:
    """Return the factors of a step as an array (row, column, channel)."""
    factor = step.factors[0]
    if step.prepared.pool is None:
        return factor[0].permute(1, 2, 0).contiguous().numpy()
    windows = factor.reshape(factor.shape[0] * 2, factor.shape[2] * 2, -1).numpy()
    missing = [(0, whole - there) for whole, there in zip(step.size, windows.shape[:2], strict=True)]
    return np.ascontiguousarray(np.pad(windows, [*missing, (0, 0)]))


def _list_pixels(group: TermGroup, size: tuple[int, int]) -> Level:
    """List all inputs of the first convolution."""
    positions, inputs = size[0] * size[1], group.forth.shape[1]
    start = np.arange(positions + 1) * inputs
    units = Units(size, start, np.tile(np.arange(inputs, dtype=np.uint16), positions))
    return Level(units, units, np.arange(start[-1], dtype=np.int32), np.ones(start[-1], np.float32))


def _add_initial_relevance(
    relevance: Mapping[str, "torch.Tensor"], step: LayerStep, level: Level, values: np.ndarray
) -> None:
    """Add the initial relevance at a step to the values of its listed units, if the step is a tap."""
    if not step.is_tap or step.prepared.top not in relevance:
        return
    entering = relevance[step.prepared.top]
    laid_out = entering.float().permute(0, 2, 3, 1).reshape(len(entering), -1).numpy()
    here = laid_out[:, level.arriving.places(entering.shape[1])].T * level.factor[:, None]
    values[level.place, : len(entering)] += here


def _arrange_as_layer(values: np.ndarray, step: LayerStep, level: Level) -> "torch.Tensor":
    """Arrange the values of arriving units as a layer (region, channel, row, column)."""
    import torch

    channels = step.prepared.groups[0].forth.shape[0]
    laid_out = np.zeros((values.shape[1], *level.arriving.size, channels), np.float32)
    laid_out.reshape(len(laid_out), -1)[:, level.arriving.places(channels)] = values.T
    return torch.from_numpy(laid_out).permute(0, 3, 1, 2)


def _positions_reached(reached: np.ndarray, step: LayerStep) -> np.ndarray:
    """Return the output positions of a step that depend on the given input positions."""
    reached = ndimage.maximum_filter(reached, 3, mode="constant")
    if step.prepared.pool is None:
        return reached
    rows, columns = (length // 2 for length in step.size)
    windows = reached[: rows * 2, : columns * 2].reshape(rows, 2, columns, 2)
    return np.logical_or.reduce(windows, axis=(1, 3))


def _convolve(
    weight: np.ndarray,
    senders: Units,
    values: np.ndarray,
    receivers: Receivers,
    each_strip: EachStrip,
    *,
    reached: np.ndarray | None = None,
) -> np.ndarray:
    """Compute a convolution from listed units to listed units in parallel threads.

    Senders at positions that are not `reached` are skipped.
    """
    from traitlens.relevance.sparse_kernels import convolve_listed

    reached = np.ones(senders.size, bool) if reached is None else reached
    sent = np.empty_like(values, shape=(len(receivers.place), values.shape[1]))

    def send_strip(first: int, end: int) -> None:
        convolve_listed(weight, senders, values, reached, receivers, (first, end), sent)

    each_strip(senders.size[0], send_strip)
    return sent


@contextmanager
def _strips_in_threads() -> Iterator[EachStrip]:
    """Yield a function that processes strips of rows in parallel, with as many threads as torch uses."""
    import torch

    threads = torch.get_num_threads()
    if threads == 1:
        yield lambda rows, work: work(0, rows)
        return
    with ThreadPoolExecutor(threads) as pool:

        def each_strip(rows: int, work: Callable[[int, int], None]) -> None:
            strips = split_range(rows, -(-rows // (16 * threads)))  # many strips balance the threads
            for done in [pool.submit(work, strip.start, strip.stop) for strip in strips]:
                done.result()

        yield each_strip
