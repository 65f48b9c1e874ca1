"""Features of altered faces: without hair and background, in grey, mirrored."""

import numpy as np
import xarray as xr

from traitlens import keeping
from traitlens.comparison.by_cue import CUES
from traitlens.faces.regions import REGIONS, region_labels
from traitlens.features.backbone import Backbone
from traitlens.features.taps import compute_features
from traitlens.pipeline.blocks import blocks_of
from traitlens.readouts.readout import FeatureSpace
from traitlens.watching import Advance
from traitlens.words import IMAGE, Y


def altered_features(
    kept: keeping.Blocks, backbone: Backbone, space: FeatureSpace, prepared: xr.Dataset, advance: Advance
) -> dict[str, dict[FeatureSpace, np.ndarray]]:
    """Compute the features of altered faces, a block of images at a time.

    Parameters
    ----------
    kept : Blocks
        Where blocks are kept, so that a killed run goes on.
    backbone : Backbone
        The network.
    space : FeatureSpace
        What the readouts read.
    prepared : Dataset
        The prepared images, all with landmarks.
    advance : callable
        Told of images done.

    Returns
    -------
    dict of str to dict of FeatureSpace to ndarray
        (image, channel, row, column) by the name of the cue.
    """
    backbone.up_to(space.tap.layer)
    neutral = _neutral_colour(backbone)
    background = REGIONS.index("background")
    blocks = []
    for number, positions in enumerate(blocks_of(np.arange(prepared.sizes[IMAGE]))):

        def make(positions: np.ndarray = positions) -> dict[str, np.ndarray]:
            pixels = prepared["pixels"][positions].to_numpy()
            points = prepared["points"][positions].to_numpy()
            outside = [region_labels(mesh, prepared.sizes[Y]) == background for mesh in points]
            return {
                cue: image_features(
                    backbone,
                    space,
                    np.stack([alter(*pair, neutral) for pair in zip(pixels, outside, strict=True)]),
                )
                for cue, alter in CUES.items()
            }

        blocks.append(kept.make(number, make))
        advance(len(positions))
    return {cue: {space: space.apply(np.concatenate([block[cue] for block in blocks]))} for cue in CUES}


def image_features(backbone: Backbone, space: FeatureSpace, pixels: np.ndarray) -> np.ndarray:
    """Compute one feature space of a few images, before its transform.

    Parameters
    ----------
    backbone : Backbone
        The network.
    space : FeatureSpace
        What is read; of mirror images too where it says so.
    pixels : ndarray of uint8 (image, y, x, colour)
        The images.

    Returns
    -------
    ndarray of float32 (image, channel, row, column)
        The features.
    """
    views = [pixels, pixels[:, :, ::-1]] if space.mirror else [pixels]
    seen = [compute_features(backbone, [view], [space.tap])[space.tap] for view in views]
    return np.asarray(np.mean(seen, axis=0, dtype=np.float32))


def _neutral_colour(backbone: Backbone) -> np.ndarray:
    """Give the colour (red, green, blue) whose network input is zero."""
    mean = np.array(backbone.preprocessing.mean)
    scale = 255.0 if mean.max() <= 1 else 1.0
    return (mean[::-1] if backbone.preprocessing.channels == "BGR" else mean) * scale
