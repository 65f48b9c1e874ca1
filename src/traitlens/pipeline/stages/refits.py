"""Comparisons that refit readouts under each permutation of raters: regions, performance, variables."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from traitlens.arrays import open_arrays
from traitlens.artifacts import (
    COMMON_PENALTIES,
    FEATURES,
    MATCHED_TESTS,
    PERFORMANCE_TESTS,
    PREPARED,
    RATER_REGIONS,
    REGION_KERNELS,
    REGION_LABELS,
    VARIABLE_TESTS,
)
from traitlens.columns import FOLD, GROUP, IDENTITY, IMAGE, REGION, TRAIT
from traitlens.comparison.by_performance import compare_performance, match_reliability
from traitlens.comparison.by_region import rater_regions
from traitlens.comparison.by_variable import compare_by_variable
from traitlens.comparison.exchange import pairs_of_groups, shared_ratings
from traitlens.comparison.operator import RegionOperator
from traitlens.comparison.penalty import choose_common_penalties
from traitlens.computing.blocks import blocks_by_fold, make_blocks
from traitlens.computing.machine import Machine
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.pipeline.stage_io import StageIO
from traitlens.pipeline.stages.comparisons import permutation_options
from traitlens.readouts.kernels import linear_kernel
from traitlens.relevance.region_operators import RegionPropagator, region_kernels
from traitlens.storage import atomic_write


@dataclass(frozen=True)
class RegionKernelBlocks:
    """Compute blocks of each training image's contribution to each region of each face.

    Parameters
    ----------
    machine : Machine
        Where and how the network is run.
    features : Path
        Features of all images: an array (image, channel, row, column).
    prepared, labels : Path
        The prepared images and their region labels.
    blocks : list of (int, ndarray)
        Fold and positions of each block's images.
    references : dict of int to ndarray
        Mean features of the images outside each fold.
    """

    machine: Machine
    space: FeatureSpace
    features: Path
    prepared: Path
    labels: Path
    blocks: list[tuple[int, np.ndarray]]
    references: dict[int, np.ndarray]
    method: str

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """Compute a block: rows (image, region, training image)."""
        fold, positions = self.blocks[number]
        prepared, labels = open_arrays(self.prepared), open_arrays(self.labels)
        numbers = np.arange(labels.sizes[REGION])[:, None, None]
        features = np.load(self.features, mmap_mode="r", allow_pickle=False)
        operators = RegionPropagator(self.machine.backbone(), [self.space], self.method)
        regions = []
        for position in positions:
            masks = labels["labels"][position].to_numpy() == numbers
            regions.append(operators.of(prepared["pixels"][position].to_numpy(), masks))
        rows = region_kernels(regions, self.space, features, self.references[fold])
        return {"rows": rows.transpose("image", ...).to_numpy()}


def compute_region_kernels(io: StageIO) -> None:
    """Write each training image's contribution to the relevance of each region of each face."""
    (space,), folds = io.value("spaces"), io.value("folds")[FOLD].to_numpy()
    assert io.backbone
    features = io.read(FEATURES)
    blocks = list(blocks_by_fold(folds))
    make = RegionKernelBlocks(
        io.machine,
        space,
        io.file(FEATURES),
        io.file(PREPARED),
        io.file(REGION_LABELS),
        blocks,
        {int(fold): features[folds != fold].mean(0) for fold in np.unique(folds)},
        io.value("settings.relevance.method"),
    )
    make_blocks(io.engine, io.blocks, make, [len(positions) for _, positions in blocks], io.advance)
    regions = io.read(REGION_LABELS).sizes[REGION]
    kernels = np.zeros((regions, len(folds), len(folds)))
    for number, (_, positions) in enumerate(blocks):
        kernels[:, positions] = io.blocks.read(number)["rows"].transpose(1, 0, 2)
    with atomic_write(io.file(REGION_KERNELS)) as temporary, temporary.open("wb") as stream:
        np.save(stream, kernels)


def read_operator(io: StageIO) -> tuple[RegionOperator, pd.DataFrame]:
    """Return the operator for refits, for the groups and images of :func:`shared_ratings`.

    Parameters
    ----------
    io : StageIO
        A stage that reads features, region labels, region kernels, folds, traits and ratings.
    """
    folds, labels, ratings = io.value("folds"), io.read(REGION_LABELS), io.value("ratings")
    names = tuple(str(name) for name in labels[REGION].to_numpy())
    areas = np.zeros(len(names))
    for own in labels["labels"].to_numpy():
        areas += np.bincount(own.ravel(), minlength=len(names)) / len(folds)
    operator = RegionOperator(
        tuple(labels[IMAGE].to_numpy()),
        names,
        folds[FOLD].to_numpy(),
        linear_kernel(io.read(FEATURES)),
        np.asarray(io.read(REGION_KERNELS)),
        areas,
    )
    groups, images, traits = shared_ratings(ratings)
    rated = ratings[IMAGE].isin(images) & ratings[TRAIT].isin(traits) & ratings[GROUP].isin(groups)
    return operator.take(set(images)), ratings[rated]


def read_penalties(io: StageIO) -> dict[str, float]:
    """Read the ridge penalty of each trait."""
    table = io.read(COMMON_PENALTIES)
    return dict(zip(table[TRAIT], table["penalty"].astype(float), strict=True))


def explain_raters(io: StageIO) -> None:
    """Write the relevance of regions by rater, and the ridge penalty of each trait."""
    operator, ratings = read_operator(io)
    identities = io.value("folds").set_index(IMAGE)[IDENTITY][list(operator.images)].to_numpy()
    penalties = choose_common_penalties(ratings, operator, identities, io.value("settings.seed"))
    table = pd.DataFrame({TRAIT: list(penalties), "penalty": list(penalties.values())})
    io.write(COMMON_PENALTIES, table)
    io.write(RATER_REGIONS, rater_regions(ratings, operator, penalties))


def performance(io: StageIO) -> None:
    """Write the differences of performance, also at equal reliability."""
    operator, ratings = read_operator(io)
    penalties = read_penalties(io)
    io.write(PERFORMANCE_TESTS, compare_performance(ratings, operator, penalties, **permutation_options(io)))
    matched = [
        match_reliability(ratings, operator, penalties, groups=pair, seed=io.value("settings.seed"))
        for pair in pairs_of_groups(ratings)
    ]
    io.write(MATCHED_TESTS, pd.concat(matched, ignore_index=True))


def variables(io: StageIO) -> None:
    """Write associations with variables of the raters."""
    operator, ratings = read_operator(io)
    penalties = read_penalties(io)
    names = [*io.value("settings.comparison.variables"), *([GROUP] * (len(io.value("groups")) > 2))]
    found = [compare_by_variable(ratings, name, operator, penalties, **_permutations(io)) for name in names]
    io.write(VARIABLE_TESTS, pd.concat(found, ignore_index=True))


def _permutations(io: StageIO) -> dict[str, Any]:
    return {
        "permutations": io.value("settings.comparison.permutations"),
        "seed": io.value("settings.seed"),
    }
