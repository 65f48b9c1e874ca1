"""Charts of regions: shares, utilisation, and differences between groups."""

import math
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from traitlens.columns import GROUP, PREDICTED, REGION, SHARE, TRAIT
from traitlens.report.charts import BAR_OPACITY, add_legend, draw_intervals, in_order, name_rows
from traitlens.report.style import FAINT, INK, WIDE, colours_of, inches, markers_of, shorten, styled

SIGNIFICANCE = [
    Line2D([], [], color=INK, marker="o", markersize=4, linestyle="none", markerfacecolor=fill, label=text)
    for fill, text in ((INK, "p (corrected) < .05"), ("white", "not significant"))
]
"""Legend: significant differences are filled."""


def _order_regions(table: pd.DataFrame, column: str, wanted: Sequence[str] | None = None) -> list[str]:
    """Return the regions of a table in a given order, or by their largest absolute value."""
    if wanted:
        return in_order(table, REGION, wanted)
    sizes = table[column].abs().groupby(table[REGION], sort=False).max()
    return list(sizes.sort_values(ascending=False, kind="stable").index.astype(str))


def panels_by_trait(
    traits: Sequence[str], rows: Sequence[str], millimetres_per_row: float, width: float
) -> tuple[Figure, list[Axes]]:
    """Create one panel per trait with rows down the left side.

    Parameters
    ----------
    traits, rows : sequence of str
        Titles of panels, and names of rows.
    millimetres_per_row, width : float
        Height of a row, and width of the figure, in millimetres.
    """
    # legend entries with long names take a line each
    beside = 3 if width > 120 else 2 if max(map(len, traits)) <= 17 else 1
    per_line = min(beside, len(traits))
    lines = math.ceil(len(traits) / per_line)
    height = (millimetres_per_row * len(rows) + 12) * lines + 10
    figure = Figure(figsize=(inches(width), inches(height)), layout="constrained")
    grid = figure.subplots(lines, per_line, squeeze=False, sharex=True)
    panels = list(grid.ravel())
    for place, axes in enumerate(panels):
        if place >= len(traits):
            axes.remove()
            continue
        name_rows(axes, rows, 20)
        axes.locator_params(axis="x", nbins=5 if width > 120 else 3)
        letter = f"{chr(ord('A') + place)}   " if len(traits) > 1 else ""
        name = shorten(traits[place], 32 if width > 120 else 22)
        axes.set_title(f"{letter}{name}", loc="left", fontweight="bold")
        axes.tick_params(axis="x", labelbottom=True)
        if place % per_line:
            axes.tick_params(axis="y", labelleft=False)
    return figure, panels[: len(traits)]


