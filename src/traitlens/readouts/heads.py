"""Dense heads (a hidden layer with ReLU and one output), trained in parallel for all groups and traits."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from traitlens.columns import FOLD, GROUP, IMAGE, TRAIT
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.problems import Problem, TraitlensError
from traitlens.readouts.fit_results import FittedReadouts, TargetMatrix, arrange_targets, tabulate_predictions
from traitlens.readouts.readout import DenseReadout
from traitlens.readouts.ridge import check_counts

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Training:
    """Settings of the training of heads.

    Parameters
    ----------
    hidden : int
        Number of hidden units.
    rate : float
        Learning rate of Adam (Kingma and Ba 2015).
    batch : int
        Number of images per step.
    most_epochs : int
        Maximum number of epochs.
    """

    hidden: int = 1024
    rate: float = 3e-4
    batch: int = 32
    most_epochs: int = 60


@dataclass(frozen=True, eq=False)
class HeadData:
    """Features, targets and folds to which heads are fitted.

    Parameters
    ----------
    values : ndarray of shape (image, channel)
        Features.
    """

    space: FeatureSpace
    values: np.ndarray
    matrix: TargetMatrix
    folds: pd.DataFrame

    @classmethod
    def of(
        cls, features: Mapping[FeatureSpace, np.ndarray], targets: pd.DataFrame, folds: pd.DataFrame
    ) -> "HeadData":
        """Check features and targets, and arrange them as arrays.

        Parameters
        ----------
        features : mapping of FeatureSpace to ndarray
            One space averaged to one cell, an array of shape (image, channel, 1, 1).

        Raises
        ------
        TraitlensError
            If the features are not one space with one cell, or if a group rated too few images.
        """
        space, values = check_one_cell(features)
        matrix = arrange_targets(targets, folds[IMAGE])
        check_counts(matrix.names, matrix.ratings, folds)
        return cls(space, values, matrix, folds)

    def fit(
        self,
        method: str,
        fit: "Callable[[int, np.ndarray], Iterator[tuple[int, DenseReadout, dict[str, float], np.ndarray]]]",
        progress: Callable[[int], None] | None,
    ) -> FittedReadouts:
        """Fit the readouts of all folds, and predict their held-out images.

        Parameters
        ----------
        method : str
            Name of the method.
        fit : callable
            Function of a fold and the indices of its training images. For each target it yields the column of
            the target, the readout, the chosen hyperparameters, and the training error of each epoch.
        progress : callable or None
            Called with 1 after each readout.

        Returns
        -------
        FittedReadouts
            Readouts sorted by group and trait, then by fold.
        """
        predicted = np.full(self.matrix.ratings.shape, np.nan)
        fitted = {}
        of_image = self.folds[FOLD].to_numpy()
        for fold in sorted({int(number) for number in of_image}):
            inside = np.flatnonzero(of_image == fold)
            for column, readout, chosen, losses in fit(fold, np.flatnonzero(of_image != fold)):
                predicted[inside, column] = readout.predict(
                    {self.space: self.values[inside][:, :, None, None]}
                )
                names = {GROUP: readout.group, TRAIT: readout.trait, FOLD: fold}
                curve = pd.DataFrame({**names, "epoch": np.arange(1, len(losses) + 1), "loss": losses})
                fitted[column, fold] = readout, {**names, **chosen}, curve
                if progress is not None:
                    progress(1)
        ordered = [fitted[key] for key in sorted(fitted)]
        return FittedReadouts(
            readouts=tuple(readout for readout, _, _ in ordered),
            predictions=tabulate_predictions(self.matrix, predicted, self.folds),
            choices=pd.DataFrame([entry for _, entry, _ in ordered]),
            method=method,
            losses=pd.concat([curve for _, _, curve in ordered], ignore_index=True),
        )


def check_one_cell(features: Mapping[FeatureSpace, np.ndarray]) -> tuple[FeatureSpace, np.ndarray]:
    """Return the feature space of a dense readout and its values, after checking that it is the only one.

    Parameters
    ----------
    features : mapping of FeatureSpace to ndarray
        One space averaged to one cell, an array of shape (image, channel, 1, 1).

    Returns
    -------
    space : FeatureSpace
        The space.
    values : ndarray of shape (image, channel)
        Features.

    Raises
    ------
    TraitlensError
        If there are several spaces or several cells.
    """
    shapes = {str(space.tap): np.shape(values) for space, values in features.items()}
    if len(features) != 1 or next(iter(shapes.values()))[2:] != (1, 1):
        raise TraitlensError(
            Problem(
                f"a dense readout reads one tap averaged to 1x1, not {shapes}", "choose one tap in study.toml"
            )
        )
    space, values = next(iter(features.items()))
    return space, values[:, :, 0, 0]


@dataclass(eq=False)
class Heads:
    """The heads of all groups and traits of one fold.

    Parameters
    ----------
    fc1_weight : Tensor of shape (head, hidden, channel)
        Weights of the first layer.
    fc1_bias : Tensor of shape (head, hidden)
        Biases of the first layer.
    fc2_weight : Tensor of shape (head, hidden)
        Weights of the second layer.
    fc2_bias : Tensor of shape (head,)
        Biases of the second layer.
    """

    fc1_weight: "torch.Tensor"
    fc1_bias: "torch.Tensor"
    fc2_weight: "torch.Tensor"
    fc2_bias: "torch.Tensor"

    @classmethod
    def start(cls, names: list[tuple[str, str]], channels: int, hidden: int, seed: int, fold: int) -> "Heads":
        """Draw initial weights (uniform; Glorot and Bengio 2010); initial biases are zero.

        Parameters
        ----------
        names : list of (str, str)
            Group and trait of each head. Initial weights depend on the trait but not on the group, so that
            only the ratings differ between groups.
        seed, fold : int
            Seed and fold; initial weights depend on both.
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

    def readout(
        self,
        index: int,
        name: tuple[str, str],
        fold: int,
        space: FeatureSpace,
        scale: float = 1.0,
        spread: float = 1.0,
        mean: float = 0.0,
    ) -> DenseReadout:
        """Return one trained head as a readout in rating units.

        Parameters
        ----------
        name : (str, str)
            Group and trait.
        fold : int
            The held-out fold.
        scale : float, default 1
            Number by which features were divided.
        spread, mean : float
            Standard deviation and mean by which ratings were standardised.
        """
        group, trait = name
        return DenseReadout(
            group,
            trait,
            fold,
            self.fc1_weight[index].numpy() / np.float32(scale),
            self.fc1_bias[index].numpy().copy(),
            self.fc2_weight[index][None].numpy() * np.float32(spread),
            self.fc2_bias[index][None].numpy() * np.float32(spread),
            mean=float(mean),
            space=space,
        )

    def parameters(self) -> "list[torch.Tensor]":
        """Return the tensors to train: weights and biases of the first layer, then of the second."""
        return [self.fc1_weight, self.fc1_bias, self.fc2_weight, self.fc2_bias]

    def hidden(self, inputs: "torch.Tensor") -> "torch.Tensor":
        """Compute the activations of the hidden units, after ReLU.

        Parameters
        ----------
        inputs : Tensor of shape (image, channel)
            Features.

        Returns
        -------
        Tensor of shape (image, head, hidden)
            Activations.
        """
        heads, units, channels = self.fc1_weight.shape
        values = inputs @ self.fc1_weight.view(heads * units, channels).T
        return values.view(-1, heads, units).add_(self.fc1_bias).relu_()

    def predict(self, inputs: "torch.Tensor") -> "torch.Tensor":
        """Predict ratings.

        Parameters
        ----------
        inputs : Tensor of shape (image, channel)
            Features.

        Returns
        -------
        Tensor of shape (image, head)
            Predicted standardised ratings.
        """
        return (self.hidden(inputs) * self.fc2_weight).sum(-1) + self.fc2_bias

    def gradients(self, inputs: "torch.Tensor", wanted: "torch.Tensor") -> "list[torch.Tensor]":
        """Compute the gradient of each head's mean squared error over the images that its group rated.

        Parameters
        ----------
        inputs : Tensor of shape (image, channel)
            Features.
        wanted : Tensor of shape (image, head)
            Missing where not rated.

        Returns
        -------
        list of Tensor
            Gradients in the order of :meth:`parameters`.
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
        """Train all heads in place by Adam.

        Parameters
        ----------
        inputs : Tensor of shape (image, channel)
            Features.
        wanted : Tensor of shape (image, head)
            Missing where not rated.
        epochs : int
            Number of epochs.
        seed : int
            Seed of the order of images.
        held : (Tensor, Tensor) or None
            Held-out inputs and ratings.

        Returns
        -------
        ndarray of shape (epoch,)
            Mean over heads of the held-out squared error; empty without held-out data.
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
