"""The report on the answers themselves: their quality, what was left out, and what was planned."""

from typing import Any

import pandas as pd

from traitlens.report.numbers import bounded, count, is_number
from traitlens.report.results import Results
from traitlens.report.tables import Table, leave_out_empty
from traitlens.words import GROUP, RATER

MOST_RATERS = 200


def tell_quality(results: Results) -> tuple[list[str], list[Table]]:
    """Tell how good the answers are, and what the rules of the study left out.

    Parameters
    ----------
    results : Results
        The results.

    Returns
    -------
    paragraphs : list of str
        What to know before reading the tables.
    tables : list of Table
        Signs of poor answers, rater by rater, and what each rule took; none without raters.
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
        columns = ["Sign", "Raters", "Rule that would leave them out", "Number"]
        tables.append(Table("Answers worth a look.", columns, rows, 3))
    if results.cleaning is not None:
        columns = ["Rule", "Raters left out", "Ratings left out", "Raters", "Ratings"]
        rows = [
            [str(row.step).replace("_", " "), *map(count, row[2:])] for row in results.cleaning.itertuples()
        ]
        tables.append(Table("What the rules of study.toml left out, one after the other.", columns, rows, 1))
    tables.append(_by_rater(results.quality))
    if signs is None:
        told = "No rater shows a sign of poor answers."
    else:
        told = "Some raters show signs of poor answers; whether they stay is for the rules to say."
    rules = (
        "Nothing was left out." if results.cleaning is None
        else "Ratings were left out by the rules of study.toml only, as counted below."
    )  # fmt: skip
    return [f"Quality of the answers. {told} {rules}"], tables


def _by_rater(quality: pd.DataFrame) -> Table:
    """Describe the answers of each rater."""
    columns = ["Rater", "Group", "Left out by", "Ratings", "Sliders not moved", "Traits with one value",
               "Longest run", "Too fast", "Median time", "Retest r", "Agreement r", "Share of checks passed",
               "Ratings left out"]  # fmt: skip
    rows = [
        [
            str(row[RATER]), str(row[GROUP]), _text(row["left_out_by"]),
            count(row["n_ratings"]), count(row["n_untouched"]), count(row["n_one_value"]),
            count(row["longest_run"]), count(row["n_too_fast"]), _whole(row["median_time"]),
            bounded(row["retest"]), bounded(row["agreement"]), bounded(row["checks_passed"]),
            count(row["n_left_out"]),
        ]
        for row in quality.head(MOST_RATERS).to_dict("records")
    ]  # fmt: skip
    caption = "ratings/quality.csv: the answers of each rater, those left out included."
    if len(quality) > MOST_RATERS:
        caption += f" The first {MOST_RATERS} of {count(len(quality))} raters."
    return leave_out_empty(caption, columns, rows, 2)


def tell_plan(results: Results) -> tuple[list[str], list[Table]]:
    """Tell what was planned before groups were compared, and what was added or changed.

    Parameters
    ----------
    results : Results
        The results.

    Returns
    -------
    paragraphs : list of str
        When the plan was frozen, and what is not part of it.
    tables : list of Table
        Every part of the plan with its mark; none without a plan.
    """
    if results.plan is None or results.planned is None:
        return ["No plan was frozen before the groups were compared: read every test as exploratory."], []
    planned = results.planned
    apart = planned[planned["mark"] != "planned"]
    when = str(results.plan["frozen"])[:16].replace("T", " at ")
    told = f"The plan was frozen on {when} UTC, with the digest {results.plan['digest']}. "
    told += (
        "Everything in these results was planned." if apart.empty
        else f"Not as planned: {'; '.join(f'{row.what} ({row.mark})' for row in apart.itertuples())}."
    )  # fmt: skip
    columns = ["What", "Planned", "Done", "Mark"]
    rows = [[_text(value) for value in row[1:]] for row in planned.itertuples()]
    return [told], [Table("The plan, and what was done.", columns, rows, 4)]


def _text(value: Any) -> str:
    """Write a cell; an empty one as a dash."""
    return str(value) if value == value and value not in (None, "") else "–"


def _whole(value: Any) -> str:
    """Write a number without decimals."""
    return f"{value:.0f}" if is_number(value) else "–"