@styled
def plot_region_shares(
    shares: pd.DataFrame,
    *,
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    regions: Sequence[str] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw the share of each region in the explained variance, beside its area.

    Parameters
    ----------
    shares : DataFrame
        `cues/shares.csv`: group, trait, region, share, ci_low, ci_high, and area where it is known.
    groups, traits
        As for :func:`traitlens.report.charts.plot_performance`.
    regions : sequence of str, optional
        Regions from top to bottom; by size by default.
    width
        As for :func:`traitlens.report.charts.plot_performance`.

    Returns
    -------
    Figure
        A bar with its 95% interval for each region and group, one panel per trait.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"group": "a", "trait": "warm", "region": ["eyes"], "share": 0.4, "ci_low": 0.3, "ci_high": 0.5}
    ... )
    >>> len(plot_region_shares(table).axes)
    1
    """
    groups, traits = in_order(shares, GROUP, groups), in_order(shares, TRAIT, traits)
    regions, colours = _order_regions(shares, SHARE, regions), colours_of(groups)
    figure, panels = panels_by_trait(traits, regions, 2.2 * len(groups) + 1.2, width)
    step, areas = 0.8 / len(groups), _areas(shares)
    for trait, axes in zip(traits, panels, strict=True):
        for place, group in enumerate(groups):
            rows = shares[(shares[TRAIT] == trait) & (shares[GROUP] == group)]
            y = rows[REGION].map(regions.index) + (place - (len(groups) - 1) / 2) * step
            axes.barh(y, 100 * rows[SHARE], height=step * 0.9, color=colours[group], alpha=BAR_OPACITY)
            axes.hlines(y, 100 * rows["ci_low"], 100 * rows["ci_high"], color=INK, linewidth=0.9)
        axes.axvline(0, color=INK, linewidth=0.6)
        at = areas.index.map(regions.index).to_numpy(float)
        axes.vlines(100 * areas.to_numpy(), at - 0.45, at + 0.45, color=FAINT, linewidth=1.2)
    figure.supxlabel("Share of the explained variance (%)", fontsize=7.5)
    mark = Line2D([], [], color=FAINT, linewidth=1.2, label="area of the region (%)")
    add_legend(figure, groups, [mark] if len(areas) else [], bars=True)
    return figure


def _areas(shares: pd.DataFrame) -> pd.Series:
    """Return the area of each region, if known."""
    if "area" not in shares:
        return pd.Series(dtype=float)
    return shares.groupby(REGION)["area"].first().dropna()


@styled
def plot_profile(
    face: np.ndarray,
    cues: pd.DataFrame,
    *,
    name: str = "",
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    regions: Sequence[str] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw one face beside the contributions of its regions to the predicted ratings.

    Parameters
    ----------
    face : ndarray of uint8 (y, x, colour)
        The face.
    cues : DataFrame
        Rows of `cues/group_cues.csv` of this face: group, trait, region, cue.
    name : str, default ""
        Title of the face.
    groups, traits
        As for :func:`traitlens.report.charts.plot_performance`.
    regions : sequence of str, optional
        Regions from top to bottom; by size by default.
    width
        As for :func:`traitlens.report.charts.plot_performance`.

    Returns
    -------
    Figure
        The face, then a panel per trait with a bar for each region and group.

    Examples
    --------
    >>> table = pd.DataFrame({"group": "a", "trait": "warm", "region": ["eyes", "mouth"], "cue": [0.4, -0.1]})
    >>> len(plot_profile(np.zeros((8, 8, 3), np.uint8), table).axes)
    2
    """
    groups, traits = in_order(cues, GROUP, groups), in_order(cues, TRAIT, traits)
    regions, colours = _order_regions(cues, "cue", regions), colours_of(groups)
    figure, (first, *panels) = panels_by_trait(["", *traits], regions, 2.2 * len(groups) + 1.2, width)
    place = first.get_subplotspec()
    assert place is not None
    first.remove()
    picture = figure.add_subplot(place)
    picture.imshow(face)
    picture.set_axis_off()
    picture.set_title(shorten(name, 22), loc="left")
    panels[0].tick_params(axis="y", labelleft=True)
    step = 0.8 / len(groups)
    for trait, axes in zip(traits, panels, strict=True):
        for turn, group in enumerate(groups):
            rows = cues[(cues[TRAIT] == trait) & (cues[GROUP] == group)]
            y = rows[REGION].map(regions.index) + (turn - (len(groups) - 1) / 2) * step
            axes.barh(y, rows["cue"], height=step * 0.9, color=colours[group], alpha=BAR_OPACITY)
        axes.axvline(0, color=INK, linewidth=0.6)
    figure.supxlabel("Contribution to the predicted rating (rating points)", fontsize=7.5)
    add_legend(figure, groups, bars=True)
    return figure


