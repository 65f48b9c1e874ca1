"""Sentences and figure on the faces that drive a difference between groups."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from traitlens.columns import TRAIT
from traitlens.comparison.answers import ALPHA
from traitlens.report.charts import draw_intervals, in_order
from traitlens.report.numbers import bounded, decimal, interval, p_value, raters_of
from traitlens.report.region_charts import SIGNIFICANCE, panels_by_trait
from traitlens.report.results import Results
from traitlens.report.style import INK, WIDE, styled

MOST_MODERATORS = 20
MOST_SENTENCES = 8
CAPTION = (
    "Which faces drive the difference: by how many rating points the difference between the groups ({pair}) "
    "changes with one standard deviation of a measure of the face, with 95% intervals over raters. Right of "
    "zero: {first} rate faces higher, relative to {second}, the more a face has of it. Filled: significant "
    "after correction over traits and measures. One measure at a time: measures that go together share their "
    "effects."
)


def describe_face_types(results: Results) -> list[str]:
    """Describe on which faces groups differ, and whether features predict the difference.

    Returns
    -------
    list of str
        Paragraphs; empty where nothing was tested.
    """
    return [*_say_difference(results), *_say_slopes(results)]


def _say_difference(results: Results) -> list[str]:
    """Return sentences on whether the difference is reliable and predicted, pair by pair."""
    table = results.comparisons.get("difference")
    if table is None:
        return []
    texts = []
    for (first, second), own in table.groupby(["group_1", "group_2"], sort=False):
        found = own[own["p_corrected"] <= ALPHA]
        begin = f"The difference of the mean ratings of a face ({first} − {second})"
        if found.empty:
            texts.append(
                f"{begin} was not predicted from the features of faces for any trait (smallest corrected "
                f"{p_value(own['p_corrected'].min())})."
            )
            continue
        cells = [
            f"{row[TRAIT]} (r = {bounded(row['r'])}, 95% CI {interval(row['ci_low'], row['ci_high'])}, "
            f"{p_value(row['p_corrected'])}; reliability of the difference {bounded(row['reliability'])})"
            for row in found.to_dict("records")
        ]
        texts.append(
            f"{begin} was predicted from the features of faces, out of sample, for {'; '.join(cells)}."
        )
    return texts


def _say_slopes(results: Results) -> list[str]:
    """Return sentences on which measures of faces the difference depends on."""
    table = results.comparisons.get("face_types")
    if table is None:
        return []
    found = table[table["p_corrected"] <= ALPHA].sort_values("statistic", key=abs, ascending=False)
    if found.empty:
        smallest = p_value(table["p_corrected"].min())
        return [f"The difference did not depend on any measure of the faces (smallest corrected {smallest})."]
    texts = []
    for (first, second), own in found.head(MOST_SENTENCES).groupby(["group_1", "group_2"], sort=False):
        texts.append(
            f"The difference of the mean ratings of a face ({first} − {second}) depended on these measures; "
            "with one standard deviation more it changes by:"
        )
        for trait, rows in own.groupby(TRAIT, sort=False):
            cells = [
                f"{decimal(row['estimate'])} points for {row['moderator']} (95% CI "
                f"{interval(row['ci_low'], row['ci_high'], decimal)}, corrected "
                f"{p_value(row['p_corrected'])}; over raters and faces {p_value(row['crossed_p'])})"
                for row in rows.to_dict("records")
            ]
            texts.append(f"{trait}: {'; '.join(cells)}.")
    if len(found) > MOST_SENTENCES:
        texts.append(f"And {len(found) - MOST_SENTENCES} more.")
    return texts


def caption_for(results: Results) -> str:
    """Return the caption of the figure with the groups' names."""
    first, second = [*results.compared, "the first group", "the second group"][:2]
    return CAPTION.format(pair=f"{first} − {second}", first=raters_of(first), second=raters_of(second))


@styled
def plot_face_types(
    slopes: pd.DataFrame, *, traits: Sequence[str] | None = None, width: float = WIDE
) -> Figure:
    """Draw how the difference of two groups changes with measures of faces.

    Parameters
    ----------
    slopes : DataFrame
        `comparisons/face_types.csv`, of one pair of groups: trait, moderator, estimate, ci_low, ci_high,
        p_corrected.
    traits : sequence of str, optional
        Traits to draw, in this order; all by default.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        A dot with its 95% interval for each measure, the largest first; one panel per trait.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"trait": "warm", "moderator": ["smile"], "estimate": 0.2, "ci_low": 0.1, "ci_high": 0.3,
    ...      "p_corrected": 0.01}
    ... )  # fmt: skip
    >>> len(plot_face_types(table).axes)
    1
    """
    traits = in_order(slopes, TRAIT, traits)
    sizes = slopes["estimate"].abs().groupby(slopes["moderator"], sort=False).max()
    rows = list(sizes.sort_values(ascending=False, kind="stable").index.astype(str))[:MOST_MODERATORS]
    figure, panels = panels_by_trait(traits, rows, 3.4, width)
    for trait, axes in zip(traits, panels, strict=True):
        own = slopes[(slopes[TRAIT] == trait) & slopes["moderator"].isin(rows)]
        axes.axvline(0, color=INK, linewidth=0.6)
        for called, fill in ((True, INK), (False, "white")):
            chosen = own[(own["p_corrected"] <= ALPHA) == called]
            values = pd.DataFrame(
                {"y": chosen["moderator"].map(rows.index), "value": chosen["estimate"],
                 "low": chosen["ci_low"], "high": chosen["ci_high"]}
            )  # fmt: skip
            draw_intervals(axes, values, INK, "o", 4, markerfacecolor=fill)
    figure.supxlabel("Change of the difference per standard deviation (rating points)", fontsize=7.5)
    figure.legend(handles=SIGNIFICANCE, loc="outside upper left", ncols=2)
    return figure
