"""Figures of average relevance maps, of one trait or of all traits."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from traitlens.columns import GROUP, TRAIT
from traitlens.problems import unknown_choice
from traitlens.report.colouring import (
    OPACITY,
    PERCENTILE,
    SMOOTHING,
    colour,
    lay_over,
    smooth,
    symmetric_limit,
)
from traitlens.report.picture_rows import SIGNS, Picture, Row, draw_rows, per_percent
from traitlens.report.style import WIDE, shorten, styled


@styled
def plot_average_maps(
    averages: xr.Dataset,
    *,
    kind: str = "aligned",
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    difference: bool = True,
    opacity: float = OPACITY,
    smoothing: float = SMOOTHING,
    percentile: float = PERCENTILE,
    limit: float | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw the groups' average maps of each trait side by side, and their difference.

    Parameters
    ----------
    averages : Dataset
        `average_maps.zarr`: aligned and mean (group, trait, y, x) and face (y, x, colour).
    kind : {"aligned", "mean"}, default "aligned"
        "aligned": the mean of map times standardised prediction; "mean": the plain mean of the maps.
    groups, traits : sequence of str, optional
        Groups and traits to draw, in this order; all by default.
    difference : bool, default True
        Whether to add the first group's map minus the second one's, for two groups.
    opacity : float, default 0.5
        Opacity of the average face, from 0 to 1.
    smoothing : float, default 2.0
        Standard deviation of a Gaussian in pixels.
    percentile : float, default 99.9
        Percentile of the absolute values of a trait's maps at which its scale ends.
    limit : float or None
        End of every scale in rating points per 1% of the picture; None chooses it by `percentile`.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        One row per trait, with one symmetric scale for all of its maps.

    Raises
    ------
    TraitlensError
        If `kind` is none of the two.

    Examples
    --------
    >>> maps = xr.Dataset(
    ...     {"aligned": (("group", "trait", "y", "x"), np.ones((1, 1, 4, 4)))},
    ...     {"group": ["a"], "trait": ["warm"]},
    ... )
    >>> len(plot_average_maps(maps).axes)  # the map and its bar
    2
    """
    groups, traits, face = _choose(averages, kind, groups, traits)
    rows = []
    for trait in traits:
        maps = _maps_of(averages, kind, trait, groups, difference, smoothing)
        end = limit or symmetric_limit(*maps.values(), percentile=percentile)
        panels = [Picture(lay_over(face, colour(one, end), opacity), title) for title, one in maps.items()]
        rows.append(Row(panels, end, trait))
    clipped = limit is not None or percentile < 100
    return draw_rows(rows, width, clipped=clipped, letters=len(rows) > 1)


def _choose(
    averages: xr.Dataset, kind: str, groups: Sequence[str] | None, traits: Sequence[str] | None
) -> tuple[list[str], list[str], np.ndarray]:
    """Return the chosen groups and traits, and the average face."""
    if kind not in ("aligned", "mean"):
        raise unknown_choice("kind of average map", kind, ("aligned", "mean"))
    groups = list(map(str, averages[GROUP].values)) if groups is None else list(groups)
    traits = list(map(str, averages[TRAIT].values)) if traits is None else list(traits)
    white = np.full((*averages[kind].shape[-2:], 3), 255, np.uint8)
    return groups, traits, averages["face"].values if "face" in averages else white


def _maps_of(
    averages: xr.Dataset, kind: str, trait: str, groups: Sequence[str], difference: bool, smoothing: float
) -> dict[str, np.ndarray]:
    """Return each group's smoothed map of a trait by heading, the difference last."""
    maps = {
        group: per_percent(smooth(averages[kind].sel({GROUP: group, TRAIT: trait}).values, smoothing))
        for group in groups
    }
    if difference and len(groups) == 2:
        first, second = groups
        maps[f"{shorten(first, 20)} −\n{shorten(second, 20)}"] = maps[first] - maps[second]
    return maps


@styled
def plot_overview(
    averages: xr.Dataset,
    *,
    kind: str = "aligned",
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    raters: Mapping[str, int] | None = None,
    difference: bool = True,
    opacity: float = OPACITY,
    smoothing: float = SMOOTHING,
    percentile: float = PERCENTILE,
    limit: float | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw all average maps at once as Cao et al. (2023) arrange them: a column per trait, a row per group.

    Parameters
    ----------
    averages : Dataset
        `average_maps.zarr`: aligned and mean (group, trait, y, x) and face (y, x, colour).
    kind, groups, traits
        As in :func:`plot_average_maps`.
    raters : mapping of str to int, optional
        Number of raters by group, for the headings.
    difference, opacity, smoothing
        As in :func:`plot_average_maps`.
    percentile : float, default 99.9
        Percentile of the absolute values of all maps at which the scale ends.
    limit, width : float
        As in :func:`plot_average_maps`.

    Returns
    -------
    Figure
        All maps on one symmetric scale; the last row is the difference of two groups. Traits that do not fit
        in a row continue below.

    Raises
    ------
    TraitlensError
        If `kind` is none of the two.

    Examples
    --------
    >>> maps = xr.Dataset(
    ...     {"aligned": (("group", "trait", "y", "x"), np.ones((2, 3, 4, 4)))},
    ...     {"group": ["a", "b"], "trait": ["warm", "strong", "calm"]},
    ... )
    >>> len(plot_overview(maps).axes)  # the maps and their two bars
    3
    """
    groups, traits, face = _choose(averages, kind, groups, traits)
    maps = {trait: _maps_of(averages, kind, trait, groups, difference, smoothing) for trait in traits}
    every = [one for of_trait in maps.values() for one in of_trait.values()]
    end = limit or symmetric_limit(*every, percentile=percentile)
    # Pictures are at least as wide as the longest name.
    longest = max(9, min(max(map(len, traits)), 24))
    most = min(8 if width > 120 else 4, int(width / (1.45 * longest + 2)))
    per_line = -(-len(traits) // -(-len(traits) // most))
    titles = [f"{group} (n = {raters[group]} raters)" if raters else group for group in groups]
    rows = []
    for start in range(0, len(traits), per_line):
        of_line = traits[start : start + per_line]
        for place, name in enumerate(maps[traits[0]]):
            panels = [
                Picture(lay_over(face, colour(list(maps[trait].values())[place], end), opacity), trait)
                for trait in of_line
            ]
            if place:
                panels = [Picture(panel.pixels) for panel in panels]
            is_difference = place == len(groups)
            ends = (f"more in {groups[1]}", f"more in {groups[0]}") if is_difference else SIGNS
            title = name.replace("\n", " ") if is_difference else titles[place]
            last_of_kind = place >= len(groups) - 1 and start + per_line >= len(traits)
            rows.append(Row(panels, end if last_of_kind else None, title, ends=ends))
    clipped = limit is not None or percentile < 100
    return draw_rows(rows, width, clipped=clipped, letters=len(rows) > 1)