@styled
def plot_utilisation(
    utilisation: pd.DataFrame,
    differing: Collection[tuple[str, str]] = (),
    *,
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    regions: Sequence[str] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw how strongly each group uses each region of the face.

    Parameters
    ----------
    utilisation : DataFrame
        `cues/groups.csv`: group, trait, region, utilisation, low, high.
    differing : collection of (str, str)
        Traits and regions whose use differs between groups; they are marked.
    groups, traits
        As for :func:`traitlens.report.charts.plot_performance`.
    regions : sequence of str, optional
        Regions from top to bottom; by size by default.
    width
        As for :func:`traitlens.report.charts.plot_performance`.

    Returns
    -------
    Figure
        A dot with its 95% interval over raters for each region and group, one panel per trait.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"group": "a", "trait": "warm", "region": ["eyes"], "utilisation": 0.4, "low": 0.3, "high": 0.5}
    ... )
    >>> len(plot_utilisation(table, {("warm", "eyes")}).axes)
    1
    """
    groups, traits = in_order(utilisation, GROUP, groups), in_order(utilisation, TRAIT, traits)
    regions = _order_regions(utilisation, "utilisation", regions)
    colours = colours_of(groups)
    figure, panels = panels_by_trait(traits, regions, 2.2 * len(groups) + 1.2, width)
    step, markers = 0.6 / len(groups), markers_of(groups)
    named = utilisation.rename(columns={"utilisation": "value"})
    for trait, axes in zip(traits, panels, strict=True):
        for place, group in enumerate(groups):
            rows = named[(named[TRAIT] == trait) & (named[GROUP] == group)]
            y = rows[REGION].map(regions.index) + (place - (len(groups) - 1) / 2) * step
            draw_intervals(axes, rows.assign(y=y), colours[group], markers[group], 3.5)
        for region in regions:
            if (trait, region) in differing:
                y = regions.index(region)
                axes.axhspan(y - 0.45, y + 0.45, color=FAINT, alpha=0.25, linewidth=0, zorder=0)
        axes.axvline(0, color=FAINT, linewidth=0.6, linestyle=(0, (3, 2)))
    figure.supxlabel("Rating points per SD of the cue, 95% interval over raters", fontsize=7.5)
    mark = Line2D([], [], color=FAINT, alpha=0.25, linewidth=6, label="groups differ (p corrected < .05)")
    add_legend(figure, groups, [mark] if differing else [])
    return figure


@styled
def plot_experiment(
    effects: pd.DataFrame,
    *,
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw observed and predicted effects of altered regions.

    Parameters
    ----------
    effects : DataFrame
        `experiment/effects.csv`: trait, region, group, predicted, effect, ci_low, ci_high.
    groups, traits : sequence of str, optional
        Groups and traits to draw, in this order; all by default.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        A dot with its interval and a line for the prediction for each region and group, one panel per trait.

    Examples
    --------
    >>> row = {"trait": "warm", "region": ["eyes"], "group": "a", "predicted": 0.5, "effect": 0.4}
    >>> len(plot_experiment(pd.DataFrame(row).assign(ci_low=0.2, ci_high=0.6)).axes)
    1
    """
    groups, traits = in_order(effects, GROUP, groups), in_order(effects, TRAIT, traits)
    groups = [group for group in groups if group in set(effects[GROUP])]
    traits = [trait for trait in traits if trait in set(effects[TRAIT])]
    regions, colours, markers = _order_regions(effects, PREDICTED), colours_of(groups), markers_of(groups)
    figure, panels = panels_by_trait(traits, regions, 2.6 * len(groups) + 1.2, width)
    step = 0.7 / len(groups)
    shown = effects.rename(columns={"effect": "value", "ci_low": "low", "ci_high": "high"})
    for trait, axes in zip(traits, panels, strict=True):
        for place, group in enumerate(groups):
            rows = shown[(shown[TRAIT] == trait) & (shown[GROUP] == group)]
            y = rows[REGION].map(regions.index) + (place - (len(groups) - 1) / 2) * step
            draw_intervals(axes, rows.assign(y=y), colours[group], markers[group], 3.5)
            half = 0.45 * step
            axes.vlines(rows[PREDICTED], y - half, y + half, color=colours[group], linewidth=1.4)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.axvline(0, color=FAINT, linewidth=0.6, linestyle=(0, (3, 2)))
    figure.supxlabel("Rating points per SD of the cue, 95% interval", fontsize=7.5)
    mark = Line2D([], [], color=INK, marker="|", markersize=7, linestyle="none", label="predicted")
    add_legend(figure, groups, [mark])
    return figure


