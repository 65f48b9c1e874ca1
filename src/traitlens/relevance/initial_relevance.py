r"""Relevance with which propagation starts: that of the units at the taps, computed from the readouts.

The deviation of a linear readout from the mean rating is the sum over features of :math:`w (t(Z) - \bar z)`.
The relevance of a feature is distributed over the units that it averages: :math:`w t(Z)` in proportion to
their activations, and :math:`-w \bar z` evenly. Dense readouts follow the method's rules for dense layers,
fine-tuned layers its rule for convolutions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from traitlens.features.feature_spaces import FeatureSpace, NetworkInput
from traitlens.problems import Problem, TraitlensError, unknown_choice
from traitlens.readouts.readout import DenseLayer, LinearPart, Readout, Tail
from traitlens.relevance.methods import Method
from traitlens.relevance.propagation import ForwardPass, Propagator
from traitlens.relevance.rules import Rule

if TYPE_CHECKING:
    import torch

Reference = str | float | Sequence[float]


@dataclass(eq=False)
class InitialRelevance:
    """Relevance of one image at the taps, and the terms of its sum.

    Parameters
    ----------
    relevance : dict of NetworkInput to dict of str to Tensor
        Relevance (readout, channel, row, column) by layer.
    prediction, reference : ndarray (readout,)
        Predictions and the ratings with which they are compared.
    constant : ndarray (readout,)
        Part of prediction - reference that is the same for every image.
    entered : ndarray (readout,)
        Sum of relevance over all taps.
    """

    relevance: dict[NetworkInput, dict[str, "torch.Tensor"]]
    prediction: np.ndarray
    reference: np.ndarray
    constant: np.ndarray
    entered: np.ndarray


class CellGrid:
    """Grid of cells over which a feature space averages the activations of one image.

    Parameters
    ----------
    space : FeatureSpace
        The feature space.
    activations : sequence of Tensor
        Activations (channel, row, column) at the tap, for each network input of the space.
    """

    def __init__(self, space: FeatureSpace, activations: "Sequence[torch.Tensor]"):
        import torch

        self.activations = activations
        rows, columns = activations[0].shape[1:]
        grid = space.tap.grid
        sizes = (rows, columns) if grid is None else np.broadcast_to(grid, 2).tolist()
        cell_rows, cell_columns = sizes
        self.rows = _cell_masks(rows, cell_rows, activations[0])
        self.columns = _cell_masks(columns, cell_columns, activations[0])
        self.count = len(activations) * torch.outer(self.rows.sum(1), self.columns.sum(1))
        self.sum = torch.stack([self.per_cell(values) for values in activations]).sum(0)
        self.average = self.sum / self.count
        self.root = space.transform == "sqrt"

    def per_cell(self, values: "torch.Tensor") -> "torch.Tensor":
        """Sum the values of units (..., row, column) over each cell."""
        return self.rows @ values @ self.columns.T

    def per_unit(self, values: "torch.Tensor") -> "torch.Tensor":
        """Copy the value of each cell (..., row, column) to all units of the cell."""
        return self.rows.T @ values @ self.columns

    @property
    def feature(self) -> "torch.Tensor":
        """Features (channel, row, column): averages over cells, or their signed square roots."""
        return self.average.abs().sqrt().copysign(self.average) if self.root else self.average

    @property
    def feature_per_activation(self) -> "torch.Tensor":
        """Each feature divided by the sum of the activations that it averages."""
        if not self.root:
            return (1 / self.count).expand_as(self.sum)
        return (self.feature / self.sum).nan_to_num(0, 0, 0)

    @property
    def slope(self) -> "torch.Tensor":
        """Derivative of each feature with respect to each unit of its cell; zero if undefined."""
        if not self.root:
            return (1 / self.count).expand_as(self.sum)
        return (0.5 / (self.feature.abs() * self.count)).nan_to_num(0, 0, 0)


def _cell_masks(units: int, cells: int, like: "torch.Tensor") -> "torch.Tensor":
    """Return a mask (cell, unit) of the units in each cell along one axis, as in adaptive average pooling."""
    import torch

    starts = [cell * units // cells for cell in range(cells)]
    ends = [-(-(cell + 1) * units // cells) for cell in range(cells)]
    index = torch.arange(units)
    rows = [(index >= start) & (index < end) for start, end in zip(starts, ends, strict=True)]
    return torch.stack(rows).to(like.device, torch.float32)


def compute_initial_relevance(
    readouts: Sequence[Readout],
    activations: Mapping[NetworkInput, Mapping[str, "torch.Tensor"]],
    method: Method,
    reference: Reference = "mean",
) -> InitialRelevance:
    """Compute the relevance of one image at the taps.

    Parameters
    ----------
    readouts : sequence of Readout
        The readouts to explain.
    activations : mapping of NetworkInput to mapping of str to Tensor
        Activations (1, channel, row, column) by layer.
    method : Method
        The relevance method.
    reference : {"mean", "zero"}, str, float or sequence of float
        See :func:`traitlens.relevance.attribution.analyze`. A group's mean or a given rating changes only the
        constant, not the map.
    """
    import torch

    if isinstance(reference, str) and reference not in ("mean", "zero"):
        reference = _group_means(reference, readouts)
    cells: dict[FeatureSpace, CellGrid] = {}
    for space in dict.fromkeys(space for readout in readouts for space in readout.spaces):
        seen = [activations[picture][space.tap.layer][0].float() for picture in space.pictures]
        cells[space] = CellGrid(space, seen)
    relevance: dict[NetworkInput, dict[str, torch.Tensor]] = {}
    prediction = np.zeros(len(readouts))
    constant = np.zeros(len(readouts))
    for space, grid in cells.items():
        mine = [index for index, readout in enumerate(readouts) if space in readout.spaces]
        shared = torch.zeros(len(mine), *grid.average.shape, device=grid.average.device)
        even = torch.zeros_like(shared)
        for row, index in enumerate(mine):
            shared[row], even[row], deviation, fixed = _cell_relevance(
                readouts[index], space, grid, method, reference
            )
            prediction[index] += deviation
            constant[index] += fixed
        for picture, values in zip(space.pictures, grid.activations, strict=True):
            units = grid.per_unit(shared) * values + grid.per_unit(even)
            taps = relevance.setdefault(picture, {})
            layer = space.tap.layer
            if layer not in taps:
                taps[layer] = units.new_zeros(len(readouts), *units.shape[1:])
            taps[layer][mine] += units
    means = np.array([readout.mean for readout in readouts], dtype=float)
    prediction += means
    references = _references(reference, means)
    if isinstance(reference, str) and reference == "mean":
        constant[:] = 0
    elif not isinstance(reference, str):
        constant = means - references
    else:
        constant += means
    deviation = prediction - means
    if method.gradients and method.starts_with == "deviation":
        dense = np.array([bool(readout.dense_layers()) for readout in readouts])
        _scale_in_place(relevance, np.where(dense, 1.0, deviation))
    if method.starts_with == "positive_deviation":
        _scale_in_place(relevance, (deviation > 0).astype(float))
    entered = sum(
        values.double().sum((1, 2, 3)).cpu().numpy()
        for taps in relevance.values()
        for values in taps.values()
    )
    for taps in relevance.values():
        for layer, values in taps.items():
            taps[layer] = values.to(_dtype(activations, layer)).contiguous(memory_format=torch.channels_last)
    return InitialRelevance(relevance, prediction, references, constant, np.asarray(entered))


def _dtype(activations: Mapping[NetworkInput, Mapping[str, "torch.Tensor"]], layer: str) -> "torch.dtype":
    """Return the data type of a layer's activations."""
    return next(values[layer].dtype for values in activations.values() if layer in values)


