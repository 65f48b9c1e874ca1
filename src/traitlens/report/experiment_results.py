"""Sentences and tables on an experiment with altered faces."""

from typing import Any

import pandas as pd

from traitlens.columns import GROUP, PREDICTED, REGION, TRAIT
from traitlens.report.numbers import bounded, count, decimal, interval, is_number, probability, several
from traitlens.report.results import Results
from traitlens.report.text_tables import Table, leave_out_empty

EXPERIMENT_CAPTION = (
    "Change of ratings when one region of a face is altered, in rating points per standard deviation of the "
    "region’s cue: observed (dots, with 95% intervals over raters and base faces) and predicted (lines)."
)
EXPERIMENT_ALT = "Dots with intervals and lines: observed and predicted effects; numbers are in the table."


def describe_experiment(results: Results) -> list[str]:
    """Describe the results of the experiment.

    Returns
    -------
    list of str
        Sentences on the design, the agreement with the predictions, the groups, and the plan.
    """
    facts, tables = results.experiment_facts, results.experiment
    texts = [_describe_design(facts), *_describe_agreement(tables)]
    differences = tables.get("differences")
    if differences is not None and "p" in differences:
        texts.append(_describe_groups(differences))
    else:
        texts.append("There is one group of raters, so groups were not compared.")
    return [*texts, _describe_plan(facts)]


def _describe_design(facts: dict[str, Any]) -> str:
    """Describe the numbers of raters, base faces and altered pictures."""
    raters = [
        f"{count(number)} raters of the group {group}" for group, number in facts.get("raters", {}).items()
    ]
    return (
        f"{count(facts.get('faces'))} base faces were altered in one region each time "
        f"({count(facts.get('pictures'))} pictures) and rated by {several(raters)}."
    )


def _describe_agreement(tables: dict[str, pd.DataFrame]) -> list[str]:
    """Describe the agreement of observed and predicted effects, and failed predictions."""
    texts = []
    for row in tables["agreement"].to_dict("records"):
        if not is_number(row["slope"]):
            continue
        what = "effects" if row["quantity"] == "effects" else "differences between groups"
        ceiling = (
            f" (highest possible given the errors of observed effects: {bounded(row['ceiling'])})"
            if is_number(row["ceiling"])
            else ""
        )
        texts.append(
            f"Observed on predicted {what}: slope {decimal(row['slope'])} "
            f"{interval(row['slope_low'], row['slope_high'], decimal)}, r = {bounded(row['r'])} "
            f"{interval(row['r_low'], row['r_high'])}{ceiling}."
        )
    effects = tables["effects"]
    failed = effects[effects["outcome"] != "as predicted"]
    texts.append(
        f"{count(len(effects) - len(failed))} of {count(len(effects))} effects have the predicted sign and "
        "an interval without 0."
    )
    for outcome, rows in failed.groupby("outcome", sort=False):
        names = [f"{row[REGION]}, {row[TRAIT]} ({row[GROUP]})" for row in rows.to_dict("records")]
        texts.append(f"{str(outcome).capitalize()}: {'; '.join(names)}.")
    return texts


def _describe_groups(differences: pd.DataFrame) -> str:
    """Describe the regions in which the groups differ."""
    found = differences[differences["p"] < 0.05]
    if found.empty:
        return "In no region did the effects differ between the groups (p corrected ≥ .05)."
    first, second = found[["group_1", "group_2"]].iloc[0]
    names = [
        f"{row[REGION]}, {row[TRAIT]} ({decimal(row['difference'])}, p {_equals(row['p'])})"
        for row in found.to_dict("records")
    ]
    return f"Effects differed between {first} and {second} (first minus second): {'; '.join(names)}."


def _equals(p: float) -> str:
    """Format a p value with an equals or less-than sign."""
    text = probability(p)
    return text if text.startswith("<") else f"= {text}"


def _describe_plan(facts: dict[str, Any]) -> str:
    """Describe whether the analysis was planned."""
    plan = facts.get("plan")
    if facts.get("simulated"):
        return (
            "The answers were simulated from the predictions: a rehearsal, which says nothing about raters."
        )
    if not plan:
        return "No plan was frozen before the data were collected: this analysis is exploratory."
    text = f"The plan was frozen {plan['frozen']} (digest {plan['digest'][:12]})"
    if facts.get("early"):
        return f"{text}; {count(facts['early'])} answers are older, so this analysis is exploratory."
    if facts.get("deviations"):
        return f"{text}. Changed since: {'; '.join(facts['deviations'])}."
    unknown = "" if facts.get("times_known") else "; the answers have no times that could be compared with it"
    return f"{text} and not changed since{unknown}."


def tabulate_experiment(results: Results) -> list[Table]:
    """Format the tables of the experiment.

    Returns
    -------
    list of Table
        Effects, and differences between groups.
    """
    tables = results.experiment
    rows = [
        [
            row[TRAIT], row[REGION], row[GROUP], decimal(row[PREDICTED]), decimal(row["effect"]),
            interval(row["ci_low"], row["ci_high"], decimal), probability(row["p"]), row["outcome"],
            row["size"],
        ]
        for row in tables["effects"].to_dict("records")
    ]  # fmt: skip
    columns = ["Trait", "Region", "Group", "Predicted", "Observed", "95% interval", "p", "Outcome", "Size"]
    caption = (
        "Effects of altered regions. Rating points per standard deviation of the cue; p is not corrected."
    )
    made = [leave_out_empty(caption, columns, rows, 3)]
    differences = tables.get("differences")
    if differences is not None and "p" in differences:
        rows = [
            [
                row[TRAIT], row[REGION], decimal(row["difference"]),
                interval(row["ci_low"], row["ci_high"], decimal), probability(row["p"]),
            ]
            for row in differences.to_dict("records")
        ]  # fmt: skip
        first, second = differences[["group_1", "group_2"]].iloc[0]
        caption = f"Differences of these effects. {first} − {second}; p is corrected over the table."
        made.append(
            leave_out_empty(caption, ["Trait", "Region", "Difference", "95% interval", "p (corrected)"], rows)
        )
    return made
