"""Figures of single faces with their maps, and of averages of faces with extreme predictions."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from traitlens.columns import GROUP, IMAGE, TRAIT
from traitlens.problems import TraitlensError
from traitlens.report.colouring import (
    OPACITY,
    PERCENTILE,
    SMOOTHING,
    colour,
    lay_over,
    smooth,
    symmetric_limit,
)
from traitlens.report.picture_rows import Picture, Row, draw_rows, per_percent
from traitlens.report.style import WIDE, shorten, styled


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
        Images, one column each.
    may_publish : mapping
        Whether an image may be shown, by image.
    trait : str
        The trait.
    groups : sequence of str, optional
        Groups to draw, in this order; all by default.
    limit : float or None
        End of the scale in rating points per 1% of the picture; None chooses it by `percentile`.
    opacity, smoothing, percentile, width : float
        As in :func:`traitlens.report.map_figures.plot_average_maps`.

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
    relevance = per_percent(smooth(np.nan_to_num(shown["relevance"].values), smoothing))
    clipped = limit is not None or percentile < 100
    limit = limit or symmetric_limit(relevance, percentile=percentile)
    predicted = shown["prediction"].values
    rows = [Row([Picture(face) for face in faces], None, trait)]
    for g, group in enumerate(groups):
        panels = [
            Picture(lay_over(face, colour(relevance[g, i], limit), opacity), below=_rating(predicted[g, i]))
            for i, face in enumerate(faces)
        ]
        label = f"{shorten(group, 30)}: maps and predicted ratings"
        rows.append(Row(panels, limit if g == len(groups) - 1 else None, label))
    return draw_rows(rows, width, clipped=clipped)


def _rating(value: float) -> str:
    """Write a predicted rating below a map."""
    return f"{value:.2f}" if math.isfinite(value) else "not rated"


@styled
def plot_extreme_averages(
    pixels: xr.DataArray,
    maps: xr.Dataset,
    *,
    trait: str,
    groups: Sequence[str] | None = None,
    share: float = 0.25,
    least: int = 5,
    opacity: float = OPACITY,
    smoothing: float = SMOOTHING,
    percentile: float = PERCENTILE,
    limit: float | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw averages of the images with the highest and with the lowest predicted ratings.

    Parameters
    ----------
    pixels : DataArray (image, y, x, colour)
        The prepared images.
    maps : Dataset
        `maps.zarr`: relevance (group, trait, image, y, x) and prediction (group, trait, image).
    trait : str
        The trait.
    groups : sequence of str, optional
        Groups to draw, in this order; all by default.
    share : float, default 0.25
        Proportion of the images in each average.
    least : int, default 5
        Smallest number of images in an average.
    opacity, smoothing, percentile, limit, width : float
        As in :func:`traitlens.report.map_figures.plot_average_maps`.

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
    for group in map(str, maps[GROUP].values) if groups is None else groups:
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
            average = of_group["relevance"].isel({IMAGE: sorted(chosen)}).values.mean(0)
            relevance = per_percent(smooth(average, smoothing))
            drawn.append(relevance)
            panels.append((face, relevance, f"{shorten(group, 18)}\n{name} {number}"))
    clipped = limit is not None or percentile < 100
    limit = limit or symmetric_limit(*drawn, percentile=percentile)
    shown = [Picture(lay_over(face, colour(one, limit), opacity), title) for face, one, title in panels]
    if len(shown) <= 4 and width > 120:
        return draw_rows([Row(shown, limit, trait)], width, clipped=clipped)
    pairs = [shown[i : i + 2] for i in range(0, len(shown), 2)]
    rows = [
        Row(pair, limit if pair is pairs[-1] else None, "" if i else trait) for i, pair in enumerate(pairs)
    ]
    return draw_rows(rows, width, clipped=clipped)
