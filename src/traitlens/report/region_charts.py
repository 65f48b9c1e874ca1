"""Charts of regions: what each part of the face carries, and how the groups differ in it."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.special import stdtrit

from traitlens.report.charts import add_legend, in_order, name_rows, number_in
from traitlens.report.style import FAINT, INK, WIDE, colours_of, inches, shorten, styled
from traitlens.words import GROUP, IDENTITY, IMAGE, REGION, SHARE, TRAIT


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
    half = stdtrit(np.maximum(table["count"] - 1, 1), 0.975) * table["std"] / np.sqrt(table["count"])
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
    per_line = min(3 if width > 120 else 2, len(traits))
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
        axes.set_title(shorten(traits[place], 32 if width > 120 else 18), loc="left", fontweight="bold")
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
    ...     {"group": "a", "trait": "warm", "region": ["eyes"], "share": 0.4, "ci_low": 0.3, "ci_high": 0.5}
    ... )
    >>> len(plot_region_shares(table).axes)
    1
    """
    groups, traits = in_order(shares, GROUP, groups), in_order(shares, TRAIT, traits)
    regions, colours = in_order(shares, REGION, None), colours_of(groups)
    figure, panels = _panels_by_trait(traits, regions, 2.2 * len(groups) + 1.2, width)
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
    add_legend(figure, groups)
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
    >>> table = pd.DataFrame({"trait": "warm", "region": ["eyes"], "estimate": 0.1, "p_corrected": 0.01})
    >>> len(plot_region_differences(table).axes)
    1
    """
    traits, regions = in_order(differences, TRAIT, traits), in_order(differences, REGION, None)
    figure, panels = _panels_by_trait(traits, regions, 4.5, width)
    for trait, axes in zip(traits, panels, strict=True):
        for row in differences[differences[TRAIT] == trait].to_dict("records"):
            y, found = regions.index(row[REGION]), number_in(row, "p_corrected") < 0.05
            axes.plot([number_in(row, "ci_low"), number_in(row, "ci_high")], [y, y], color=INK, linewidth=1)
            face = INK if found else "white"
            axes.plot(
                number_in(row, "estimate"), y, marker="o", markersize=4, color=INK, markerfacecolor=face
            )
        axes.axvline(0, color=FAINT, linewidth=0.6, linestyle=(0, (3, 2)))
    first, second = (shorten(group, 18) for group in [*groups, "first group", "second group"][:2])
    figure.supxlabel(f"Rating points ({first} − {second}), 95% interval", fontsize=7.5)
    marks = [
        Line2D(
            [], [], color=INK, marker="o", markersize=4, linestyle="none", markerfacecolor=fill, label=text
        )
        for fill, text in ((INK, "p (corrected) < .05"), ("white", "not significant"))
    ]
    add_legend(figure, [], marks)
    return figure
