"""Tests between groups: of ratings, and of readouts refitted and explained by region under each exchange."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from traitlens import keeping
from traitlens.comparison.by_agreement import compare_agreement, rater_agreement
from traitlens.comparison.by_performance import compare_performance, match_reliability, transfer_table
from traitlens.comparison.by_rating import (
    compare_images,
    compare_means,
    compare_trait_space,
)
from traitlens.comparison.by_region import compare_regions, rater_regions
from traitlens.comparison.by_reliability import compare_reliability
from traitlens.comparison.by_variable import compare_by_variable
from traitlens.comparison.exchange import pairs_of_groups
from traitlens.comparison.operator import RegionOperator
from traitlens.faces.regions import REGIONS, region_labels
from traitlens.features.backbone import Backbone
from traitlens.pipeline.blocks import blocks_by_fold
from traitlens.ratings.trait_space import correlate_traits, find_components
from traitlens.readouts.kernels import linear_kernel
from traitlens.readouts.readout import FeatureSpace
from traitlens.relevance.regions import RegionOperators, region_kernels
from traitlens.study.reading import Study
from traitlens.watching import Advance
from traitlens.words import GROUP, TRAIT, Y

Tables = dict[str, pd.DataFrame]
"""Tables by the name of their file, without ending, in the results folder."""


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


def compare_ratings(study: Study, targets: pd.DataFrame) -> Tables:
    """Compare what groups rate, how reliably, and how traits hang together.

    Parameters
    ----------
    study : Study
        Ratings and settings.
    targets : DataFrame
        Mean ratings.

    Returns
    -------
    dict of str to DataFrame
        By the name of the file in the results folder.
    """
    ratings, seed = study.ratings, study.settings.seed
    permutations = study.settings.comparison.permutations
    several_traits = len(study.traits) > 1
    tables: Tables = {}
    if study.has_raters:
        tables["ratings/raters"] = rater_agreement(ratings, study.settings.comparison.reference)
    if several_traits:
        tables["ratings/trait_correlations"] = correlate_traits(targets)
        tables["ratings/trait_components"] = find_components(targets)
    if study.has_raters and permutations and len(study.groups) > 1:
        tables["ratings/images"] = compare_images(ratings)
        tables["comparisons/means"] = compare_means(ratings, permutations=permutations, seed=seed)
        tables["comparisons/reliability"] = compare_reliability(
            ratings, permutations=permutations, seed=seed
        )
        tables["comparisons/agreement"] = compare_agreement(
            ratings, study.settings.comparison.reference
        )
        if several_traits:
            tables["comparisons/trait_space"] = compare_trait_space(
                ratings, permutations=permutations, seed=seed
            )
    return tables


def transfer_tables(study: Study, predictions: pd.DataFrame, reliability: pd.DataFrame) -> Tables:
    """Compare readouts with the ratings of other groups and of other traits.

    Parameters
    ----------
    study : Study
        Groups and traits.
    predictions, reliability : DataFrame
        `predictions.csv` and `ratings/reliability.csv`.

    Returns
    -------
    dict of str to DataFrame
        By the name of the file in the results folder.
    """
    ceilings = reliability if study.has_raters else None
    several = {GROUP: len(study.groups) > 1, TRAIT: len(study.traits) > 1}
    return {
        f"comparisons/transfer_{across}s": transfer_table(predictions, across, ceilings)
        for across, wanted in several.items()
        if wanted
    }


def compare_readouts(study: Study, operator: RegionOperator, penalties: Mapping[str, float]) -> Tables:
    """Compare how well groups are predicted and what readouts draw on, refitting under each exchange.

    Parameters
    ----------
    study : Study
        Ratings and settings.
    operator : RegionOperator
        Kernels and folds.
    penalties : mapping of str to float
        Ridge penalty by trait.

    Returns
    -------
    dict of str to DataFrame
        By the name of the file in the results folder.
    """
    ratings, settings = study.ratings, study.settings
    options = {"permutations": settings.comparison.permutations, "seed": settings.seed}
    tables: Tables = {"comparisons/rater_regions": rater_regions(ratings, operator, penalties)}
    if len(study.groups) > 1:
        for name, summary in (("regions", "aligned"), ("region_shares", "share")):
            tables[f"comparisons/{name}"] = compare_regions(
                ratings, operator, penalties, summary=summary, **options
            )
        tables["comparisons/performance"] = compare_performance(ratings, operator, penalties, **options)
        matched = [
            match_reliability(ratings, operator, penalties, groups=pair, seed=settings.seed)
            for pair in pairs_of_groups(ratings)
        ]
        tables["comparisons/performance_matched"] = pd.concat(matched, ignore_index=True)
    variables = [*settings.comparison.variables, *([GROUP] if len(study.groups) > 2 else [])]
    if variables:
        found = [
            compare_by_variable(ratings, name, operator, penalties, **options) for name in variables
        ]
        tables["comparisons/variables"] = pd.concat(found, ignore_index=True)
    return tables
