"""Charts of numbers: reliability, performance beside its ceiling, scatter plots, regions."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

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
from traitlens.words import GROUP, IDENTITY, IMAGE, OBSERVED, PREDICTED, REGION, SHARE, TRAIT


def _in_order(table: pd.DataFrame, column: str, wanted: Sequence[str] | None) -> list[str]:
    """List the values of a column, in the wanted order or else as they come."""
    present = list(dict.fromkeys(table[column].astype(str)))
    return present if wanted is None else [name for name in wanted if name in present]


def _number(row: Mapping[str, Any], column: str) -> float:
    """Read a cell that may be missing or empty."""
    value = row.get(column)
    return math.nan if value is None or pd.isna(value) else float(value)


def _name_rows(axes: Axes, names: Sequence[str], limit: int) -> None:
    """Write names down the left side, the first one on top."""
    axes.set_yticks(range(len(names)), [shorten(name, limit) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for edge in range(1, len(names)):
        axes.axhline(edge - 0.5, color="#dddddd", linewidth=0.5, zorder=0)


def _legend(figure: Figure, groups: Sequence[str], extra: Sequence[Line2D] = (), columns: int = 0) -> None:
    """Explain colours and markers above the axes."""
    colours, markers = colours_of(groups), markers_of(groups)
    entries = [
        Line2D(
            [], [], color=colours[g], marker=markers[g], linestyle="none", markersize=4, label=shorten(g, 30)
        )
        for g in groups
    ]
    wide = figure.get_figwidth() > inches(120)
    figure.legend(
        handles=[*entries, *extra],
        loc="outside upper center",
        ncols=columns or min(len(entries) + len(extra), 4 if wide else 2),
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
    groups, traits = _in_order(table, GROUP, groups), _in_order(table, TRAIT, traits)
    colours, markers = colours_of(groups), markers_of(groups)
    height = 14 + max(4.2 * len(groups) + 2.5, 8) * len(traits) + 6
    figure = Figure(figsize=(inches(width), inches(height)), layout="constrained")
    axes = figure.subplots()
    _name_rows(axes, traits, 26 if width > 120 else 14)
    step = 0.7 / max(len(groups), 1)
    value, low, high, ceiling = columns
    smallest, any_ceiling = 0.0, False
    for row in table.to_dict("records"):
        if str(row[GROUP]) not in groups or str(row[TRAIT]) not in traits:
            continue
        group = str(row[GROUP])
        y = traits.index(str(row[TRAIT])) + (groups.index(group) - (len(groups) - 1) / 2) * step
        ends = [_number(row, low), _number(row, high)]
        axes.plot(ends, [y, y], color=colours[group], linewidth=1.3)
        axes.plot(_number(row, value), y, color=colours[group], marker=markers[group], markersize=4.5)
        top = _number(row, ceiling) if ceiling else math.nan
        if math.isfinite(top):
            any_ceiling = True
            axes.plot([top, top], [y - step * 0.42, y + step * 0.42], color=colours[group], linewidth=2)
        smallest = min([smallest, *(v for v in [_number(row, value), *ends] if math.isfinite(v))])
    axes.set_xlim(max(smallest - 0.05, -1), 1.02)
    if smallest < 0:
        axes.axvline(0, color=FAINT, linewidth=0.6, linestyle=(0, (3, 2)))
    axes.set_xlabel(label)
    bar = Line2D([], [], color=FAINT, marker="|", markersize=7, markeredgewidth=2, linestyle="none")
    bar.set_label("noise ceiling")
    _legend(figure, groups, [bar] if any_ceiling else [])
    return figure


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
        Which, in which order; all as they come by default.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        A dot (r out of fold), a line (its interval) and a bar (the ceiling) for each group and trait.

    Examples
    --------
    >>> table = pd.DataFrame({"group": ["a"], "trait": ["warm"], "r": [0.6], "ci_low": [0.4], "ci_high": [0.7]})
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
    """Draw the highest correlation that the raters' agreement allows.

    Parameters
    ----------
    reliability : DataFrame
        `ratings/reliability.csv`: group, trait, ceiling_r, ceiling_r_low, ceiling_r_high.
    groups, traits : sequence of str, optional
        Which, in which order; all as they come by default.
    width : float, default 183
        Width in millimetres.

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
def plot_scatter(
    predictions: pd.DataFrame,
    *,
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw observed against predicted ratings, one panel for each group and trait.

    Parameters
    ----------
    predictions : DataFrame
        `predictions.csv`: image, group, trait, observed, predicted.
    groups, traits : sequence of str, optional
        Which, in which order; all as they come by default.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        Panels of one trait share their axes; the dashed line is where both are equal. The label of each
        panel's axes is ``(group, trait)``, which lets a page find the panels again.

    Examples
    --------
    >>> table = pd.DataFrame({"group": "a", "trait": "warm", "observed": [1.0, 2.0], "predicted": [1.2, 1.9]})
    >>> plot_scatter(table).axes[0].get_label()
    ('a', 'warm')
    """
    groups, traits = _in_order(predictions, GROUP, groups), _in_order(predictions, TRAIT, traits)
    colours, markers = colours_of(groups), markers_of(groups)
    cells = [(group, trait) for trait in traits for group in groups]
    per_row = len(groups) * max(1, (6 if width > 120 else 2) // len(groups))
    per_row = min(per_row, len(cells), 6 if width > 120 else 2)
    n_rows = math.ceil(len(cells) / per_row)
    side = min(width / per_row, 70)
    figure = Figure(figsize=(inches(width), inches((side + 3) * n_rows + 6)), layout="constrained")
    grid = figure.subplots(n_rows, per_row, squeeze=False)
    for place, axes in enumerate(grid.ravel()):
        if place >= len(cells):
            axes.remove()
            continue
        group, trait = cells[place]
        of_trait = predictions[predictions[TRAIT] == trait]
        part = of_trait[of_trait[GROUP] == group]
        both = of_trait[[OBSERVED, PREDICTED]].to_numpy(float)
        low, high = float(np.nanmin(both)), float(np.nanmax(both))
        margin = 0.06 * (high - low or 1)
        limits = (low - margin, high + margin)
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
        )
        axes.set(xlim=limits, ylim=limits, aspect="equal", label=(group, trait))
        axes.locator_params(nbins=4)
        letters = 22 if side > 35 else 15
        axes.set_title(f"{shorten(trait, letters)}\n{shorten(group, letters)}", color=INK)
    figure.supxlabel("Predicted rating", fontsize=7.5)
    figure.supylabel("Observed rating", fontsize=7.5)
    return figure


def mean_shares(regions: pd.DataFrame, identity: Mapping[str, str]) -> pd.DataFrame:
    """Average the regions' shares over identities, with 95% intervals.

    Parameters
    ----------
    regions : DataFrame
        `regions.csv`: image, group, trait, region, share.
    identity : mapping
        Identity by image: images of one identity count once, as their mean.

    Returns
    -------
    DataFrame
        group, trait, region, share, ci_low, ci_high (t interval over identities), n.
    """
    person = regions[IMAGE].map(lambda image: identity.get(image, image)).rename(IDENTITY)
    means = regions.groupby([GROUP, TRAIT, REGION, person], sort=False)[SHARE].mean()
    table = means.groupby(level=[0, 1, 2], sort=False).agg(["mean", "std", "count"]).reset_index()
    half = stats.t.ppf(0.975, np.maximum(table["count"] - 1, 1)) * table["std"] / np.sqrt(table["count"])
    return pd.DataFrame(
        {
            **{name: table[name] for name in (GROUP, TRAIT, REGION)},
            SHARE: table["mean"],
            "ci_low": table["mean"] - half,
            "ci_high": table["mean"] + half,
            "n": table["count"],
        }
    )


def _panels_by_trait(
    traits: Sequence[str], rows: Sequence[str], millimetres_per_row: float, width: float
) -> tuple[Figure, list[Axes]]:
    """Set up one panel per trait with the regions down the left side."""
    per_line = min(3 if width > 120 else 1, len(traits))
    lines = math.ceil(len(traits) / per_line)
    height = (millimetres_per_row * len(rows) + 12) * lines + 10
    figure = Figure(figsize=(inches(width), inches(height)), layout="constrained")
    grid = figure.subplots(lines, per_line, squeeze=False, sharex=True)
    panels = list(grid.ravel())
    for place, axes in enumerate(panels):
        if place >= len(traits):
            axes.remove()
            continue
        _name_rows(axes, rows, 20)
        axes.set_title(shorten(traits[place], 32), loc="left", fontweight="bold")
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
    width: float = WIDE,
) -> Figure:
    """Draw how much of the relevance each region of the face carries.

    Parameters
    ----------
    shares : DataFrame
        From :func:`mean_shares`: group, trait, region, share, ci_low, ci_high.
    groups, traits : sequence of str, optional
        Which, in which order; all as they come by default.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        A bar with its 95% interval for each region and group, one panel per trait.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"group": ["a"], "trait": ["warm"], "region": ["eyes"], "share": [0.4], "ci_low": [0.3], "ci_high": [0.5]}
    ... )
    >>> len(plot_region_shares(table).axes)
    1
    """
    groups, traits = _in_order(shares, GROUP, groups), _in_order(shares, TRAIT, traits)
    regions, colours = _in_order(shares, REGION, None), colours_of(groups)
    figure, panels = _panels_by_trait(traits, regions, 2.6 * len(groups) + 2, width)
    step = 0.8 / len(groups)
    for trait, axes in zip(traits, panels, strict=True):
        for row in shares[shares[TRAIT] == trait].to_dict("records"):
            if row[GROUP] not in groups:
                continue
            place = groups.index(row[GROUP])
            y = regions.index(row[REGION]) + (place - (len(groups) - 1) / 2) * step
            axes.barh(y, 100 * row[SHARE], height=step * 0.9, color=colours[row[GROUP]], alpha=0.75)
            axes.plot([100 * row["ci_low"], 100 * row["ci_high"]], [y, y], color=INK, linewidth=0.9)
        axes.axvline(0, color=INK, linewidth=0.6)
    figure.supxlabel("Share of the relevance (%)", fontsize=7.5)
    _legend(figure, groups)
    return figure


@styled
def plot_region_differences(
    differences: pd.DataFrame,
    *,
    groups: Sequence[str] = (),
    traits: Sequence[str] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw how the groups differ in what each region carries.

    Parameters
    ----------
    differences : DataFrame
        `comparisons/regions.csv`: trait, region, estimate, ci_low, ci_high, p_corrected.
    groups : sequence of str, optional
        The two groups; the estimate is the first one's value minus the second one's.
    traits : sequence of str, optional
        Which, in which order; all as they come by default.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        A dot with its interval for each region, filled where the corrected p is below .05.

    Examples
    --------
    >>> table = pd.DataFrame({"trait": ["warm"], "region": ["eyes"], "estimate": [0.1], "p_corrected": [0.01]})
    >>> len(plot_region_differences(table).axes)
    1
    """
    traits, regions = _in_order(differences, TRAIT, traits), _in_order(differences, REGION, None)
    figure, panels = _panels_by_trait(traits, regions, 4.5, width)
    for trait, axes in zip(traits, panels, strict=True):
        for row in differences[differences[TRAIT] == trait].to_dict("records"):
            y, found = regions.index(row[REGION]), _number(row, "p_corrected") < 0.05
            axes.plot([_number(row, "ci_low"), _number(row, "ci_high")], [y, y], color=INK, linewidth=1)
            face = INK if found else "white"
            axes.plot(_number(row, "estimate"), y, marker="o", markersize=4, color=INK, markerfacecolor=face)
        axes.axvline(0, color=FAINT, linewidth=0.6, linestyle=(0, (3, 2)))
    first, second = (shorten(group, 18) for group in [*groups, "first group", "second group"][:2])
    figure.supxlabel(f"Difference ({first} − {second}), 95% interval", fontsize=7.5)
    marks = [
        Line2D(
            [], [], color=INK, marker="o", markersize=4, linestyle="none", markerfacecolor=fill, label=text
        )
        for fill, text in ((INK, "p (corrected) < .05"), ("white", "not significant"))
    ]
    _legend(figure, [], marks)
    return figure
