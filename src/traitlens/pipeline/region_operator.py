"""What refitting under each exchange of raters needs of the network: regions taken back to the features."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from traitlens import keeping
from traitlens.arrays import open_arrays
from traitlens.comparison.operator import RegionOperator
from traitlens.faces.regions import Polygon, region_labels, region_names
from traitlens.features.spaces import FeatureSpace
from traitlens.pipeline.blocks import blocks_by_fold, make_blocks
from traitlens.pipeline.engines import Engine
from traitlens.pipeline.machine import Machine
from traitlens.readouts.kernels import linear_kernel
from traitlens.relevance.regions import RegionOperators, region_kernels
from traitlens.watching import Advance
from traitlens.words import Y


@dataclass(frozen=True)
class RegionKernelWork:
    """Makes blocks of what each training image contributes to each region of each face.

    Parameters
    ----------
    machine : Machine
        Where and how the network is run.
    space : FeatureSpace
        What the readouts read.
    features : Path
        What they read of each image: an array (image, channel, row, column).
    prepared : Path
        The prepared images, all with landmarks.
    blocks : list of (int, ndarray)
        Fold and positions of each block's images.
    references : dict of int to ndarray
        Mean features of the images outside each fold.
    method : str
        Name of the relevance method.
    polygons : mapping of str to sequence
        The study's own regions.
    """

    machine: Machine
    space: FeatureSpace
    features: Path
    prepared: Path
    blocks: list[tuple[int, np.ndarray]]
    references: dict[int, np.ndarray]
    method: str
    polygons: Mapping[str, Polygon] = field(default_factory=dict)

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """Make a block: rows (image, region, training image)."""
        fold, positions = self.blocks[number]
        prepared = open_arrays(self.prepared)
        features = np.load(self.features, mmap_mode="r", allow_pickle=False)
        operators = RegionOperators(self.machine.backbone(), [self.space], self.method)
        regions = []
        for position in positions:
            points = prepared["points"][position].to_numpy()
            labels = region_labels(points, prepared.sizes[Y], self.polygons)
            masks = labels == np.arange(len(region_names(self.polygons)))[:, None, None]
            regions.append(operators.of(prepared["pixels"][position].to_numpy(), masks))
        rows = region_kernels(regions, self.space, features, self.references[fold])
        return {"rows": rows.transpose("image", ...).to_numpy()}


def make_region_operator(
    engine: Engine,
    kept: keeping.Blocks,
    machine: Machine,
    space: FeatureSpace,
    features: Path,
    prepared: Path,
    folds: np.ndarray,
    method: str,
    advance: Advance,
    polygons: Mapping[str, Polygon],
) -> RegionOperator:
    """Make what ridge readouts need to be refitted and explained by region, a block of images at a time.

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
    features : Path
        What they read of each image: an array (image, channel, row, column).
    prepared : Path
        The prepared images, all with landmarks.
    folds : ndarray (image,)
        The fold of each image.
    method : str
        Name of the relevance method.
    advance : callable
        Told of images done.
    polygons : mapping of str to sequence
        The study's own regions.

    Returns
    -------
    RegionOperator
        For the exchange of raters between groups.
    """
    seen = np.load(features, mmap_mode="r", allow_pickle=False)
    blocks = list(blocks_by_fold(folds))
    references = {int(fold): seen[folds != fold].mean(0) for fold in np.unique(folds)}
    work = RegionKernelWork(
        machine, space, features.resolve(), prepared.resolve(), blocks, references, method, polygons
    )
    make_blocks(engine, kept, work, [len(positions) for _, positions in blocks], advance)
    names = region_names(polygons)
    kernels = np.zeros((len(names), len(folds), len(folds)))
    for number, (_, positions) in enumerate(blocks):
        kernels[:, positions] = kept.read(number)["rows"].transpose(1, 0, 2)
    faces = open_arrays(prepared)
    images, size = tuple(faces["image"].to_numpy()), faces.sizes[Y]
    areas = np.zeros(len(names))
    for points in faces["points"].to_numpy():
        labels = region_labels(points, size, polygons)
        areas += np.bincount(labels.ravel(), minlength=len(names)) / len(images)
    return RegionOperator(images, names, folds, linear_kernel(seen), kernels, areas)
