"""Sentences, a table and a figure on the sources of the variance of ratings."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from traitlens.columns import GROUP, TRAIT
from traitlens.report.charts import in_order, name_rows
from traitlens.report.numbers import bounded, count, decimal, interval, raters_of
from traitlens.report.results import Results
from traitlens.report.style import WIDE, inches, shorten, styled
from traitlens.report.text_tables import Table, leave_out_empty

COLOURS = {
    "identity": "#0072B2", "photograph": "#56B4E9", "image": "#0072B2", "rater": "#999999",
    "private taste": "#D55E00", "private taste and noise": "#E8B38B", "noise": "#E5E5E5",
}  # fmt: skip
"""Colour of each source of variance, in the order of the figure; shared taste is blue."""
INDEX = "beholder index"
CAPTION = (
    "Sources of variance: shares of the variance of single ratings. Blue: what raters share about the "
    "person shown and about the photograph; grey: raters’ levels; orange: private taste, which a rater "
    "repeats; pale: noise."
)


def describe_variances(results: Results) -> list[str]:
    """Describe the shares of shared taste, private taste and noise in the ratings.

    Returns
    -------
    list of str
        A paragraph; empty where variances were not estimated.
    """
    table = results.variances
    if table is None:
        return []
    sentences = []
    for group in results.groups:
        own = table[(table[GROUP] == group) & (table["part"] == INDEX)].dropna(subset=["share"])
        if own.empty:
            continue
        ranked = own.sort_values("share")
        low, high = ranked.iloc[0], ranked.iloc[-1]
        text = f"from {bounded(low['share'])} ({low[TRAIT]}) to {bounded(high['share'])} ({high[TRAIT]})"
        if len(own) == 1:
            bounds = interval(low["share_low"], low["share_high"])
            text = f"{bounded(low['share'])} ({low[TRAIT]}), 95% CI {bounds}"
        sentences.append(f"Among {raters_of(group)} the beholder index was {text}.")
    if not sentences:
        return [
            "No trait was rated twice by the same raters, so private taste and noise cannot be "
            "separated: the share of private taste is between 0 and the share that the figure shows for both."
        ]
    return [
        "The beholder index is the share of private taste in all taste that a rater repeats (Hönekopp, "
        "2006): at 0 "
        f"impressions are in the face, at 1 in the eye of the beholder. {' '.join(sentences)}"
    ]


def tabulate_variance_sources(results: Results) -> list[Table]:
    """Format the sources of variance as a table."""
    if results.variances is None:
        return []
    order = {trait: place for place, trait in enumerate(results.traits)}
    table = results.variances.sort_values(TRAIT, key=lambda traits: traits.map(order), kind="stable")
    rows = [
        [str(row[TRAIT]), str(row[GROUP]), str(row["part"]), decimal(row["variance"], 3),
         bounded(row["share"]), interval(row["share_low"], row["share_high"]),
         count(row["n_raters"]), count(row["n_images"]),
         count(row["n_repeats"])]
        for row in table.to_dict("records")
    ]  # fmt: skip
    columns = ["Trait", "Group", "Part", "Variance", "Share", "95% interval", "Raters", "Images",
               "Repeats"]  # fmt: skip
    caption = (
        "Sources of the variance of single ratings. By restricted maximum likelihood with crossed random "
        "effects; intervals from the sampling distribution of the variances. The beholder index is private "
        "taste over private and shared taste (identity and photograph); with levels, raters’ levels count as "
        "private."
    )
    return [replace(leave_out_empty(caption, columns, rows, 3), file="ratings/variances.csv")]


@styled
def plot_variances(
    variances: pd.DataFrame,
    *,
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw the sources of the variance of ratings.

    Parameters
    ----------
    variances : DataFrame
        `ratings/variances.csv`: group, trait, part, share.
    groups, traits : sequence of str, optional
        Groups and traits to draw, in this order; all by default.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        A bar for each trait, divided into parts; one panel per group.

    Examples
    --------
    >>> table = pd.DataFrame({"group": "a", "trait": "warm", "part": ["image", "rater"], "share": [0.4, 0.6]})
    >>> len(plot_variances(table).axes)
    1
    """
    groups, traits = in_order(variances, GROUP, groups), in_order(variances, TRAIT, traits)
    beside = min(3 if width > 120 else 1, len(groups))
    lines = math.ceil(len(groups) / beside)
    figure = Figure(
        figsize=(inches(width), inches((6 * len(traits) + 12) * lines + 14)), layout="constrained"
    )
    panels = list(figure.subplots(lines, beside, squeeze=False, sharex=True).ravel())
    parts = [part for part in COLOURS if part in set(variances["part"])]
    for place, axes in enumerate(panels):
        if place >= len(groups):
            axes.remove()
            continue
        name_rows(axes, traits, 20)
        axes.set_title(shorten(groups[place], 32), loc="left", fontweight="bold")
        own = variances[variances[GROUP] == groups[place]]
        wide = own.pivot_table(index=TRAIT, columns="part", values="share").reindex(
            index=traits, columns=parts
        )
        left = pd.Series(0.0, index=traits)
        for part in parts:
            values = 100 * wide[part].fillna(0)
            axes.barh(
                range(len(traits)), values, left=left, height=0.7, color=COLOURS[part], edgecolor="white"
            )
            left = left + values
        axes.set_xlim(0, 100)
    figure.supxlabel("Share of the variance of single ratings (%)", fontsize=7.5)
    handles = [Patch(facecolor=COLOURS[part], label=part) for part in parts]
    figure.legend(handles=handles, loc="outside upper left", ncols=5 if width > 120 else 2)
    return figure
