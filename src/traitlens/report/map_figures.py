"""Figures of relevance maps: average maps of groups side by side, single faces with their maps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from traitlens.problems import TraitlensError, unknown_choice
from traitlens.report.colouring import (
    OPACITY,
    PERCENTILE,
    SMOOTHING,
    colour,
    lay_over,
    smooth,
    symmetric_limit,
)
from traitlens.report.style import MAP_COLOURS, WIDE, inches, shorten, styled
from traitlens.words import GROUP, IMAGE, TRAIT

UNIT = "rating points per pixel"
# Millimetres between pictures, at the edge, for the bar with its numbers and unit; a picture's largest width.
_GAP, _EDGE, _BAR, _LARGEST = 2.0, 1.0, 12.0, 46.0


@dataclass(frozen=True)
class _Panel:
    """One picture of a row: its colours and what is written above and below it."""

    pixels: np.ndarray
    above: str = ""
    below: str = ""


@dataclass(frozen=True)
class _Row:
    """Pictures that share one scale; no bar where the limit is None."""

    panels: Sequence[_Panel]
    limit: float | None
    label: str = ""


def _place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes at a place counted in millimetres from the figure's upper left corner."""
    whole_width, whole_height = figure.get_size_inches() * 25.4
    return figure.add_axes(
        (left / whole_width, 1 - (top + height) / whole_height, width / whole_width, height / whole_height)
    )


