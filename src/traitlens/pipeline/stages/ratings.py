"""Stages that analyse ratings: means, reliability, data quality, agreement and the space of traits."""

from traitlens.artifacts import (
    CLEANING,
    LEFT_OUT,
    QUALITY,
    QUALITY_SIGNS,
    RATERS,
    RELIABILITY,
    TARGETS,
    TRAIT_COMPONENTS,
    TRAIT_CORRELATIONS,
    TRAIT_LOADINGS,
    VARIANCES,
)
from traitlens.collecting.data_quality import find_signs, tabulate_quality
from traitlens.comparison.by_agreement import rater_agreement
from traitlens.pipeline.stage_io import StageIO
from traitlens.ratings.reliability import reliability_table
from traitlens.ratings.targets import make_targets
from traitlens.ratings.trait_loadings import bootstrap_loadings
from traitlens.ratings.trait_space import correlate_traits, find_components
from traitlens.ratings.variance_parts import tabulate_variances


def average(io: StageIO) -> None:
    """Write the mean rating of each image by each group on each trait."""
    io.write(TARGETS, make_targets(io.value("ratings")))


def reliability(io: StageIO) -> None:
    """Write reliability and noise ceilings by group and trait."""
    io.write(RELIABILITY, reliability_table(io.value("ratings"), seed=io.value("settings.seed")))


def variances(io: StageIO) -> None:
    """Write the variance of ratings due to identity, photograph, rater, private taste and noise."""
    table = tabulate_variances(io.value("ratings"), io.value("identities"), io.value("settings.seed"))
    io.write(VARIANCES, table)


def cleaning(io: StageIO) -> None:
    """Write the ratings that each cleaning rule left out."""
    cleaned = io.value("cleaned")
    io.write(CLEANING, cleaned["steps"])
    io.write(LEFT_OUT, cleaned["left_out"])


def quality(io: StageIO) -> None:
    """Write measures of data quality for each rater, and which raters show signs of poor quality."""
    cleaned, rules = io.value("cleaned"), io.value("settings.cleaning")
    table = tabulate_quality(io.value("ratings"), None if cleaned is None else cleaned["left_out"], rules)
    io.write(QUALITY, table)
    io.write(QUALITY_SIGNS, find_signs(table, rules))


def agreement(io: StageIO) -> None:
    """Write each rater's agreement with the other raters."""
    io.write(RATERS, rater_agreement(io.value("ratings"), io.value("settings.comparison.reference")))


def trait_loadings(io: StageIO) -> None:
    """Write trait loadings with confidence intervals, and which components exceed chance."""
    io.write(TRAIT_LOADINGS, bootstrap_loadings(io.value("ratings"), seed=io.value("settings.seed")))


def trait_space(io: StageIO) -> None:
    """Write correlations between traits, and principal components of their mean ratings."""
    targets = io.read(TARGETS)
    io.write(TRAIT_CORRELATIONS, correlate_traits(targets))
    io.write(TRAIT_COMPONENTS, find_components(targets))
