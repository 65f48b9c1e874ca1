"""Models of raters in the report: directions, unbalanced variables, and cells of the tables."""

import pandas as pd
import pytest

from traitlens.report.rater_models import describe_effect_row, describe_rater_models, tabulate_rater_models
from traitlens.report.results import Results

ROW = {
    "effect": "autistic − non-autistic", "kind": "difference", "variable": "group", "level_1": "autistic",
    "level_2": "non-autistic", "by": "", "by_1": "", "by_2": "", "measure": "level", "trait": "warm",
    "region": "", "estimate": -0.42, "standard_error": 0.15, "ci_low": -0.72, "ci_high": -0.12, "df": 71.3,
    "statistic": -2.8, "p": 0.006, "p_corrected": 0.02, "effect_size": -0.31, "effect_low": -0.5,
    "effect_high": -0.09, "unadjusted": -0.1, "margin": 0.5, "equivalence_p": 0.3, "n": 80, "n_missing": 2,
    "n_permutations": 5000, "smallest_p": 0.0002,
}  # fmt: skip
COVARIATE = {
    "group_1": "autistic", "group_2": "non-autistic", "variable": "age", "level": "", "value_1": 41.0,
    "value_2": 30.0, "sd_1": 9.0, "sd_2": 9.0, "standardised_difference": 1.22, "unbalanced": True, "n_1": 40,
    "n_2": 40, "missing_1": 0, "missing_2": 2,
}  # fmt: skip


def results_of(tmp_path, *rows):
    study = {"groups": ["autistic", "non-autistic"], "traits": ["warm"],
             "settings": {"comparison": {"formula": "group * aq + age"}}}  # fmt: skip
    tables = {"rater_models": pd.DataFrame(rows), "covariates": pd.DataFrame([COVARIATE])}
    return Results(tmp_path, study, comparisons=tables)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "warm, mean rating: lower in autistic raters than in non-autistic raters (b = −0.42, 95% CI"),
        (
            {"kind": "slope", "variable": "aq", "level_1": "", "level_2": "", "estimate": 0.0031},
            "warm, mean rating: rises with aq (b = 0.0031,",
        ),
        (
            {"kind": "slope", "variable": "aq", "level_1": "", "by": "group", "by_1": "autistic"},
            "falls with aq among autistic raters",
        ),
        (
            {"kind": "slope difference", "variable": "aq", "level_1": "", "by": "group", "by_1": "autistic",
             "by_2": "non-autistic", "measure": "utilisation", "region": "mouth"},
            "warm, use of mouth: slope on aq is smaller in autistic raters than in non-autistic raters",
        ),
    ],
)  # fmt: skip
def test_effects_are_told_with_their_direction(changes, told):
    assert told in describe_effect_row(ROW | changes)


def test_what_is_unbalanced_left_out_or_not_found_is_told(tmp_path):
    found = " ".join(describe_rater_models(results_of(tmp_path, ROW)))
    assert "2 raters without a value" in found
    assert "age: 41.00 among autistic raters, 30.00 among non-autistic raters" in found
    assert "Significant after correction: warm" in found
    nothing = " ".join(describe_rater_models(results_of(tmp_path, ROW | {"p_corrected": 0.2})))
    assert "No effect was significant after correction (smallest corrected p = .200)." in nothing
    assert "of 0.50 points or more are ruled out for 0 of 1 traits and effects" in nothing


def test_tables_hold_adjusted_and_unadjusted_differences(tmp_path):
    effects, variables = tabulate_rater_models(results_of(tmp_path, ROW))
    row = dict(zip(effects.columns, effects.rows[0], strict=True))
    assert (row["Estimate"], row["Unadjusted"], row["p (corrected)"]) == ("−0.42", "−0.10", ".020")
    assert effects.file == "comparisons/rater_models.csv"
    assert dict(zip(variables.columns, variables.rows[0], strict=True))["Unbalanced"] == "yes"