def _power(limit: float) -> tuple[float, str]:
    """Choose the factor that lets the scale's numbers be read, and how the unit says it."""
    exponent = 3 * math.floor(math.log10(limit) / 3) if limit > 0 else 0
    digits = str(abs(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return 10.0**exponent, "" if exponent == 0 else f"10{'⁻' if exponent < 0 else ''}{digits} "


def _bar(figure: Figure, row: _Row, left: float, top: float, width: float, clipped: bool) -> None:
    """Draw the row's colour bar below it, zero in the middle, the unit beneath."""
    assert row.limit is not None
    factor, written = _power(row.limit)
    axes = _place(figure, left, top, width, 2.2)
    scale = ScalarMappable(Normalize(-row.limit / factor, row.limit / factor), MAP_COLOURS)
    bar = figure.colorbar(
        scale, cax=axes, orientation="horizontal", extend="both" if clipped else "neither", extendfrac=0.03
    )
    end = row.limit / factor
    digits = max(0, 2 - math.floor(math.log10(end)) - 1) if end else 1
    bar.set_ticks([-end, 0, end], labels=[f"−{end:.{digits}f}", "0", f"+{end:.{digits}f}"])
    bar.outline.set_linewidth(0.5)
    axes.tick_params(length=2, pad=1.5)
    axes.set_xlabel(f"{written}{UNIT}", labelpad=1)


def _heights(row: _Row, picture: float) -> tuple[float, float, float]:
    """Millimetres above a row's pictures, below them, and in all."""
    label = 5.0 if row.label else 0.0
    lines = max(panel.above.count("\n") + 1 if panel.above else 0 for panel in row.panels)
    above = label + 3.4 * lines + 1.0
    below = 4.5 if any(panel.below for panel in row.panels) else 1.0
    return above, below, above + picture + below + (_BAR if row.limit is not None else 0.0)


def _draw_rows(rows: Sequence[_Row], width: float, clipped: bool) -> Figure:
    """Lay out rows of pictures with a bar below each row that has a scale of its own."""
    widest = max(len(row.panels) for row in rows)
    tall, broad = rows[0].panels[0].pixels.shape[:2]
    panel = min((width - 2 * _EDGE - (widest - 1) * _GAP) / widest, _LARGEST)
    picture = panel * tall / broad
    heights = [_heights(row, picture) for row in rows]
    whole = sum(height for _, _, height in heights) + _EDGE
    figure = Figure(figsize=(inches(width), inches(whole)))
    block = widest * panel + (widest - 1) * _GAP
    left, top = (width - block) / 2, 0.0
    letters = max(8, int(panel / 1.45))
    for row, (above, below, height) in zip(rows, heights, strict=True):
        if row.label:
            y = 1 - (top + 4.2) / whole
            figure.text(left / width, y, shorten(row.label, int(block / 1.6)), fontsize=8, fontweight="bold")
        for place, shown in enumerate(row.panels):
            axes = _place(figure, left + place * (panel + _GAP), top + above, panel, picture)
            axes.imshow(shown.pixels, interpolation="none")
            axes.set_axis_off()
            for text, y, side in ((shown.above, 1.02, "bottom"), (shown.below, -0.02, "top")):
                axes.text(0.5, y, _wrap(text, letters), transform=axes.transAxes, ha="center", va=side)
        if row.limit is not None:
            length = min(block, 70.0)
            _bar(figure, row, (width - length) / 2, top + above + picture + below + 1, length, clipped)
        top += height
    return figure


def _wrap(text: str, letters: int) -> str:
    """Shorten each line to a picture's width."""
    return "\n".join(shorten(line, letters) for line in text.splitlines())


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
        Which, in which order; all by default.
    difference : bool, default True
        Whether to add the first group's map minus the second one's, for two groups.
    opacity : float, default 0.5
        How strongly the average face shows beneath, from 0 to 1.
    smoothing : float, default 2.0
        Standard deviation of a Gaussian in pixels.
    percentile : float, default 99.5
        Percentile of the absolute values of a trait's maps at which its scale ends.
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
    if kind not in ("aligned", "mean"):
        raise unknown_choice("kind of average map", kind, ("aligned", "mean"))
    groups = list(map(str, averages[GROUP].values)) if groups is None else list(groups)
    traits = list(map(str, averages[TRAIT].values)) if traits is None else list(traits)
    rows = []
    for trait in traits:
        maps = [smooth(averages[kind].sel(group=g, trait=trait).values, smoothing) for g in groups]
        titles = list(groups)
        if difference and len(groups) == 2:
            maps.append(maps[0] - maps[1])
            titles.append(f"{shorten(groups[0], 14)} −\n{shorten(groups[1], 14)}")
        limit = symmetric_limit(*maps, percentile=percentile)
        face = averages["face"].values if "face" in averages else np.full((*maps[0].shape, 3), 255, np.uint8)
        panels = [
            _Panel(lay_over(face, colour(one, limit), opacity), title)
            for one, title in zip(maps, titles, strict=True)
        ]
        rows.append(_Row(panels, limit, trait))
    return _draw_rows(rows, width, clipped=percentile < 100)


@styled
def plot_faces(
    pixels: xr.DataArray,
    maps: xr.Dataset,
    images: Sequence[str],
    may_publish: Mapping[str, bool],
    *,
    trait: str,
    groups: Sequence[str] | None = None,
    limit: float | None = None,
    opacity: float = OPACITY,
    smoothing: float = SMOOTHING,
    percentile: float = PERCENTILE,
    width: float = WIDE,
) -> Figure:
    """Draw single faces with each group's map of one trait.

    Parameters
    ----------
    pixels : DataArray (image, y, x, colour)
        The prepared images.
    maps : Dataset
        `maps.zarr`: relevance (group, trait, image, y, x) and prediction (group, trait, image).
    images : sequence of str
        Which images, one column each.
    may_publish : mapping
        Whether an image may be shown, by image.
    trait : str
        The trait.
    groups : sequence of str, optional
        Which, in which order; all by default.
    limit : float or None
        End of the scale in rating points per pixel; None chooses it by `percentile`.
    opacity, smoothing, percentile, width : float
        As in :func:`plot_average_maps`.

    Returns
    -------
    Figure
        A row of faces, then a row of maps for each group, on one symmetric scale.

    Raises
    ------
    TraitlensError
        If an image may not be published.
    """
    refused = [image for image in images if may_publish.get(image) is not True]
    if refused:
        raise TraitlensError(f"these images may not be published: {', '.join(refused)}")
    groups = list(map(str, maps[GROUP].values)) if groups is None else list(groups)
    faces = [pixels.sel({IMAGE: image}).values for image in images]
    shown = maps.sel({TRAIT: trait, IMAGE: list(images), GROUP: groups})
    relevance = smooth(np.nan_to_num(shown["relevance"].values), smoothing)
    limit = limit or symmetric_limit(relevance, percentile=percentile)
    predicted = shown["prediction"].values
    rows = [_Row([_Panel(face) for face in faces], None, trait)]
    for g, group in enumerate(groups):
        panels = [
            _Panel(lay_over(face, colour(relevance[g, i], limit), opacity), below=_rating(predicted[g, i]))
            for i, face in enumerate(faces)
        ]
        label = f"{shorten(group, 30)}: maps and predicted ratings"
        rows.append(_Row(panels, limit if g == len(groups) - 1 else None, label))
    return _draw_rows(rows, width, clipped=percentile < 100)


def _rating(value: float) -> str:
    """Write a predicted rating below a map."""
    return f"{value:.2f}" if math.isfinite(value) else "not rated"


@styled
def plot_extreme_averages(
    pixels: xr.DataArray,
    maps: xr.Dataset,
    *,
    trait: str,
    share: float = 0.25,
    least: int = 5,
    opacity: float = OPACITY,
    smoothing: float = SMOOTHING,
    percentile: float = PERCENTILE,
    width: float = WIDE,
) -> Figure:
    """Draw the averages of the images with the highest and the lowest predicted ratings; no single face.

    Parameters
    ----------
    pixels : DataArray (image, y, x, colour)
        The prepared images.
    maps : Dataset
        `maps.zarr`: relevance (group, trait, image, y, x) and prediction (group, trait, image).
    trait : str
        The trait.
    share : float, default 0.25
        Share of the images that each average is taken over.
    least : int, default 5
        Smallest number of images in an average.
    opacity, smoothing, percentile, width : float
        As in :func:`plot_average_maps`.

    Returns
    -------
    Figure
        For each group, the average face and map of the lowest, then of the highest predictions.

    Raises
    ------
    TraitlensError
        If there are fewer images than two averages need.
    """
    panels, drawn = [], []
    for group in map(str, maps[GROUP].values):
        of_group = maps.sel({GROUP: group, TRAIT: trait})
        predicted = of_group["prediction"].values
        order = [int(i) for i in np.argsort(predicted) if np.isfinite(predicted[i])]
        number = max(least, round(share * len(order)))
        if len(order) < 2 * number:
            raise TraitlensError(
                f"averages over {number} images need {2 * number} images; there are {len(order)}"
            )
        for name, chosen in (("lowest", order[:number]), ("highest", order[-number:])):
            images = maps[IMAGE].values[sorted(chosen)]
            face = pixels.sel({IMAGE: images}).values.mean(0).astype(np.uint8)
            relevance = smooth(of_group["relevance"].isel({IMAGE: sorted(chosen)}).values.mean(0), smoothing)
            drawn.append(relevance)
            panels.append((face, relevance, f"{shorten(group, 18)}\n{name} {number}"))
    limit = symmetric_limit(*drawn, percentile=percentile)
    shown = [_Panel(lay_over(face, colour(one, limit), opacity), title) for face, one, title in panels]
    if len(shown) <= 4 and width > 120:
        return _draw_rows([_Row(shown, limit, trait)], width, clipped=percentile < 100)
    pairs = [shown[i : i + 2] for i in range(0, len(shown), 2)]
    rows = [
        _Row(pair, limit if pair is pairs[-1] else None, "" if i else trait) for i, pair in enumerate(pairs)
    ]
    return _draw_rows(rows, width, clipped=percentile < 100)
