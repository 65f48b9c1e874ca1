r"""The engine: relevance from taps to pixels, and regions of pixels back to taps.

What depends on the image alone (activations, denominators) is computed once per image, and the relevance of
all readouts goes back as one batch. Two identities make it quick. Relevance arriving at a layer is
:math:`R = a \odot u`, where :math:`a` is the layer's output and :math:`u` what the convolution above gave; the next
layer needs :math:`R / z = u \odot (a / z)`, so that one multiplication by a factor kept per image
lies between two convolutions. And handing relevance through a maximum pooling is an enlargement times that factor, set to
zero wherever the maximum was not.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from traitlens.features.backbone import Backbone, Layer
from traitlens.relevance.methods import Method
from traitlens.relevance.rules import Given, Modify, Rule, Share, Term, whole

if TYPE_CHECKING:
    import torch

ELEMENTS_AT_ONCE = 16_000_000
"""How many relevance values one convolution hands on at a time; bounds memory and keeps caches warm."""


@dataclass(eq=False)
class _Group:
    """Terms that share what is given: one convolution backwards."""

    given: Given
    shares: tuple[int, ...]
    weight: "torch.Tensor"


@dataclass(eq=False)
class _Prepared:
    """A convolution with its rule and all modified weights."""

    layer: Layer
    rule: Rule
    is_first: bool
    pool: str | None = None
    stacks: dict[Given, list[Modify]] = field(default_factory=dict)
    stacked_weights: dict[Given, "torch.Tensor"] = field(default_factory=dict)
    stacked_bias: "torch.Tensor | None" = None
    groups: list[_Group] = field(default_factory=list)
    of_ones: dict[Any, "torch.Tensor"] = field(default_factory=dict)

    @property
    def top(self) -> str:
        """Name of the last layer of the step: the pooling, or the convolution."""
        return self.pool or self.layer.name


class Propagator:
    """A backbone and a method, ready for images.

    Parameters
    ----------
    backbone : Backbone
        The frozen network.
    method : Method
        Which rule for which layer.

    Examples
    --------
    >>> propagator = Propagator(backbone, find_method("gradient"))  # doctest: +SKIP
    >>> passage = propagator.read(backbone.input(pixels[:1]), {"block5_pool"})  # doctest: +SKIP
    >>> maps = passage.back({"block5_pool": relevance})  # doctest: +SKIP
    """

    def __init__(self, backbone: Backbone, method: Method):
        self.backbone = backbone
        self.method = method
        self.low, self.high = backbone.preprocessing.bounds()
        self._prepared: dict[int, _Prepared] = {}

    def prepared(self, depth: int) -> list[_Prepared]:
        """Prepare the convolutions among the first layers.

        Parameters
        ----------
        depth : int
            How many layers of the backbone are wanted.

        Returns
        -------
        list
            The convolutions, first to last, each with the pooling behind it.
        """
        import torch

        found: list[_Prepared] = []
        for index, layer in enumerate(self.backbone.layers[:depth]):
            if layer.kind == "max_pool":
                if not found or found[-1].pool == layer.name:
                    raise ValueError(f"pooling {layer.name!r} does not follow a convolution")
                found[-1].pool = layer.name
                continue
            if index not in self._prepared:
                with torch.inference_mode():
                    rule = self.method.rule_for(len(found))
                    self._prepared[index] = _prepare(layer, rule, is_first=not found)
            found.append(self._prepared[index])
            found[-1].pool = None
        return found

    def read(self, values: "torch.Tensor", taps: Collection[str]) -> "Passage":
        """Run one image through the network and keep what its relevance needs.

        Parameters
        ----------
        values : Tensor
            (1, channel, row, column): preprocessed.
        taps : collection of str
            Names of the layers at which relevance will enter.

        Returns
        -------
        Passage
            Ready to send relevance back.
        """
        import torch

        depth = max(len(self.backbone.up_to(tap)) for tap in taps)
        with torch.inference_mode():
            return Passage(self, values, frozenset(taps), self.prepared(depth))


@dataclass(eq=False)
class _Step:
    """One convolution and the pooling behind it, for one image.

    `factors` hold, per share, what arriving values are multiplied by; after a pooling they are laid out
    (row, 2, column, 2, channel) with zeros off the maxima. `carries` is the output's factor in the
    relevance that arrives; None where it is one.
    """

    prepared: _Prepared
    is_tap: bool
    carries: "torch.Tensor | None"
    factors: list["torch.Tensor"]
    plain_factors: list["torch.Tensor"] | None
    given: list["torch.Tensor | None"]
    size: tuple[int, int]


class Passage:
    """One image on its way through the network.

    Parameters
    ----------
    propagator : Propagator
        The network and the method.
    values : Tensor
        (1, channel, row, column): preprocessed.
    taps : frozenset of str
        Names of the layers at which relevance will enter.
    prepared : list
        The prepared convolutions, first to last.
    """

    def __init__(
        self,
        propagator: Propagator,
        values: "torch.Tensor",
        taps: frozenset[str],
        prepared: list[_Prepared],
    ):
        self.activations: dict[str, torch.Tensor] = {}
        self.shape = (values.shape[2], values.shape[3])
        self.is_linear = propagator.method.is_linear
        self._steps: list[_Step] = []
        # The steps run from the pixels up; a step's factors need the given of the step above, so each
        # is completed when that one is known.
        waiting: _Waiting | None = None
        for layer in prepared:
            now = _forward(layer, values, propagator, taps)
            self.activations.update({tap: now.activations[tap] for tap in now.activations if tap in taps})
            if waiting is not None:
                self._steps.append(_complete(waiting, _single(now.given), taps))
            waiting, values = now, now.output
        assert waiting is not None
        self._steps.append(_complete(waiting, None, taps))

    def back(self, relevance: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Send relevance from the taps to the pixels.

        Parameters
        ----------
        relevance : mapping of str to Tensor
            (readout, channel, row, column) by tap.

        Returns
        -------
        Tensor
            float32 (readout, row, column), summed over colour.
        """
        import torch

        count = len(next(iter(relevance.values())))
        like = next(iter(relevance.values()))
        maps = torch.empty((count, *self.shape), device=like.device)
        with torch.inference_mode():
            self._descend(len(self._steps) - 1, None, relevance, maps)
        return maps

    def _descend(
        self,
        index: int,
        carried: "torch.Tensor | None",
        relevance: Mapping[str, "torch.Tensor"],
        maps: "torch.Tensor",
    ) -> None:
        """Take values from a step to the pixels, in as many parts as memory asks for."""
        for place in range(index, -1, -1):
            step = self._steps[place]
            at_once = _at_once(step)
            if len(maps) > at_once:
                for part in _parts(len(maps), at_once):
                    rest = {tap: values[part] for tap, values in relevance.items()}
                    self._descend(place, None if carried is None else carried[part], rest, maps[part])
                return
            carried = _step_back(step, carried, relevance)
        assert carried is not None
        maps.copy_(_to_pixels(self._steps[0], carried))

    def forth(self, regions: "torch.Tensor") -> dict[str, "torch.Tensor"]:
        """Send regions of pixels up to the taps: the transpose of :meth:`back`.

        Parameters
        ----------
        regions : Tensor
            float (region, row, column): how much each pixel counts.

        Returns
        -------
        dict of str to Tensor
            (region, channel, row, column) by tap. For any relevance, the sum over taps of
            ``(operator * relevance).sum()`` is the relevance that falls into the region.

        Raises
        ------
        ValueError
            If the method is not linear in relevance.
        """
        import torch

        if not self.is_linear:
            raise ValueError("the method is not linear in relevance, so there is no region operator")
        at_once = min(_at_once(step) for step in self._steps)
        taps: dict[str, list[torch.Tensor]] = {}
        with torch.inference_mode():
            for part in _parts(len(regions), at_once):
                for tap, values in self._ascend(regions[part]).items():
                    taps.setdefault(tap, []).append(values)
        return {tap: torch.cat(values) for tap, values in taps.items()}

    def _ascend(self, regions: "torch.Tensor") -> dict[str, "torch.Tensor"]:
        """Take regions from the pixels to every tap."""
        first = self._steps[0]
        values = _from_pixels(first, regions)
        found = {}
        for step in self._steps:
            sent = _groups_forth(step, values)
            if step.plain_factors is not None:
                found[step.prepared.layer.name] = _sum_of_products(sent, step.plain_factors)
            values = _factors_forth(step, sent)
            if step.is_tap:
                found[step.prepared.top] = values
                if step.carries is not None:
                    values = values * step.carries
        return found


