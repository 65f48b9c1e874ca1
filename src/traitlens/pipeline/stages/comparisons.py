"""Comparisons of groups that need no network: ratings, and predictions of other ratings."""

import pandas as pd

from traitlens.artifacts import (
    AGREEMENT_TESTS,
    ANSWERS,
    IMAGE_TESTS,
    MEANS,
    MISSING_TESTS,
    PREDICTIONS,
    RELIABILITY,
    RELIABILITY_TESTS,
    TRAIT_SPACE,
    TRANSFER_GROUPS,
    TRANSFER_TRAITS,
    USE_TESTS,
    Artifact,
)
from traitlens.columns import GROUP, RATER, TRAIT
from traitlens.comparison.answers import EXPLORATORY, QUESTIONS, answer_questions
from traitlens.comparison.by_agreement import compare_agreement
from traitlens.comparison.by_image import compare_images
from traitlens.comparison.by_missing import compare_missing
from traitlens.comparison.by_performance import transfer_table
from traitlens.comparison.by_rating import compare_means
from traitlens.comparison.by_reliability import compare_reliability
from traitlens.comparison.by_trait_space import compare_trait_space
from traitlens.comparison.by_use import COLUMNS, by_question
from traitlens.comparison.rater_tests import Options
from traitlens.pipeline.stage_io import Work


def ratings(work: Work) -> None:
    """Write the differences of means, reliability and agreement, and of single images."""
    table, options = work.value("ratings"), permutation_options(work)
    covariates = work.value("settings.comparison.covariates")
    work.write(IMAGE_TESTS, compare_images(table, **options))
    work.write(MEANS, compare_means(table, covariates=covariates, **options))
    work.write(RELIABILITY_TESTS, compare_reliability(table, **options))
    work.write(MISSING_TESTS, compare_missing(table, **options))
    reference = work.value("settings.comparison.reference")
    work.write(AGREEMENT_TESTS, compare_agreement(table, reference, **options))


def trait_space(work: Work) -> None:
    """Write the differences of correlations between traits."""
    work.write(TRAIT_SPACE, compare_trait_space(work.value("ratings"), **permutation_options(work)))


def permutation_options(work: Work) -> Options:
    """Return the options of every permutation test.

    Parameters
    ----------
    work : Work
        A stage that compares groups.

    Returns
    -------
    Options
        within, permutations, seed.
    """
    return {
        "within": work.value("settings.comparison.within"),
        "permutations": work.value("settings.comparison.permutations"),
        "seed": work.value("settings.seed"),
    }


def transfer_groups(work: Work) -> None:
    """Write how well readouts predict the ratings of other groups."""
    _transfer(work, GROUP, TRANSFER_GROUPS)


def transfer_traits(work: Work) -> None:
    """Write how well readouts predict the ratings of other traits."""
    _transfer(work, TRAIT, TRANSFER_TRAITS)


def _transfer(work: Work, across: str, artifact: Artifact) -> None:
    ceilings = work.read(RELIABILITY) if RATER in work.value("ratings") else None
    work.write(artifact, transfer_table(work.read(PREDICTIONS), across, ceilings))


def answers(work: Work) -> None:
    """Write the questions of the comparison and their answers."""
    from traitlens.pipeline.flow import ANSWERED

    tables = {one.name: work.read(one) for one in ANSWERED if work.has(one)}
    tables |= by_question(tables.pop(USE_TESTS.name, pd.DataFrame(columns=list(COLUMNS))))
    tables = {name: tables[name] for name in (*QUESTIONS, *EXPLORATORY) if name in tables}
    work.write(ANSWERS, answer_questions(tables, len(work.value("traits"))))