@styled
def plot_region_differences(
    differences: pd.DataFrame,
    *,
    groups: Sequence[str] = (),
    traits: Sequence[str] | None = None,
    regions: Sequence[str] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw how the groups differ in the use of each region.

    Parameters
    ----------
    differences : DataFrame
        Tests of the use of regions: trait, region, estimate, ci_low, ci_high, p_corrected.
    groups : sequence of str, optional
        The two groups; the estimate is the first one's value minus the second one's.
    traits : sequence of str, optional
        Traits to draw, in this order; all by default.
    regions : sequence of str, optional
        Regions from top to bottom; by size by default.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        A dot with its interval for each region, filled where the corrected p is below .05.

    Examples
    --------
    >>> table = pd.DataFrame({"trait": "warm", "region": ["eyes"], "estimate": 0.1, "p_corrected": 0.01})
    >>> len(plot_region_differences(table).axes)
    1
    """
    traits = in_order(differences, TRAIT, traits)
    regions = _order_regions(differences, "estimate", regions)
    figure, panels = panels_by_trait(traits, regions, 4.5, width)
    shown = differences.rename(columns={"estimate": "value", "ci_low": "low", "ci_high": "high"})
    shown = shown.reindex(columns=list(dict.fromkeys([*shown.columns, "low", "high"])))
    for trait, axes in zip(traits, panels, strict=True):
        rows = shown[shown[TRAIT] == trait]
        rows = rows.assign(y=rows[REGION].map(regions.index).astype(float))
        found = rows["p_corrected"] < 0.05
        draw_intervals(axes, rows[found], INK, "o", 4)
        draw_intervals(axes, rows[~found], INK, "o", 4, markerfacecolor="white")
        axes.axvline(0, color=FAINT, linewidth=0.6, linestyle=(0, (3, 2)))
    figure.supxlabel(_directions(groups), fontsize=7.5)
    add_legend(figure, [], SIGNIFICANCE)
    return figure


def _directions(groups: Sequence[str]) -> str:
    """Label both sides of zero and the unit."""
    first, second = (shorten(group, 20) for group in [*groups, "first group", "second group"][:2])
    sides = f"used more by {second} ←   → used more by {first}"
    return f"{sides}\nRating points per SD of the cue, 95% interval"


@styled
def plot_planted(table: pd.DataFrame, *, groups: Sequence[str] = (), width: float = WIDE) -> Figure:
    """Draw planted differences of a simulated study beside the differences found.

    Parameters
    ----------
    table : DataFrame
        As `planted.compare_with_planted` returns it: trait, region, planted, estimate, ci_low, ci_high,
        p_corrected.
    groups : sequence of str, optional
        The two groups; differences are the first one's value minus the second one's.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        A row for each pair of region and trait: a bar, the planted difference of weights, and a dot with its
        interval, the difference that was found.

    Examples
    --------
    >>> row = {"trait": "warm", "region": ["eyes"], "planted": 0.5, "estimate": 0.4, "p_corrected": 0.01}
    >>> len(plot_planted(pd.DataFrame(row).assign(ci_low=0.2, ci_high=0.6)).axes)
    2
    """
    table = table.reindex(columns=list(dict.fromkeys([*table.columns, "ci_low", "ci_high"])))
    table = table.rename(columns={"estimate": "value", "ci_low": "low", "ci_high": "high"})
    table = table.sort_values("planted", key=lambda sizes: -sizes.abs(), kind="stable")
    table = table.assign(y=range(len(table)))
    figure = Figure(figsize=(inches(width), inches(3.6 * len(table) + 22)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    name_rows(left, [f"{row[REGION]}, {row[TRAIT]}" for row in table.to_dict("records")], 34)
    right.tick_params(axis="y", length=0)
    right.spines["left"].set_visible(False)
    left.barh(table["y"], table["planted"], height=0.6, color=FAINT)
    found = table["p_corrected"] < 0.05
    draw_intervals(right, table[found], INK, "o", 4)
    draw_intervals(right, table[~found], INK, "o", 4, markerfacecolor="white")
    for axes in (left, right):
        axes.axvline(0, color=FAINT, linewidth=0.6, linestyle=(0, (3, 2)))
        axes.locator_params(axis="x", nbins=5 if width > 120 else 3)
    left.set_title("A   Planted", loc="left", fontweight="bold")
    right.set_title("B   Found", loc="left", fontweight="bold")
    left.set_xlabel("Weight")
    right.set_xlabel("Points per SD" if width < 120 else "Rating points per SD of the cue, 95% interval")
    first, second = (shorten(group, 20) for group in [*groups, "first group", "second group"][:2])
    figure.supxlabel(f"more in {second} ←   → more in {first}", fontsize=7.5)
    add_legend(figure, [], SIGNIFICANCE)
    return figure
