"""Propagation of relevance through one convolution and the pooling after it, in whole layers."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from traitlens.relevance.prepared_layers import Forward, PreparedLayer, convolve

if TYPE_CHECKING:
    import torch

ELEMENTS_AT_ONCE = 4_000_000
"""Maximum number of relevance values processed at once; limits memory and fits processor caches."""


@dataclass(eq=False)
class LayerStep:
    """A convolution and the pooling after it (if any), prepared for one image.

    `factors` contains, for each share of the rule, the factor by which relevance from above is multiplied;
    after a pooling its shape is (row, 2, column, 2, channel), with zeros except at the maxima. `carries` is
    the output of the step if relevance from above must still be multiplied by it, else None.
    """

    prepared: PreparedLayer
    is_tap: bool
    carries: "torch.Tensor | None"
    factors: list["torch.Tensor"]
    plain_factors: list["torch.Tensor"] | None
    given: list["torch.Tensor | None"]
    size: tuple[int, int]


def deferred_input(given: list["torch.Tensor | None"]) -> "torch.Tensor | None":
    """Return the input by which the next step multiplies relevance; None if there is no such factor."""
    return given[0] if len(given) == 1 else None


def complete_step(waiting: Forward, carries: "torch.Tensor | None", taps: Collection[str]) -> LayerStep:
    """Compute the factors of a step from its forward pass, once the step above is known."""
    prepared = waiting.prepared
    is_tap = prepared.top in taps
    plain_tap = prepared.pool is not None and prepared.layer.name in taps
    convolved = waiting.activations[prepared.layer.name]
    # At a tap, and below rules that ignore the input, inactive units can have relevance. The bias is left out
    # of their denominators, because with it these could be arbitrarily close to zero.
    bare = is_tap or plain_tap or carries is None
    numerator = None if is_tap else carries
    pooled = None if prepared.pool is None else _maxima(convolved)
    active = waiting.convolved > 0 if bare or pooled is None else None  # for pooled units see `largest`
    factors, plain = [], []
    for share, total in zip(prepared.rule.shares, waiting.totals, strict=True):
        assert prepared.layer.bias is not None
        added = share.bias(prepared.layer.bias)
        if total is not None and added is not None and bare:
            assert active is not None
            total = total - added.view(1, -1, 1, 1) * ~active
        if plain_tap:
            plain.append(share.factor(total, active).to(convolved.dtype))
        if pooled is None:
            factors.append(share.factor(total, active, numerator).to(convolved.dtype))
        else:
            largest, maxima = pooled
            there = None if total is None else _values_at_maxima(total, maxima)
            factor = share.factor(there, largest > 0, numerator).to(convolved.dtype)
            factors.append(_unpool(factor, maxima))
    return LayerStep(
        prepared,
        is_tap,
        carries,
        factors,
        plain if plain_tap else None,
        waiting.given,
        (convolved.shape[2], convolved.shape[3]),
    )


def _corners(values: "torch.Tensor") -> list["torch.Tensor"]:
    """Return the values at the four corners of all 2x2 windows: (1, channel, row, column) for each corner."""
    whole = values[:, :, : values.shape[2] // 2 * 2, : values.shape[3] // 2 * 2]
    return [whole[:, :, row::2, column::2] for row in range(2) for column in range(2)]


def _maxima(values: "torch.Tensor") -> "tuple[torch.Tensor, list[torch.Tensor]]":
    """Return the maximum of each 2x2 window, and for each corner a mask of windows whose maximum it is."""
    import torch

    corners = _corners(values)
    largest = torch.maximum(torch.maximum(*corners[:2]), torch.maximum(*corners[2:]))
    masks = [corners[0] == largest]
    taken = masks[0]
    for corner in corners[1:3]:
        masks.append((corner == largest) & ~taken)
        taken = taken | masks[-1]
    return largest, [*masks, ~taken]


def _values_at_maxima(values: "torch.Tensor", maxima: list["torch.Tensor"]) -> "torch.Tensor":
    """Return the value at the maximum of each 2x2 window."""
    corners = _corners(values)
    picked = corners[3]
    for corner, here in zip(corners[:3], maxima[:3], strict=True):
        picked = corner.where(here, picked)
    return picked


def _unpool(values: "torch.Tensor", maxima: list["torch.Tensor"]) -> "torch.Tensor":
    """Return (row, 2, column, 2, channel) with each window's value at its maximum and zeros elsewhere."""
    _, channels, rows, columns = values.shape
    windows = values.new_empty(rows, 2, columns, 2, channels)
    for number, here in enumerate(maxima):
        windows[:, number // 2, :, number % 2] = values.where(here, 0)[0].permute(1, 2, 0)
    return windows


def propagate_step(
    step: LayerStep, carried: "torch.Tensor | None", relevance: Mapping[str, "torch.Tensor"]
) -> "torch.Tensor":
    """Propagate relevance (map, channel, row, column) down through a step; add relevance that enters at taps.

    `carried` comes from the step above (None if there is none), `relevance` from readouts, by tap.
    """
    entering = relevance.get(step.prepared.top)
    if step.is_tap:
        if carried is not None and step.carries is not None:
            carried = carried * step.carries
        if entering is not None:
            carried = entering if carried is None else carried + entering
    plain = relevance.get(step.prepared.layer.name) if step.plain_factors is not None else None
    if step.prepared.rule.clip:
        carried = None if carried is None else carried.relu()
        plain = None if plain is None else plain.relu()
    some = plain if carried is None else carried
    assert some is not None
    total = None
    for group, given in zip(step.prepared.groups, step.given, strict=True):
        stacked = group.back.new_empty(len(some), *step.size, group.back.shape[1]).permute(0, 3, 1, 2)
        for number, part in zip(group.shares, stacked.chunk(len(group.shares), 1), strict=True):
            _multiply_and_unpool(step, number, carried, plain, part)
        values = convolve(stacked, group.back)
        if len(step.given) == 1:
            return values
        if given is not None:
            values = values * given
        total = values if total is None else _add(total, values)
    assert total is not None
    return total


def _multiply_and_unpool(
    step: LayerStep,
    share: int,
    carried: "torch.Tensor | None",
    plain: "torch.Tensor | None",
    out: "torch.Tensor",
) -> None:
    """Multiply relevance from above by the factor of a share, undo the pooling, and write it to `out`."""
    import torch

    if carried is None:
        out.zero_()
    elif step.prepared.pool is None:
        torch.mul(carried, step.factors[share], out=out)
    else:
        factor = step.factors[share]
        rows, columns = factor.shape[0] * 2, factor.shape[2] * 2
        if (rows, columns) != step.size:
            out.zero_()  # a last odd row or column belongs to no window
        last = out.permute(0, 2, 3, 1)[:, :rows, :columns]
        windows = last.view(len(out), rows // 2, 2, columns // 2, 2, -1)
        torch.mul(carried.permute(0, 2, 3, 1)[:, :, None, :, None], factor, out=windows)
    if plain is not None:
        assert step.plain_factors is not None
        out.addcmul_(plain, step.plain_factors[share])


def _add(some: "torch.Tensor", more: "torch.Tensor") -> "torch.Tensor":
    """Add two tensors; if only one has been summed over colour channels, sum the other first."""
    if some.shape[1] != more.shape[1]:
        some, more = some.sum(1, keepdim=True), more.sum(1, keepdim=True)
    return some + more


def to_pixels(first: LayerStep, carried: "torch.Tensor") -> "torch.Tensor":
    """Convert relevance below the first convolution to pixels: multiply by the input, sum over colour."""
    given = deferred_input(first.given)
    values = carried if given is None else carried * given
    return values.float().sum(1)


def from_pixels(first: LayerStep, regions: "torch.Tensor") -> "torch.Tensor":
    """Convert regions (region, row, column) to network inputs; the transpose of :func:`to_pixels`."""
    import torch

    values = regions[:, None].to(first.factors[0].dtype)
    given = deferred_input(first.given)
    if given is not None:
        values = values * given
    return values.contiguous(memory_format=torch.channels_last)


def forward_through_convolutions(step: LayerStep, values: "torch.Tensor") -> list["torch.Tensor"]:
    """Propagate values of regions up through the convolutions of a step; return one tensor for each share."""
    import torch

    sent: list[torch.Tensor | None] = [None] * len(step.factors)
    for group, given in zip(step.prepared.groups, step.given, strict=True):
        mine = values if len(step.given) == 1 or given is None else values * given
        channels = group.forth.shape[1]
        stacked = convolve(
            mine if mine.shape[1] == channels else mine.expand(-1, channels, -1, -1), group.forth
        )
        for number, part in zip(group.shares, stacked.chunk(len(group.shares), 1), strict=True):
            before = sent[number]
            sent[number] = part if before is None else before + part
    return [part for part in sent if part is not None]


def forward_through_pooling(step: LayerStep, sent: list["torch.Tensor"]) -> "torch.Tensor":
    """Multiply values of regions by the factors of all shares, and sum over shares and pooling windows."""
    import torch

    if not step.prepared.pool:
        return sum_of_products(sent, step.factors)
    total = None
    for part, factor in zip(sent, step.factors, strict=True):
        rows, columns = factor.shape[0], factor.shape[2]
        last = part.permute(0, 2, 3, 1)[:, : rows * 2, : columns * 2]
        windows = last.reshape(len(part), rows, 2, columns, 2, -1)
        values = torch.einsum("nraybc,raybc->nryc", windows, factor)
        total = values if total is None else total + values
    assert total is not None
    return total.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def sum_of_products(some: list["torch.Tensor"], others: list["torch.Tensor"]) -> "torch.Tensor":
    """Multiply tensors pairwise, and return the sum of the products."""
    total = some[0] * others[0]
    for one, other in zip(some[1:], others[1:], strict=True):
        total = total + one * other
    return total


def count_maps_at_once(step: LayerStep) -> int:
    """Return how many maps a step can process at once without exceeding the limit of memory."""
    assert step.prepared.layer.weight is not None
    per_map = max(step.prepared.layer.weight.shape[:2]) * step.size[0] * step.size[1]
    return max(1, ELEMENTS_AT_ONCE // per_map)


def split_range(count: int, at_once: int) -> Iterator[slice]:
    """Yield slices of nearly equal length, at most `at_once`, that cover range(count)."""
    number = -(-count // at_once)
    for part in range(number):
        yield slice(part * count // number, (part + 1) * count // number)
