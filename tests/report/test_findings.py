"""What is said at the head of the report and for a paper: true to the tables, whatever they lack."""

import numpy as np
import pandas as pd
import pytest
from results_folder import make_results

from traitlens.comparison.answers import answer_questions
from traitlens.report.findings import describe_achievement, list_findings
from traitlens.report.paper_sentences import MOST_SENTENCES, write_tests
from traitlens.report.planted import describe_confusions
from traitlens.report.results import Results, read_results

STUDY = {"groups": ["a", "b"], "traits": ["warm", "strong"]}
MEANS = pd.DataFrame(
    {"group_1": "a", "group_2": "b", "trait": ["warm", "strong"], "mean_1": [3.0, 4.0], "mean_2": [3.9, 4.1],
     "estimate": [-0.9, -0.1], "cohens_d": [-0.8, -0.1], "p_corrected": [0.002, 0.7]}
)  # fmt: skip


def performance(**columns) -> pd.DataFrame:
    table = {"group": list("aabb"), "trait": ["warm", "strong"] * 2, "r": [0.3, 0.6, 0.4, 0.4]}
    fixed = {"n_images": 50, "ci_low": 0.1, "ci_high": 0.7, "p": [0.02, 0.0004, 0.03, 0.04]}
    return pd.DataFrame({**table, **fixed, **columns})


def test_nothing_is_found_in_nothing(tmp_path):
    assert list_findings(Results(tmp_path, STUDY)) == []
    assert write_tests(Results(tmp_path, STUDY), "comparison") == []


def test_performance_is_told_with_and_without_ceilings(tmp_path):
    (told,) = list_findings(Results(tmp_path, STUDY, performance=performance()))
    assert told.headlines == [
        "Ratings of faces that the model had not seen are predicted with r = .30 to .60."
    ]
    assert told.detail.splitlines() == [
        "Among a raters: r from .30 (warm) to .60 (strong).",
        "Among b raters: r from .40 (warm) to .40 (strong).",
    ]
    (told,) = list_findings(Results(tmp_path, STUDY, performance=performance(ceiling_r=0.8)))
    assert "Among a raters: r from .30 (warm) to .60 (strong), 38 to 75% of the noise ceiling." in told.answer
    assert "50% of the noise ceiling" in told.detail


def test_the_largest_shares_are_named_where_a_trait_is_predicted(tmp_path):
    cells = {"eyes": 0.4, "mouth": 0.5, "background": 0.1}
    shares = pd.DataFrame(
        [
            {"group": "a", "trait": trait, "region": region, "share": share}
            for trait in STUDY["traits"]
            for region, share in cells.items()
        ]
    )
    shares.loc[shares["trait"] == STUDY["traits"][1], "share"] = np.nan
    (told,) = list_findings(Results(tmp_path, STUDY, use={"shares": shares}))
    assert told.answer == (
        f"The ratings of a raters rest most on the mouth for {STUDY['traits'][0]}.\n"
        "Largest shares of the variance that all regions explain:\n"
        f"Among a raters, {STUDY['traits'][0]}: mouth (50%) and eyes (40%)."
    )
    nothing = shares.assign(share=np.nan)
    predictability = pd.DataFrame({"trait": STUDY["traits"], "p": 0.4})
    use = {"shares": nothing, "predictability": predictability}
    tables = {"answers": answer_questions({"means": MEANS}, 2), "means": MEANS}
    findings = list_findings(Results(tmp_path, STUDY, use=use, comparisons=tables))
    assert any("no part of the face is named" in finding.answer for finding in findings)
    assert [finding.answer for finding in findings if finding.key == "use"] == [
        "This was not tested: no trait was predicted better than chance."
    ]


def test_who_uses_which_region_more_is_said(tmp_path):
    use = pd.DataFrame(
        [
            {"group_1": "a", "group_2": "b", "trait": "warm", "region": region, "estimate": estimate,
             "p_corrected": p}
            for region, estimate, p in (("eyes", -0.4, 0.002), ("mouth", 0.3, 0.01), ("jaw", 0.2, 0.04))
        ]
    )  # fmt: skip
    tables = {"answers": answer_questions({"use": use}, 2), "use": use}
    answers = [f.answer for f in list_findings(Results(tmp_path, STUDY, comparisons=tables))]
    (told,) = [answer for answer in answers if answer.startswith("Yes")]
    assert "Eyes: used more by b raters than by a raters for warm (by 0.40 points per SD, p = .002)." in told
    assert "Mouth: used more by a raters" in told


