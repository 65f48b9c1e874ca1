r"""Propagation of relevance to the pixels in which an image differs from a reference image.

The relevance of a unit's change :math:`\Delta a_k` from the reference is distributed over the units below in
proportion to their contributions to it. Only positive contributions count for positive changes, and only
negative ones for negative changes:

.. math:: R_j = \sum_k \frac{(w_{jk} \Delta a_j)^\pm}{\sum_i (w_{ik} \Delta a_i)^\pm} R_k,

the rule :math:`\alpha_1\beta_0` of layer-wise relevance propagation (Bach et al. 2015,
doi:10.1371/journal.pone.0130140) applied to differences from a reference, as DeepLIFT applies the z rule
(Shrikumar, Greenside and Kundaje 2017). The relevance of a maximum goes to the unit that is the maximum in
the image if the maximum grew, and to the maximum in the reference if it shrank. Biases cancel; all relevance
therefore reaches pixels that differ.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from traitlens.features.backbone import Layer
from traitlens.features.reference_pass import LocalStep

if TYPE_CHECKING:
    import torch

ELEMENTS_AT_ONCE = 16_000_000
"""Maximum number of relevance values in the largest layer that are propagated at once; limits memory."""


class DifferencePropagator:
    """Propagate the relevance of differences from a reference image to pixels; caches modified weights."""

    def __init__(self) -> None:
        self._weights: dict[str, torch.Tensor] = {}

    def propagate(
        self, steps: Sequence[LocalStep], slopes: Mapping[str, "torch.Tensor"], size: tuple[int, int]
    ) -> "torch.Tensor":
        """Propagate relevance to the pixels of an image.

        Parameters
        ----------
        steps : sequence of LocalStep
            Layers of the image, from :meth:`ReferencePass.steps`.
        slopes : mapping of str to Tensor
            Relevance of each unit divided by its difference from the reference: (map, channel, row, column),
            by layer.
        size : (int, int)
            Rows and columns of the image.

        Returns
        -------
        Tensor
            float32 (map, row, column), summed over colour channels; zero where a pixel equals the reference.
        """
        import torch

        count = len(next(iter(slopes.values())))
        maps = torch.zeros(count, *size)
        if not steps:
            return maps
        with torch.inference_mode():
            multipliers = [self._multipliers(step) for step in steps]
            largest = max(max(step.values.numel(), step.below.numel()) for step in steps)
            at_once = max(1, ELEMENTS_AT_ONCE // (2 * largest))
            for start in range(0, count, at_once):
                mine = slice(start, start + at_once)
                carried = self._propagate_down(
                    steps, multipliers, {name: some[mine] for name, some in slopes.items()}
                )
                difference = steps[0].below - steps[0].base_below
                relevance = (carried * difference).sum(1, keepdim=True).float().cpu()
                maps[mine] = _crop_or_pad(relevance, steps[0].corner, (0, 0), size)[:, 0]
        return maps

    def _multipliers(self, step: LocalStep) -> "torch.Tensor":
        """Compute the factors (0 to 1) by which slopes are multiplied on their way down through a layer.

        For a convolution, the change of each unit divided by the sum of the contributions that count; for a
        pooling, the change of the maximum divided by the change of the unit that receives its relevance.
        """
        from torch.nn import functional

        change, below = step.values - step.base, step.below - step.base_below
        if step.layer.weight is None:
            return _multipliers_of_maxima(step, change, below)
        sums = functional.conv2d(_split_by_sign(below, below > 0), self._split_weights(step.layer))
        rising, falling = sums.chunk(2, 1)
        total = rising.where(change > 0, falling)
        return (change / total).nan_to_num(0.0, 0.0, 0.0).clamp(0.0, 1.0)

    def _split_weights(self, layer: Layer) -> "torch.Tensor":
        """Return weights from (positive, negative) changes below to (positive, negative) contributions."""
        import torch

        if layer.name not in self._weights:
            assert layer.weight is not None
            positive, negative = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
            rows = [torch.cat(pair, 1) for pair in ((positive, negative), (negative, positive))]
            self._weights[layer.name] = torch.cat(rows, 0)
        return self._weights[layer.name]

    def _propagate_down(
        self,
        steps: Sequence[LocalStep],
        multipliers: Sequence["torch.Tensor"],
        slopes: Mapping[str, "torch.Tensor"],
    ) -> "torch.Tensor":
        """Propagate slopes from their layers down to the input: (map, colour, row, column)."""
        from torch.nn import functional

        carried, corner = None, (0, 0)
        for step, ratio in zip(reversed(steps), reversed(multipliers), strict=True):
            rows, columns = step.box
            if carried is not None:
                size = rows.stop - rows.start, columns.stop - columns.start
                carried = _crop_or_pad(carried, corner, (rows.start, columns.start), size)
            entering = slopes.get(step.layer.name)
            if entering is not None:
                here = entering[:, :, rows, columns]
                carried = here if carried is None else carried + here
            if carried is None:
                continue
            if step.layer.weight is None:
                carried = carried.repeat_interleave(2, 2).repeat_interleave(2, 3) * ratio
            else:
                sent = _split_by_sign(carried * ratio, step.values > step.base)
                both = functional.conv_transpose2d(sent, self._split_weights(step.layer))
                to_positive, to_negative = both.chunk(2, 1)
                carried = to_positive.where(step.below > step.base_below, to_negative)
            corner = step.corner
        assert carried is not None
        return carried


def _split_by_sign(values: "torch.Tensor", positive: "torch.Tensor") -> "torch.Tensor":
    """Split values into two sets of channels: values where a mask is True, and values where it is False."""
    import torch

    return torch.cat([values * positive, values * ~positive], 1)


def _multipliers_of_maxima(step: LocalStep, change: "torch.Tensor", below: "torch.Tensor") -> "torch.Tensor":
    """Return the change of each window's maximum divided by that of the unit that receives its relevance."""
    grew = _first_maxima(step.below)
    shrank = _first_maxima(step.base_below)
    rises = (change > 0).repeat_interleave(2, 2).repeat_interleave(2, 3)
    is_maximum = grew.where(rises, shrank)
    wide = change.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return (wide / below).nan_to_num(0.0, 0.0, 0.0).clamp(0.0, 1.0) * is_maximum


def _first_maxima(values: "torch.Tensor") -> "torch.Tensor":
    """Return a mask of the first maximum of each 2x2 window."""
    import torch
    from torch.nn import functional

    _, places = functional.max_pool2d(values, 2, 2, return_indices=True)
    marks = torch.zeros_like(values, dtype=torch.bool).flatten(2)
    marks.scatter_(2, places.flatten(2), True)
    return marks.view_as(values)


def _crop_or_pad(
    values: "torch.Tensor", corner: tuple[int, int], to: tuple[int, int], size: Sequence[int]
) -> "torch.Tensor":
    """Crop values or pad them with zeros to a rectangle with another corner and size."""
    from torch.nn import functional

    top, left = corner[0] - to[0], corner[1] - to[1]
    bottom, right = (size[axis] - values.shape[2 + axis] - (top, left)[axis] for axis in (0, 1))
    return functional.pad(values, (left, right, top, bottom))
