"""Dense readouts: the head of Cao et al. (2023) on cached features, all groups and traits of a fold at once.

The head is Dense 1024 with ReLU, then Dense 1, on the global average of block 5. The convolutions are frozen,
so that their output is computed once; the heads of all groups and traits see the same batches of images in
the same order and are trained side by side.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from traitlens.problems import Problem, TraitlensError
from traitlens.readouts.fitted import FittedReadouts, lay_out_targets, tabulate_predictions
from traitlens.readouts.folds import inner_folds
from traitlens.readouts.readout import DenseReadout, FeatureSpace
from traitlens.readouts.ridge import check_counts
from traitlens.words import FOLD, GROUP, IDENTITY, IMAGE, TRAIT

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Training:
    """How heads are trained.

    Parameters
    ----------
    hidden : int
        Units of the first layer.
    rate : float
        Learning rate of Adam (Kingma and Ba 2015).
    batch : int
        Images in a step.
    most_epochs : int
        The inner folds choose among 1 to this many epochs.
    """

    hidden: int = 1024
    rate: float = 3e-4
    batch: int = 32
    most_epochs: int = 60


def fit_dense(
    features: Mapping[FeatureSpace, np.ndarray],
    targets: pd.DataFrame,
    folds: pd.DataFrame,
    seed: int = 0,
    training: Training = Training(),
    progress: Callable[[int], None] | None = None,
) -> FittedReadouts:
    """Fit one dense readout per group, trait and fold.

    Ratings are centred and scaled by their training images; the readouts predict in rating units. One rule
    stops all of them: in each fold, a fifth of the training identities is set aside, and the number of epochs
    with the smallest squared error there, on average over all groups and traits (each error as a share of the
    trait's variance), is used for every group and trait of that fold.

    Parameters
    ----------
    features : mapping of FeatureSpace to ndarray
        One space, averaged to one cell: (image, channel, 1, 1), images in the order of `folds`.
    targets : DataFrame
        group, trait, image, rating. A group need not have rated every image.
    folds : DataFrame
        image, identity, fold.
    seed : int, default 0
        Seed of initial weights, order of images and inner split.
    training : Training
        How the heads are trained.
    progress : callable or None
        Called with the number of readouts that were fitted since the last call.

    Returns
    -------
    FittedReadouts
        Readouts, out-of-fold predictions and chosen numbers of epochs; the same for the same seed.

    Raises
    ------
    TraitlensError
        If the features are not one space with one cell, or if a group rated too few images.
    """
    import torch

    space, values = one_cell(features)
    matrix = lay_out_targets(targets, folds[IMAGE])
    check_counts(matrix.names, matrix.ratings, folds)
    predicted = np.full(matrix.ratings.shape, np.nan)
    readouts, choices = {}, {}
    for fold in sorted(int(number) for number in folds[FOLD].unique()):
        rows = np.flatnonzero((folds[FOLD] != fold).to_numpy())
        # One number brings the features to a mean square of one; afterwards it is folded into the weights.
        scale = float(np.sqrt((values[rows].astype(np.float64) ** 2).mean())) or 1.0
        ratings = matrix.ratings[rows]
        means, spreads = np.nanmean(ratings, axis=0), np.nanstd(ratings, axis=0)
        inputs = torch.from_numpy((values / scale).astype(np.float32))
        wanted = torch.from_numpy(((ratings - means) / spreads).astype(np.float32))
        seen = inputs[torch.from_numpy(rows)]
        held = torch.from_numpy(inner_folds(folds[IDENTITY].to_numpy()[rows], seed=seed) == 0)
        heads = Heads.start(matrix.names, values.shape[1], training.hidden, seed, fold)
        errors = heads.train(
            seen[~held], wanted[~held], training, training.most_epochs, seed, (seen[held], wanted[held])
        )
        epochs = int(np.argmin(errors)) + 1
        heads = Heads.start(matrix.names, values.shape[1], training.hidden, seed, fold)
        heads.train(seen, wanted, training, epochs, seed)
        inside = np.flatnonzero((folds[FOLD] == fold).to_numpy())
        for column, (group, trait) in enumerate(matrix.names):
            readout = DenseReadout(
                group,
                trait,
                fold,
                heads.fc1_weight[column].numpy() / np.float32(scale),
                heads.fc1_bias[column].numpy().copy(),
                heads.fc2_weight[column][None].numpy() * np.float32(spreads[column]),
                heads.fc2_bias[column][None].numpy() * np.float32(spreads[column]),
                mean=float(means[column]),
                space=space,
            )
            readouts[column, fold] = readout
            predicted[inside, column] = readout.predict({space: values[inside][:, :, None, None]})
            choices[column, fold] = {
                GROUP: group, TRAIT: trait, FOLD: fold, "epochs": epochs,
                "inner_error": float(errors[epochs - 1]),
            }  # fmt: skip
        if progress is not None:
            progress(len(matrix))
    return FittedReadouts(
        readouts=tuple(readouts[key] for key in sorted(readouts)),
        predictions=tabulate_predictions(matrix, predicted, folds),
        choices=pd.DataFrame([choices[key] for key in sorted(choices)]),
        method="dense",
    )


def one_cell(features: Mapping[FeatureSpace, np.ndarray]) -> tuple[FeatureSpace, np.ndarray]:
    """Take the one space that a dense readout reads.

    Parameters
    ----------
    features : mapping of FeatureSpace to ndarray
        (image, channel, 1, 1).

    Returns
    -------
    space : FeatureSpace
        The space.
    values : ndarray
        (image, channel).

    Raises
    ------
    TraitlensError
        If there are several spaces or several cells.
    """
    shapes = {str(space.tap): np.shape(values) for space, values in features.items()}
    if len(features) != 1 or next(iter(shapes.values()))[2:] != (1, 1):
        raise TraitlensError(
            Problem(f"a dense readout reads one tap averaged to 1x1, but was given {shapes}", "name one tap")
        )
    space, values = next(iter(features.items()))
    return space, values[:, :, 0, 0]


@dataclass(eq=False)
class Heads:
    """The heads of all groups and traits of one fold, side by side.

    Parameters
    ----------
    fc1_weight : Tensor
        (head, hidden, channel).
    fc1_bias : Tensor
        (head, hidden).
    fc2_weight : Tensor
        (head, hidden).
    fc2_bias : Tensor
        (head,).
    """

    fc1_weight: "torch.Tensor"
    fc1_bias: "torch.Tensor"
    fc2_weight: "torch.Tensor"
    fc2_bias: "torch.Tensor"

    @classmethod
    def start(cls, names: list[tuple[str, str]], channels: int, hidden: int, seed: int, fold: int) -> "Heads":
        """Draw initial weights (Glorot and Bengio 2010, uniform), biases zero.

        Parameters
        ----------
        names : list of (str, str)
            Group and trait of each head. The start depends on the trait and not on the group, so that
            groups differ by their ratings alone.
        channels, hidden : int
            Sizes of the layers.
        seed, fold : int
            What else the start depends on.

        Returns
        -------
        Heads
            Untrained heads.
        """
        import torch

        first, second = [], []
        for _, trait in names:
            named = hashlib.sha256(f"{seed}:{fold}:{trait}".encode()).digest()
            rng = np.random.default_rng(int.from_bytes(named[:8], "little"))
            limit = np.sqrt(6 / (channels + hidden))
            first.append(rng.uniform(-limit, limit, (hidden, channels)).astype(np.float32))
            limit = np.sqrt(6 / (hidden + 1))
            second.append(rng.uniform(-limit, limit, hidden).astype(np.float32))
        number = len(names)
        return cls(
            torch.from_numpy(np.stack(first)),
            torch.zeros(number, hidden),
            torch.from_numpy(np.stack(second)),
            torch.zeros(number),
        )

    def parameters(self) -> "list[torch.Tensor]":
        """List the tensors that are trained."""
        return [self.fc1_weight, self.fc1_bias, self.fc2_weight, self.fc2_bias]

    def hidden(self, inputs: "torch.Tensor") -> "torch.Tensor":
        """Compute the hidden units of (image, channel) inputs.

        Returns
        -------
        Tensor
            (image, head, hidden), after ReLU.
        """
        heads, units, channels = self.fc1_weight.shape
        values = inputs @ self.fc1_weight.view(heads * units, channels).T
        return values.view(-1, heads, units).add_(self.fc1_bias).relu_()

    def predict(self, inputs: "torch.Tensor") -> "torch.Tensor":
        """Predict from (image, channel) inputs.

        Returns
        -------
        Tensor
            (image, head).
        """
        return (self.hidden(inputs) * self.fc2_weight).sum(-1) + self.fc2_bias

    def gradients(self, inputs: "torch.Tensor", wanted: "torch.Tensor") -> "list[torch.Tensor]":
        """Compute each head's gradient of its mean squared error over the images that its group rated.

        Parameters
        ----------
        inputs : Tensor
            (image, channel).
        wanted : Tensor
            (image, head), missing where not rated.

        Returns
        -------
        list of Tensor
            In the order of :meth:`parameters`.
        """
        hidden = self.hidden(inputs)
        error = (hidden * self.fc2_weight).sum(-1) + self.fc2_bias - wanted
        rated = ~error.isnan()
        slope = error.nan_to_num_(0.0) * (2.0 / rated.sum(0).clamp(min=1).to(error.dtype))
        to_fc2 = (slope[:, :, None] * hidden).sum(0)
        back = (slope[:, :, None] * self.fc2_weight).mul_(hidden > 0)
        to_fc1 = back.view(len(inputs), -1).T @ inputs
        return [to_fc1.view_as(self.fc1_weight), back.sum(0), to_fc2, slope.sum(0)]

    def train(
        self,
        inputs: "torch.Tensor",
        wanted: "torch.Tensor",
        training: Training,
        epochs: int,
        seed: int,
        held: "tuple[torch.Tensor, torch.Tensor] | None" = None,
    ) -> np.ndarray:
        """Train with Adam.

        Parameters
        ----------
        inputs : Tensor
            (image, channel).
        wanted : Tensor
            (image, head), missing where not rated.
        training : Training
            How.
        epochs : int
            How often every image is seen.
        seed : int
            Seed of the order of images.
        held : (Tensor, Tensor) or None
            Inputs and ratings that were set aside.

        Returns
        -------
        ndarray
            (epoch,) mean over heads of the squared error on what was set aside; empty without it.
        """
        import torch

        parameters = self.parameters()
        optimiser = torch.optim.Adam(parameters, lr=training.rate, fused=True)
        rng = np.random.default_rng(seed)
        errors = []
        with torch.no_grad():
            for _ in range(epochs):
                order = torch.from_numpy(rng.permutation(len(inputs)))
                for rows in torch.split(order, training.batch):
                    gradients = self.gradients(inputs[rows], wanted[rows])
                    for parameter, gradient in zip(parameters, gradients, strict=True):
                        parameter.grad = gradient
                    optimiser.step()
                if held is not None:
                    errors.append(float(((self.predict(held[0]) - held[1]) ** 2).nanmean(0).nanmean()))
        for parameter in parameters:
            parameter.grad = None
        return np.array(errors)
