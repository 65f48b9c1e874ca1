"""What is said first: true to the tables, with direction, and honest about what was not found."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traitlens.comparison.answers import answer_questions
from traitlens.report.findings import Finding, list_findings
from traitlens.report.numbers import raters_of
from traitlens.report.planted import compare_with_planted, describe_planted
from traitlens.report.results import Results
from traitlens.report.summary import answer_question, count_results

STUDY = {"groups": ["autistic", "non-autistic"], "traits": ["warm", "strong"]}
PAIR = {"group_1": "autistic", "group_2": "non-autistic"}


def use_table(**cells) -> pd.DataFrame:
    """Tests of use: (estimate, p) by region and trait."""
    rows = [
        {**PAIR, "region": region, "trait": trait, "estimate": estimate, "p_corrected": p,
         "ci_low": estimate - 0.1, "ci_high": estimate + 0.1, "value_1": 0.5 + estimate, "value_2": 0.5}
        for name, (estimate, p) in cells.items() for region, trait in [name.split("_")]
    ]  # fmt: skip
    return pd.DataFrame(rows)


def headlines_by_kind(results: Results) -> dict[str, str]:
    return {one.kind: one.headlines[0] for one in list_findings(results) if one.headlines}


def only_finding(results: Results) -> Finding:
    (told,) = [one for one in list_findings(results) if one.headlines]
    return told


def results_with(tmp_path, study=STUDY, **tables) -> Results:
    answers = answer_questions(tables, len(study["traits"]))
    return Results(tmp_path, study, comparisons={**tables, "answers": answers})


def test_regions_are_said_with_direction_both_values_and_p(tmp_path):
    table = use_table(mouth_warm=(0.3, 0.002), eyes_warm=(-0.2, 0.01), mouth_strong=(0.4, 0.0001))
    told = only_finding(results_with(tmp_path, use=table)).headlines
    assert told == [
        "Mouth: used more by autistic raters than by non-autistic raters for warm (0.80 v 0.50 points per "
        "SD, p = .002) and strong (0.90 v 0.50, p < .001).",
        "Eyes: used more by non-autistic raters than by autistic raters for warm (0.50 v 0.30 points per "
        "SD, p = .010).",
    ]


def test_what_was_not_found_has_its_interval_and_what_could_have_been_found(tmp_path):
    means = pd.DataFrame(
        {**PAIR, "trait": ["warm", "strong"], "estimate": [-0.08, 0.02], "ci_low": [-0.44, -0.3],
         "ci_high": [0.29, 0.3], "p_corrected": [0.8, 0.9], "detectable": 0.54}
    )  # fmt: skip
    told = only_finding(results_with(tmp_path, means=means))
    assert told.kind == "not found"
    assert told.answer == (
        "No difference was found in mean ratings: the largest of 2 is −0.08 points (warm, 95% CI [−0.44, "
        "0.29]; corrected p = .800); a difference of 0.54 points would have been found with 80% power."
    )
    assert told.headlines == [told.answer]
    few = means.assign(smallest_p=0.1)
    told = only_finding(results_with(tmp_path, means=few))
    assert told.answer.endswith("with so few raters none can be found: p cannot fall below .100.")


def test_what_is_significant_within_its_question_only_is_no_finding(tmp_path):
    use = use_table(mouth_warm=(0.3, 0.03))
    means = pd.DataFrame({**PAIR, "trait": ["warm"], "estimate": 0.1, "p_corrected": 0.8})
    results = results_with(tmp_path, use=use, means=means)
    kinds = headlines_by_kind(results)
    assert "found" not in kinds
    assert kinds["alone"].startswith("Mouth: used more by autistic raters")
    assert kinds["alone"].endswith("Not significant for 2 questions, which needs p ≤ .025.")
    tiles = {tile.what: tile.number for tile in count_results(results)}
    assert tiles["differences between groups"] == "0"


def test_the_answer_counts_the_tests_of_each_question(tmp_path):
    use = use_table(mouth_warm=(0.3, 0.002), eyes_warm=(0.1, 0.4), jaw_warm=(0.1, float("nan")))
    means = pd.DataFrame({**PAIR, "trait": ["warm"], "estimate": 0.1, "p_corrected": 0.8})
    results = results_with(tmp_path, use=use, means=means)
    assert answer_question(results) == [
        "The autistic raters and non-autistic raters of this study differ in the use of the regions (1 of 2 "
        "pairs of region and trait). No difference was found in mean ratings."
    ]
    tile = next(tile for tile in count_results(results) if tile.what == "differences between groups")
    assert (tile.number, tile.detail) == ("1", "significant of 3 main tests")


def test_regions_and_traits_are_in_one_order(tmp_path):
    use = use_table(eyes_strong=(0.1, 0.4), mouth_strong=(0.3, 0.01), eyes_warm=(-0.2, 0.2))
    results = results_with(tmp_path, use=use)
    ordered = results.in_order(use)
    assert ordered[["trait", "region"]].to_numpy().tolist() == [
        ["warm", "eyes"], ["strong", "mouth"], ["strong", "eyes"]
    ]  # fmt: skip
    pairs = pd.DataFrame({"trait_1": ["strong"], "trait_2": ["warm"], "estimate": 0.1})
    assert results.in_order(pairs)[["trait_1", "trait_2"]].to_numpy().tolist() == [["warm", "strong"]]


def test_a_difference_of_unknown_size_is_said(tmp_path):
    table = pd.DataFrame({**PAIR, "trait": ["warm"], "estimate": float("nan"), "p_corrected": 0.01})
    told = only_finding(results_with(tmp_path, reliability=table))
    assert told.headlines[0] == "The groups differ in the reliability of mean ratings for warm."


def test_range_and_noise_are_marked_as_exploratory(tmp_path):
    table = use_table(mouth_warm=(0.3, 0.002)).drop(columns="region")
    tables = {"use": use_table(mouth_warm=(0.0, 0.9)), "noise": table}
    kinds = headlines_by_kind(results_with(tmp_path, **tables))
    assert kinds["exploratory"].startswith(
        "Noise of single ratings (SD): larger in autistic raters than in non-"
    )


def test_predictability_is_said_with_the_r_of_its_table(tmp_path):
    compared = use_table(x_warm=(0.3, 0.01)).drop(columns=["region", "value_1", "value_2"])
    results = results_with(tmp_path, performance=compared.assign(r_1=0.41, r_2=0.2))
    own = pd.DataFrame({"group": STUDY["groups"], "trait": "warm", "r": [0.35, 0.18], "p": 0.001})
    kinds = headlines_by_kind(Results(tmp_path, STUDY, performance=own, comparisons=results.comparisons))
    assert "warm (.35 v .18, p = .010)" in kinds["found"]
    assert kinds["about"].startswith(
        "Ratings of faces that the model had not seen are predicted with r = .18 to .35"
    )


@given(st.floats(-5, 5).filter(lambda value: abs(value) > 0.01), st.floats(0, 1))
def test_the_group_named_first_is_the_one_with_more(tmp_path_factory, estimate, p):
    table = use_table(mouth_warm=(estimate, p))
    told = only_finding(results_with(tmp_path_factory.getbasetemp(), use=table)).headlines[0]
    if p > 0.05:
        assert told.startswith("No difference was found in the use of the regions: the largest of 1 is")
    else:
        first = PAIR["group_1" if estimate > 0 else "group_2"]
        assert told.startswith(f"Mouth: used more by {first} raters than by")


@pytest.mark.parametrize("order", [1, -1])
def test_planted_differences_are_compared_in_the_order_of_the_groups(tmp_path, order):
    study = STUDY | {"groups": STUDY["groups"][::order]}
    planted = [
        {"trait": "warm", "region": side, "difference": order * -0.2} for side in ("left eye", "right eye")
    ]
    table = use_table(eyes_warm=(-0.5, 0.001), mouth_warm=(0.1, 0.6), jaw_strong=(0.3, 0.01))
    results = results_with(tmp_path, study | {"planted": planted}, use=table)
    compared = compare_with_planted(results).set_index(["region", "trait"])["planted"]
    assert compared["eyes", "warm"] == pytest.approx(-0.4, rel=1e-9)
    assert compared["mouth", "warm"] == 0
    told = describe_planted(results)
    assert "1 differences were planted (eyes for warm): 1 of 1 were found, in the right direction" in told
    assert told.endswith(
        "of the other 2 pairs of region and trait that were tested, 1 were called different."
    )
    assert describe_planted(results_with(tmp_path, use=table)) == ""


def test_numbers_of_the_summary(tmp_path):
    own = pd.DataFrame({"group": "autistic", "trait": ["warm", "strong"], "r": [0.5, 0.61], "ceiling_r": 0.9})
    study = STUDY | {"n_raters": 40, "n_images": 1200, "n_identities": 300}
    tiles = {tile.what: tile for tile in count_results(Results(tmp_path, study, performance=own))}
    assert tiles["raters"].number == "40"
    assert (tiles["images"].number, tiles["images"].detail) == ("1,200", "of 300 persons")
    assert tiles["r of predicted and observed ratings"].number == ".50 to .61"
    assert count_results(Results(tmp_path, {})) == []


def test_groups_are_named_as_people():
    assert raters_of("controls") == "controls"
    assert raters_of("young") == "young raters"
