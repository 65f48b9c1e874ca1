"""Prediction of altered faces: without hair and background, in grey, mirrored."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from traitlens.arrays import open_arrays
from traitlens.artifacts import CUES, PREDICTIONS, PREPARED, REGION_LABELS, TARGETS
from traitlens.columns import IMAGE
from traitlens.comparison.by_cue import CUES as ALTERATIONS
from traitlens.comparison.by_cue import compare_cues
from traitlens.computing.blocks import blocks_of, make_blocks
from traitlens.computing.machine import Machine
from traitlens.faces.regions import REGIONS
from traitlens.features.backbone import Backbone
from traitlens.features.extraction import extract
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.pipeline.stage_io import StageIO
from traitlens.pipeline.stages.readouts import read_readouts
from traitlens.readouts.fit_results import FittedReadouts


@dataclass(frozen=True)
class AlteredFeatureBlocks:
    """Compute blocks of features of altered faces.

    Parameters
    ----------
    machine : Machine
        Device and precision of the network.
    prepared, labels : Path
        The prepared images and their region labels.
    """

    machine: Machine
    space: FeatureSpace
    prepared: Path
    labels: Path
    blocks: list[np.ndarray]

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """Compute a block: features (image, channel, row, column) by the name of the alteration."""
        positions, backbone = self.blocks[number], self.machine.backbone()
        neutral = _neutral_colour(backbone)
        pixels = open_arrays(self.prepared)["pixels"][positions].to_numpy()
        outside = open_arrays(self.labels)["labels"][positions].to_numpy() == REGIONS.index("background")
        made = {}
        for name, alter in ALTERATIONS.items():
            altered = np.stack([alter(*pair, neutral) for pair in zip(pixels, outside, strict=True)])
            made[name] = extract(backbone, [self.space], altered)[self.space]
        return made


def altered_faces(io: StageIO) -> None:
    """Write the performance on altered faces, of the same readouts and of refitted ones."""
    (space,), seed = io.value("spaces"), io.value("settings.seed")
    assert io.backbone
    blocks = list(blocks_of(np.arange(io.read(PREPARED).sizes[IMAGE])))
    make = AlteredFeatureBlocks(io.machine, space, io.file(PREPARED), io.file(REGION_LABELS), blocks)
    make_blocks(io.engine, io.blocks, make, [len(block) for block in blocks], io.advance)
    found = [io.blocks.read(number) for number in range(len(blocks))]
    altered = {name: {space: np.concatenate([block[name] for block in found])} for name in ALTERATIONS}
    fitted = FittedReadouts(read_readouts(io), io.read(PREDICTIONS), pd.DataFrame())
    sharing = io.value("settings.readout.sharing")
    table = compare_cues(fitted, altered, io.read(TARGETS), io.value("folds"), sharing=sharing, seed=seed)
    io.write(CUES, table)


def _neutral_colour(backbone: Backbone) -> np.ndarray:
    """Return the colour (red, green, blue) whose network input is zero."""
    mean = np.array(backbone.preprocessing.mean)
    scale = 255.0 if mean.max() <= 1 else 1.0
    return (mean[::-1] if backbone.preprocessing.channels == "BGR" else mean) * scale
