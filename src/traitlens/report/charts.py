"""Charts of reliability, performance, learning curves, and observed against predicted ratings."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from traitlens.columns import GROUP, OBSERVED, PREDICTED, TRAIT
from traitlens.report.numbers import bounded
from traitlens.report.style import (
    FAINT,
    INK,
    WIDE,
    colours_of,
    inches,
    markers_of,
    shorten,
    styled,
)

MOST_DOTS = 3000
"""Number of dots above which a scatter plot is rasterised in vector formats, to keep pages fast."""
BAR_OPACITY = 0.75
"""Opacity of bars."""
ZOOM_FROM = 0.5
"""Smallest correlation above which the axis does not start at zero."""


def in_order(table: pd.DataFrame, column: str, wanted: Sequence[str] | None) -> list[str]:
    """Return the values of a column in a given order, or in the order of the table.

    Parameters
    ----------
    table : DataFrame
        The table.
    column : str
        Its column.
    wanted : sequence of str or None
        Values in the wanted order; values that the table lacks are left out.
    """
    present = list(dict.fromkeys(table[column].astype(str)))
    return present if wanted is None else [name for name in wanted if name in present]


def name_rows(axes: Axes, names: Sequence[str], limit: int) -> None:
    """Label the rows of a chart, the first one at the top.

    Parameters
    ----------
    axes : Axes
        The axes; row `i` is at y = `i`.
    names : sequence of str
        The names.
    limit : int
        Maximum number of characters of each.
    """
    axes.set_yticks(range(len(names)), [shorten(name, limit) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    edges = [edge - 0.5 for edge in range(1, len(names))]
    axes.hlines(edges, 0, 1, color="#dddddd", linewidth=0.5, zorder=0, transform=axes.get_yaxis_transform())


def draw_intervals(
    axes: Axes, values: pd.DataFrame, colour: str, marker: str, size: float = 4.5, **style: Any
) -> None:
    """Draw dots with intervals in one colour.

    Parameters
    ----------
    axes : Axes
        The axes.
    values : DataFrame
        Columns y, value, low and high; values may be missing.
    colour, marker : str
        Colour and marker.
    size : float, default 4.5
        Size of the marker in points.
    **style
        Further properties of the dots.
    """
    lines = values.dropna(subset=["low", "high"])
    axes.hlines(lines["y"], lines["low"], lines["high"], color=colour, linewidth=1.2)
    axes.plot(
        values["value"], values["y"], linestyle="none", color=colour, marker=marker, markersize=size, **style
    )


def add_legend(
    figure: Figure, groups: Sequence[str], extra: Sequence[Artist] = (), bars: bool = False
) -> None:
    """Add a legend above the axes.

    Parameters
    ----------
    figure : Figure
        The figure, in constrained layout.
    groups : sequence of str
        The groups, in the study's order.
    extra : sequence of Artist, optional
        Further legend entries.
    bars : bool, default False
        Whether groups are shown by bars instead of dots.
    """
    colours, markers = colours_of(groups), markers_of(groups)
    entries: list[Artist] = [
        Patch(color=colours[g], alpha=BAR_OPACITY, linewidth=0) if bars
        else Line2D([], [], color=colours[g], marker=markers[g], linestyle="none", markersize=4)
        for g in groups
    ]  # fmt: skip
    for entry, group in zip(entries, groups, strict=True):
        entry.set_label(shorten(group, 30))
    handles: list[Any] = [*entries, *extra]
    # Long names in a narrow figure are listed one below the other.
    room = 0.55 * figure.get_figwidth() * 25.4
    letters = max((len(str(handle.get_label())) for handle in handles), default=0) + 5
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=max(1, min(len(handles), int(room / letters))),
        handletextpad=0.3,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def _dots_by_trait(
    table: pd.DataFrame,
    columns: tuple[str, str, str, str],
    label: str,
    groups: Sequence[str] | None,
    traits: Sequence[str] | None,
    width: float,
) -> Figure:
    """Draw a dot with its interval, and a ceiling, for each trait (row) and group (colour).

    `columns` name the value, the ends of its interval and the ceiling.
    """
    groups, traits = in_order(table, GROUP, groups), in_order(table, TRAIT, traits)
    colours, markers = colours_of(groups), markers_of(groups)
    height = 14 + max(4.2 * len(groups) + 2.5, 8) * len(traits) + 6
    figure = Figure(figsize=(inches(width), inches(height)), layout="constrained")
    axes = figure.subplots()
    name_rows(axes, traits, 26 if width > 120 else 20)
    step = 0.7 / max(len(groups), 1)
    names = dict(zip(("value", "low", "high", "ceiling"), columns, strict=True))
    shown = pd.DataFrame({key: table.get(column, math.nan) for key, column in names.items()}, table.index)
    shown = shown.astype(float)
    for place, group in enumerate(groups):
        rows = shown[(table[GROUP].astype(str) == group) & table[TRAIT].astype(str).isin(traits)]
        of_trait = table.loc[rows.index, TRAIT].astype(str).map(traits.index)
        rows = rows.assign(y=of_trait + (place - (len(groups) - 1) / 2) * step)
        draw_intervals(axes, rows, colours[group], markers[group])
        axes.vlines(
            rows["ceiling"],
            rows["y"] - 0.42 * step,
            rows["y"] + 0.42 * step,
            color=colours[group],
            linewidth=2,
        )
    _zoom(axes, shown.to_numpy(), label)
    bar = Line2D([], [], color=FAINT, marker="|", markersize=7, markeredgewidth=2, linestyle="none")
    bar.set_label("noise ceiling")
    add_legend(figure, groups, [bar] if shown["ceiling"].notna().any() else [])
    return figure


def _zoom(axes: Axes, values: np.ndarray, label: str) -> None:
    """Set the limits of an axis of correlations: from zero, or from near the lowest value if all are high."""
    finite = values[np.isfinite(values)]
    lowest = float(finite.min(initial=1.0))
    start = 0.0
    if lowest < 0:
        start = max(lowest - 0.05, -1)
        axes.axvline(0, color=FAINT, linewidth=0.6, linestyle=(0, (3, 2)))
    elif lowest >= ZOOM_FROM:
        start = math.floor(20 * lowest - 0.2) / 20
        label = f"{label}\nThe axis begins at {bounded(start)}"
    axes.set_xlim(start - 0.02 * (1 - start), 1 + 0.02 * (1 - start))
    axes.set_xlabel(label)


@styled
def plot_performance(
    performance: pd.DataFrame,
    *,
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw how well ratings were predicted, beside the noise ceiling.

    Parameters
    ----------
    performance : DataFrame
        `performance.csv`: group, trait, r, ci_low, ci_high and, where known, ceiling_r.
    groups, traits : sequence of str, optional
        Groups and traits to draw, in this order; all by default.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        A dot (r out of fold), a line (its interval) and a bar (the ceiling) for each group and trait.

    Examples
    --------
    >>> table = pd.DataFrame({"group": "a", "trait": "warm", "r": [0.6], "ci_low": [0.4], "ci_high": [0.7]})
    >>> round(plot_performance(table, width=89).get_figwidth() * 25.4)
    89
    """
    label = "Correlation of predicted and observed ratings (r, out of fold)"
    if width < 120:
        label = "Predicted and observed ratings (r, out of fold)"
    return _dots_by_trait(performance, ("r", "ci_low", "ci_high", "ceiling_r"), label, groups, traits, width)


