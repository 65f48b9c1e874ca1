"""Classes of fitted readouts, which predict the ratings of one trait by one group.

All kinds have the interface :class:`Readout`: :class:`LinearReadout` (a ridge regression on taps),
:class:`DenseReadout` (the two dense layers of Cao et al. 2023) and :class:`FinetunedReadout` (fine-tuned last
layers of the network with a linear readout of their output). Relevance explains the deviation of a prediction
from `mean`, the mean rating of the training images.
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
    """Weights of one feature space in a linear readout.

    Parameters
    ----------
    space : FeatureSpace
        The feature space.
    weight : ndarray of shape (channel, row, column)
        Weights in rating units per unit of the feature.
    reference : ndarray of shape (channel, row, column)
        Mean of each feature over the training images.
    """

    space: FeatureSpace
    weight: np.ndarray
    reference: np.ndarray


@dataclass(frozen=True)
class DenseLayer:
    """A fully connected layer. A ReLU follows every layer except the last.

    Parameters
    ----------
    weight : ndarray of shape (output, input)
        Weights.
    bias : ndarray of shape (output,)
        Biases.
    """

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class Stored:
    """Data of one readout in a saved model.

    Parameters
    ----------
    fold : int
        The held-out fold; -1 if the readout was fitted to all images.
    mean : float
        Mean rating of the training images.
    spaces : tuple of FeatureSpace
        See :attr:`Readout.spaces`.
    tail : Tail or None
        See :attr:`Readout.tail`.
    take : callable
        Function that returns an array of :meth:`Readout.tensors` by its name and shape, in which None stands
        for any length; it raises ModelError if the array is missing or has another shape.
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
    which relevance propagation starts. After registration by :func:`traitlens.readouts.registry.register`, a
    study can use it like the built-in readouts.

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
        The held-out fold; -1 if the readout was fitted to all images.
    mean : float
        Mean rating of the training images.
    tail : Tail or None
        Fine-tuned layers between the features and the linear readout.
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
        """Return the weights of each feature space; with a tail, of the output of the tail.

        Returns
        -------
        tuple of LinearPart
            Empty if the readout has dense layers.
        """
        return ()

    def dense_layers(self) -> tuple[DenseLayer, ...]:
        """Return the dense layers from the features to the rating, first to last.

        Returns
        -------
        tuple of DenseLayer
            Empty if the readout is linear.
        """
        return ()

    def contributions(self, features: Mapping[FeatureSpace, np.ndarray]) -> dict[FeatureSpace, np.ndarray]:
        """Compute the contribution of each feature space to the predictions of a linear readout.

        Parameters
        ----------
        features : mapping of FeatureSpace to ndarray
            Transformed features of shape (image, channel, row, column).

        Returns
        -------
        dict of FeatureSpace to ndarray
            Contributions of shape (image,) in rating units. The prediction is their sum plus `mean`.
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
            Transformed features of shape (image, channel, row, column).

        Returns
        -------
        ndarray of shape (image,)
            Predictions in rating units.
        """

    @abstractmethod
    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays to save by name, without those of the tail.

        Returns
        -------
        dict of str to ndarray
            Arrays from which :meth:`restore` builds the readout.
        """

    @classmethod
    @abstractmethod
    def restore(cls, stored: Stored) -> Self:
        """Build a readout from a saved model.

        Parameters
        ----------
        stored : Stored
            Data of the readout in the model.

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
        """Return a readout whose weights are shuffled, for null maps.

        Parameters
        ----------
        rng : Generator
            Random number generator.

        Returns
        -------
        Readout
            The shuffled readout.
        """