def _group_means(group: str, readouts: Sequence[Readout]) -> list[float]:
    """Return, for each readout, the mean rating by another group of the same trait in the same fold."""
    means = {(one.trait, one.fold): one.mean for one in readouts if one.group == group}
    missing = [one for one in readouts if (one.trait, one.fold) not in means]
    if not means:
        groups = dict.fromkeys(readout.group for readout in readouts)
        raise unknown_choice("reference", group, ["mean", "zero", *groups])
    if missing:
        advice = "explain its readouts too, or use ratings as the reference"
        raise TraitlensError(
            [
                Problem(f"no readout of group {group!r} for {one.trait!r}, fold {one.fold}", advice)
                for one in missing
            ]
        )
    return [means[one.trait, one.fold] for one in readouts]


def _references(reference: Reference, means: np.ndarray) -> np.ndarray:
    """Return the rating with which the predictions of each readout are compared."""
    if isinstance(reference, str):
        return means.copy() if reference == "mean" else np.zeros_like(means)
    return np.broadcast_to(np.asarray(reference, float), means.shape).copy()


def _scale_in_place(
    relevance: Mapping[NetworkInput, Mapping[str, "torch.Tensor"]], factors: np.ndarray
) -> None:
    """Multiply the relevance of each readout by its factor, in place."""
    for taps in relevance.values():
        for values in taps.values():
            values *= values.new_tensor(factors).view(-1, 1, 1, 1)


def _cell_relevance(
    readout: Readout, space: FeatureSpace, grid: CellGrid, method: Method, reference: Reference
) -> "tuple[torch.Tensor, torch.Tensor, float, float]":
    """Return a readout's relevance per cell, to distribute by activation and evenly; deviation; constant."""
    if readout.tail is not None:
        return _tail_cell_relevance(readout, readout.tail, grid, method, reference)
    if layers := readout.dense_layers():
        return _dense_cell_relevance(layers, grid, method)
    part = next(part for part in readout.linear_parts() if part.space == space)
    return _linear_cell_relevance(part, grid, method, reference)


