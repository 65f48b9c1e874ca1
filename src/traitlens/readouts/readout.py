"""Fitted readouts: plain arrays that predict one group's ratings of one trait.

All kinds share the interface :class:`Readout`: :class:`LinearReadout` (a ridge regression on taps),
:class:`DenseReadout` (the head of Cao et al. 2023) and :class:`FinetunedReadout` (the network's last blocks,
fine-tuned, with a linear readout of their output). They explain the deviation from `mean`, the mean rating of
the images that they were fitted on.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap

if TYPE_CHECKING:
    from traitlens.features.backbone import Backbone


@dataclass(frozen=True, eq=False)
class LinearPart:
    """The weights of one feature space in a linear readout.

    Parameters
    ----------
    space : FeatureSpace
        The feature space.
    weight : ndarray
        (channel, row, column), rating units per feature.
    reference : ndarray
        (channel, row, column): mean feature over the images that the readout was fitted on.
    """

    space: FeatureSpace
    weight: np.ndarray
    reference: np.ndarray


@dataclass(frozen=True)
class DenseLayer:
    """A fully connected layer; a ReLU follows every one but the last.

    Parameters
    ----------
    weight : ndarray
        (output, input).
    bias : ndarray
        (output,).
    """

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class Stored:
    """Data of one readout in a saved model.

    Parameters
    ----------
    fold : int
        The held-out fold; -1 if it was fitted to all images.
    mean : float
        Mean rating of the images that it was fitted on.
    spaces : tuple of FeatureSpace
        As :attr:`Readout.spaces`.
    tail : Tail or None
        As :attr:`Readout.tail`.
    take : callable
        Return an array of :meth:`Readout.tensors` by its name, checked to have a shape (None stands for any
        length); raises ModelError where it is missing or has another one.
    """

    group: str
    trait: str
    fold: int
    mean: float
    spaces: tuple[FeatureSpace, ...]
    tail: "Tail | None"
    take: Callable[[str, tuple[int | None, ...]], np.ndarray]


class Readout(ABC):
    """Interface of a readout of one group and trait.

    A new kind of readout defines the abstract members, and either `linear_parts` or `dense_layers`, from
    which relevance propagation starts. Registered with :func:`traitlens.readouts.registry.register`, it is
    fitted, saved, loaded, explained, checked and reported like the others.

    Attributes
    ----------
    kind : str
        Name of the kind in saved models.
    label : str
        Name of the kind in the model card.
    is_linear : bool
        Whether the prediction is linear in the features.
    has_tail : bool
        Whether readouts of this kind have fine-tuned layers.
    group, trait : str
        Group and trait.
    fold : int
        The held-out fold; -1 if it was fitted to all images.
    mean : float
        Mean rating of the images that it was fitted on.
    tail : Tail or None
        Fine-tuned layers between the features and the readout proper.
    """

    kind: ClassVar[str]
    label: ClassVar[str]
    is_linear: ClassVar[bool] = False
    has_tail: ClassVar[bool] = False
    group: str
    trait: str
    fold: int
    mean: float
    tail: "Tail | None" = None

    @property
    @abstractmethod
    def spaces(self) -> tuple[FeatureSpace, ...]:
        """Feature spaces that the readout reads."""

    def linear_parts(self) -> "tuple[LinearPart, ...]":
        """Return weights and references by feature space (of the tail's output, if there is a tail).

        Returns
        -------
        tuple of LinearPart
            Empty if the readout has dense layers.
        """
        return ()

    def dense_layers(self) -> tuple[DenseLayer, ...]:
        """Return the layers from the features of its one space to the rating, first to last.

        Returns
        -------
        tuple of DenseLayer
            Empty if the readout is linear.
        """
        return ()

    def contributions(self, features: Mapping[FeatureSpace, np.ndarray]) -> dict[FeatureSpace, np.ndarray]:
        """Compute the contribution of each feature space to linear predictions.

        Parameters
        ----------
        features : mapping of FeatureSpace to ndarray
            (image, channel, row, column), transformed.

        Returns
        -------
        dict of FeatureSpace to ndarray
            (image,) each, rating units; with `mean` they sum to the prediction.
        """
        return {
            part.space: np.einsum("icyx,cyx->i", features[part.space] - part.reference, part.weight)
            for part in self.linear_parts()
        }

    @abstractmethod
    def predict(self, features: Mapping[FeatureSpace, np.ndarray]) -> np.ndarray:
        """Predict ratings.

        Parameters
        ----------
        features : mapping of FeatureSpace to ndarray
            (image, channel, row, column), transformed.

        Returns
        -------
        ndarray
            (image,), rating units.
        """

    @abstractmethod
    def tensors(self) -> dict[str, np.ndarray]:
        """Return its arrays by name, without those of the tail.

        Returns
        -------
        dict of str to ndarray
            Input of :meth:`restore`.
        """

    @classmethod
    @abstractmethod
    def restore(cls, stored: Stored) -> Self:
        """Build a readout from a saved model.

        Parameters
        ----------
        stored : Stored
            Its data in the model.

        Returns
        -------
        Readout
            The readout.

        Raises
        ------
        ModelError
            If an array is missing or has another shape.
        """

    @abstractmethod
    def shuffled(self, rng: np.random.Generator) -> Self:
        """Return a readout with the same weights in random order, for null maps.

        Parameters
        ----------
        rng : Generator
            Source of randomness.

        Returns
        -------
        Readout
            Of the same shapes.
        """


def _shuffle(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an array's values in random order."""
    return rng.permutation(np.asarray(values).ravel()).reshape(np.shape(values))


@dataclass(frozen=True, eq=False)
class LinearReadout(Readout):
    r"""A linear readout: :math:`f(x) = m + \sum_s \sum_i w_{si} (z_{si}(x) - \bar z_{si})`.

    Parameters
    ----------
    group, trait : str
        Group and trait.
    fold : int
        The held-out fold; -1 if it was fitted to all images.
    parts : tuple of LinearPart
        Weights and references by feature space.
    mean : float
        Mean rating of the images that it was fitted on.

    Raises
    ------
    ValueError
        If two parts read the same feature space, whose weights must be summed.
    """

    kind: ClassVar[str] = "linear"
    label: ClassVar[str] = "linear"
    is_linear: ClassVar[bool] = True
    group: str
    trait: str
    fold: int
    parts: tuple[LinearPart, ...]
    mean: float

    def __post_init__(self) -> None:
        if len({part.space for part in self.parts}) < len(self.parts):
            raise ValueError("two parts of a linear readout read the same feature space; sum their weights")

    @property
    def spaces(self) -> tuple[FeatureSpace, ...]:
        """Feature spaces that the readout reads."""
        return tuple(part.space for part in self.parts)

    def linear_parts(self) -> tuple[LinearPart, ...]:
        """Return its parts."""
        return self.parts

    def predict(self, features: Mapping[FeatureSpace, np.ndarray]) -> np.ndarray:
        """Predict ratings."""
        return np.asarray(self.mean + sum(self.contributions(features).values()))

    def tensors(self) -> dict[str, np.ndarray]:
        """Return weight and reference of each part."""
        arrays = {}
        for index, part in enumerate(self.parts):
            arrays[f"{index}.weight"] = part.weight
            arrays[f"{index}.reference"] = part.reference
        return arrays

    @classmethod
    def restore(cls, stored: Stored) -> Self:
        """Build a readout from a saved model."""
        parts = []
        for index, space in enumerate(stored.spaces):
            grid = space.tap.grid
            sides = grid if isinstance(grid, tuple) else (grid, grid)
            weight = stored.take(f"{index}.weight", (None, *sides))
            parts.append(LinearPart(space, weight, stored.take(f"{index}.reference", weight.shape)))
        return cls(stored.group, stored.trait, stored.fold, tuple(parts), stored.mean)

    def shuffled(self, rng: np.random.Generator) -> Self:
        """Return a readout with the same weights in random order."""
        return replace(
            self, parts=tuple(replace(part, weight=_shuffle(part.weight, rng)) for part in self.parts)
        )


END_OF_VGG16 = FeatureSpace(Tap("block5_pool", 1))
"""The global average of block 5."""


@dataclass(frozen=True, eq=False)
class DenseReadout(Readout):
    """The head of Cao et al. (2023): global average, dense with ReLU, dense with one output.

    Parameters
    ----------
    group, trait : str
        Group and trait.
    fold : int
        The held-out fold; -1 if it was fitted to all images.
    fc1_weight : ndarray
        (hidden, channel).
    fc1_bias : ndarray
        (hidden,).
    fc2_weight : ndarray
        (1, hidden).
    fc2_bias : ndarray
        (1,).
    mean : float
        Added to the output: mean rating of its training images; 0 if it was trained on raw ratings.
    space : FeatureSpace
        The feature space: the global average of block 5.
    """

    kind: ClassVar[str] = "dense"
    label: ClassVar[str] = "dense"
    group: str
    trait: str
    fold: int
    fc1_weight: np.ndarray
    fc1_bias: np.ndarray
    fc2_weight: np.ndarray
    fc2_bias: np.ndarray
    mean: float = 0.0
    space: FeatureSpace = END_OF_VGG16

    @classmethod
    def from_arrays(
        cls,
        fc1_weight: np.ndarray,
        fc1_bias: np.ndarray,
        fc2_weight: np.ndarray,
        fc2_bias: np.ndarray,
        group: str = "",
        trait: str = "",
        fold: int = -1,
        mean: float = 0.0,
    ) -> "DenseReadout":
        """Return a readout from plain arrays.

        Parameters
        ----------
        fc1_weight : ndarray
            (hidden, channel).
        fc1_bias : ndarray
            (hidden,).
        fc2_weight : ndarray
            (1, hidden).
        fc2_bias : ndarray
            (1,).
        group, trait : str
            Names.
        fold : int
            The held-out fold.
        mean : float
            Added to the output.

        Returns
        -------
        DenseReadout
            The readout, float32.

        Raises
        ------
        ValueError
            If the shapes do not match.
        """
        hidden, _ = np.shape(fc1_weight)
        if np.shape(fc1_bias) != (hidden,) or np.shape(fc2_weight) != (1, hidden):
            raise ValueError(
                f"shapes do not match: fc1_weight {np.shape(fc1_weight)}, fc1_bias {np.shape(fc1_bias)}, "
                f"fc2_weight {np.shape(fc2_weight)}"
            )
        return cls(
            group,
            trait,
            fold,
            np.asarray(fc1_weight, np.float32),
            np.asarray(fc1_bias, np.float32),
            np.asarray(fc2_weight, np.float32),
            np.asarray(fc2_bias, np.float32).reshape(1),
            mean=mean,
        )

    @property
    def spaces(self) -> tuple[FeatureSpace, ...]:
        """The feature space that it reads."""
        return (self.space,)

    def dense_layers(self) -> tuple[DenseLayer, ...]:
        """Return both layers."""
        return (DenseLayer(self.fc1_weight, self.fc1_bias), DenseLayer(self.fc2_weight, self.fc2_bias))

    def predict(self, features: Mapping[FeatureSpace, np.ndarray]) -> np.ndarray:
        """Predict ratings from (image, channel, 1, 1) features."""
        averaged = features[self.space][:, :, 0, 0]
        hidden = np.maximum(averaged @ self.fc1_weight.T + self.fc1_bias, 0)
        return np.asarray((hidden @ self.fc2_weight.T + self.fc2_bias)[:, 0] + self.mean)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return weights and biases of both layers."""
        names = ("fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def restore(cls, stored: Stored) -> Self:
        """Build a readout from a saved model."""
        fc1_weight = stored.take("fc1_weight", (None, None))
        hidden = len(fc1_weight)
        return cls(
            stored.group,
            stored.trait,
            stored.fold,
            fc1_weight,
            stored.take("fc1_bias", (hidden,)),
            stored.take("fc2_weight", (1, hidden)),
            stored.take("fc2_bias", (1,)),
            stored.mean,
            stored.spaces[0],
        )

    def shuffled(self, rng: np.random.Generator) -> Self:
        """Return a readout with the weights of each layer in random order."""
        return replace(
            self, fc1_weight=_shuffle(self.fc1_weight, rng), fc2_weight=_shuffle(self.fc2_weight, rng)
        )


@dataclass(frozen=True, eq=False)
class Tail:
    """Fine-tuned last layers of a network, shared by the readouts of one group and fold.

    Parameters
    ----------
    layers : tuple of str
        Names of convolutions and poolings, first to last.
    tensors : mapping of str to ndarray
        ``NAME.weight`` (out, in, 3, 3) and ``NAME.bias`` (out,) of each convolution, float32.
    """

    layers: tuple[str, ...]
    tensors: Mapping[str, np.ndarray]

    @cached_property
    def network(self) -> "Backbone":
        """The layers as a network whose input is the output of the frozen layers."""
        import torch

        from traitlens.features.backbone import Backbone, Layer
        from traitlens.features.preprocessing import VGG_CAFFE

        layers = []
        for name in self.layers:
            if f"{name}.weight" in self.tensors:
                weight, bias = (
                    torch.from_numpy(np.array(self.tensors[f"{name}.{part}"])) for part in ("weight", "bias")
                )
                layers.append(Layer(name, "convolution", weight, bias))
            else:
                layers.append(Layer(name, "max_pool"))
        return Backbone("tail", tuple(layers), VGG_CAFFE, "")

    def averages(self, features: np.ndarray) -> np.ndarray:
        """Run the layers and average their output over space.

        Parameters
        ----------
        features : ndarray
            (image, channel, row, column), output of the frozen layers.

        Returns
        -------
        ndarray
            (image, channel).
        """
        import torch

        averages = []
        with torch.inference_mode():
            for start in range(0, len(features), 16):
                values = torch.from_numpy(np.array(features[start : start + 16], np.float32))
                for layer in self.network.layers:
                    values = layer(values)
                averages.append(values.mean((2, 3)).numpy())
        return np.concatenate(averages)


@dataclass(frozen=True, eq=False)
class FinetunedReadout(Readout):
    r"""A linear readout of fine-tuned layers: :math:`f(x) = m + w (\bar a(x) - \bar z)`.

    Parameters
    ----------
    group, trait : str
        Group and trait.
    fold : int
        The held-out fold; -1 if it was fitted to all images.
    tail : Tail
        The layers.
    weight : ndarray
        (channel,), rating units per average activation of the last layer.
    reference : ndarray
        (channel,): mean of these over the images that the readout was fitted on.
    mean : float
        Mean rating of the images that it was fitted on.
    space : FeatureSpace
        Input of the layers: all units of the last frozen layer.
    """

    kind: ClassVar[str] = "tuned"
    label: ClassVar[str] = "fine-tuned"
    has_tail: ClassVar[bool] = True
    group: str
    trait: str
    fold: int
    tail: Tail = field()
    weight: np.ndarray
    reference: np.ndarray
    mean: float
    space: FeatureSpace

    @property
    def spaces(self) -> tuple[FeatureSpace, ...]:
        """The feature space that its layers read."""
        return (self.space,)

    def linear_parts(self) -> tuple[LinearPart, ...]:
        """Return weights and references of the average of the last layer."""
        end = FeatureSpace(Tap(self.tail.layers[-1], 1))
        return (LinearPart(end, self.weight[:, None, None], self.reference[:, None, None]),)

    def predict(self, features: Mapping[FeatureSpace, np.ndarray]) -> np.ndarray:
        """Predict ratings from the features of its one space."""
        averages = self.tail.averages(features[self.space])
        return np.asarray(self.mean + (averages - self.reference) @ self.weight)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return weights and references."""
        return {"weight": self.weight, "reference": self.reference}

    @classmethod
    def restore(cls, stored: Stored) -> Self:
        """Build a readout from a saved model."""
        assert stored.tail is not None
        end = [values for name, values in stored.tail.tensors.items() if name.endswith(".bias")][-1].shape
        weight, reference = stored.take("weight", end), stored.take("reference", end)
        names = (stored.group, stored.trait, stored.fold)
        return cls(*names, stored.tail, weight, reference, stored.mean, stored.spaces[0])

    def shuffled(self, rng: np.random.Generator) -> Self:
        """Return a readout with the weights of the last layer in random order; its layers stay."""
        return replace(self, weight=_shuffle(self.weight, rng))
