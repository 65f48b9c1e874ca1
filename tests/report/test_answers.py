"""The report on the answers: signs, rules and their counts, and the plan with its marks."""

import pandas as pd

from traitlens.report.answers import tell_plan, tell_quality
from traitlens.report.results import Results

QUALITY = pd.DataFrame(
    {
        "rater": ["P1", "P2"], "group": "a", "n_ratings": [60, 60], "n_untouched": None,
        "n_one_value": [0, 2],
        "longest_run": [3, 30], "n_too_fast": [0, 4], "median_time": [812.4, 300.0], "retest": [0.81, None],
        "agreement": [0.5, 0.0], "checks_passed": [1.0, 0.5], "n_left_out": [0, 60],
        "left_out_by": [float("nan"), "one_value"],
    }
)  # fmt: skip


def test_nothing_is_told_without_raters(tmp_path):
    assert tell_quality(Results(tmp_path, {})) == ([], [])


def test_signs_rules_and_raters_are_told(tmp_path):
    signs = pd.DataFrame(
        [
            ("one value throughout a trait", 1, "P2", "one_value = true"),
            ("equal answers", 1, "P2", float("nan")),
        ],
        columns=["sign", "n_raters", "raters", "rule"],
    )
    cleaning = pd.DataFrame(
        [("read", 0, 0, 2, 120), ("one_value", 1, 60, 1, 60)],
        columns=["step", "raters_left_out", "ratings_left_out", "raters", "ratings"],
    )
    results = Results(tmp_path, {}, quality=QUALITY, quality_signs=signs, cleaning=cleaning)
    (told,), (seen, rules, raters) = tell_quality(results)
    assert "by the rules of study.toml only" in told
    assert seen.rows == [
        ["one value throughout a trait", "P2", "one_value = true", "1"], ["equal answers", "P2", "–", "1"]
    ]  # fmt: skip
    assert rules.rows == [["read", "0", "0", "2", "120"], ["one value", "1", "60", "1", "60"]]
    assert "Sliders not moved" not in raters.columns
    assert raters.rows[1] == ["P2", "a", "one_value", "60", "2", "30", "4", "300", "–", ".00", ".50", "60"]


def test_without_signs_and_rules_that_is_told(tmp_path):
    (told,), tables = tell_quality(Results(tmp_path, {}, quality=QUALITY))
    assert told == "Quality of the answers. No rater shows a sign of poor answers. Nothing was left out."
    assert len(tables) == 1


def test_what_was_planned_and_what_was_added_is_marked(tmp_path):
    planned = pd.DataFrame(
        [
            ("seed", "3", "3", "planned"),
            ("test means", "yes", "yes", "planned"),
            ("test pixels", "no", "yes", "added"),
        ],
        columns=["what", "planned", "now", "mark"],
    )
    plan = {"frozen": "2026-01-02T10:30:00.000+00:00", "digest": "abc"}
    (told,), (table,) = tell_plan(Results(tmp_path, {}, planned=planned, plan=plan))
    assert told == (
        "The plan was frozen on 2026-01-02 at 10:30 UTC, with the digest abc. "
        "Not as planned: test pixels (added)."
    )
    assert [row[-1] for row in table.rows] == ["planned", "planned", "added"]
    (told,), _ = tell_plan(Results(tmp_path, {}, planned=planned[:2], plan=plan))
    assert "Everything in these results was planned." in told


def test_without_a_plan_tests_are_exploratory(tmp_path):
    (told,), tables = tell_plan(Results(tmp_path, {}))
    assert "read every test as exploratory" in told
    assert tables == []
