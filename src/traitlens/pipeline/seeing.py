"""Images become features, a block of images at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from traitlens.arrays import open_arrays
from traitlens.features.extraction import extract
from traitlens.features.spaces import FeatureSpace
from traitlens.pipeline.machine import Machine


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
    spaces : sequence of FeatureSpace
        What is read.
    """

    machine: Machine
    prepared: Path
    blocks: list[np.ndarray]
    spaces: Sequence[FeatureSpace]

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """Make a block: features (image, channel, row, column), or (image, feature) of several spaces."""
        pixels = open_arrays(self.prepared)["pixels"][self.blocks[number]].to_numpy()
        found = extract(self.machine.backbone(), self.spaces, pixels)
        if len(self.spaces) == 1:
            return {"features": found[self.spaces[0]]}
        flat = [found[space].reshape(len(pixels), -1) for space in self.spaces]
        return {"features": np.concatenate(flat, axis=1)}
