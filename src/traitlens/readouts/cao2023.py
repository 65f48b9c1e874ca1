r"""Dense readouts trained exactly as in Cao et al. (2023): plain gradient descent on raw ratings.

All groups have the learning rate 0.01, batches of four images, and 450 epochs. The steps are those of the
published scripts. For speed, the weights of the first layer are updated once per block of steps: within a
block the change of the weights is :math:`-\eta \sum_j b_j x_j^T` (backpropagated errors times features), so
later steps need only inner products of features, :math:`W x = W_0 x - \eta \sum_j b_j (x_j^T x)`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.readouts.fit_results import FittedReadouts
from traitlens.readouts.heads import HeadData, Heads
from traitlens.readouts.readout import DenseReadout

if TYPE_CHECKING:
    import torch

STEPS_TOGETHER = 16
"""Number of steps between two updates of the first layer in memory."""
HEADS_TOGETHER = 11
"""Number of networks trained in parallel."""


@dataclass(frozen=True)
class PlainTraining:
    """Settings of the training: hidden units, learning rate, images per batch, and epochs."""

    hidden: int = 1024
    rate: float = 0.01
    batch: int = 4
    epochs: int = 450


def fit_cao2023(
    features: Mapping[FeatureSpace, np.ndarray],
    targets: pd.DataFrame,
    folds: pd.DataFrame,
    seed: int = 0,
    training: PlainTraining = PlainTraining(),
    progress: Callable[[int], None] | None = None,
) -> FittedReadouts:
    """Fit one dense network per group, trait and fold as Cao et al. (2023) did.

    Ratings are neither centred nor scaled. Maps therefore explain the rating itself, not its deviation from
    the mean rating.

    Parameters
    ----------
    features : mapping of FeatureSpace to ndarray
        One space averaged to one cell, an array of shape (image, channel, 1, 1); images in the order of
        `folds`.
    targets : DataFrame
        group, trait, image, rating. Images that a group did not rate are skipped.
    folds : DataFrame
        image, identity, fold.
    seed : int, default 0
        Seed of initial weights and order of images.
    training : PlainTraining
        Settings of the training.
    progress : callable or None
        Called with the number of readouts that were fitted since the last call.

    Returns
    -------
    FittedReadouts
        Readouts, out-of-fold predictions, and the losses of all epochs. Results depend only on the seed.

    Raises
    ------
    TraitlensError
        If the features are not one space with one cell, or if a group rated too few images.

    References
    ----------
    Cao et al. (2023). Psychological Science. doi:10.1177/09567976231192236.
    """
    import torch

    study = HeadData.of(features, targets, folds)

    def fit(fold: int, rows: np.ndarray) -> Iterator[tuple[int, DenseReadout, dict[str, float], np.ndarray]]:
        inputs = torch.from_numpy(study.values[rows].astype(np.float32))
        for start in range(0, len(study.matrix), HEADS_TOGETHER):
            columns = list(range(start, min(start + HEADS_TOGETHER, len(study.matrix))))
            names = [study.matrix.names[column] for column in columns]
            wanted = torch.from_numpy(study.matrix.ratings[rows][:, columns].astype(np.float32))
            heads = Heads.start(names, inputs.shape[1], training.hidden, seed, fold)
            losses = train_plainly(heads, inputs, wanted, training, seed)
            for index, column in enumerate(columns):
                chosen = {"epochs": training.epochs, "loss": float(losses[-1, index])}
                readout = heads.readout(index, names[index], fold, study.space)
                yield column, readout, chosen, losses[:, index]

    return study.fit("cao2023", fit, progress)


def train_plainly(
    heads: Heads, inputs: "torch.Tensor", wanted: "torch.Tensor", training: PlainTraining, seed: int
) -> np.ndarray:
    """Train heads in place by plain gradient descent on the mean squared error of each batch.

    Parameters
    ----------
    inputs : Tensor of shape (image, channel)
        Features.
    wanted : Tensor of shape (image, head)
        Missing where not rated.
    seed : int
        Seed of the order of images, which is drawn for every epoch and is the same for all heads.

    Returns
    -------
    ndarray of shape (epoch, head)
        Mean squared error over images, each before the step that uses the image.
    """
    import torch

    rng = np.random.default_rng(seed)
    count, units, channels = heads.fc1_weight.shape
    # The bias is the weight of a constant feature.
    first = torch.cat([heads.fc1_weight, heads.fc1_bias[:, :, None]], dim=2).view(count * units, channels + 1)
    seen = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    losses = np.zeros((training.epochs, count))
    rated = wanted.isfinite()
    with torch.no_grad():
        for epoch in range(training.epochs):
            order = torch.from_numpy(rng.permutation(len(inputs)))
            total = torch.zeros(count, dtype=torch.float64)
            for rows in torch.split(order, training.batch * STEPS_TOGETHER):
                total += _train_on_block(heads, first, seen[rows], wanted[rows], training)
            losses[epoch] = (total / rated.sum(0)).numpy()
    heads.fc1_weight.copy_(first.view(count, units, channels + 1)[:, :, :-1])
    heads.fc1_bias.copy_(first.view(count, units, channels + 1)[:, :, -1])
    return losses


def _train_on_block(
    heads: Heads,
    first: "torch.Tensor",
    inputs: "torch.Tensor",
    wanted: "torch.Tensor",
    training: PlainTraining,
) -> "torch.Tensor":
    """Run the gradient steps of one block of images; return the sum of squared errors of each head."""
    import torch

    count, units = heads.fc2_weight.shape
    products = (inputs @ inputs.T).mul_(-training.rate)
    before = inputs @ first.T
    back = torch.empty_like(before)
    total = torch.zeros(count, dtype=torch.float64)
    for start in range(0, len(inputs), training.batch):
        end = min(start + training.batch, len(inputs))
        values = before[start:end]
        if start:
            values.addmm_(products[start:end, :start], back[:start])
        hidden = values.view(-1, count, units).relu()
        error = (hidden * heads.fc2_weight).sum(-1).add_(heads.fc2_bias).sub_(wanted[start:end])
        rated = error.isfinite()
        error.nan_to_num_(0.0)
        total += (error.double() ** 2).sum(0)
        slope = error * (2.0 / rated.sum(0).clamp(min=1))
        active = (hidden > 0).mul(heads.fc2_weight).mul_(slope[:, :, None])
        back[start:end] = active.view(end - start, -1)
        heads.fc2_weight.sub_((hidden.mul_(slope[:, :, None])).sum(0), alpha=training.rate)
        heads.fc2_bias.sub_(slope.sum(0), alpha=training.rate)
    first.addmm_(back.T, inputs, alpha=-training.rate)
    return total
