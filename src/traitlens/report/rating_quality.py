"""Quality of the ratings, exclusions, and the frozen plan, as text and tables."""

from typing import Any

import pandas as pd

from traitlens.columns import GROUP, RATER, TRAIT
from traitlens.comparison.answers import ALPHA
from traitlens.report.numbers import bounded, count, is_number, several
from traitlens.report.results import Results
from traitlens.report.text_tables import Table, leave_out_empty

MOST_RATERS = 10
"""Maximum number of raters in the table."""

EXCLUSIONS = {
    "untouched": "answers given without moving the slider",
    "fastest": "answers given in less than {:g} (in the unit of the recorded times)",
    "most_too_fast": "raters who gave more than {:.0%} of their answers too fast",
    "one_value": "ratings of raters who gave one value throughout a trait",
    "lowest_retest": "raters whose repeated ratings correlated below {:g}",
    "lowest_agreement": "raters whose ratings correlated below {:g} with the others of their group",
    "lowest_checks": "raters who passed less than {:.0%} of the attention checks",
    "most_missing": "raters who left more than {:.0%} of the images unrated",
    "off_scale": "ratings off the scale",
    "recognised": "ratings of faces that the rater recognised ({})",
    "fewest_ratings": "ratings of images that fewer than {:g} raters of a group had rated on a trait",
}
"""What each rule of [cleaning] excludes, for the methods text."""


def describe_quality(results: Results) -> tuple[list[str], list[Table]]:
    """Describe signs of careless responding, and which ratings the exclusion rules left out.

    Returns
    -------
    paragraphs : list of str
        Text before the tables.
    tables : list of Table
        Signs of careless responding, exclusions by rule, and the raters who stand out; empty without raters.
    """
    if results.quality is None:
        return [], []
    tables = []
    signs = results.quality_signs
    if signs is not None:
        rows = [
            [
                row.sign,
                row.raters,
                row.rule if isinstance(row.rule, str) and row.rule else "–",
                count(row.n_raters),
            ]
            for row in signs.itertuples()
        ]
        columns = ["Sign", "Raters", "Rule that would exclude them", "Number"]
        tables.append(Table("Signs of careless responding.", columns, rows, 3))
    if results.cleaning is not None:
        columns = ["Rule", "Raters left out", "Ratings left out", "Raters", "Ratings"]
        rows = [
            [str(row.step).replace("_", " "), *map(count, row[2:])] for row in results.cleaning.itertuples()
        ]
        tables.append(Table("Ratings left out by each rule of study.toml, in order.", columns, rows, 1))
    tables += _by_rater(results.quality)
    if signs is None:
        message = "No rater shows a sign of careless responding."
    else:
        message = (
            "Some raters show signs of careless responding; only the rules of study.toml exclude raters."
        )
    rules = (
        "Nothing was left out." if results.cleaning is None
        else "Ratings were left out by the rules of study.toml only, as counted below."
    )  # fmt: skip
    return [f"Quality of the ratings. {message} {rules}{_say_missing(results)}"], tables


def _say_missing(results: Results) -> str:
    """Describe whether groups differ in which ratings are missing."""
    missing = results.comparisons.get("missing")
    if missing is None or not ((missing["mean_1"] != 0) | (missing["mean_2"] != 0)).any():
        return ""
    found = missing[missing["p_corrected"] <= ALPHA]
    if found.empty:
        return " No difference between groups was found in which ratings are missing."
    traits = several(list(dict.fromkeys(found[TRAIT].astype(str))))
    return (
        f" Groups differ in which ratings are missing ({traits}); other differences between them may "
        "result from that."
    )


