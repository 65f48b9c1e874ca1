"""The report on the answers: signs, rules and their counts, and the plan with its marks."""

import pandas as pd

from traitlens.report.rating_quality import (
    EXCLUSIONS,
    MOST_RATERS,
    describe_exclusions,
    describe_plan,
    describe_quality,
)
from traitlens.report.results import Results
from traitlens.study.settings import CleaningSettings

QUALITY = pd.DataFrame(
    {
        "rater": ["P1", "P2"], "group": "a", "n_ratings": [60, 60], "n_untouched": None,
        "n_one_value": [0, 2],
        "longest_run": [3, 30], "n_too_fast": [0, 4], "median_time": [812.4, 300.0], "retest": [0.81, None],
        "agreement": [0.5, 0.0], "checks_passed": [1.0, 0.5], "n_left_out": [0, 60],
        "left_out_by": [float("nan"), "one_value"],
        "signs": [float("nan"), "one value throughout a trait; 10 equal answers in a row or more"],
    }
)  # fmt: skip


def test_nothing_is_told_without_raters(tmp_path):
    assert describe_quality(Results(tmp_path, {})) == ([], [])


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
    (told,), (seen, rules, raters) = describe_quality(results)
    assert "by the rules of study.toml only" in told
    assert seen.rows == [
        ["one value throughout a trait", "P2", "one_value = true", "1"], ["equal answers", "P2", "–", "1"]
    ]  # fmt: skip
    assert rules.rows == [["read", "0", "0", "2", "120"], ["one value", "1", "60", "1", "60"]]
    assert "Sliders not moved" not in raters.columns
    assert raters.caption.startswith("The rater who stands out; the other one shows no sign")
    signs_of_p2 = QUALITY["signs"][1]
    assert raters.rows == [
        ["P2", "a", signs_of_p2, "one_value", "60", "2", "30", "4", "300", ".00", ".50", "60"]
    ]


def test_without_signs_and_rules_that_is_told(tmp_path):
    (told,), tables = describe_quality(Results(tmp_path, {}, quality=QUALITY))
    assert (
        told == "Quality of the ratings. No rater shows a sign of careless responding. Nothing was left out."
    )
    assert [table.caption for table in tables] == ["The rater who stands out; the other one shows no sign of "
        "careless responding. ratings/quality.csv lists every rater."]  # fmt: skip
    nobody = QUALITY.assign(signs=None, n_left_out=0)
    assert describe_quality(Results(tmp_path, {}, quality=nobody))[1] == []


def test_only_those_who_stand_out_most_are_listed_and_the_others_counted(tmp_path):
    many = pd.concat([QUALITY] * 30, ignore_index=True)
    many["rater"] = [f"P{number}" for number in range(60)]
    many.loc[59, "signs"] = "10 equal answers in a row or more"
    many.loc[many["signs"].notna(), "n_left_out"] = 1
    many.loc[57, "n_left_out"] = 60
    (table,) = describe_quality(Results(tmp_path, {}, quality=many))[1]
    assert len(table.rows) == MOST_RATERS
    assert table.rows[0][0] == "P57"
    assert "P59" not in [row[0] for row in table.rows]
    assert table.caption.startswith(
        f"The {MOST_RATERS} raters who stand out most, of 30; the other 30 show no"
    )


def test_every_rule_has_its_words():
    assert set(EXCLUSIONS) == set(CleaningSettings.model_fields) - {"time"}


def test_exclusions_are_told_as_they_were_set(tmp_path):
    def say(**parts):
        rules = {"fastest": 200.0, "one_value": True, "off_scale": False, "most_missing": 0.3, "time": "rt"}
        return describe_exclusions(Results(tmp_path, {"settings": {"cleaning": rules}}, **parts))

    told = (
        " Excluded were answers given in less than 200 (in the unit of the recorded times), ratings of "
        "raters who gave one value throughout a trait and raters who left more than 30% of the images unrated"
    )
    assert say() == f"{told}."
    counts = pd.DataFrame({"raters_left_out": [0, 2], "ratings_left_out": [0, 1200]})
    assert say(cleaning=counts) == f"{told} (2 raters, 1,200 ratings)."
    planned = pd.DataFrame({"what": ["exclusions.fastest", "seed"], "mark": ["planned", "changed"]})
    assert say(plan={}, planned=planned).endswith("; these rules were planned beforehand.")
    planned.loc[0, "mark"] = "changed"
    assert say(plan={}, planned=planned).endswith("; these rules were changed after the plan was frozen.")
    assert describe_exclusions(Results(tmp_path, {"settings": {"cleaning": {"one_value": False}}})) == ""


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
    (told,), (table,) = describe_plan(Results(tmp_path, {}, planned=planned, plan=plan))
    assert told == (
        "The plan was frozen on 2026-01-02 at 10:30 UTC, with the digest abc. "
        "Not as planned: test pixels (added)."
    )
    assert [row[-1] for row in table.rows] == ["planned", "planned", "added"]
    (told,), _ = describe_plan(Results(tmp_path, {}, planned=planned[:2], plan=plan))
    assert "Everything in these results was planned." in told


def test_without_a_plan_tests_are_exploratory(tmp_path):
    (told,), tables = describe_plan(Results(tmp_path, {}))
    assert "read every test as exploratory" in told
    assert tables == []
