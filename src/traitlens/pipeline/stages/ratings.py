"""Tables of the ratings: means, reliability, data quality, agreement and the space of traits."""

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
)
from traitlens.collecting.data_quality import find_signs, tabulate_quality
from traitlens.comparison.by_agreement import rater_agreement
from traitlens.pipeline.stage_io import Work
from traitlens.ratings.reliability import reliability_table
from traitlens.ratings.targets import make_targets
from traitlens.ratings.trait_space import correlate_traits, find_components


def average(work: Work) -> None:
    """Write mean ratings by group, trait and image."""
    work.write(TARGETS, make_targets(work.value("ratings")))


def reliability(work: Work) -> None:
    """Write reliability and noise ceilings."""
    work.write(RELIABILITY, reliability_table(work.value("ratings"), seed=work.value("settings.seed")))


def cleaning(work: Work) -> None:
    """Write what each rule of cleaning left out."""
    cleaned = work.value("cleaned")
    work.write(CLEANING, cleaned["steps"])
    work.write(LEFT_OUT, cleaned["left_out"])


def quality(work: Work) -> None:
    """Write data quality by rater, and the signs of poor quality."""
    cleaned, rules = work.value("cleaned"), work.value("settings.cleaning")
    table = tabulate_quality(work.value("ratings"), None if cleaned is None else cleaned["left_out"], rules)
    work.write(QUALITY, table)
    work.write(QUALITY_SIGNS, find_signs(table, rules))


def agreement(work: Work) -> None:
    """Write each rater's agreement with the others."""
    work.write(RATERS, rater_agreement(work.value("ratings"), work.value("settings.comparison.reference")))


def trait_space(work: Work) -> None:
    """Write correlations and principal components of the traits' mean ratings."""
    targets = work.read(TARGETS)
    work.write(TRAIT_CORRELATIONS, correlate_traits(targets))
    work.write(TRAIT_COMPONENTS, find_components(targets))