def _by_rater(quality: pd.DataFrame) -> list[Table]:
    """Tabulate the raters who were left out altogether or show signs of careless responding."""
    signs = quality["signs"].astype(object).fillna("")  # numbers where no rater has a sign
    n_signs = signs.str.split("; ").str.len().where(signs != "", 0)
    gone = quality["n_left_out"] == quality["n_ratings"]
    stand_out = (n_signs > 0) | gone
    if not stand_out.any():
        return []
    ranked = quality.assign(signs=signs, n_signs=n_signs, gone=gone)[stand_out].sort_values(
        ["gone", "n_signs", "agreement"], ascending=[False, False, True], kind="stable"
    )
    columns = ["Rater", "Group", "Signs", "Left out by", "Ratings", "Sliders not moved",
               "Traits with one value", "Longest run", "Too fast", "Median time", "Retest r", "Agreement r",
               "Share of checks passed", "Ratings left out"]  # fmt: skip
    rows = [
        [
            str(row[RATER]), str(row[GROUP]), _text(row["signs"]), _text(row["left_out_by"]),
            count(row["n_ratings"]), _some(row["n_untouched"]), _some(row["n_one_value"]),
            count(row["longest_run"]), _some(row["n_too_fast"]), _whole(row["median_time"]),
            bounded(row["retest"]), bounded(row["agreement"]), bounded(row["checks_passed"]),
            _some(row["n_left_out"]),
        ]
        for row in ranked.head(MOST_RATERS).to_dict("records")
    ]  # fmt: skip
    shown = f"The {MOST_RATERS} raters who stand out most, of {count(len(ranked))}"
    if len(ranked) <= MOST_RATERS:
        shown = "Raters who stand out" if len(ranked) > 1 else "The rater who stands out"
    rest = len(quality) - len(ranked)
    others = f"the other {count(rest)} show" if rest != 1 else "the other one shows"
    message = f"{shown}; {others} no sign of careless responding." if rest else f"{shown}."
    return [leave_out_empty(f"{message} ratings/quality.csv lists every rater.", columns, rows, 4)]


def describe_plan(results: Results) -> tuple[list[str], list[Table]]:
    """Describe the frozen plan, and what was added or changed after it.

    Returns
    -------
    paragraphs : list of str
        Date of the plan, and deviations from it.
    tables : list of Table
        Each part of the plan with its mark; empty without a plan.
    """
    if results.plan is None or results.planned is None:
        return ["No plan was frozen before the groups were compared: read every test as exploratory."], []
    planned = results.planned
    apart = planned[planned["mark"] != "planned"]
    when = str(results.plan["frozen"])[:16].replace("T", " at ")
    message = f"The plan was frozen on {when} UTC, with the digest {results.plan['digest']}. "
    message += (
        "Everything in these results was planned." if apart.empty
        else f"Not as planned: {'; '.join(f'{row.what} ({row.mark})' for row in apart.itertuples())}."
    )  # fmt: skip
    columns = ["What", "Planned", "Done", "Mark"]
    rows = [[_text(value) for value in row[1:]] for row in planned.itertuples()]
    return [message], [Table("The frozen plan, and what was done.", columns, rows, 4)]


def describe_exclusions(results: Results) -> str:
    """Describe for the methods section which ratings were excluded, and whether that was planned.

    Returns
    -------
    str
        A sentence with a leading space; empty without exclusion rules.
    """
    rules = results.setting("cleaning") or {}
    named = [
        EXCLUSIONS[name].format(value)
        for name, value in rules.items()
        if name in EXCLUSIONS and value not in (None, False)
    ]
    if not named:
        return ""
    text = f" Excluded were {several(named)}"
    if results.cleaning is not None:
        raters, ratings = results.cleaning[["raters_left_out", "ratings_left_out"]].sum()
        text += f" ({count(raters)} raters, {count(ratings)} ratings)"
    if results.plan is None or results.planned is None:
        return f"{text}."
    marks = results.planned.loc[results.planned["what"].str.startswith("exclusions."), "mark"]
    before = "planned beforehand" if (marks == "planned").all() else "changed after the plan was frozen"
    return f"{text}; these rules were {before}."


def _text(value: Any) -> str:
    """Format a value as text, with a dash for missing values."""
    return str(value) if value == value and value not in (None, "") else "–"


def _whole(value: Any) -> str:
    """Format a number without decimals."""
    return f"{value:.0f}" if is_number(value) else "–"


def _some(value: Any) -> str:
    """Format a number of answers, with a dash for zero."""
    return count(value) if is_number(value) and value else "–"
