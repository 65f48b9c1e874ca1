"""Stage that predicts altered faces: without hair and background, in grey, and mirrored."""

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
    """Function that computes the features of altered faces, one block of images at a time.

    Parameters
    ----------
    machine : Machine
        Device and precision of the network.
    space : FeatureSpace
        The readouts' only feature space.
    prepared, labels : Path
        Files of the prepared images and of their region labels.
    blocks : list of ndarray
        Positions of the images of each block.
    """

    machine: Machine
    space: FeatureSpace
    prepared: Path
    labels: Path
    blocks: list[np.ndarray]

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """Return the features (image, channel, row, column) of one block, by name of the alteration."""
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
    """Write how well altered faces are predicted, by the same readouts and by refitted ones."""
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
    """Return the colour (red, green, blue) that becomes zero when the network normalises its input."""
    mean = np.array(backbone.preprocessing.mean)
    scale = 255.0 if mean.max() <= 1 else 1.0
    return (mean[::-1] if backbone.preprocessing.channels == "BGR" else mean) * scale
