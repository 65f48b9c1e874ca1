"""Stage that computes the features of the prepared images, in blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from traitlens.arrays import open_arrays
from traitlens.artifacts import FEATURES, PREPARED
from traitlens.columns import IMAGE
from traitlens.computing.blocks import blocks_of, make_blocks
from traitlens.computing.machine import Machine
from traitlens.features.extraction import extract, split_spaces
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.pipeline.stage_io import StageIO


@dataclass(frozen=True)
class FeatureBlocks:
    """Function that computes features, one block of images at a time.

    Parameters
    ----------
    machine : Machine
        Device and precision of the network.
    prepared : Path
        File of the prepared images.
    blocks : list of ndarray
        Positions of the images of each block.
    spaces : sequence of FeatureSpace
        Feature spaces of the readouts.
    """

    machine: Machine
    prepared: Path
    blocks: list[np.ndarray]
    spaces: Sequence[FeatureSpace]

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """Return one block of features: (image, channel, row, column) of one space, or (image, feature)."""
        pixels = open_arrays(self.prepared)["pixels"][self.blocks[number]].to_numpy()
        found = extract(self.machine.backbone(), self.spaces, pixels)
        if len(self.spaces) == 1:
            return {"features": found[self.spaces[0]]}
        flat = [found[space].reshape(len(pixels), -1) for space in self.spaces]
        return {"features": np.concatenate(flat, axis=1)}


def features(io: StageIO) -> None:
    """Write the features of all prepared images."""
    assert io.backbone
    blocks = list(blocks_of(np.arange(io.read(PREPARED).sizes[IMAGE])))
    make = FeatureBlocks(io.machine, io.file(PREPARED), blocks, list(io.value("spaces")))
    make_blocks(io.engine, io.blocks, make, [len(block) for block in blocks], io.advance)
    io.blocks.join(len(blocks), "features", io.file(FEATURES))


def read_features(io: StageIO) -> dict[FeatureSpace, np.ndarray]:
    """Read the features of each space: arrays (image, channel, row, column), memory-mapped."""
    return split_spaces(io.read(FEATURES), list(io.value("spaces")), io.shapes)
