"""Data of the face browser: compressed faces and maps, limited in number."""

from typing import Any, Final

import numpy as np

from traitlens.columns import GROUP, IMAGE, OBSERVED, PREDICTED, TRAIT, X, Y
from traitlens.report.colouring import PERCENTILE, SMOOTHING, colour, data_uri, smooth, symmetric_limit
from traitlens.report.results import Results

MOST_FACES: Final = 500
MOST_MAPS: Final = 750
FACE_SIDE: Final = 160
HOVER_SIDE: Final = 80
"""Side length, in pixels, of faces that only the scatter plot shows."""
MAP_SIDE: Final = 112


def make_picker(results: Results) -> dict[str, Any] | None:
    """Collect faces, predictions and maps for the page's script.

    Returns
    -------
    dict or None
        groups, traits, images (name, face, cells), limits by trait (per 1% of the picture), and the numbers
        shown and left out; a cell holds the observed and predicted rating and the coloured map, by group and
        trait in order. None where no face may be shown or there is no prediction.
    """
    if results.pixels is None or results.predictions is None or not results.publishable:
        return None
    faces = _sample(results.publishable, _extremes(results), MOST_FACES)
    with_maps: list[str] = []
    if results.maps is not None:
        present = set(results.maps[IMAGE].values)
        of_image = (len(results.groups) + (len(results.groups) == 2)) * len(results.traits)
        number = max(8, MOST_MAPS // of_image)
        with_maps = _sample([f for f in faces if f in present], _extremes(results), number)
    limits = _limits(results, with_maps)
    shown = set(with_maps)
    ratings = _ratings(results)
    images = []
    for image in faces:
        cells = [
            [_cell(ratings.get((group, trait, image))) for trait in results.traits]
            for group in results.groups
        ]
        differences = _add_maps(results, image, cells, limits) if image in shown else []
        side = FACE_SIDE if image in shown or not shown else HOVER_SIDE
        face = data_uri(results.pixels.sel({IMAGE: image}).values, side)
        entry = {"name": image, "face": face, "map": image in shown, "cells": cells}
        images.append(entry | ({"differences": differences} if any(differences) else {}))
    n_pixels = results.pixels.sizes[Y] * results.pixels.sizes[X]
    ramp = colour(np.repeat(np.linspace(-1, 1, 256)[None], 4, axis=0), 1.0)
    return {
        "groups": results.groups,
        "traits": results.traits,
        "images": images,
        "limits": [limits[trait] * n_pixels / 100 if trait in limits else None for trait in results.traits],
        "ramp": data_uri(ramp, quality=95),
        "n_faces": len(faces),
        "n_maps": len(with_maps),
        "n_publishable": len(results.publishable),
    }


def _ratings(results: Results) -> dict[tuple[str, str, str], tuple[float, float]]:
    """Return observed and predicted ratings by group, trait and image."""
    table = results.predictions
    assert table is not None
    keys = zip(table[GROUP], table[TRAIT], table[IMAGE], strict=True)
    return dict(zip(keys, zip(table[OBSERVED], table[PREDICTED], strict=True), strict=True))


def _cell(rating: tuple[float, float] | None) -> list[Any] | None:
    """Round one image's ratings; None where the group did not rate it."""
    return None if rating is None else [round(float(v), 3) if v == v else None for v in rating]


def _extremes(results: Results) -> list[str]:
    """Return images ordered from extreme to average predictions of any group and trait."""
    assert results.predictions is not None
    order: dict[str, int] = {}
    for _, part in results.predictions.groupby([GROUP, TRAIT], sort=False):
        ranked = list(part.sort_values(PREDICTED)[IMAGE])
        for place, image in enumerate(ranked):
            depth = min(place, len(ranked) - 1 - place)
            order[image] = min(order.get(image, depth), depth)
    return sorted(order, key=lambda image: (order[image], image))


def _sample(images: list[str], extremes: list[str], number: int) -> list[str]:
    """Choose half of the images from the extremes and half evenly from the others, in order."""
    if len(images) <= number:
        return images
    allowed = set(images)
    chosen = set([image for image in extremes if image in allowed][: number // 2])
    rest = [image for image in images if image not in chosen]
    places = np.linspace(0, len(rest) - 1, number - len(chosen)).round().astype(int)
    chosen |= {rest[place] for place in places}
    return [image for image in images if image in chosen]


def _limits(results: Results, images: list[str]) -> dict[str, float]:
    """Return the limit of the colour scale of each trait."""
    limits: dict[str, float] = {}
    if results.maps is None or not images:
        return limits
    for trait in results.traits:
        if trait in results.maps[TRAIT].values:
            # A few dozen maps suffice to estimate a percentile of the pixels.
            some = images[:: max(1, len(images) // 40)]
            maps = results.maps["relevance"].sel({TRAIT: trait, IMAGE: some}).values
            limits[trait] = symmetric_limit(smooth(np.nan_to_num(maps), SMOOTHING), percentile=PERCENTILE)
    return limits


def _add_maps(
    results: Results, image: str, cells: list[list[Any]], limits: dict[str, float]
) -> list[str | None]:
    """Append the coloured map to each of an image's cells; return the difference of two groups by trait."""
    assert results.maps is not None
    known = list(results.maps[GROUP].values)
    of_image = results.maps["relevance"].sel({IMAGE: image}).load()
    differences: list[str | None] = []
    for t, trait in enumerate(results.traits):
        maps = []
        for g, group in enumerate(results.groups):
            if cells[g][t] is None or group not in known or trait not in limits:
                continue
            one = of_image.sel({GROUP: group, TRAIT: trait}).values
            if np.isfinite(one).all():
                maps.append(smooth(one, SMOOTHING))
                cells[g][t].append(_compress(maps[-1], limits[trait]))
        two = len(maps) == len(results.groups) == 2
        differences.append(_compress(maps[0] - maps[1], limits[trait]) if two else None)
    return differences


def _compress(one: np.ndarray, limit: float) -> str:
    """Colour a map and compress it."""
    return data_uri(colour(one, limit), MAP_SIDE, 70)
