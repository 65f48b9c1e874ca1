"""Charts of simulated studies: error rates and power, and where differences were found."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from traitlens.report.charts import in_order, name_rows
from traitlens.report.style import (
    FAINT,
    GROUP_COLOURS,
    GROUP_MARKERS,
    INK,
    WIDE,
    inches,
    save_figure,
    styled,
)
from traitlens.words import REGION, TRAIT

LEVEL = 0.05
UNPLANTED = "#bdbdbd"


@styled
def draw_validation(rates: pd.DataFrame, places: pd.DataFrame, path: Path) -> list[Path]:
    """Draw how often each test was significant, and in which regions the largest significant effect lay.

    Parameters
    ----------
    rates, places : DataFrame
        `validation.csv` and `validation_places.csv`.
    path : Path
        The figure's file without an ending.

    Returns
    -------
    list of Path
        The files.
    """
    differences = sorted(rates["difference"].unique())
    largest = places[places["difference"] == differences[-1]]
    traits = in_order(largest, TRAIT, None)
    figure = Figure(figsize=(inches(WIDE), inches(72)), layout="constrained")
    axes = figure.subplots(1, 1 + len(traits), width_ratios=[1.5] + [1] * len(traits))
    first, *others = axes if len(traits) else [axes]
    for place, difference in enumerate(differences):
        part = rates[rates["difference"] == difference].reset_index(drop=True)
        _draw_rates(first, part, place, _tell(difference))
    name_rows(first, [f"{name.capitalize()} test" for name in part["test"]], 24)
    first.axvline(100 * LEVEL, color=FAINT, linewidth=0.6, linestyle=(0, (4, 2)), zorder=0)
    first.set_xlim(0, 103)
    first.set_xlabel("Studies with a significant result (%)")
    regions = in_order(largest, REGION, None)
    for panel, trait in zip(others, traits, strict=True):
        part = largest[largest[TRAIT] == trait].set_index(REGION).reindex(regions)
        colours = [GROUP_COLOURS[1] if planted else UNPLANTED for planted in part["planted"]]
        panel.barh(range(len(regions)), 100 * part["largest"] / part["studies"], color=colours, height=0.7)
        name_rows(panel, regions, 20)
        panel.set_title(trait, loc="left", fontweight="bold")
        panel.set_xlim(0, 103)
        panel.set_xlabel("Largest effect (%)")
        if panel is not others[0]:
            panel.tick_params(axis="y", labelleft=False)
    signs, labels = first.get_legend_handles_labels()
    if differences[-1]:
        signs += [Patch(color=GROUP_COLOURS[1]), Patch(color=UNPLANTED)]
        labels += ["regions where it was planted", "elsewhere"]
    figure.legend(signs, labels, loc="outside upper left", ncols=len(labels))
    return save_figure(figure, path)


@styled
def draw_power(table: pd.DataFrame, path: Path) -> list[Path]:
    """Draw power against the number of raters, a panel for each test.

    Parameters
    ----------
    table : DataFrame
        `power.csv`.
    path : Path
        The figure's file without an ending.

    Returns
    -------
    list of Path
        The files.
    """
    tests = in_order(table, "test", None)
    differences = sorted(table["difference"].unique())
    figure = Figure(figsize=(inches(WIDE), inches(66)), layout="constrained")
    panels = figure.subplots(1, len(tests), sharey=True, squeeze=False)[0]
    for axes, test in zip(panels, tests, strict=True):
        for place, difference in enumerate(differences):
            part = table[(table["test"] == test) & (table["difference"] == difference)].sort_values("n_1")
            colour = GROUP_COLOURS[place % len(GROUP_COLOURS)]
            marker = GROUP_MARKERS[place % len(GROUP_MARKERS)]
            axes.plot(part["n_1"], 100 * part["estimate"], color=colour, marker=marker, markersize=4,
                      label=f"difference {difference:g}")  # fmt: skip
            axes.fill_between(
                part["n_1"],
                100 * part["ci_low"],
                100 * part["ci_high"],
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
        axes.set_title(f"{test.capitalize()} test", loc="left", fontweight="bold")
    panels[0].set_ylabel("Studies with a significant result (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=len(differences))
    return save_figure(figure, path)


def _tell(difference: float) -> str:
    """Name a difference."""
    return f"difference {difference:g}" if difference else "no difference"


def _draw_rates(axes: Axes, part: pd.DataFrame, place: int, label: str) -> None:
    """Draw rates with their intervals, a row for each test."""
    rows = [row + 0.2 * (place - 0.5) for row in range(len(part))]
    centre = 100 * part["estimate"]
    errors = [centre - 100 * part["ci_low"], 100 * part["ci_high"] - centre]
    axes.errorbar(
        centre, rows, xerr=errors, fmt=GROUP_MARKERS[place], color=(INK, GROUP_COLOURS[1])[place % 2],
        markersize=4, elinewidth=0.9, label=label,
    )  # fmt: skip
