"""What a fitted readout is: plain arrays that predict one group's ratings of one trait.

Two kinds: :class:`LinearReadout` (a ridge regression on taps) and :class:`DenseReadout` (the head of Cao et
al. 2023). Both explain the deviation from `mean`, the mean rating of the images that they were fitted on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from traitlens.features.taps import Tap


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
    """

    tap: Tap
    view: str = "image"
    transform: Literal["none", "sqrt"] = "none"
    mirror: bool = False

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
    """

    group: str
    trait: str
    fold: int
    parts: tuple[LinearPart, ...]
    mean: float

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
        deviation = sum(
            np.einsum("icyx,cyx->i", features[part.space] - part.reference, part.weight)
            for part in self.parts
        )
        return np.asarray(self.mean + deviation)


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


Readout = LinearReadout | DenseReadout
