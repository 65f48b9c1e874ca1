r"""Propagation of relevance from taps to pixels, and of regions of pixels to taps.

Activations and denominators are computed once per image, and the relevance of all readouts is propagated as
one batch. Relevance at a layer is :math:`R = a \odot u`, where :math:`a` is the output of the layer and
:math:`u` the result of the convolution above. The next convolution needs :math:`R / z = u \odot (a / z)`:
between two convolutions, relevance is multiplied once, by the stored factor :math:`a / z`. For a maximum
pooling, values are upsampled and multiplied by this factor, which is zero except at the maxima.
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
    complete_step,
    count_maps_at_once,
    deferred_input,
    forward_through_convolutions,
    forward_through_pooling,
    from_pixels,
    propagate_step,
    split_range,
    sum_of_products,
    to_pixels,
)
from traitlens.relevance.methods import Method
from traitlens.relevance.prepared_layers import Forward, PreparedLayer, prepare_layer, run_forward
from traitlens.relevance.residual_propagation import ResidualForwardPass, ResidualPropagator
from traitlens.relevance.sparse_propagation import ActiveUnits, can_list

if TYPE_CHECKING:
    import torch


FEWEST = 3
"""Smallest number of maps for which propagation through lists of active units may be faster."""

WHOLE_LAYERS = "TRAITLENS_WHOLE_LAYERS"
"""Environment variable that switches lists of active units off, if it is set."""


class Propagator:
    """Backbone with the modified weights of a relevance method; runs the forward pass of images.

    If `at_pixels` is False, the input of the backbone is the nonnegative output of another network.
    """

    def __init__(self, backbone: Backbone, method: Method, at_pixels: bool = True):
        self.backbone = backbone
        self.at_pixels = at_pixels
        self.method = method
        self.bounds = backbone.preprocessing.bounds()
        self._prepared: dict[int, PreparedLayer] = {}
        self._preparing = Lock()

    def prepared(self, depth: int) -> list[PreparedLayer]:
        """Prepare the convolutions among the first `depth` layers, each with the pooling after it."""
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
                    self._prepared[index] = prepare_layer(layer, rule, is_first=first)
            found.append(self._prepared[index])
        return found

    def forward(self, values: "torch.Tensor", taps: Collection[str]) -> "ForwardPass":
        """Run one preprocessed image (1, channel, row, column) up to the deepest tap."""
        import torch

        depth = max(len(self.backbone.up_to(tap)) for tap in taps)
        with torch.inference_mode():
            return ForwardPass(self, values, frozenset(taps), self.prepared(depth))


def propagator(backbone: Backbone, method: Method) -> Propagator | ResidualPropagator:
    """Return the propagator of a backbone and a method; the last one is cached.

    Its modified weights (0.4 GB for VGG16) are shared by all readouts, folds and threads.
    """
    with _lock:
        return _make_propagator(backbone, method)


@lru_cache(maxsize=1)
def _make_propagator(backbone: Backbone, method: Method) -> Propagator | ResidualPropagator:
    """Create a propagator that suits the network: sequential or residual."""
    return ResidualPropagator(backbone, method) if backbone.is_residual else Propagator(backbone, method)


_lock = Lock()

AnyForwardPass: TypeAlias = "ForwardPass | ResidualForwardPass"
"""Forward pass of one image through a sequential or residual network."""


class ForwardPass:
    """Forward pass of one image, through which relevance of any number of readouts is propagated back.

    `activations` contains the activations at the taps, by name of the layer.
    """

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
        # The factors of a step depend on the step above, so each is completed after that one is run.
        waiting: Forward | None = None
        for layer in prepared:
            now = run_forward(layer, values, propagator.bounds)
            self.activations.update({tap: now.activations[tap] for tap in now.activations if tap in taps})
            if waiting is not None:
                self._steps.append(complete_step(waiting, deferred_input(now.given), taps))
            waiting, values = now, now.output
        assert waiting is not None
        self._steps.append(complete_step(waiting, None, taps))

    def back(self, relevance: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Propagate relevance from the taps to the pixels.

        Parameters
        ----------
        relevance : mapping of str to Tensor
            Relevance (map, channel, row, column) by tap.

        Returns
        -------
        Tensor
            float32 (map, row, column), summed over colour channels.
        """
        import torch

        for tap, values in relevance.items():
            _check_shape(f"relevance at {tap!r}", values, self.activations[tap].shape[1:])
        count = len(next(iter(relevance.values())))
        like = next(iter(relevance.values()))
        maps = torch.empty((count, *self.shape), device=like.device)
        with torch.inference_mode():
            units = self._choose_active_units(count)
            if units is not None:
                units.back(relevance, maps)
            else:
                self._propagate_down(len(self._steps) - 1, None, relevance, maps)
        return maps

    def _choose_active_units(self, count: int) -> ActiveUnits | None:
        """Return the lists of active units if they are faster for this number of maps, else None."""
        if count < FEWEST or os.environ.get(WHOLE_LAYERS) or not can_list(self._steps):
            return None
        return self._active_units if self._active_units.is_faster(count) else None

    @cached_property
    def _active_units(self) -> ActiveUnits:
        """Lists of the units that relevance can reach."""
        return ActiveUnits(self._steps)

    def back_to_input(self, relevance: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Propagate relevance to the network's input (map, channel, row, column), if it follows another."""
        import torch

        carried = None
        with torch.inference_mode():
            for step in reversed(self._steps):
                carried = propagate_step(step, carried, relevance)
        assert carried is not None
        given = deferred_input(self._steps[0].given)
        return carried if given is None else carried * given

    def _propagate_down(
        self,
        index: int,
        carried: "torch.Tensor | None",
        relevance: Mapping[str, "torch.Tensor"],
        maps: "torch.Tensor",
    ) -> None:
        """Propagate relevance from a step down to the pixels, in batches that fit into memory."""
        for place in range(index, -1, -1):
            step = self._steps[place]
            at_once = count_maps_at_once(step)
            if len(maps) > at_once:
                for part in split_range(len(maps), at_once):
                    rest = {tap: values[part] for tap, values in relevance.items()}
                    self._propagate_down(place, None if carried is None else carried[part], rest, maps[part])
                return
            carried = propagate_step(step, carried, relevance)
        assert carried is not None
        maps.copy_(to_pixels(self._steps[0], carried))

    def forth(self, regions: "torch.Tensor") -> dict[str, "torch.Tensor"]:
        """Propagate regions of pixels up to the taps; the transpose of :meth:`back`.

        Parameters
        ----------
        regions : Tensor
            Weight of each pixel in each region: (region, row, column).

        Returns
        -------
        dict of str to Tensor
            Weights of units (region, channel, row, column) by tap. The sum over taps of ``(weights *
            relevance).sum()`` is the relevance that reaches the region.

        Raises
        ------
        ValueError
            If the method is not linear in relevance, or the regions do not have the size of the image.
        """
        import torch

        if not self.is_linear:
            raise ValueError("the method is not linear in relevance, so there is no region operator")
        _check_shape("regions", regions, self.shape)
        regions = regions.to(self._steps[0].factors[0].dtype)
        at_once = min(count_maps_at_once(step) for step in self._steps)
        taps: dict[str, list[torch.Tensor]] = {}
        with torch.inference_mode():
            units = self._choose_active_units(len(regions))
            if units is not None:
                return units.forth(regions)
            for part in split_range(len(regions), at_once):
                for tap, values in self._propagate_up(regions[part]).items():
                    taps.setdefault(tap, []).append(values)
        return {tap: torch.cat(values) for tap, values in taps.items()}

    def _propagate_up(self, regions: "torch.Tensor") -> dict[str, "torch.Tensor"]:
        """Propagate one batch of regions from the pixels up to every tap."""
        first = self._steps[0]
        values = from_pixels(first, regions)
        found = {}
        for step in self._steps:
            sent = forward_through_convolutions(step, values)
            if step.plain_factors is not None:
                found[step.prepared.layer.name] = sum_of_products(sent, step.plain_factors)
            values = forward_through_pooling(step, sent)
            if step.is_tap:
                found[step.prepared.top] = values
                if step.carries is not None:
                    values = values * step.carries
        return found


def _check_shape(what: str, values: "torch.Tensor", shape: Sequence[int]) -> None:
    """Raise an error if the shape of values, without its first dimension, is not the given one."""
    if tuple(values.shape[1:]) != tuple(shape):
        raise ValueError(f"{what}: expected {tuple(shape)} for each map, got {tuple(values.shape[1:])}")