@dataclass(eq=False)
class _Waiting:
    """A convolution that has been run forward; its factors wait for the given of the step above."""

    prepared: _Prepared
    given: list["torch.Tensor | None"]
    totals: list["torch.Tensor | None"]
    convolved: "torch.Tensor"
    output: "torch.Tensor"
    activations: dict[str, "torch.Tensor"]


def _prepare(layer: Layer, rule: Rule, is_first: bool) -> _Prepared:
    """Modify a layer's weights as its rule asks, once."""
    import torch

    assert layer.weight is not None
    prepared = _Prepared(layer, rule, is_first)
    terms = [(number, term) for number, share in enumerate(rule.shares) for term in _terms(share, is_first)]
    prepared.stacks["input"] = [whole]
    for number, term in terms:
        if not rule.shares[number].divide:
            continue
        stack = prepared.stacks.setdefault(term.given, [])
        if term.weight not in stack:
            stack.append(term.weight)
    for given, stack in prepared.stacks.items():
        weight = torch.cat([modify(layer.weight) for modify in stack])
        prepared.stacked_weights[given] = weight.contiguous(memory_format=torch.channels_last)
    # The bias goes in with the convolution: one pass less, and the same rounding as a plain forward pass.
    assert layer.bias is not None
    prepared.stacked_bias = layer.bias.new_zeros(len(prepared.stacked_weights["input"]))
    prepared.stacked_bias[: len(layer.bias)] = layer.bias
    for given in dict.fromkeys(term.given for _, term in terms):
        mine = [(number, term) for number, term in terms if term.given == given]
        weight = torch.cat([term.weight(layer.weight) for _, term in mine])
        if is_first and given == "one":
            weight = weight.sum(1, keepdim=True)  # colours are summed in the end: sum them here
        turned = weight.transpose(0, 1).flip(2, 3).contiguous(memory_format=torch.channels_last)
        prepared.groups.append(_Group(given, tuple(number for number, _ in mine), turned))
    return prepared


