"""What is said at the head of the report and for a paper: true to the tables, whatever they lack."""

import pandas as pd
import pytest
from results_folder import make_results

from traitlens.comparison.answers import answer_questions
from traitlens.report.findings import MOST_SENTENCES, list_findings, say_in_apa_style
from traitlens.report.results import Results, read_results

STUDY = {"groups": ["a", "b"], "traits": ["warm", "strong"]}
MEANS = pd.DataFrame(
    {"group_1": "a", "group_2": "b", "trait": ["warm", "strong"], "mean_1": [3.0, 4.0], "mean_2": [3.9, 4.1],
     "cohens_d": [-0.8, -0.1], "p_corrected": [0.002, 0.7]}
)  # fmt: skip


def performance(**columns) -> pd.DataFrame:
    table = {"group": list("aabb"), "trait": ["warm", "strong"] * 2, "r": [0.3, 0.6, 0.4, 0.4]}
    fixed = {"n_images": 50, "ci_low": 0.1, "ci_high": 0.7, "p": [0.02, 0.0004, 0.03, 0.04]}
    return pd.DataFrame({**table, **fixed, **columns})


def test_nothing_is_found_in_nothing(tmp_path):
    assert list_findings(Results(tmp_path, STUDY)) == []
    assert say_in_apa_style(Results(tmp_path, STUDY), "comparison") == []


def test_performance_is_told_with_and_without_ceilings(tmp_path):
    (told,) = list_findings(Results(tmp_path, STUDY, performance=performance()))
    assert told.answer == "a: r from .30 (warm) to .60 (strong). b: r from .40 (warm) to .40 (strong)."
    (told,) = list_findings(Results(tmp_path, STUDY, performance=performance(ceiling_r=0.8)))
    assert told.answer.startswith("a: r from .30 (warm) to .60 (strong), which is 38 to 75% of what")
    assert "which is 50% of what" in told.answer


def test_left_and_right_are_one_part_of_the_face(tmp_path):
    cells = {"left eye": 0.15, "right eye": 0.25, "mouth": 0.3, "nose": 0.1, "background": 0.2}
    regions = pd.DataFrame(
        [
            {"image": f"{i}.png", "group": "a", "trait": trait, "region": region, "share": share + 0.01 * i}
            for i in (-1, 0, 1) for trait in STUDY["traits"] for region, share in cells.items()
        ]
    )  # fmt: skip
    (told,) = list_findings(Results(tmp_path, STUDY, regions=regions))
    assert told.answer == (
        "Largest shares of the relevance, on average over traits. a: eyes (40%), mouth (30%) and nose (10%); "
        "hair and background 20%."
    )


def test_what_was_not_tested_is_told(tmp_path):
    tables = {"answers": answer_questions({"means": MEANS}, 2), "means": MEANS}
    findings = list_findings(Results(tmp_path, STUDY, comparisons=tables))
    assert findings[0].answer == "Yes, in 1 of 2 traits: warm (3.00 and 3.90, d = −0.80, p = .002)."
    assert len(findings) == 5
    assert all(finding.answer.startswith("This was not tested") for finding in findings[1:])


def test_each_group_and_test_has_its_paragraph(tmp_path):
    folder = make_results(tmp_path / "results", hostile=False, traits=("warm", "strong"))
    results = read_results(folder)
    of_ratings = say_in_apa_style(results, "ratings")
    assert [text.split(":")[0] for text in of_ratings] == ["Mean ratings (autistic, non-autistic)"]
    first, second, tests = say_in_apa_style(results, "prediction")
    assert first.startswith("Out-of-sample prediction of ratings (autistic): warm, r(10) = ")
    assert "(non-autistic)" in second
    assert tests.startswith("Performance of the readouts (autistic, non-autistic): warm, r = .60 and .50, q")
    regions, pixels = say_in_apa_style(results, "comparison")
    assert regions.count(" (corrected)") == 8
    assert pixels == (
        "Maps on the template (autistic, non-autistic): warm, an area of 9 pixels, largest t = 4.20, "
        "p = .020 (corrected)."
    )


@pytest.mark.parametrize("n_significant", [0, 3, 20])
def test_of_many_tests_the_significant_ones_are_listed(tmp_path, n_significant):
    p = [0.01] * n_significant + [0.2] * 10 + [0.9] * 10
    table = pd.DataFrame({"variable": "age", "test": "slope", "trait": "warm", "region": "", "p_corrected": p,
                          "statistic": 1.2, "effect_size": 0.1})  # fmt: skip
    (told,) = say_in_apa_style(Results(tmp_path, STUDY, comparisons={"variables": table}), "comparison")
    assert told.count("r = .10") == min(n_significant, MOST_SENTENCES)
    if n_significant == 0:
        assert told == "Variables of the raters: none of 20 tests was significant, corrected p ≥ .200."
    elif n_significant == 3:
        assert told.endswith("; all others, corrected p ≥ .200.")
    else:
        assert told.endswith("; and 8 more; all others, corrected p ≥ .200.")
