"""Tables of tests between groups: of ratings, and of readouts refitted under each exchange of raters."""

from collections.abc import Mapping

import pandas as pd

from traitlens.comparison.by_agreement import compare_agreement, rater_agreement
from traitlens.comparison.by_image import compare_images
from traitlens.comparison.by_missing import compare_missing
from traitlens.comparison.by_performance import compare_performance, match_reliability, transfer_table
from traitlens.comparison.by_rating import compare_means
from traitlens.comparison.by_region import compare_regions, rater_regions
from traitlens.comparison.by_reliability import compare_reliability
from traitlens.comparison.by_trait_space import compare_trait_space
from traitlens.comparison.by_variable import compare_by_variable
from traitlens.comparison.exchange import pairs_of_groups
from traitlens.comparison.operator import RegionOperator
from traitlens.comparison.rater_tests import Options
from traitlens.ratings.trait_space import correlate_traits, find_components
from traitlens.study.reading import Study
from traitlens.words import GROUP, TRAIT

Tables = dict[str, pd.DataFrame]
"""Tables by the name of their file in the results folder, without ending."""


def tabulate_ratings(study: Study, targets: pd.DataFrame) -> Tables:
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
        settings = study.settings.comparison
        options: Options = {"within": settings.within, "permutations": permutations, "seed": seed}
        tables["comparisons/missing"] = compare_missing(ratings, **options)
        tables["ratings/images"] = compare_images(ratings, **options)
        tables["comparisons/means"] = compare_means(ratings, covariates=settings.covariates, **options)
        tables["comparisons/reliability"] = compare_reliability(ratings, **options)
        tables["comparisons/agreement"] = compare_agreement(ratings, settings.reference, **options)
        if several_traits:
            tables["comparisons/trait_space"] = compare_trait_space(ratings, **options)
    return tables


def tabulate_transfer(study: Study, predictions: pd.DataFrame, reliability: pd.DataFrame) -> Tables:
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


def tabulate_readouts(study: Study, operator: RegionOperator, penalties: Mapping[str, float]) -> Tables:
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
    permutations, seed = settings.comparison.permutations, settings.seed
    tables: Tables = {"comparisons/rater_regions": rater_regions(ratings, operator, penalties)}
    if len(study.groups) > 1:
        for name, summary in (("regions", "aligned"), ("region_shares", "share")):
            tables[f"comparisons/{name}"] = compare_regions(
                ratings, operator, penalties, summary=summary, permutations=permutations, seed=seed
            )
        within = settings.comparison.within
        tables["comparisons/performance"] = compare_performance(
            ratings, operator, penalties, within=within, permutations=permutations, seed=seed
        )
        matched = [
            match_reliability(ratings, operator, penalties, groups=pair, seed=seed)
            for pair in pairs_of_groups(ratings)
        ]
        tables["comparisons/performance_matched"] = pd.concat(matched, ignore_index=True)
    variables = [*settings.comparison.variables, *([GROUP] if len(study.groups) > 2 else [])]
    if variables:
        found = [
            compare_by_variable(ratings, name, operator, penalties, permutations=permutations, seed=seed)
            for name in variables
        ]
        tables["comparisons/variables"] = pd.concat(found, ignore_index=True)
    return tables