def test_agreement_between_groups_is_said(tmp_path):
    parts = {"matching": 0.9, "predictability": 0.8, "consistency": 0.6, "unmodelled": 0.1, "n_raters": 20}
    rows = [
        {"group": "a", "criterion": "b", "trait": t, "achievement": r, **parts}
        for t, r in (("warm", 0.4), ("strong", 0.5))
    ]
    (told,) = describe_achievement(Results(tmp_path, STUDY, use={"achievement": pd.DataFrame(rows)}))
    assert "of a with b r = .45 (weights of cues match at .90" in told
    assert describe_achievement(Results(tmp_path, STUDY)) == []


def test_regions_that_are_mistaken_for_one_another_are_named(tmp_path):
    table = pd.DataFrame(
        {
            "planted": ["jaw", "jaw", "eyes", "eyes"],
            "region": ["jaw", "mouth", "jaw", "eyes"],
            "size": 0.3,
            "called": [0.9, 0.3, 0.0, 1.0],
            "any_wrong": [0.4, 0.4, 0.0, 0.0],
        }
    )
    (told,) = describe_confusions(Results(tmp_path, STUDY, use={"confusions": table}))
    assert "differences of 0.30 rating points" in told
    assert "called in 20% of these studies" in told
    assert told.endswith("Most often mistaken: jaw as mouth (30%).")
    assert describe_confusions(Results(tmp_path, STUDY)) == []


def test_what_was_not_tested_is_told(tmp_path):
    tables = {"answers": answer_questions({"means": MEANS}, 2), "means": MEANS}
    findings = list_findings(Results(tmp_path, STUDY, comparisons=tables))
    assert findings[0].answer.splitlines() == [
        "Yes, in 1 of 2 traits.",
        "Mean ratings: higher in b raters than in a raters for warm (3.90 v 3.00 points, p = .002).",
    ]
    assert len(findings) == 5
    assert all(finding.answer.startswith("This was not tested") for finding in findings[1:])
    left_out = [{"stage": "compare_pixels", "label": "Comparing pixels", "reason": "comparison.pixels is 0"}]
    findings = list_findings(Results(tmp_path, STUDY | {"left_out": left_out}, comparisons=tables))
    assert findings[-1].answer == "This was not tested, because comparison.pixels is 0."


def test_each_group_and_test_has_its_paragraph(tmp_path):
    folder = make_results(tmp_path / "results", hostile=False, traits=("warm", "strong"))
    results = read_results(folder)
    of_ratings = write_tests(results, "ratings")
    assert [text.split(":")[0] for text in of_ratings] == ["Mean ratings (autistic, non-autistic)"]
    first, second, tests = write_tests(results, "prediction")
    assert first.startswith("Out-of-sample prediction of ratings (autistic):\nwarm, r = ")
    assert "(non-autistic)" in second
    assert tests.startswith(
        "Performance of readouts; q is the difference of Fisher’s z at a common penalty (autistic, "
        "non-autistic):\nwarm, r = "
    )
    use, of_range, of_noise, pixels = write_tests(results, "comparison")
    assert use.count(" (corrected)") == 8
    assert of_range.startswith("Range of the predicted ratings (autistic, non-autistic):\nwarm, ")
    assert of_noise.count(" (corrected)") == 2
    assert pixels == (
        "Maps on the template (autistic, non-autistic):\nwarm, an area of 9 cells, largest t = 4.20, "
        "p = .020 (corrected)."
    )


@pytest.mark.parametrize("n_significant", [0, 3, 20])
def test_of_many_tests_the_significant_ones_are_listed(tmp_path, n_significant):
    p = [0.01] * n_significant + [0.2] * 10 + [0.9] * 10
    table = pd.DataFrame({"variable": "age", "test": "slope", "trait": "warm", "region": "", "p_corrected": p,
                          "statistic": 1.2, "effect_size": 0.1})  # fmt: skip
    (told,) = write_tests(Results(tmp_path, STUDY, comparisons={"variables": table}), "comparison")
    assert told.count("r = .10") == min(n_significant, MOST_SENTENCES)
    if n_significant == 0:
        assert told == "Variables of the raters:\nnone of 20 tests was significant, corrected p ≥ .200."
    elif n_significant == 3:
        assert told.endswith(";\nall others, corrected p ≥ .200.")
    else:
        assert told.endswith(";\nand 8 more;\nall others, corrected p ≥ .200.")