def _terms(share: Share, is_first: bool) -> list[Term]:
    """Give the terms that can be other than zero: behind a ReLU no input is negative."""
    if is_first:
        return list(share.terms)
    if any(term.given in ("low", "high") for term in share.terms):
        raise ValueError("rules with bounds are for the first layer")
    return [
        Term("input" if term.given == "positive" else term.given, term.weight, term.bias)
        for term in share.terms
        if term.given != "negative"
    ]


def _forward(
    prepared: _Prepared, values: "torch.Tensor", propagator: Propagator, taps: Collection[str]
) -> _Waiting:
    """Run a convolution and its rule's denominators."""
    import torch
    from torch.nn import functional

    layer, rule = prepared.layer, prepared.rule
    assert layer.weight is not None
    assert layer.bias is not None
    channels = len(layer.weight)
    given = {kind: _given(kind, values, propagator) for kind in prepared.stacks}
    for group in prepared.groups:
        given.setdefault(group.given, _given(group.given, values, propagator))
    sums: dict[tuple[Given, Modify], torch.Tensor] = {}
    for kind, stack in prepared.stacks.items():
        if kind in ("one", "low", "high"):
            key = (kind, values.shape[2:])
            if key not in prepared.of_ones:
                filled = given[kind]
                filled = torch.ones_like(values) if filled is None else filled.expand_as(values)
                prepared.of_ones[key] = functional.conv2d(filled, prepared.stacked_weights[kind], padding=1)
            stacked = prepared.of_ones[key]
        else:
            added = prepared.stacked_bias if kind == "input" else None
            stacked = functional.conv2d(given[kind], prepared.stacked_weights[kind], added, padding=1)
        for place, modify in enumerate(stack):
            sums[kind, modify] = stacked[:, place * channels : (place + 1) * channels]
    bias = layer.bias.view(1, -1, 1, 1)
    convolved = sums["input", whole]
    totals: list[torch.Tensor | None] = []
    for share in rule.shares:
        if not share.divide:
            totals.append(None)
            continue
        total = None
        for term in share.terms:
            part = _term_sum(term, sums, bias, prepared.is_first)
            if part is not None:
                total = part if total is None else total + part
        totals.append(torch.zeros_like(convolved) if total is None else total)
    output = functional.relu(convolved)
    activations = {layer.name: output}
    if prepared.pool is not None:
        output = functional.max_pool2d(output, 2, 2)
        activations[prepared.pool] = output
    in_order = [given[group.given] for group in prepared.groups]
    return _Waiting(prepared, in_order, totals, convolved, output, activations)


def _term_sum(
    term: Term,
    sums: Mapping[tuple[Given, Modify], "torch.Tensor"],
    bias: "torch.Tensor",
    is_first: bool,
) -> "torch.Tensor | None":
    """Give a term's part of the denominator with its bias; behind a ReLU only the bias may be left."""
    if is_first or term.given != "negative":
        given: Given = "input" if term.given == "positive" and not is_first else term.given
        convolved = sums[given, term.weight]
        if given == "input" and term.weight is whole:  # comes with the bias
            if term.bias is whole:
                return convolved
            convolved = convolved - bias
        return convolved if term.bias is None else convolved + term.bias(bias)
    return None if term.bias is None else term.bias(bias)


