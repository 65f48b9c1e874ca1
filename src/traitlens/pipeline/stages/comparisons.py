"""Stages that compare groups without the network: ratings, and prediction of other groups' ratings."""

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
    TASTE_TESTS,
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
from traitlens.comparison.by_taste import compare_taste
from traitlens.comparison.by_trait_space import compare_trait_space
from traitlens.comparison.by_use import by_question
from traitlens.comparison.rater_tests import Options
from traitlens.comparison.use_test import COLUMNS
from traitlens.pipeline.stage_io import StageIO


def ratings(io: StageIO) -> None:
    """Write tests of group differences in means, reliability, agreement, missing ratings and images."""
    table, options = io.value("ratings"), permutation_options(io)
    covariates = io.value("settings.comparison.covariates")
    io.write(IMAGE_TESTS, compare_images(table, **options))
    margin = io.value("settings.comparison.margin")
    io.write(MEANS, compare_means(table, covariates=covariates, margin=margin, **options))
    io.write(RELIABILITY_TESTS, compare_reliability(table, **options))
    io.write(MISSING_TESTS, compare_missing(table, **options))
    reference = io.value("settings.comparison.reference")
    io.write(AGREEMENT_TESTS, compare_agreement(table, reference, **options))


def trait_space(io: StageIO) -> None:
    """Write tests of group differences in the correlations between traits."""
    io.write(TRAIT_SPACE, compare_trait_space(io.value("ratings"), **permutation_options(io)))


def taste(io: StageIO) -> None:
    """Write tests of group differences in private taste and in specificity."""
    io.write(TASTE_TESTS, compare_taste(io.value("ratings"), **permutation_options(io)))


def permutation_options(io: StageIO) -> Options:
    """Return the settings that all permutation tests share, as keyword arguments."""
    return {
        "within": io.value("settings.comparison.within"),
        "permutations": io.value("settings.comparison.permutations"),
        "seed": io.value("settings.seed"),
    }


def transfer_groups(io: StageIO) -> None:
    """Write how well each group's readouts predict the ratings of the other groups."""
    _write_transfer(io, GROUP, TRANSFER_GROUPS)


def transfer_traits(io: StageIO) -> None:
    """Write how well each trait's readouts predict the ratings of the other traits."""
    _write_transfer(io, TRAIT, TRANSFER_TRAITS)


def _write_transfer(io: StageIO, across: str, artifact: Artifact) -> None:
    ceilings = io.read(RELIABILITY) if RATER in io.value("ratings") else None
    io.write(artifact, transfer_table(io.read(PREDICTIONS), across, ceilings))


def answers(io: StageIO) -> None:
    """Write the questions of the comparison and their answers, from the tables of all tests."""
    from traitlens.pipeline.flow import ANSWERED

    tables = {one.name: io.read(one) for one in ANSWERED if io.has(one)}
    tables |= by_question(tables.pop(USE_TESTS.name, pd.DataFrame(columns=list(COLUMNS))))
    tables = {name: tables[name] for name in (*QUESTIONS, *EXPLORATORY) if name in tables}
    io.write(ANSWERS, answer_questions(tables, len(io.value("traits"))))
