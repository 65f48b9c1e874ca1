"""Stages in which raters are the units of analysis: face types, and linear models of raters."""

from traitlens.artifacts import (
    COVARIATES,
    FACE_MEASURES,
    FACE_TYPES,
    IMAGE_CUES,
    PREDICTABILITY,
    RATER_MODELS,
    UTILISATION,
)
from traitlens.columns import IMAGE, TRAIT
from traitlens.comparison.by_face_type import compare_face_types
from traitlens.comparison.by_formula import compare_by_formula, describe_balance
from traitlens.comparison.rater_outcomes import rater_outcomes
from traitlens.pipeline.stage_io import StageIO
from traitlens.pipeline.stages.comparisons import permutation_options
from traitlens.pipeline.stages.use import predicted_traits


def face_types(io: StageIO) -> None:
    """Write how the difference between groups depends on measures of faces."""
    measures = io.read(FACE_MEASURES).set_index(IMAGE)
    table = compare_face_types(
        io.value("ratings"), measures, io.value("identities"), **permutation_options(io)
    )
    io.write(FACE_TYPES, table)


def models(io: StageIO) -> None:
    """Write the effects of the variables in the settings' formula, and how groups differ in them."""
    ratings, formula = io.value("ratings"), io.value("settings.comparison.formula")
    cues = utilisation = None
    if io.has(UTILISATION):
        predicted = predicted_traits(io.read(PREDICTABILITY))
        cues, utilisation = (
            table[table[TRAIT].isin(predicted)] for table in (io.read(IMAGE_CUES), io.read(UTILISATION))
        )
    table = compare_by_formula(
        ratings,
        rater_outcomes(ratings, utilisation, cues),
        formula,
        clusters=io.value("settings.comparison.clusters"),
        margin=io.value("settings.comparison.margin"),
        **permutation_options(io),
    )
    io.write(RATER_MODELS, table)
    io.write(COVARIATES, describe_balance(ratings, formula))
