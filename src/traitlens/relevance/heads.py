r"""Heads: the relevance that a readout's prediction puts on the activations at its taps.

A linear readout :math:`f = m + \sum_c w_c (z_c - \bar z_c)` is explained exactly: a feature's relevance is its
summand, and the sum is the deviation of the prediction from the mean rating. A feature is the average of the
units of a grid cell, transformed; its relevance is divided over these units so that the sum stays the same.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from traitlens.problems import Problem, TraitlensError
from traitlens.readouts.readout import DenseReadout, LinearReadout, Readout
from traitlens.relevance.rules import Rule, stabilise

if TYPE_CHECKING:
    import torch


def check_views(readouts: Sequence[Readout]) -> None:
    """Refuse readouts of views that maps cannot be drawn for.

    Parameters
    ----------
    readouts : sequence of Readout
        The readouts.

    Raises
    ------
    TraitlensError
        If a readout reads anything but the prepared image itself.
    """
    spaces = [
        part.space
        for readout in readouts
        for part in (readout.parts if isinstance(readout, LinearReadout) else (readout,))
    ]
    odd = sorted({space.view for space in spaces if space.view != "image" or space.mirror})
    if odd:
        raise TraitlensError(
            Problem(f"views {', '.join(odd)} cannot be explained yet", "use the view 'image'")
        )


def linear_relevance(
    readouts: Sequence[LinearReadout], activations: "dict[str, torch.Tensor]"
) -> "dict[str, torch.Tensor]":
    """Compute the relevance that linear readouts put on their taps, for one image.

    Parameters
    ----------
    readouts : sequence of LinearReadout
        The readouts.
    activations : dict of str to Tensor
        (1, channel, row, column) by layer.

    Returns
    -------
    dict of str to Tensor
        (readout, channel, row, column) by layer.
    """
    import torch

    found: dict[str, torch.Tensor] = {}
    for number, readout in enumerate(readouts):
        for part in readout.parts:
            layer = part.space.tap.layer
            units = activations[layer].float()
            if layer not in found:
                found[layer] = units.new_zeros((len(readouts), *units.shape[1:]))
            weight = torch.from_numpy(part.weight).to(units)
            reference = torch.from_numpy(part.reference).to(units)
            rows, columns = units.shape[2:]
            if rows % weight.shape[1] or columns % weight.shape[2]:
                raise TraitlensError(
                    Problem(
                        f"a grid of {weight.shape[1]} does not divide the {rows} rows of {layer}",
                        "choose a grid that does",
                    )
                )
            high, wide = rows // weight.shape[1], columns // weight.shape[2]

            def spread(cells: "torch.Tensor", high: int = high, wide: int = wide) -> "torch.Tensor":
                return cells.repeat_interleave(high, 1).repeat_interleave(wide, 2)

            values = units[0]
            if part.space.transform == "sqrt":
                cells = torch.nn.functional.avg_pool2d(values, (high, wide))
                values = values * spread(torch.where(cells > 0, cells.clamp(min=1e-30).rsqrt(), 0.0))
            found[layer][number] += (values - spread(reference)) * spread(weight) / (high * wide)
    return found


def dense_relevance(
    readouts: Sequence[DenseReadout], activations: "dict[str, torch.Tensor]", rule: Rule
) -> "dict[str, torch.Tensor]":
    """Compute the relevance that dense readouts put on their tap, for one image.

    The two dense layers follow the method's dense rule (a z rule with a stabiliser); the global average is
    divided in proportion to the units' activations.

    Parameters
    ----------
    readouts : sequence of DenseReadout
        The readouts.
    activations : dict of str to Tensor
        (1, channel, row, column) by layer.
    rule : Rule
        The method's rule for dense layers; only its stabiliser is used.

    Returns
    -------
    dict of str to Tensor
        (readout, channel, row, column) by layer.
    """
    import torch

    layer = readouts[0].space.tap.layer
    units = activations[layer][0].float()
    averaged = units.mean((1, 2))
    share = units / stabilise(units.sum((1, 2), keepdim=True), 0.0)
    rows = []
    for readout in readouts:
        first, first_bias, second, second_bias = (
            torch.from_numpy(array).to(averaged)
            for array in (readout.fc1_weight, readout.fc1_bias, readout.fc2_weight, readout.fc2_bias)
        )
        before = first @ averaged + first_bias
        hidden = before.clamp(min=0)
        output = second @ hidden + second_bias
        on_hidden = hidden * second[0] * (output / stabilise(output, rule.epsilon))
        rows.append(averaged * (first.T @ (on_hidden / stabilise(before, rule.epsilon))))
    return {layer: torch.stack(rows)[:, :, None, None] * share}