def _given(kind: Given, values: "torch.Tensor", propagator: Propagator) -> "torch.Tensor | None":
    """Give what a term's weights meet; None stands for ones."""
    if kind == "one":
        return None
    if kind == "positive":
        return values.clamp(min=0)
    if kind == "negative":
        return values.clamp(max=0)
    if kind in ("low", "high"):
        bounds = propagator.low if kind == "low" else propagator.high
        return values.new_tensor(bounds).view(1, 3, 1, 1)
    return values


def _single(given: list["torch.Tensor | None"]) -> "torch.Tensor | None":
    """Give the factor that a step leaves to the one below; None where it has been applied or is one."""
    return given[0] if len(given) == 1 else None


def _complete(waiting: _Waiting, carries: "torch.Tensor | None", taps: Collection[str]) -> _Step:
    """Compute a step's factors."""
    prepared = waiting.prepared
    is_tap = prepared.top in taps
    plain_tap = prepared.pool is not None and prepared.layer.name in taps
    convolved = waiting.activations[prepared.layer.name]
    active = waiting.convolved > 0
    # At a tap, and below rules that ignore the input, relevance may stand at units that are off. Their
    # denominators go without the bias: with it they could be anything near zero.
    bare = is_tap or plain_tap or carries is None
    numerator = None if is_tap else carries
    spread = None if prepared.pool is None else _maxima(convolved)
    if spread is not None and numerator is not None:
        numerator = _enlarge(numerator, convolved.shape[2:])
    factors, plain = [], []
    for share, total in zip(prepared.rule.shares, waiting.totals, strict=True):
        assert prepared.layer.bias is not None
        added = share.bias(prepared.layer.bias)
        if total is not None and added is not None and bare:
            total = total - added.view(1, -1, 1, 1) * ~active
        elif total is not None:
            total = total.clone()  # shared with other images or shares
        if plain_tap:
            plain.append(share.factor(None if total is None else total.clone(), active).to(convolved.dtype))
        factor = share.factor(total, active, numerator).to(convolved.dtype)
        if spread is not None:
            factor = _in_windows(factor * spread)
        factors.append(factor)
    return _Step(
        prepared,
        is_tap,
        carries,
        factors,
        plain if plain_tap else None,
        waiting.given,
        (convolved.shape[2], convolved.shape[3]),
    )


def _maxima(values: "torch.Tensor") -> "torch.Tensor":
    """Mark the first maximum of each 2x2 window; rows and columns left over are in no window."""
    import torch
    from torch.nn import functional

    pooled = _enlarge(functional.max_pool2d(values, 2, 2), values.shape[2:])
    equal = values == pooled
    if values.shape[2] % 2:
        equal[:, :, -1] = False
    if values.shape[3] % 2:
        equal[:, :, :, -1] = False
    rows, columns = values.shape[2] // 2 * 2, values.shape[3] // 2 * 2
    taken = torch.zeros_like(equal[:, :, 0:rows:2, 0:columns:2])
    for row in (0, 1):
        for column in (0, 1):
            corner = equal[:, :, row:rows:2, column:columns:2]
            corner &= ~taken
            taken |= corner
    return equal


def _enlarge(values: "torch.Tensor", size: tuple[int, ...]) -> "torch.Tensor":
    """Repeat every value in its 2x2 window; zeros where no window is."""
    from torch.nn import functional

    large = values.repeat_interleave(2, 2).repeat_interleave(2, 3)
    missing = (size[0] - large.shape[2], size[1] - large.shape[3])
    return functional.pad(large, (0, missing[1], 0, missing[0])) if any(missing) else large


def _in_windows(values: "torch.Tensor") -> "torch.Tensor":
    """Lay (1, channel, row, column) out as (row, 2, column, 2, channel), without rows left over."""
    rows, columns = values.shape[2] // 2, values.shape[3] // 2
    whole_windows = values[0, :, : rows * 2, : columns * 2].permute(1, 2, 0).contiguous()
    return whole_windows.view(rows, 2, columns, 2, -1)


def _step_back(
    step: _Step, carried: "torch.Tensor | None", relevance: Mapping[str, "torch.Tensor"]
) -> "torch.Tensor":
    """Take relevance through a pooling and a convolution."""
    import torch
    from torch.nn import functional

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
    sent = []
    for number, factor in enumerate(step.factors):
        if carried is None:
            assert plain is not None
            assert step.plain_factors is not None
            sent.append(plain * step.plain_factors[number])
            continue
        values = _through_window(carried, factor, step.size) if step.prepared.pool else carried * factor
        if plain is not None:
            assert step.plain_factors is not None
            values = values + plain * step.plain_factors[number]
        sent.append(values)
    total = None
    for group, given in zip(step.prepared.groups, step.given, strict=True):
        stacked = (
            sent[group.shares[0]]
            if len(group.shares) == 1
            else torch.cat([sent[number] for number in group.shares], 1)
        )
        values = functional.conv2d(stacked, group.weight, padding=1)
        if len(step.given) == 1:
            return values
        if given is not None:
            values = values * given
        total = values if total is None else _plus(total, values)
    assert total is not None
    return total