@styled
def plot_reliability(
    reliability: pd.DataFrame,
    *,
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw the noise ceiling of each group and trait.

    Parameters
    ----------
    reliability : DataFrame
        `ratings/reliability.csv`: group, trait, ceiling_r, ceiling_r_low, ceiling_r_high.
    groups, traits, width
        As for :func:`traitlens.report.charts.plot_performance`.

    Returns
    -------
    Figure
        The ceiling of r (square root of the Spearman-Brown reliability) with its interval.

    Examples
    --------
    >>> table = pd.DataFrame({"group": ["a"], "trait": ["warm"], "ceiling_r": [0.9]})
    >>> round(plot_reliability(table).get_figwidth() * 25.4)
    183
    """
    label = "Noise ceiling of r (square root of the split-half reliability)"
    if width < 120:
        label = "Noise ceiling of r (√ split-half reliability)"
    columns = ("ceiling_r", "ceiling_r_low", "ceiling_r_high", "")
    return _dots_by_trait(reliability, columns, label, groups, traits, width)


@styled
def plot_learning_curves(
    losses: pd.DataFrame,
    *,
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw the training error of networks by epoch.

    Parameters
    ----------
    losses : DataFrame
        `learning_curves.csv`: group, trait, fold, epoch, loss.
    groups, traits, width
        As for :func:`plot_performance`.

    Returns
    -------
    Figure
        One panel per trait, with the mean (line) and range (area) over folds for each group.

    Examples
    --------
    >>> table = pd.DataFrame({"group": "a", "trait": "warm", "fold": 0, "epoch": [1, 2], "loss": [1.2, 0.8]})
    >>> len(plot_learning_curves(table).axes)
    1
    """
    groups, traits = in_order(losses, GROUP, groups), in_order(losses, TRAIT, traits)
    narrow = 2 if max(map(len, traits)) <= 17 else 1
    beside = min(3 if width > 120 else narrow, len(traits))
    lines = math.ceil(len(traits) / beside)
    figure = Figure(figsize=(inches(width), inches(45 * lines + 12)), layout="constrained")
    grid = figure.subplots(lines, beside, squeeze=False, sharex=True, sharey=True)
    for place, axes in enumerate(grid.ravel()):
        if place >= len(traits):
            axes.remove()
            continue
        for group, colour in colours_of(groups).items():
            own = losses[(losses[TRAIT] == traits[place]) & (losses[GROUP] == group)]
            by_epoch = own.groupby("epoch")["loss"].agg(["mean", "min", "max"])
            axes.fill_between(
                by_epoch.index, by_epoch["min"], by_epoch["max"], color=colour, alpha=0.25, linewidth=0
            )
            axes.plot(by_epoch.index, by_epoch["mean"], color=colour, linewidth=1)
        axes.set_yscale("log")
        axes.set_title(shorten(traits[place], 24), loc="left", fontweight="bold")
        axes.tick_params(axis="x", labelbottom=True)
    figure.supxlabel("Epoch", fontsize=7.5)
    figure.supylabel("Training error (squared points)", fontsize=7.5)
    add_legend(figure, groups, bars=True)
    return figure


@styled
def plot_scatter(
    predictions: pd.DataFrame,
    *,
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    scale: Sequence[float] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw observed against predicted ratings, one panel for each group and trait.

    Parameters
    ----------
    predictions : DataFrame
        `predictions.csv`: image, group, trait, observed, predicted.
    groups, traits : sequence of str, optional
        Groups and traits to draw, in this order; all by default.
    scale : (float, float), optional
        Lowest and highest possible rating, the limits of all axes; those of the data by default.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        All panels have the same axes and show r in a corner; the dashed line marks equality. The label
        of each panel's axes is a JSON list of its group and trait, which the page's script reads.

    Examples
    --------
    >>> table = pd.DataFrame({"group": "a", "trait": "warm", "observed": [1.0, 2], "predicted": [1.2, 2]})
    >>> plot_scatter(table).axes[0].get_label()
    '["a", "warm"]'
    """
    groups, traits = in_order(predictions, GROUP, groups), in_order(predictions, TRAIT, traits)
    colours, markers = colours_of(groups), markers_of(groups)
    cells = [(group, trait) for trait in traits for group in groups]
    per_row = len(groups) * max(1, (6 if width > 120 else 2) // len(groups))
    per_row = min(per_row, len(cells), 6 if width > 120 else 2)
    n_rows = math.ceil(len(cells) / per_row)
    side = min(width / per_row, 70)
    both = predictions[[OBSERVED, PREDICTED]].to_numpy(float)
    ends = both[np.isfinite(both)] if scale is None else np.array([*scale, *both[np.isfinite(both)]])
    low, high = float(ends.min(initial=np.inf)), float(ends.max(initial=-np.inf))
    margin = 0.04 * (high - low or 1)
    limits = (low - margin, high + margin)
    figure = Figure(figsize=(inches(width), inches((side + 7) * n_rows + 8)), layout="constrained")
    grid = figure.subplots(n_rows, per_row, squeeze=False)
    for place, axes in enumerate(grid.ravel()):
        if place >= len(cells):
            axes.remove()
            continue
        group, trait = cells[place]
        part = predictions[(predictions[TRAIT] == trait) & (predictions[GROUP] == group)]
        axes.plot(limits, limits, color=FAINT, linewidth=0.6, linestyle=(0, (3, 2)), zorder=0)
        axes.plot(
            part[PREDICTED],
            part[OBSERVED],
            linestyle="none",
            marker=markers[group],
            markersize=3 if len(part) < 200 else 2,
            color=colours[group],
            alpha=0.7,
            markeredgewidth=0,
            rasterized=len(predictions) > MOST_DOTS,
        )
        axes.set(xlim=limits, ylim=limits, aspect="equal", label=json.dumps([group, trait]))
        axes.locator_params(nbins=4)
        axes.tick_params(labelleft=place % per_row == 0, labelbottom=place + per_row >= len(cells))
        axes.text(0.04, 0.96, f"r = {bounded(_correlate(part))}", transform=axes.transAxes, va="top")
        letters = int(side / 1.35)
        axes.set_title(f"{shorten(trait, letters)}\n{shorten(group, letters)}", color=INK)
    figure.supxlabel("Predicted rating", fontsize=7.5)
    figure.supylabel("Observed rating", fontsize=7.5)
    return figure


def _correlate(table: pd.DataFrame) -> float:
    """Correlate predicted with observed ratings."""
    both = table[[OBSERVED, PREDICTED]].dropna()
    if len(both) < 3 or (both.nunique() < 2).any():
        return math.nan
    return float(both.corr().iloc[0, 1])
