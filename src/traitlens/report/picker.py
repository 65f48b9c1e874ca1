"""Data of the picker of faces and maps: compressed faces and maps, limited in number."""

from typing import Any, Final

import numpy as np
import pandas as pd

from traitlens.artifacts import GROUP_CUES
from traitlens.columns import CUE, GROUP, IMAGE, OBSERVED, PREDICTED, REGION, TRAIT, X, Y
from traitlens.report.colouring import PERCENTILE, SMOOTHING, colour, data_uri, smooth, symmetric_limit
from traitlens.report.picture_rows import UNIT
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
        What :func:`describe_results` returns, images (name, face, cells, cues), limits by trait (per 1% of
        the picture), and the numbers shown and left out; a cell contains the observed rating, the predicted
        rating and the coloured map, by group and trait. None where no face may be shown or there is no
        prediction.
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
    limits = {
        trait: limit for trait in results.traits if (limit := find_color_limit(results, trait)) is not None
    }
    shown = set(with_maps)
    ratings, cues = ratings_of_faces(results), read_cues(results)
    images = []
    for image in faces:
        cells = ratings[image]
        differences = _add_maps(results, image, cells, limits) if image in shown else []
        side = FACE_SIDE if image in shown or not shown else HOVER_SIDE
        face = data_uri(results.pixels.sel({IMAGE: image}).values, side, kind="WebP")
        entry = {"name": image, "face": face, "map": image in shown, "cells": cells}
        entry |= {"differences": differences} if any(differences) else {}
        if image in shown and image in cues:
            entry["cues"] = [list_cues(cues[image], trait, results.groups) for trait in results.traits]
        images.append(entry)
    n_pixels = results.pixels.sizes[Y] * results.pixels.sizes[X]
    return describe_results(results) | {
        "images": images,
        "limits": [limits[trait] * n_pixels / 100 if trait in limits else None for trait in results.traits],
        "n_faces": len(faces),
        "n_maps": len(with_maps),
        "n_publishable": len(results.publishable),
    }


def describe_results(results: Results) -> dict[str, Any]:
    """Return what the picker shows of all faces: groups, traits, scale, errors, colours and unit.

    Returns
    -------
    dict
        errors: root mean squared error of out-of-fold predictions by group and trait, None without ratings.
    """
    ramp = colour(np.repeat(np.linspace(-1, 1, 256)[None], 4, axis=0), 1.0)
    return {
        "groups": results.groups,
        "traits": results.traits,
        "scale": results.study.get("scale"),
        "errors": [[_error(results, group, trait) for trait in results.traits] for group in results.groups],
        "ramp": data_uri(ramp, quality=95),
        "unit": UNIT,
        "folder": "results",
    }


def _error(results: Results, group: str, trait: str) -> float | None:
    """Return the root mean squared error of out-of-fold predictions in rating points."""
    table = results.predictions
    assert table is not None
    own = table[(table[GROUP] == group) & (table[TRAIT] == trait)]
    error = float(np.sqrt(((own[PREDICTED] - own[OBSERVED]) ** 2).mean()))
    return round(error, 3) if np.isfinite(error) else None


def ratings_of_faces(results: Results) -> dict[str, list[list[Any]]]:
    """Return the observed and predicted rating of each image, by group and trait in order.

    Returns
    -------
    dict of str to list
        Cells by image; a cell is None where the group did not rate the image.
    """
    assert results.predictions is not None
    assert results.pixels is not None
    tables = dict(iter(results.predictions.groupby(IMAGE, sort=False)))
    empty = results.predictions[:0]
    return {
        image: list_ratings(tables.get(image, empty), results)
        for image in map(str, results.pixels[IMAGE].values)
    }


def list_ratings(table: pd.DataFrame, results: Results) -> list[list[Any]]:
    """Return the observed and predicted rating of one face, by group and trait in order.

    Parameters
    ----------
    table : DataFrame
        group, trait, predicted, and observed where there are ratings.
    """
    columns = [
        table[name] if name in table else np.full(len(table), np.nan) for name in (OBSERVED, PREDICTED)
    ]
    known = dict(zip(zip(table[GROUP], table[TRAIT], strict=True), zip(*columns, strict=True), strict=True))
    return [[_cell(known.get((group, trait))) for trait in results.traits] for group in results.groups]


def _cell(rating: tuple[float, float] | None) -> list[Any] | None:
    """Round one image's ratings; None where the group did not rate it."""
    return None if rating is None else [round(float(v), 3) if v == v else None for v in rating]


def read_cues(results: Results) -> dict[str, pd.DataFrame]:
    """Read the cues of the faces' regions, by image; empty if the results contain none."""
    table = results.use.get(GROUP_CUES.name)
    return {} if table is None else dict(iter(table.fillna({REGION: ""}).groupby(IMAGE, sort=False)))


def list_cues(table: pd.DataFrame, trait: str, groups: list[str]) -> list[list[Any]]:
    """Return the cue of each region of a face, in rating points.

    Parameters
    ----------
    table : DataFrame
        The cues of the face, from :func:`read_cues`.

    Returns
    -------
    list of list
        The region's name, and the cue of each group, or None.
    """
    own = table[table[TRAIT] == trait].pivot_table(CUE, REGION, GROUP, sort=False).reindex(columns=groups)
    return [
        [region or "whole face", *(round(v, 3) if v == v else None for v in row)]
        for region, *row in own.itertuples()
    ]


def _extremes(results: Results) -> list[str]:
    """Rank images from the most extreme to the most average predictions over groups and traits."""
    assert results.predictions is not None
    order: dict[str, int] = {}
    for _, part in results.predictions.groupby([GROUP, TRAIT], sort=False):
        ranked = list(part.sort_values(PREDICTED)[IMAGE])
        for place, image in enumerate(ranked):
            depth = min(place, len(ranked) - 1 - place)
            order[image] = min(order.get(image, depth), depth)
    return sorted(order, key=lambda image: (order[image], image))


def _sample(images: list[str], extremes: list[str], number: int) -> list[str]:
    """Choose a number of images: half from the extremes, half evenly spaced among the others."""
    if len(images) <= number:
        return images
    allowed = set(images)
    chosen = set([image for image in extremes if image in allowed][: number // 2])
    rest = [image for image in images if image not in chosen]
    places = np.linspace(0, len(rest) - 1, number - len(chosen)).round().astype(int)
    chosen |= {rest[place] for place in places}
    return [image for image in images if image in chosen]


def find_color_limit(results: Results, trait: str) -> float | None:
    """Return the limit of the colour scale of a trait's maps, the same for all groups.

    Returns
    -------
    float or None
        In rating points per pixel; None if there are no maps of the trait.
    """
    if results.maps is None or trait not in results.maps[TRAIT].values:
        return None
    # A few dozen maps suffice to estimate a percentile of the pixels.
    some = results.maps[IMAGE].values[:: max(1, results.maps.sizes[IMAGE] // 40)]
    maps = results.maps["relevance"].sel({TRAIT: trait, IMAGE: some}).values
    return symmetric_limit(smooth(np.nan_to_num(maps), SMOOTHING), percentile=PERCENTILE)


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
    return data_uri(colour(one, limit), MAP_SIDE, 70, "WebP")
