"""What refitting under each exchange of raters needs of the network: regions taken back to the features."""

import numpy as np
import xarray as xr

from traitlens import keeping
from traitlens.comparison.operator import RegionOperator
from traitlens.faces.regions import REGIONS, region_labels
from traitlens.features.backbone import Backbone
from traitlens.pipeline.blocks import blocks_by_fold
from traitlens.readouts.kernels import linear_kernel
from traitlens.readouts.readout import FeatureSpace
from traitlens.relevance.regions import RegionOperators, region_kernels
from traitlens.watching import Advance
from traitlens.words import Y


def make_region_operator(
    kept: keeping.Blocks,
    backbone: Backbone,
    space: FeatureSpace,
    features: np.ndarray,
    prepared: xr.Dataset,
    folds: np.ndarray,
    method: str,
    advance: Advance,
) -> RegionOperator:
    """Make what ridge readouts need to be refitted and explained by region, a block of images at a time.

    Parameters
    ----------
    kept : Blocks
        Where blocks are kept, so that a killed run goes on.
    backbone : Backbone
        The network.
    space : FeatureSpace
        What the readouts read.
    features : ndarray (image, feature)
        What they read of each image.
    prepared : Dataset
        The prepared images, all with landmarks.
    folds : ndarray (image,)
        The fold of each image.
    method : str
        Name of the relevance method.
    advance : callable
        Told of images done.

    Returns
    -------
    RegionOperator
        For the exchange of raters between groups.
    """
    size = prepared.sizes[Y]
    kernels = np.zeros((len(REGIONS), len(folds), len(folds)))
    operators = RegionOperators(backbone, [space], method)
    for number, (fold, positions) in enumerate(blocks_by_fold(folds)):
        reference = features[folds != fold].mean(0)

        def make(
            positions: np.ndarray = positions, reference: np.ndarray = reference
        ) -> dict[str, np.ndarray]:
            pixels = prepared["pixels"][positions].to_numpy()
            points = prepared["points"][positions].to_numpy()
            labels = np.stack([region_labels(mesh, size) for mesh in points])
            masks = labels[:, None] == np.arange(len(REGIONS))[:, None, None]
            regions = [operators.of(*pair) for pair in zip(pixels, masks, strict=True)]
            rows = region_kernels(regions, space, features, reference).transpose("image", ...)
            return {"rows": rows.to_numpy()}

        kernels[:, positions] = kept.make(number, make)["rows"].transpose(1, 0, 2)
        advance(len(positions))
    images = tuple(prepared["image"].to_numpy())
    return RegionOperator(images, tuple(REGIONS), folds, linear_kernel(features), kernels)