def _linear_cell_relevance(
    part: LinearPart, grid: CellGrid, method: Method, reference: Reference
) -> "tuple[torch.Tensor, torch.Tensor, float, float]":
    """Compute the relevance of each cell for a linear readout."""
    import torch

    weight = torch.from_numpy(np.asarray(part.weight, np.float32)).to(grid.average.device)
    zero = torch.from_numpy(np.asarray(part.reference, np.float32)).to(grid.average.device)
    deviation = float((weight.double() * (grid.feature.double() - zero.double())).sum())
    constant = -float((weight.double() * zero.double()).sum())
    if method.gradients:
        return torch.zeros_like(weight), weight * grid.slope, deviation, constant
    even = torch.zeros_like(weight) if reference == "zero" else -weight * zero / grid.count
    return weight * grid.feature_per_activation, even, deviation, constant


def _tail_cell_relevance(
    readout: Readout, tail: Tail, grid: CellGrid, method: Method, reference: Reference
) -> "tuple[torch.Tensor, torch.Tensor, float, float]":
    """Compute the relevance of each cell for a readout that follows fine-tuned layers."""
    import torch

    passage, end = _run_tail(tail, grid, method)
    (part,) = readout.linear_parts()
    cells = CellGrid(part.space, [passage.activations[end][0].float()])
    shared, even, deviation, constant = _linear_cell_relevance(part, cells, method, reference)
    units = cells.per_unit(shared) * cells.activations[0] + cells.per_unit(even)
    relevance = passage.back_to_input({end: units[None]})[0]
    return torch.zeros_like(relevance), relevance, deviation, constant


def _run_tail(tail: Tail, grid: CellGrid, method: Method) -> tuple[ForwardPass, str]:
    """Run one image through the fine-tuned layers; return the forward pass and the name of the last layer."""
    of_tail = _prepared_tails.setdefault(tail, {})
    if method.name not in of_tail:
        network = tail.network.to(str(grid.average.device))
        of_tail[method.name] = Propagator(network, method, at_pixels=False)
    end = tail.layers[-1]
    return of_tail[method.name].forward(grid.average[None], {end}), end


_prepared_tails: "WeakKeyDictionary[Tail, dict[str, Propagator]]" = WeakKeyDictionary()
"""Propagators of fine-tuned layers by method, cached as long as the layers exist."""


def _dense_cell_relevance(
    layers: Sequence[DenseLayer], grid: CellGrid, method: Method
) -> "tuple[torch.Tensor, torch.Tensor, float, float]":
    """Compute the relevance of each cell for a dense readout."""
    import torch

    device = grid.average.device

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(values, np.float32)).to(device)

    tensors = [(tensor(layer.weight), tensor(layer.bias)) for layer in layers]
    inputs = [grid.feature.reshape(-1)]
    for weight, bias in tensors[:-1]:
        inputs.append((weight @ inputs[-1] + bias).relu())
    weight, bias = tensors[-1]
    output = weight @ inputs[-1] + bias
    relevance = torch.ones_like(output) if method.starts_with == "one" else output
    for depth in reversed(range(len(tensors))):
        is_last = depth + 1 == len(tensors)
        rule = (method.last if is_last else None) or method.dense
        weight, bias = tensors[depth]
        relevance = propagate_through_dense(
            rule, inputs[depth], weight, bias, relevance, rectified=not is_last
        )
    relevance = relevance.view_as(grid.average)
    none = torch.zeros_like(relevance)
    if method.average == "even":
        return none, relevance / grid.count, float(output), 0.0
    by_activation = relevance / torch.where(grid.sum == 0, 1e-7, grid.sum)
    return by_activation, none, float(output), 0.0


def propagate_through_dense(
    rule: Rule,
    values: "torch.Tensor",
    weight: "torch.Tensor",
    bias: "torch.Tensor",
    relevance: "torch.Tensor",
    rectified: bool,
) -> "torch.Tensor":
    """Propagate relevance (output,) through a dense layer to its nonnegative input (input,).

    The shape of `weight` is (output, input), that of `bias` (output,). `rectified` is True if a ReLU follows.
    """
    import torch

    convolved = weight @ values + bias
    if rule.clip and rectified:
        relevance = relevance.relu()
    result = torch.zeros_like(values)
    for share in rule.shares:
        terms = [term for term in share.terms if term.given != "negative"]
        given = [torch.ones_like(values) if term.given == "one" else values for term in terms]
        weights = [term.weight(weight) for term in terms]
        total = torch.zeros_like(convolved)
        for modified, value in zip(weights, given, strict=True):
            total = total + modified @ value
        added = share.bias(bias)
        total = total if added is None else total + added
        active = convolved > 0 if share.divide or rectified else None
        sent = relevance * share.factor(total, active)
        for modified, value in zip(weights, given, strict=True):
            result = result + value * (modified.T @ sent)
    return result
