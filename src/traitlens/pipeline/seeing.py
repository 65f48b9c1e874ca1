"""Images become features, a block of images at a time."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from traitlens.arrays import open_arrays
from traitlens.pipeline.cues import image_features
from traitlens.pipeline.machine import Machine
from traitlens.readouts.readout import FeatureSpace


@dataclass(frozen=True)
class FeatureWork:
    """Makes blocks of features.

    Parameters
    ----------
    machine : Machine
        Where and how the network is run.
    prepared : Path
        The prepared images.
    blocks : list of ndarray
        Positions of each block's images.
    space : FeatureSpace
        What is read.
    """

    machine: Machine
    prepared: Path
    blocks: list[np.ndarray]
    space: FeatureSpace

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """Make a block: features (image, channel, row, column)."""
        pixels = open_arrays(self.prepared)["pixels"][self.blocks[number]].to_numpy()
        features = image_features(self.machine.backbone(), self.space, pixels)
        return {"features": self.space.apply(features)}
