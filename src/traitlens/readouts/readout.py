"""What a fitted readout is: plain arrays that predict one group's ratings of one trait.

Three kinds: :class:`LinearReadout` (a ridge regression on taps), :class:`DenseReadout` (the head of Cao et
al. 2023) and :class:`TunedReadout` (the network's last blocks, trained on, with a linear readout of their
end). All explain the deviation from `mean`, the mean rating of the images that they were fitted on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from traitlens.features.taps import Tap

if TYPE_CHECKING:
    from traitlens.features.backbone import Backbone


@dataclass(frozen=True)
class FeatureSpace:
    """One view of the image as a readout sees it: crop, tap and transform.

    Parameters
    ----------
    tap : Tap
        The layer and its grid.
    view : str, default "image"
        Name of the crop of the prepared image; "image" is the prepared image itself.
    transform : {"none", "sqrt"}
        Applied to the averaged activation, elementwise.
    mirror : bool, default False
        Whether the feature is the mean over the view and its mirror image.
    region : str, default ""
        The region of the face that is read, on the average face; the whole face where empty.
    """

    tap: Tap
    view: str = "image"
    transform: Literal["none", "sqrt"] = "none"
    mirror: bool = False
    region: str = ""

    def apply(self, averaged: np.ndarray) -> np.ndarray:
        """Transform averaged activations.

        Parameters
        ----------
        averaged : ndarray
            (image, channel, row, column), not negative.

        Returns
        -------
        ndarray
            The features, of the same shape.
        """
        return np.sqrt(averaged) if self.transform == "sqrt" else averaged


@dataclass(frozen=True, eq=False)
class LinearPart:
    """The share of one feature space in a linear readout.

    Parameters
    ----------
    space : FeatureSpace
        What is read.
    weight : ndarray
        (channel, row, column), rating units per feature.
    reference : ndarray
        (channel, row, column): mean feature over the images that the readout was fitted on.
    """

    space: FeatureSpace
    weight: np.ndarray
    reference: np.ndarray


@dataclass(frozen=True, eq=False)
class LinearReadout:
    r"""A linear readout: :math:`f(x) = m + \sum_s \sum_i w_{si} (z_{si}(x) - \bar z_{si})`.

    Parameters
    ----------
    group, trait : str
        Whose ratings of what.
    fold : int
        The fold that it did not see; -1 where it saw every image.
    parts : tuple of LinearPart
        Weights and references by feature space.
    mean : float
        Mean rating of the images that it was fitted on.

    Raises
    ------
    ValueError
        If two parts read the same feature space: their weights belong into one.
    """

    group: str
    trait: str
    fold: int
    parts: tuple[LinearPart, ...]
    mean: float

    def __post_init__(self) -> None:
        if len({part.space for part in self.parts}) < len(self.parts):
            raise ValueError("two parts of a linear readout read the same feature space; make them one")

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
        return np.asarray(self.mean + sum(self.contributions(features).values()))

    def contributions(self, features: Mapping[FeatureSpace, np.ndarray]) -> dict[FeatureSpace, np.ndarray]:
        """Compute what each feature space adds to the predictions.

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
            for part in self.parts
        }


@dataclass(frozen=True, eq=False)
class DenseReadout:
    """The head of Cao et al. (2023): global average, dense with ReLU, dense with one output.

    Parameters
    ----------
    group, trait : str
        Whose ratings of what.
    fold : int
        The fold that it did not see; -1 where it saw every image.
    fc1_weight : ndarray
        (hidden, channel).
    fc1_bias : ndarray
        (hidden,).
    fc2_weight : ndarray
        (1, hidden).
    fc2_bias : ndarray
        (1,).
    mean : float
        Added to the output: mean rating of the images that it was fitted on; 0 where it was trained on
        ratings as they are.
    space : FeatureSpace
        What is read: the global average of block 5.
    """

    group: str
    trait: str
    fold: int
    fc1_weight: np.ndarray
    fc1_bias: np.ndarray
    fc2_weight: np.ndarray
    fc2_bias: np.ndarray
    mean: float = 0.0
    space: FeatureSpace = FeatureSpace(Tap("block5_pool", 1))

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
        """Make a readout from plain arrays.

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
            The fold that it did not see.
        mean : float
            Added to the output.

        Returns
        -------
        DenseReadout
            The readout, float32.

        Raises
        ------
        ValueError
            If the shapes do not fit one another.
        """
        hidden, _ = np.shape(fc1_weight)
        if np.shape(fc1_bias) != (hidden,) or np.shape(fc2_weight) != (1, hidden):
            raise ValueError(
                f"shapes do not fit: fc1_weight {np.shape(fc1_weight)}, fc1_bias {np.shape(fc1_bias)}, "
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

    def predict(self, features: Mapping[FeatureSpace, np.ndarray]) -> np.ndarray:
        """Predict ratings.

        Parameters
        ----------
        features : mapping of FeatureSpace to ndarray
            (image, channel, 1, 1).

        Returns
        -------
        ndarray
            (image,), rating units.
        """
        averaged = features[self.space][:, :, 0, 0]
        hidden = np.maximum(averaged @ self.fc1_weight.T + self.fc1_bias, 0)
        return np.asarray((hidden @ self.fc2_weight.T + self.fc2_bias)[:, 0] + self.mean)


@dataclass(frozen=True, eq=False)
class Tail:
    """The last layers of a network, trained on; readouts of one group and fold share them.

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
        """The layers as a network whose input is what the frozen layers gave."""
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
        """Run the layers and average their end over the picture.

        Parameters
        ----------
        features : ndarray
            (image, channel, row, column), what the frozen layers gave.

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
class TunedReadout:
    r"""A linear readout of layers that were trained on: :math:`f(x) = m + w (\bar a(x) - \bar z)`.

    Parameters
    ----------
    group, trait : str
        Whose ratings of what.
    fold : int
        The fold that it did not see; -1 where it saw every image.
    tail : Tail
        The layers.
    weight : ndarray
        (channel,), rating units per average activation of the last layer.
    reference : ndarray
        (channel,): mean of these over the images that the readout was fitted on.
    mean : float
        Mean rating of the images that it was fitted on.
    space : FeatureSpace
        What the layers are given: the last frozen layer as it is.
    """

    group: str
    trait: str
    fold: int
    tail: Tail
    weight: np.ndarray
    reference: np.ndarray
    mean: float
    space: FeatureSpace

    def predict(self, features: Mapping[FeatureSpace, np.ndarray]) -> np.ndarray:
        """Predict ratings.

        Parameters
        ----------
        features : mapping of FeatureSpace to ndarray
            (image, channel, row, column).

        Returns
        -------
        ndarray
            (image,), rating units.
        """
        averages = self.tail.averages(features[self.space])
        return np.asarray(self.mean + (averages - self.reference) @ self.weight)


Readout = LinearReadout | DenseReadout | TunedReadout
