"""Predictions become maps and their sums over regions, a block of images at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from traitlens import keeping
from traitlens.arrays import map_coordinates, open_arrays, write_arrays
from traitlens.faces.regions import UNIONS, Polygon, region_labels, region_names
from traitlens.features.backbone import Backbone
from traitlens.features.views import FACE_VIEWS
from traitlens.pipeline.machine import Machine
from traitlens.pipeline.preparing import average_face
from traitlens.readouts.readout import Readout
from traitlens.relevance.analyze import explain_with_ledger
from traitlens.relevance.maps import average_maps
from traitlens.relevance.region_table import REGION_COLUMNS, region_relevance
from traitlens.watching import Advance
from traitlens.words import GROUP, IMAGE, READOUT, REGION, RELEVANCE, SHARE, TRAIT, X, Y

LEDGER = ("prediction", "reference", "pixel_sum")
"""Beside each map: what was predicted, the value it is explained against, and the sum over its pixels."""


def write_maps(
    results: Path,
    explained: Iterator[tuple[np.ndarray, dict[str, np.ndarray]]],
    prepared: xr.Dataset,
    groups: list[str],
    traits: list[str],
    method: str,
) -> None:
    """Write `maps.zarr` and, from it, `average_maps.zarr`.

    Parameters
    ----------
    results : Path
        The results folder.
    explained : iterator of (positions, arrays)
        Positions of each block's images, and what :class:`MapWork` made of it.
    prepared : Dataset
        The prepared images.
    groups, traits : list of str
        In the order of the maps.
    method : str
        Name of the relevance method.
    """
    coordinates = {
        GROUP: np.array(groups, object),
        TRAIT: np.array(traits, object),
        IMAGE: prepared[IMAGE].to_numpy(),
        **map_coordinates(prepared.sizes[Y]),
    }
    shape = tuple(len(coordinates[name]) for name in (GROUP, TRAIT, IMAGE))
    ledger = {name: ((GROUP, TRAIT, IMAGE), np.full(shape, np.nan)) for name in LEDGER}
    dataset = xr.Dataset(ledger, coordinates, {"method": method, "units": "rating points per pixel"})
    large = {RELEVANCE: ((GROUP, TRAIT, IMAGE, Y, X), "f4")}
    with keeping.write_whole(results / "maps.zarr") as temporary:
        write_arrays(temporary, dataset, large, explained)
    averages = average_maps(open_arrays(results / "maps.zarr"))
    averages["face"] = (Y, X, "colour"), average_face(prepared)
    with keeping.write_whole(results / "average_maps.zarr") as temporary:
        write_arrays(temporary, averages)


@dataclass(frozen=True)
class MapWork:
    """Makes blocks of maps: the images of each fold explained by the fold's readouts, which did not see them.

    Parameters
    ----------
    machine : Machine
        Where and how the network is run.
    prepared : Path
        The prepared images.
    blocks : list of (int, ndarray)
        Fold and positions of each block's images.
    readouts : sequence of Readout
        Of every group, trait and fold.
    groups, traits : list of str
        In the order of the maps.
    method : str
        Name of the relevance method.
    """

    machine: Machine
    prepared: Path
    blocks: list[tuple[int, np.ndarray]]
    readouts: Sequence[Readout]
    groups: list[str]
    traits: list[str]
    method: str

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """Make a block: relevance (group, trait, image, y, x), and :data:`LEDGER` (group, trait, image)."""
        fold, positions = self.blocks[number]
        of_fold = [readout for readout in self.readouts if readout.fold == fold]
        pixels = open_arrays(self.prepared)["pixels"][positions].to_numpy()
        return explain_block(self.machine.backbone(), of_fold, pixels, self.groups, self.traits, self.method)


def explain_block(
    backbone: Backbone,
    readouts: Sequence[Readout],
    pixels: np.ndarray,
    groups: list[str],
    traits: list[str],
    method: str,
) -> dict[str, np.ndarray]:
    """Explain a few images by one fold's readouts.

    Parameters
    ----------
    backbone : Backbone
        The network.
    readouts : sequence of Readout
        One for each group and trait that could be fitted.
    pixels : ndarray of uint8 (image, y, x, colour)
        The images.
    groups, traits : list of str
        In the order of the maps.
    method : str
        Name of the relevance method.

    Returns
    -------
    dict of str to ndarray
        relevance (group, trait, image, y, x), and :data:`LEDGER` (group, trait, image); not a number where a
        group has no readout of a trait.
    """
    where = [groups.index(r.group) * len(traits) + traits.index(r.trait) for r in readouts]
    found = explain_with_ledger(backbone, readouts, pixels, method, views=FACE_VIEWS)
    found = found.rename(pixels="pixel_sum").transpose(READOUT, IMAGE, Y, X)
    made = {}
    for name in (RELEVANCE, *LEDGER):
        values = found[name].to_numpy()
        full = np.full((len(groups) * len(traits), *values.shape[1:]), np.nan, values.dtype)
        full[where] = values
        made[name] = full.reshape(len(groups), len(traits), *values.shape[1:])
    return made


def tabulate_regions(
    maps: xr.Dataset,
    prepared: xr.Dataset,
    advance: Advance,
    polygons: Mapping[str, Polygon] | None = None,
) -> pd.DataFrame:
    """Sum the maps over the regions of each face.

    Parameters
    ----------
    maps : Dataset
        With relevance (group, trait, image, y, x).
    prepared : Dataset
        With points (image, point, xy); images without landmarks are passed over.
    advance : callable
        Told of images done.
    polygons : mapping of str to sequence, optional
        The study's own regions.

    Returns
    -------
    DataFrame
        image, group, trait, region, relevance, share.
    """
    tables, names = [], region_names(polygons)
    for position, image in enumerate(maps[IMAGE].to_numpy()):
        points = prepared["points"][position].to_numpy()
        advance(1)
        if np.isfinite(points).all():
            labels = region_labels(points, prepared.sizes[Y], polygons)
            tables.append(region_relevance(maps[RELEVANCE][:, :, position], labels, names, image))
    return pd.concat(tables) if tables else pd.DataFrame(columns=REGION_COLUMNS)


def unite_regions(table: pd.DataFrame) -> pd.DataFrame:
    """Sum the relevance of regions over the larger regions that they make up.

    Parameters
    ----------
    table : DataFrame
        What :func:`tabulate_regions` gives.

    Returns
    -------
    DataFrame
        The same columns, for the eye region, the upper and the lower face.
    """
    keys = [IMAGE, GROUP, TRAIT]
    united = [
        table[table[REGION].isin(parts)]
        .groupby(keys, sort=False)[[RELEVANCE, SHARE]]
        .sum()
        .reset_index()
        .assign(**{REGION: name})
        for name, parts in UNIONS.items()
    ]
    return pd.concat(united)[REGION_COLUMNS]
