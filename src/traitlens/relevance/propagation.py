r"""Propagation of relevance from taps to pixels, and of regions of pixels to taps.

What depends only on the image (activations, denominators) is computed once per image, and the relevance of
all readouts is propagated as one batch. Two identities make this fast. Relevance at a layer is :math:`R = a
\odot u`, where :math:`a` is the layer's output and :math:`u` the result of the convolution above; the next
layer needs :math:`R / z = u \odot (a / z)`, so one multiplication by a cached factor lies between two
convolutions. A maximum pooling is passed by upsampling and multiplying by that factor, which is zero except
at the maxima.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

from traitlens.features.backbone import Backbone
from traitlens.relevance.backward_steps import (
    LayerStep,
    complete,
    from_pixels,
    maps_at_once,
    parts,
    propagate_step,
    single,
    sum_of_products,
    to_pixels,
    transpose_factors,
    transpose_groups,
)
from traitlens.relevance.methods import Method
from traitlens.relevance.prepared_layers import Forward, PreparedLayer, prepare, run_forward
from traitlens.relevance.residual_propagation import ResidualForwardPass, ResidualPropagator
from traitlens.relevance.sparse_propagation import ActiveUnits, can_list

if TYPE_CHECKING:
    import torch


FEWEST = 3
"""Number of maps from which propagation through active units may be faster."""

WHOLE_LAYERS = "TRAITLENS_WHOLE_LAYERS"
"""Environment variable; if it is set, relevance is always propagated through whole layers."""


class Propagator:
    """Propagates relevance through a backbone by a method.

    If `at_pixels` is false, the input of the backbone is the nonnegative output of another network.
    """

    def __init__(self, backbone: Backbone, method: Method, at_pixels: bool = True):
        self.backbone = backbone
        self.at_pixels = at_pixels
        self.method = method
        self.bounds = backbone.preprocessing.bounds()
        self._prepared: dict[int, PreparedLayer] = {}
        self._preparing = Lock()

    def prepared(self, depth: int) -> list[PreparedLayer]:
        """Prepare the convolutions among the first layers, each with the pooling after it."""
        import torch

        found: list[PreparedLayer] = []
        for index, layer in enumerate(self.backbone.layers[:depth]):
            if layer.kind == "max_pool":
                if not found or found[-1].pool == layer.name:
                    raise ValueError(f"pooling {layer.name!r} does not follow a convolution")
                found[-1] = replace(found[-1], pool=layer.name)
                continue
            with self._preparing, torch.inference_mode():
                if index not in self._prepared:
                    first = self.at_pixels and not found
                    rule = self.method.rule_for(len(found)) if self.at_pixels else self.method.convolution
                    self._prepared[index] = prepare(layer, rule, is_first=first)
            found.append(self._prepared[index])
        return found

    def read(self, values: "torch.Tensor", taps: Collection[str]) -> "ForwardPass":
        """Run one preprocessed image (1, channel, row, column) up to the taps."""
        import torch

        depth = max(len(self.backbone.up_to(tap)) for tap in taps)
        with torch.inference_mode():
            return ForwardPass(self, values, frozenset(taps), self.prepared(depth))


def propagator(backbone: Backbone, method: Method) -> Propagator | ResidualPropagator:
    """Return the propagator of a backbone and a method, cached until another one is requested.

    Its modified weights (0.4 GB for VGG16) are computed once for any number of readouts, folds and threads.
    """
    with _asking:
        return _latest(backbone, method)


@lru_cache(maxsize=1)
def _latest(backbone: Backbone, method: Method) -> Propagator | ResidualPropagator:
    """Make a propagator for the kind of network."""
    return ResidualPropagator(backbone, method) if backbone.is_residual else Propagator(backbone, method)


_asking = Lock()

AnyForwardPass: TypeAlias = "ForwardPass | ResidualForwardPass"
"""Forward pass of one image through a network of either kind."""


class ForwardPass:
    """Forward pass of one image: factors of its relevance, and `activations` at the taps."""

    def __init__(
        self,
        propagator: Propagator,
        values: "torch.Tensor",
        taps: frozenset[str],
        prepared: list[PreparedLayer],
    ):
        self.activations: dict[str, torch.Tensor] = {}
        self.shape = (values.shape[2], values.shape[3])
        self.is_linear = propagator.method.is_linear
        self._steps: list[LayerStep] = []
        # Steps are computed from the pixels up; a step's factors need the step above, so each is completed
        # when that one is known.
        waiting: Forward | None = None
        for layer in prepared:
            now = run_forward(layer, values, propagator.bounds)
            self.activations.update({tap: now.activations[tap] for tap in now.activations if tap in taps})
            if waiting is not None:
                self._steps.append(complete(waiting, single(now.given), taps))
            waiting, values = now, now.output
        assert waiting is not None
        self._steps.append(complete(waiting, None, taps))

    def back(self, relevance: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Propagate relevance from the taps to the pixels.

        Parameters
        ----------
        relevance : mapping of str to Tensor
            (map, channel, row, column) by tap.

        Returns
        -------
        Tensor
            float32 (map, row, column), summed over colour.
        """
        import torch

        for tap, values in relevance.items():
            _check(f"relevance at {tap!r}", values, self.activations[tap].shape[1:])
        count = len(next(iter(relevance.values())))
        like = next(iter(relevance.values()))
        maps = torch.empty((count, *self.shape), device=like.device)
        with torch.inference_mode():
            units = self._choose_way(count)
            if units is not None:
                units.back(relevance, maps)
            else:
                self._descend(len(self._steps) - 1, None, relevance, maps)
        return maps

    def _choose_way(self, count: int) -> ActiveUnits | None:
        """Return the active units if they are faster for this number of maps; None for whole layers."""
        if count < FEWEST or os.environ.get(WHOLE_LAYERS) or not can_list(self._steps):
            return None
        return self._active_units if self._active_units.is_faster(count) else None

    @cached_property
    def _active_units(self) -> ActiveUnits:
        """The units with relevance."""
        return ActiveUnits(self._steps)

    def back_to_input(self, relevance: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Propagate relevance to the input of a network that follows another: (map, channel, row, column)."""
        import torch

        carried = None
        with torch.inference_mode():
            for step in reversed(self._steps):
                carried = propagate_step(step, carried, relevance)
        assert carried is not None
        given = single(self._steps[0].given)
        return carried if given is None else carried * given

    def _descend(
        self,
        index: int,
        carried: "torch.Tensor | None",
        relevance: Mapping[str, "torch.Tensor"],
        maps: "torch.Tensor",
    ) -> None:
        """Propagate from a step to the pixels, split into parts that fit into memory."""
        for place in range(index, -1, -1):
            step = self._steps[place]
            at_once = maps_at_once(step)
            if len(maps) > at_once:
                for part in parts(len(maps), at_once):
                    rest = {tap: values[part] for tap, values in relevance.items()}
                    self._descend(place, None if carried is None else carried[part], rest, maps[part])
                return
            carried = propagate_step(step, carried, relevance)
        assert carried is not None
        maps.copy_(to_pixels(self._steps[0], carried))

    def forth(self, regions: "torch.Tensor") -> dict[str, "torch.Tensor"]:
        """Propagate regions of pixels up to the taps: the transpose of :meth:`back`.

        Parameters
        ----------
        regions : Tensor
            (region, row, column): weight of each pixel.

        Returns
        -------
        dict of str to Tensor
            (region, channel, row, column) by tap. For any relevance, the sum over taps of ``(operator *
            relevance).sum()`` is the relevance in the region.

        Raises
        ------
        ValueError
            If the method is not linear in relevance, or the regions are not of the image's size.
        """
        import torch

        if not self.is_linear:
            raise ValueError("the method is not linear in relevance, so there is no region operator")
        _check("regions", regions, self.shape)
        regions = regions.to(self._steps[0].factors[0].dtype)
        at_once = min(maps_at_once(step) for step in self._steps)
        taps: dict[str, list[torch.Tensor]] = {}
        with torch.inference_mode():
            units = self._choose_way(len(regions))
            if units is not None:
                return units.forth(regions)
            for part in parts(len(regions), at_once):
                for tap, values in self._ascend(regions[part]).items():
                    taps.setdefault(tap, []).append(values)
        return {tap: torch.cat(values) for tap, values in taps.items()}

    def _ascend(self, regions: "torch.Tensor") -> dict[str, "torch.Tensor"]:
        """Propagate regions from the pixels to every tap."""
        first = self._steps[0]
        values = from_pixels(first, regions)
        found = {}
        for step in self._steps:
            sent = transpose_groups(step, values)
            if step.plain_factors is not None:
                found[step.prepared.layer.name] = sum_of_products(sent, step.plain_factors)
            values = transpose_factors(step, sent)
            if step.is_tap:
                found[step.prepared.top] = values
                if step.carries is not None:
                    values = values * step.carries
        return found


def _check(what: str, values: "torch.Tensor", shape: Sequence[int]) -> None:
    """Raise an error unless values have the shape of a layer."""
    if tuple(values.shape[1:]) != tuple(shape):
        raise ValueError(f"{what}: expected {tuple(shape)} for each map, got {tuple(values.shape[1:])}")