def _plus(some: "torch.Tensor", more: "torch.Tensor") -> "torch.Tensor":
    """Add values of which one side may already be summed over colour."""
    if some.shape[1] != more.shape[1]:
        some, more = some.sum(1, keepdim=True), more.sum(1, keepdim=True)
    return some + more


def _through_window(values: "torch.Tensor", factor: "torch.Tensor", size: tuple[int, int]) -> "torch.Tensor":
    """Multiply every window of the factor by one value: from a pooling to what it pooled."""
    import torch
    from torch.nn import functional

    last = values.permute(0, 2, 3, 1)[:, :, None, :, None]
    count, channels = len(values), values.shape[1]
    rows, columns = factor.shape[0] * 2, factor.shape[2] * 2
    large = torch.mul(last, factor).view(count, rows, columns, channels).permute(0, 3, 1, 2)
    if (rows, columns) != size:
        large = functional.pad(large, (0, size[1] - columns, 0, size[0] - rows))
        large = large.contiguous(memory_format=torch.channels_last)
    return large


def _to_pixels(first: _Step, carried: "torch.Tensor") -> "torch.Tensor":
    """Apply the input's factor and sum over colour."""
    given = _single(first.given)
    values = carried if given is None else carried * given
    return values.float().sum(1)


def _from_pixels(first: _Step, regions: "torch.Tensor") -> "torch.Tensor":
    """Spread regions over what arrives at the pixels: the transpose of :func:`_to_pixels`."""
    import torch

    values = regions[:, None].to(first.factors[0].dtype)
    given = _single(first.given)
    if given is not None:
        values = values * given
    return values.contiguous(memory_format=torch.channels_last)


def _groups_forth(step: _Step, values: "torch.Tensor") -> list["torch.Tensor"]:
    """Take values forward through a step's convolutions: what reaches each share."""
    import torch
    from torch.nn import functional

    sent: list[torch.Tensor | None] = [None] * len(step.factors)
    for group, given in zip(step.prepared.groups, step.given, strict=True):
        mine = values if len(step.given) == 1 or given is None else values * given
        if mine.shape[1] != group.weight.shape[0]:
            mine = mine.expand(-1, group.weight.shape[0], -1, -1)
        stacked = functional.conv_transpose2d(mine, group.weight, padding=1)
        for number, part in zip(group.shares, stacked.chunk(len(group.shares), 1), strict=True):
            before = sent[number]
            sent[number] = part if before is None else before + part
    return [part for part in sent if part is not None]


def _factors_forth(step: _Step, sent: list["torch.Tensor"]) -> "torch.Tensor":
    """Multiply by the factors and, behind a pooling, sum every window."""
    import torch

    if not step.prepared.pool:
        return _sum_of_products(sent, step.factors)
    total = None
    for part, factor in zip(sent, step.factors, strict=True):
        rows, columns = factor.shape[0], factor.shape[2]
        last = part.permute(0, 2, 3, 1)[:, : rows * 2, : columns * 2]
        windows = last.reshape(len(part), rows, 2, columns, 2, -1)
        values = torch.einsum("nraybc,raybc->nryc", windows, factor)
        total = values if total is None else total + values
    assert total is not None
    return total.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _sum_of_products(some: list["torch.Tensor"], others: list["torch.Tensor"]) -> "torch.Tensor":
    """Multiply pairwise and add."""
    total = some[0] * others[0]
    for one, other in zip(some[1:], others[1:], strict=True):
        total = total + one * other
    return total


def _at_once(step: _Step) -> int:
    """Find how many maps a step takes at a time."""
    assert step.prepared.layer.weight is not None
    per_map = max(step.prepared.layer.weight.shape[:2]) * step.size[0] * step.size[1]
    return max(1, ELEMENTS_AT_ONCE // per_map)


def _parts(count: int, at_once: int) -> Iterator[slice]:
    """Cut a range into even parts."""
    number = -(-count // at_once)
    for part in range(number):
        yield slice(part * count // number, (part + 1) * count // number)


__all__ = ["ELEMENTS_AT_ONCE", "Passage", "Propagator"]
