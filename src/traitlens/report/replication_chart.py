"""Sentences and a figure on the replication of group differences in a second study."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from traitlens.columns import REGION, TRAIT
from traitlens.comparison.rater_outcomes import MEASURES
from traitlens.report.charts import draw_intervals, name_rows
from traitlens.report.numbers import bounded, p_value, raters_of
from traitlens.report.style import FAINT, INK, WIDE, inches, shorten, styled

MOST_ROWS = 40


def describe_replication(tables: Mapping[str, pd.DataFrame], alpha: float = 0.05) -> Sequence[str]:
    """Describe the results of a replication.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        "effects", "patterns" and "mean_ratings" of `traitlens.comparison.by_study`.
    alpha : float, default 0.05
        Level of the tests.
    """
    lines = []
    ratings = tables["mean_ratings"]
    for what, own in ratings.groupby("what", sort=False):
        about = {
            "mean ratings": "Mean ratings of the same faces correlate between the studies",
            "prediction": "The first study’s readouts predict the second study’s ratings",
        }[str(what)]
        between = f"r from {bounded(own['r'].min())} to {bounded(own['r'].max())}"
        lines.append(f"{about}: {between} (ceilings {bounded(own['ceiling'].min())} to "
                     f"{bounded(own['ceiling'].max())}).")  # fmt: skip
    for row in tables["patterns"].to_dict("records"):
        pair = f"{raters_of(row['group_1'])} and {raters_of(row['group_2'])}"
        verdict = "replicated" if row["p_corrected"] <= alpha else "did not replicate"
        what = MEASURES.get(row["measure"], row["measure"])
        lines.append(
            f"The pattern of {row['n_effects']} differences between {pair} in {what} {verdict} (similarity "
            f"{bounded(row['similarity'])}, {p_value(row['p_corrected'])})."
        )
    for (first, second, measure), own in tables["effects"].groupby(
        ["group_1", "group_2", "measure"], sort=False
    ):
        planned = own[own["p_1"] <= alpha]
        what = MEASURES.get(str(measure), str(measure))
        lines.append(
            f"{what[0].upper()}{what[1:]} ({first} − {second}): {int(own['inside'].sum())} of {len(own)} "
            f"estimates "
            f"inside the 95% prediction interval; {int(planned['replicated'].sum())} of {len(planned)} "
            f"differences "
            "that were significant in the first study (p ≤ .05, not corrected) are significant in the "
            "second, in the same direction."
        )
    return lines


@styled
def plot_replication(
    effects: pd.DataFrame, names: tuple[str, str] = ("first study", "second study"), *, width: float = WIDE
) -> Figure:
    """Draw the effects of two studies side by side.

    Parameters
    ----------
    effects : DataFrame
        `effects.csv` of a replication.
    names : (str, str)
        Names of the studies.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        Left: effects of the first study with 95% intervals; right: those of the second, over the prediction
        interval from the first. Effects are in units of the standard error of the first study.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"measure": "level", "trait": ["warm"], "region": "", "estimate_1": 0.4, "low_1": 0.1,
    ...      "high_1": 0.7,
    ...      "estimate_2": 0.3, "low_2": 0.0, "high_2": 0.6, "predicted_low": -0.1, "predicted_high": 0.9,
    ...      "replicated": True}
    ... )  # fmt: skip
    >>> len(plot_replication(table).axes)
    2
    """
    shown = effects.sort_values("measure", key=lambda names: names.map(list(MEASURES).index), kind="stable")
    shown = shown.head(MOST_ROWS)
    # Measures have different units: all are drawn in standard errors of the first study.
    unit = ((shown["high_1"] - shown["low_1"]) / (2 * 1.96)).to_numpy()
    unit = np.where(unit > 0, unit, 1)
    labels = [
        f"{row[TRAIT]}, {row[REGION]}" if row[REGION] else f"{row[TRAIT]}, {MEASURES[row['measure']]}"
        for row in shown.to_dict("records")
    ]
    figure = Figure(figsize=(inches(width), inches(4.2 * len(shown) + 24)), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    rows = np.arange(len(shown))
    for number, (axes, name) in enumerate(zip(panels, names, strict=True), 1):
        name_rows(axes, labels, 44)
        axes.axvline(0, color=INK, linewidth=0.6)
        axes.set_title(shorten(name, 40), loc="left", fontweight="bold")
        if number == 2:
            low, high = (shown[f"predicted_{end}"].to_numpy() / unit for end in ("low", "high"))
            axes.barh(rows, high - low, left=low, height=0.7, color="#e8e8e8", zorder=0)
            axes.tick_params(axis="y", labelleft=False)
        filled = shown["replicated"].to_numpy() if number == 2 else np.ones(len(shown), bool)
        values = pd.DataFrame(
            {
                "y": rows,
                "value": shown[f"estimate_{number}"].to_numpy() / unit,
                "low": shown[f"low_{number}"].to_numpy() / unit,
                "high": shown[f"high_{number}"].to_numpy() / unit,
            }
        )
        for chosen, fill in ((filled, INK), (~filled, "white")):
            draw_intervals(axes, values[chosen], INK, "o", 4, markerfacecolor=fill)
    figure.supxlabel("Difference between the groups (standard errors of the first study)", fontsize=7.5)
    handles = [
        Line2D([], [], color=INK, marker="o", markersize=4, linestyle="none", label="replicated"),
        Line2D([], [], color=INK, marker="o", markersize=4, linestyle="none", markerfacecolor="white",
               label="not replicated, or not significant in the first study"),
        Line2D([], [], color=FAINT, linewidth=5, alpha=0.3, label="95% prediction interval"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure
