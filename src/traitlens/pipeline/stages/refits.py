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
from traitlens.pipeline.stage_io import Work
from traitlens.pipeline.stages.comparisons import permutation_options
from traitlens.readouts.kernels import linear_kernel
from traitlens.relevance.region_operators import RegionOperators, region_kernels
from traitlens.storage import write_whole


@dataclass(frozen=True)
class RegionKernelBlocks:
    """Compute blocks of what each training image contributes to each region of each face.

    Parameters
    ----------
    machine : Machine
        Where and how the network is run.
    space : FeatureSpace
        What the readouts read.
    features : Path
        What they read of each image: an array (image, channel, row, column).
    prepared, labels : Path
        The prepared images and their region labels.
    blocks : list of (int, ndarray)
        Fold and positions of each block's images.
    references : dict of int to ndarray
        Mean features of the images outside each fold.
    method : str
        Name of the relevance method.
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
        operators = RegionOperators(self.machine.backbone(), [self.space], self.method)
        regions = []
        for position in positions:
            masks = labels["labels"][position].to_numpy() == numbers
            regions.append(operators.of(prepared["pixels"][position].to_numpy(), masks))
        rows = region_kernels(regions, self.space, features, self.references[fold])
        return {"rows": rows.transpose("image", ...).to_numpy()}


def compute_region_kernels(work: Work) -> None:
    """Write what each training image contributes to the relevance of each region of each face."""
    (space,), folds = work.value("spaces"), work.value("folds")[FOLD].to_numpy()
    assert work.backbone
    features = work.read(FEATURES)
    blocks = list(blocks_by_fold(folds))
    make = RegionKernelBlocks(
        work.machine,
        space,
        work.file(FEATURES),
        work.file(PREPARED),
        work.file(REGION_LABELS),
        blocks,
        {int(fold): features[folds != fold].mean(0) for fold in np.unique(folds)},
        work.value("settings.relevance.method"),
    )
    make_blocks(work.engine, work.blocks, make, [len(positions) for _, positions in blocks], work.advance)
    regions = work.read(REGION_LABELS).sizes[REGION]
    kernels = np.zeros((regions, len(folds), len(folds)))
    for number, (_, positions) in enumerate(blocks):
        kernels[:, positions] = work.blocks.read(number)["rows"].transpose(1, 0, 2)
    with write_whole(work.file(REGION_KERNELS)) as temporary, temporary.open("wb") as stream:
        np.save(stream, kernels)


def read_operator(work: Work) -> tuple[RegionOperator, pd.DataFrame]:
    """Read what refits need, for the images that every group rated on every trait.

    Parameters
    ----------
    work : Work
        A stage that reads features, region labels, region kernels, folds, traits and ratings.

    Returns
    -------
    operator : RegionOperator
        Kernels and folds.
    ratings : DataFrame
        Ratings of the same images.
    """
    folds, labels, ratings = work.value("folds"), work.read(REGION_LABELS), work.value("ratings")
    names = tuple(str(name) for name in labels[REGION].to_numpy())
    areas = np.zeros(len(names))
    for own in labels["labels"].to_numpy():
        areas += np.bincount(own.ravel(), minlength=len(names)) / len(folds)
    operator = RegionOperator(
        tuple(labels[IMAGE].to_numpy()),
        names,
        folds[FOLD].to_numpy(),
        linear_kernel(work.read(FEATURES)),
        np.asarray(work.read(REGION_KERNELS)),
        areas,
    )
    images, traits = shared_ratings(ratings)
    rated = ratings[IMAGE].isin(images) & ratings[TRAIT].isin(traits)
    return operator.take(set(images)), ratings[rated]


def read_penalties(work: Work) -> dict[str, float]:
    """Read the ridge penalty of each trait.

    Parameters
    ----------
    work : Work
        A stage that reads them.

    Returns
    -------
    dict of str to float
        By trait.
    """
    table = work.read(COMMON_PENALTIES)
    return dict(zip(table[TRAIT], table["penalty"].astype(float), strict=True))


def explain_raters(work: Work) -> None:
    """Write the relevance of regions by rater, and the ridge penalty of each trait."""
    operator, ratings = read_operator(work)
    identities = work.value("folds").set_index(IMAGE)[IDENTITY][list(operator.images)].to_numpy()
    penalties = choose_common_penalties(ratings, operator, identities, work.value("settings.seed"))
    table = pd.DataFrame({TRAIT: list(penalties), "penalty": list(penalties.values())})
    work.write(COMMON_PENALTIES, table)
    work.write(RATER_REGIONS, rater_regions(ratings, operator, penalties))


def performance(work: Work) -> None:
    """Write the differences of performance, as they are and at equal reliability."""
    operator, ratings = read_operator(work)
    penalties = read_penalties(work)
    work.write(
        PERFORMANCE_TESTS, compare_performance(ratings, operator, penalties, **permutation_options(work))
    )
    matched = [
        match_reliability(ratings, operator, penalties, groups=pair, seed=work.value("settings.seed"))
        for pair in pairs_of_groups(ratings)
    ]
    work.write(MATCHED_TESTS, pd.concat(matched, ignore_index=True))


def variables(work: Work) -> None:
    """Write associations with variables of the raters."""
    operator, ratings = read_operator(work)
    penalties = read_penalties(work)
    names = [*work.value("settings.comparison.variables"), *([GROUP] * (len(work.value("groups")) > 2))]
    found = [compare_by_variable(ratings, name, operator, penalties, **_permutations(work)) for name in names]
    work.write(VARIABLE_TESTS, pd.concat(found, ignore_index=True))


def _permutations(work: Work) -> dict[str, Any]:
    return {
        "permutations": work.value("settings.comparison.permutations"),
        "seed": work.value("settings.seed"),
    }
