"""Results of `traitlens sanity` as sentences and a figure."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from traitlens.columns import GROUP, TRAIT
from traitlens.report.charts import in_order, name_rows
from traitlens.report.numbers import bounded
from traitlens.report.style import FAINT, GROUP_COLOURS, GROUP_MARKERS, WIDE, inches, shorten, styled

Checks = Mapping[str, pd.DataFrame]

KINDS = ("permuted ratings", "shuffled readout", "shuffled network")
"""Kinds of null maps, in order."""

ORDERS = ("relevance", "random", "central")
"""Orders in which patches are replaced."""


def summarise(checks: Checks) -> list[str]:
    """Describe the results of the checks.

    Parameters
    ----------
    checks : mapping of str to DataFrame
        The tables of `checks/`: conservation, null_maps, flipping, methods and, where known, association.
        Missing tables are skipped.

    Returns
    -------
    list of str
        One sentence or two for each check.

    Examples
    --------
    >>> table = pd.DataFrame({"order": ["relevance", "random"], "group": "a", "trait": "warm",
    ...                       "gain": [0.4, 0.0], "standard_error": 0.1})
    >>> summarise({"flipping": table})
    ['Flipping: replacing patches in the order of the map moved the prediction further than replacing them \
in random order or from the middle outwards, for 1 of 1 combinations of group and trait.']
    """
    found = []
    if "null_maps" in checks:
        table = checks["null_maps"]
        means = table.groupby("null", sort=False)["similarity"].mean()
        values = ", ".join(f"{bounded(value)} ({kind})" for kind, value in means.items())
        found.append(
            "Null maps: the maps correlate with maps of the same faces by null models, which have no "
            f"information on the ratings, with r = {values}. Near 1, a map would "
            "show the face and not the ratings."
        )
        edges, null = table["edge_correlation"].mean(), table["null_edge_correlation"].mean()
        found.append(
            f"Contours: the size of relevance correlates with the contours of the faces by {bounded(edges)}, "
            f"and the size of relevance in null maps by {bounded(null)}."
        )
    if "flipping" in checks:
        wide = checks["flipping"].pivot_table(index=[GROUP, TRAIT], columns="order", values="gain")
        others = wide.drop(columns="relevance").max(axis=1)
        better = int((wide["relevance"] > others).sum())
        found.append(
            "Flipping: replacing patches in the order of the map moved the prediction further than replacing "
            f"them in random order or from the middle outwards, for {better} of {len(wide)} combinations of "
            "group and trait."
        )
    if "conservation" in checks:
        table = checks["conservation"]
        size = table["explained"].abs().sum()
        readout, backbone, lost = (
            f"{100 * table[name].abs().sum() / size:.1f}%" if size else "–"
            for name in ("absorbed_in_readout", "absorbed_in_backbone", "unaccounted")
        )
        found.append(
            f"Conservation: of what was to be explained, {readout} leak into the readout’s and {backbone} "
            f"into the network’s biases and stabilisers; {lost} are unaccounted for."
        )
    if "methods" in checks:
        table = checks["methods"]
        own = table["method"].iloc[0]
        others = table[(table["method"] == own) & (table["other"] != own)]
        found.append(
            f"Methods: maps by {own} correlate with those by other methods by "
            f"{bounded(others['correlation'].min())} to {bounded(others['correlation'].max())} "
            "(smoothed, mean over faces)."
        )
    return found


@styled
def plot_map_checks(
    checks: Checks,
    *,
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw correlations of maps with null maps, and results of patch replacement.

    Parameters
    ----------
    checks : mapping of str to DataFrame
        With null_maps and flipping.
    groups, traits : sequence of str, optional
        Groups and traits to draw, in this order; all by default.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        Two panels with a row for each trait and group.
    """
    null_maps, flipping = checks["null_maps"], checks["flipping"]
    groups, traits = in_order(null_maps, GROUP, groups), in_order(null_maps, TRAIT, traits)
    pairs = [(trait, group) for trait in traits for group in groups]
    height = 24 + (7.5 if len(groups) > 1 else 5.2) * len(pairs)
    figure = Figure(figsize=(inches(width), inches(height)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    name_rows(left, [trait for trait, _ in pairs], 22)
    if len(groups) > 1:
        names = [f"{shorten(trait, 22)}\n{shorten(group, 22)}" for trait, group in pairs]
        left.set_yticks(range(len(pairs)), names)
    right.tick_params(axis="y", length=0)
    right.spines["left"].set_visible(False)
    _dots(left, null_maps, "null", "similarity", in_order(null_maps, "null", KINDS), pairs)
    _dots(right, flipping, "order", "gain", in_order(flipping, "order", ORDERS), pairs)
    left.set_xlim(min(-0.05, null_maps["similarity"].min() - 0.05), 1.02)
    left.set_xlabel("Correlation with null maps")
    right.set_xlabel("Gain (rating points)")
    for axes in (left, right):
        axes.locator_params(axis="x", nbins=6 if width > 120 else 2)
    return figure


def _dots(
    axes: Axes,
    table: pd.DataFrame,
    kind: str,
    value: str,
    kinds: Sequence[str],
    pairs: Sequence[tuple[str, str]],
) -> None:
    """Draw a dot for each kind, trait and group, with its standard error where known."""
    handles = []
    for number, name in enumerate(kinds):
        colour, marker = GROUP_COLOURS[number], GROUP_MARKERS[number]
        part = table[table[kind] == name].set_index([TRAIT, GROUP])
        for row, pair in enumerate(pairs):
            if pair not in part.index:
                continue
            y = row + (number - (len(kinds) - 1) / 2) * 0.2
            x = float(part.loc[pair, value])
            error = float(part.loc[pair, "standard_error"]) if "standard_error" in part else np.nan
            if np.isfinite(error):
                axes.plot([x - error, x + error], [y, y], color=colour, linewidth=1)
            axes.plot(x, y, color=colour, marker=marker, markersize=4)
        handles.append(
            Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=4, label=name)
        )
    axes.axvline(0, color=FAINT, linewidth=0.6, linestyle=(0, (3, 2)))
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1, handletextpad=0.3)
