"""Features of altered faces: without hair and background, in grey, mirrored."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from traitlens import keeping
from traitlens.arrays import open_arrays
from traitlens.comparison.by_cue import CUES
from traitlens.faces.regions import REGIONS, region_labels
from traitlens.features.backbone import Backbone
from traitlens.features.extraction import extract
from traitlens.features.spaces import FeatureSpace
from traitlens.pipeline.blocks import blocks_of, make_blocks
from traitlens.pipeline.engines import Engine
from traitlens.pipeline.machine import Machine
from traitlens.watching import Advance
from traitlens.words import IMAGE, Y


@dataclass(frozen=True)
class CueWork:
    """Makes blocks of features of altered faces.

    Parameters
    ----------
    machine : Machine
        Where and how the network is run.
    space : FeatureSpace
        What the readouts read.
    prepared : Path
        The prepared images, all with landmarks.
    blocks : list of ndarray
        Positions of each block's images.
    """

    machine: Machine
    space: FeatureSpace
    prepared: Path
    blocks: list[np.ndarray]

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """Make a block: features (image, channel, row, column) by the name of the cue."""
        positions, prepared = self.blocks[number], open_arrays(self.prepared)
        backbone = self.machine.backbone()
        neutral, background = _neutral_colour(backbone), REGIONS.index("background")
        pixels, points = (prepared[name][positions].to_numpy() for name in ("pixels", "points"))
        outside = [region_labels(mesh, prepared.sizes[Y]) == background for mesh in points]
        made = {}
        for cue, alter in CUES.items():
            altered = [alter(*pair, neutral) for pair in zip(pixels, outside, strict=True)]
            made[cue] = extract(backbone, [self.space], np.stack(altered))[self.space]
        return made


def altered_features(
    engine: Engine,
    kept: keeping.Blocks,
    machine: Machine,
    space: FeatureSpace,
    prepared: Path,
    advance: Advance,
) -> dict[str, dict[FeatureSpace, np.ndarray]]:
    """Compute the features of altered faces, a block of images at a time.

    Parameters
    ----------
    engine : Engine
        Who makes the blocks.
    kept : Blocks
        Where blocks are kept, so that a killed run goes on.
    machine : Machine
        Where and how the network is run.
    space : FeatureSpace
        What the readouts read.
    prepared : Path
        The prepared images, all with landmarks.
    advance : callable
        Told of images done.

    Returns
    -------
    dict of str to dict of FeatureSpace to ndarray
        (image, channel, row, column) by the name of the cue.
    """
    positions = list(blocks_of(np.arange(open_arrays(prepared).sizes[IMAGE])))
    work = CueWork(machine, space, prepared.resolve(), positions)
    make_blocks(engine, kept, work, [len(block) for block in positions], advance)
    blocks = [kept.read(number) for number in range(len(positions))]
    return {cue: {space: np.concatenate([block[cue] for block in blocks])} for cue in CUES}


def _neutral_colour(backbone: Backbone) -> np.ndarray:
    """Give the colour (red, green, blue) whose network input is zero."""
    mean = np.array(backbone.preprocessing.mean)
    scale = 255.0 if mean.max() <= 1 else 1.0
    return (mean[::-1] if backbone.preprocessing.channels == "BGR" else mean) * scale
