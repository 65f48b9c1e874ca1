"""Stages that refit readouts under permutations of raters, and that test variables of raters."""

from typing import Any

import pandas as pd

from traitlens.artifacts import (
    COMMON_PENALTIES,
    DIFFERENCE_TESTS,
    MATCHED_TESTS,
    PERFORMANCE_TESTS,
    UTILISATION,
    VARIABLE_TESTS,
)
from traitlens.columns import FOLD, GROUP, IDENTITY, IMAGE, TRAIT
from traitlens.comparison.by_face_type import predict_difference
from traitlens.comparison.by_performance import compare_performance, match_reliability
from traitlens.comparison.by_variable import compare_by_variable
from traitlens.comparison.compared_groups import pairs_of_groups, shared_ratings
from traitlens.comparison.penalty import choose_common_penalties
from traitlens.comparison.refitting import FeatureKernel
from traitlens.pipeline.stage_io import StageIO
from traitlens.pipeline.stages.comparisons import permutation_options
from traitlens.pipeline.stages.features import read_features
from traitlens.readouts.combined_kernel import CombinedKernel, combine_kernels


def read_kernel(io: StageIO) -> tuple[FeatureKernel, pd.DataFrame]:
    """Compute the kernel and read the ratings with which readouts are refitted.

    Both contain only the groups, images and traits of :func:`shared_ratings`.
    """
    folds, ratings = io.value("folds"), io.value("ratings")
    names = tuple(folds[IMAGE].astype(str))
    kernel = FeatureKernel(names, folds[FOLD].to_numpy(), combine_features(io).values)
    groups, images, traits = shared_ratings(ratings)
    rated = ratings[IMAGE].isin(images) & ratings[TRAIT].isin(traits) & ratings[GROUP].isin(groups)
    return kernel.take(set(images)), ratings[rated]


def combine_features(io: StageIO) -> CombinedKernel:
    """Compute the kernel of all feature spaces, weighted as in the settings."""
    return combine_kernels(read_features(io), io.value("spaces"), io.value("settings.readout.whiten"))


def read_penalties(io: StageIO) -> dict[str, float]:
    """Read the ridge penalty of each trait."""
    table = io.read(COMMON_PENALTIES)
    return dict(zip(table[TRAIT], table["penalty"].astype(float), strict=True))


def common_penalties(io: StageIO) -> None:
    """Write the ridge penalty of each trait with which readouts of all groups are refitted."""
    kernel, ratings = read_kernel(io)
    identities = io.value("folds").set_index(IMAGE)[IDENTITY][list(kernel.images)].to_numpy()
    penalties = choose_common_penalties(ratings, kernel, identities, io.value("settings.seed"))
    io.write(COMMON_PENALTIES, pd.DataFrame(list(penalties.items()), columns=[TRAIT, "penalty"]))


def performance(io: StageIO) -> None:
    """Write tests of group differences in performance, with all raters and at equal reliability."""
    kernel, ratings = read_kernel(io)
    penalties = read_penalties(io)
    io.write(PERFORMANCE_TESTS, compare_performance(ratings, kernel, penalties, **permutation_options(io)))
    matched = [
        match_reliability(ratings, kernel, penalties, groups=pair, seed=io.value("settings.seed"))
        for pair in pairs_of_groups(ratings)
    ]
    io.write(MATCHED_TESTS, pd.concat(matched, ignore_index=True))


def difference(io: StageIO) -> None:
    """Write how well features of faces predict the difference between groups."""
    kernel, ratings = read_kernel(io)
    table = predict_difference(
        ratings, kernel, read_penalties(io), io.value("identities"), **permutation_options(io)
    )
    io.write(DIFFERENCE_TESTS, table)


def variables(io: StageIO) -> None:
    """Write how mean ratings and cue utilisation are associated with variables of raters."""
    utilisation = io.read(UTILISATION) if io.has(UTILISATION) else None
    names = [*io.value("settings.comparison.variables"), *([GROUP] * (len(io.value("groups")) > 2))]
    found = [
        compare_by_variable(io.value("ratings"), name, utilisation, **_permutations(io)) for name in names
    ]
    io.write(VARIABLE_TESTS, pd.concat(found, ignore_index=True))


def _permutations(io: StageIO) -> dict[str, Any]:
    return {
        "permutations": io.value("settings.comparison.permutations"),
        "seed": io.value("settings.seed"),
    }
