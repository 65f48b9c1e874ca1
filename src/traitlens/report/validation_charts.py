"""Charts of error rates and power in simulated studies."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from traitlens.report.charts import in_order, name_rows
from traitlens.report.style import (
    FAINT,
    GROUP_COLOURS,
    GROUP_MARKERS,
    WIDE,
    inches,
    save_figure,
    styled,
)

LEVEL = 0.05
MEASURES = ("any region called", "power per planted place", "wrong place called")


@styled
def draw_validation(rates: pd.DataFrame, path: Path) -> list[Path]:
    """Draw false positive rates, rates of wrong regions, and power by condition, and save the figure."""
    sets = in_order(rates, "faces", None)
    none, some = rates[rates["difference"] == 0], rates[rates["difference"] != 0]
    panels = [
        (none, "any region called", "No difference: any region called (%)"),
        (some, "wrong place called", "Difference: a wrong region called (%)"),
        (some, "power per planted place", "Difference: a planted region called (%)"),
    ]
    shown = [panel for panel in panels if len(panel[0])]
    lengths = [table["condition"].nunique() for table, _, _ in shown]
    figure = Figure(figsize=(inches(WIDE), inches(14 + 7 * max(lengths))), layout="constrained")
    for axes, (table, measure, title) in zip(
        figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True
    ):
        conditions = in_order(table, "condition", None)
        for place, name in enumerate(sets):
            part = table[(table["faces"] == name) & (table["measure"] == measure)]
            rows = [conditions.index(one) + 0.22 * (place - (len(sets) - 1) / 2) for one in part["condition"]]
            _draw_rates(axes, part, rows, place, name)
        name_rows(axes, conditions, 26)
        axes.set_xlim(-2, 103)
        axes.set_xlabel(title)
        if measure == "any region called":
            axes.axvline(100 * LEVEL, color=FAINT, linewidth=0.6, linestyle=(0, (4, 2)), zorder=0)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=len(sets))
    return save_figure(figure, path)


@styled
def draw_power(table: pd.DataFrame, path: Path) -> list[Path]:
    """Draw rates against the number of raters, one panel per measure, and save the figure."""
    tests = [name for name in in_order(table, "measure", None) if name in MEASURES]
    differences = sorted(table["difference"].unique())
    figure = Figure(figsize=(inches(WIDE), inches(66)), layout="constrained")
    panels = figure.subplots(1, len(tests), sharey=True, squeeze=False)[0]
    for axes, test in zip(panels, tests, strict=True):
        for place, difference in enumerate(differences):
            part = table[(table["measure"] == test) & (table["difference"] == difference)].sort_values("n_1")
            colour = GROUP_COLOURS[place % len(GROUP_COLOURS)]
            marker = GROUP_MARKERS[place % len(GROUP_MARKERS)]
            axes.plot(part["n_1"], 100 * part["estimate"], color=colour, marker=marker, markersize=4,
                      label=f"difference {difference:g}")  # fmt: skip
            axes.fill_between(
                part["n_1"],
                100 * part["low"],
                100 * part["high"],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
        axes.axhline(80, color=FAINT, linewidth=0.6, linestyle=(0, (4, 2)), zorder=0)
        axes.set_ylim(0, 103)
        axes.set_xscale("log")
        ticks = sorted(table["n_1"].unique())
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("Raters in each group")
        axes.set_title(test.capitalize(), loc="left", fontweight="bold")
    panels[0].set_ylabel("%")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=len(differences))
    return save_figure(figure, path)


def _draw_rates(axes: Axes, part: pd.DataFrame, rows: list[float], place: int, label: str) -> None:
    """Draw rates with their intervals."""
    centre = 100 * part["estimate"]
    errors = [centre - 100 * part["low"], 100 * part["high"] - centre]
    axes.errorbar(
        centre, rows, xerr=errors, fmt=GROUP_MARKERS[place % len(GROUP_MARKERS)],
        color=GROUP_COLOURS[place % len(GROUP_COLOURS)], markersize=4, elinewidth=0.9, label=label,
    )  # fmt: skip