def _shuffle(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an array of the same shape with its values in random order."""
    return rng.permutation(np.asarray(values).ravel()).reshape(np.shape(values))


@dataclass(frozen=True, eq=False)
class LinearReadout(Readout):
    r"""A linear readout: :math:`f(x) = m + \sum_s \sum_i w_{si} (z_{si}(x) - \bar z_{si})`.

    Parameters
    ----------
    group, trait : str
        Group and trait.
    fold : int
        The held-out fold; -1 if the readout was fitted to all images.
    parts : tuple of LinearPart
        Weights of each feature space.
    mean : float
        Mean rating of the training images.

    Raises
    ------
    ValueError
        If two parts read the same feature space.
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
        """Return the weights of each feature space."""
        return self.parts

    def predict(self, features: Mapping[FeatureSpace, np.ndarray]) -> np.ndarray:
        """Predict ratings."""
        return np.asarray(self.mean + sum(self.contributions(features).values()))

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the weights and references of each feature space by name."""
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
        """Return a readout whose weights are shuffled within each feature space."""
        return replace(
            self, parts=tuple(replace(part, weight=_shuffle(part.weight, rng)) for part in self.parts)
        )


END_OF_VGG16 = FeatureSpace(Tap("block5_pool", 1))
"""Feature space of dense readouts: the global average of block 5 of VGG16."""


@dataclass(frozen=True, eq=False)
class DenseReadout(Readout):
    """A dense readout as in Cao et al. (2023): a hidden layer with ReLU and one output, on averaged features.

    Parameters
    ----------
    group, trait : str
        Group and trait.
    fold : int
        The held-out fold; -1 if the readout was fitted to all images.
    fc1_weight : ndarray of shape (hidden, channel)
        Weights of the first layer.
    fc1_bias : ndarray of shape (hidden,)
        Biases of the first layer.
    fc2_weight : ndarray of shape (1, hidden)
        Weights of the second layer.
    fc2_bias : ndarray of shape (1,)
        Biases of the second layer.
    mean : float
        Mean rating of the training images, which is added to the output; 0 if trained on raw ratings.
    space : FeatureSpace
        Feature space that is read, by default the global average of block 5.
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
        """Build a readout from arrays.

        Parameters
        ----------
        fc1_weight : ndarray of shape (hidden, channel)
            Weights of the first layer.
        fc1_bias : ndarray of shape (hidden,)
            Biases of the first layer.
        fc2_weight : ndarray of shape (1, hidden)
            Weights of the second layer.
        fc2_bias : ndarray of shape (1,)
            Biases of the second layer.
        group, trait : str
            Group and trait.
        fold : int
            The held-out fold.
        mean : float
            Mean rating that is added to the output.

        Returns
        -------
        DenseReadout
            The readout, with float32 arrays.

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
        """The single feature space of the readout."""
        return (self.space,)

    def dense_layers(self) -> tuple[DenseLayer, ...]:
        """Return the hidden layer and the output layer."""
        return (DenseLayer(self.fc1_weight, self.fc1_bias), DenseLayer(self.fc2_weight, self.fc2_bias))

    def predict(self, features: Mapping[FeatureSpace, np.ndarray]) -> np.ndarray:
        """Predict ratings from features of shape (image, channel, 1, 1)."""
        averaged = features[self.space][:, :, 0, 0]
        hidden = np.maximum(averaged @ self.fc1_weight.T + self.fc1_bias, 0)
        return np.asarray((hidden @ self.fc2_weight.T + self.fc2_bias)[:, 0] + self.mean)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the weights and biases of both layers by name."""
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
        """Return a readout whose weights are shuffled within each layer."""
        return replace(
            self, fc1_weight=_shuffle(self.fc1_weight, rng), fc2_weight=_shuffle(self.fc2_weight, rng)
        )


@dataclass(frozen=True, eq=False)
class Tail:
    """Fine-tuned last layers of a network, which the readouts of a group and fold share.

    Parameters
    ----------
    layers : tuple of str
        Names of the convolution and pooling layers, first to last.
    tensors : mapping of str to ndarray
        ``NAME.weight`` (out, in, 3, 3) and ``NAME.bias`` (out,) of each convolution, float32.
    """

    layers: tuple[str, ...]
    tensors: Mapping[str, np.ndarray]

    @cached_property
    def network(self) -> "Backbone":
        """Network of the fine-tuned layers, whose input is the output of the frozen layers."""
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
        """Apply the layers to features, and average their output over rows and columns.

        Parameters
        ----------
        features : ndarray of shape (image, channel, row, column)
            Output of the frozen layers.

        Returns
        -------
        ndarray of shape (image, channel)
            Averages of the last layer.
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
        The held-out fold; -1 if the readout was fitted to all images.
    tail : Tail
        The fine-tuned layers.
    weight : ndarray of shape (channel,)
        Weights of the averages of the last layer, in rating units.
    reference : ndarray of shape (channel,)
        Mean of these averages over the training images.
    mean : float
        Mean rating of the training images.
    space : FeatureSpace
        Input of the fine-tuned layers: the output of the last frozen layer.
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
        """The feature space that the fine-tuned layers read."""
        return (self.space,)

    def linear_parts(self) -> tuple[LinearPart, ...]:
        """Return the weights of the averages of the last layer."""
        end = FeatureSpace(Tap(self.tail.layers[-1], 1))
        return (LinearPart(end, self.weight[:, None, None], self.reference[:, None, None]),)

    def predict(self, features: Mapping[FeatureSpace, np.ndarray]) -> np.ndarray:
        """Predict ratings from the output of the last frozen layer."""
        averages = self.tail.averages(features[self.space])
        return np.asarray(self.mean + (averages - self.reference) @ self.weight)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the weights and references of the linear readout by name."""
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
        """Return a readout whose linear weights are shuffled; the fine-tuned layers are unchanged."""
        return replace(self, weight=_shuffle(self.weight, rng))
