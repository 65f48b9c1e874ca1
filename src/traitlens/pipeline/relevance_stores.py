"""The results of explaining: `maps.zarr`, `average_maps.zarr` and `regions.csv`, written trait by trait.

Each store says under which key each of its traits was made. A trait whose readouts are as they were is taken
from there; only the others are explained again.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

import traitlens
from traitlens import keeping
from traitlens.arrays import map_coordinates, open_arrays, write_arrays
from traitlens.digests import digest, digest_file
from traitlens.faces.regions import region_names
from traitlens.pipeline.blocks import blocks_by_fold, make_blocks
from traitlens.pipeline.explaining import LEDGER, MapWork, kept_images, predict_out_of_fold, unite_regions
from traitlens.pipeline.preparing import average_face
from traitlens.problems import TraitlensError
from traitlens.relevance.maps import MAP_SCALE, alignment, compress_maps
from traitlens.relevance.region_table import tabulate_sums
from traitlens.watching import Advance
from traitlens.words import FOLD, GROUP, IMAGE, REGION, RELEVANCE, TRAIT, X, Y

if TYPE_CHECKING:
    from traitlens.pipeline.run import Run

MAPS, AVERAGES = "maps.zarr", "average_maps.zarr"
REGION_TABLE, UNION_TABLE = "regions.csv", "region_unions.csv"

IMAGES_AT_ONCE = 500
"""Images whose rows of the table of regions are put together at a time."""

Parts = Iterable[tuple[np.ndarray, dict[str, np.ndarray]]]
"""Positions of a block's images, and what :class:`traitlens.pipeline.explaining.MapWork` made of it."""


@dataclass(frozen=True, eq=False)
class Former:
    """What an earlier run left of traits that need not be explained again.

    Parameters
    ----------
    traits : list of str
        Which.
    averages, maps : Dataset or None
        The stores; `maps` is None where no map was kept.
    regions : DataFrame or None
        The rows of these traits.
    """

    traits: list[str]
    averages: xr.Dataset | None = None
    maps: xr.Dataset | None = None
    regions: pd.DataFrame | None = None


def read_former(results: Path, keys: dict[str, str], images: np.ndarray) -> Former:
    """Read what an earlier run left of traits that need not be explained again.

    Parameters
    ----------
    results : Path
        The results folder.
    keys : dict of str to str
        Of each trait: digest of everything that its maps depend on.
    images : ndarray of str
        The images whose maps are kept.

    Returns
    -------
    Former
        Traits of which averages, regions and these images' maps are there under the same key.
    """
    try:
        averages = open_arrays(results / AVERAGES)
        maps = open_arrays(results / MAPS).sel({IMAGE: images}) if len(images) else None
        if averages.attrs["regions"] != digest_file(results / REGION_TABLE):
            return Former([])
        stores: list[dict[str, Any]] = [
            store.attrs["keys"] for store in (averages, maps) if store is not None
        ]
    except (OSError, KeyError, ValueError, TraitlensError):
        return Former([])
    traits = [trait for trait, key in keys.items() if all(store.get(trait) == key for store in stores)]
    if not traits:
        return Former([])
    table = keeping.read_table(results / REGION_TABLE)
    return Former(traits, averages, maps, table[table[TRAIT].isin(traits)])


def write_stores(
    results: Path,
    parts: Parts,
    made: list[str],
    former: Former,
    prepared: xr.Dataset,
    groups: list[str],
    keys: dict[str, str],
    kept: np.ndarray,
    method: str,
    regions: Sequence[str],
) -> None:
    """Write `regions.csv`, `average_maps.zarr` and, if maps are kept, `maps.zarr`.

    Parameters
    ----------
    results : Path
        The results folder.
    parts : iterable of (positions, arrays)
        What was made; read more than once.
    made : list of str
        The traits that were made.
    former : Former
        The others.
    prepared : Dataset
        The prepared images.
    groups : list of str
        In the order of the maps.
    keys : dict of str to str
        Key of each trait, in the order of the maps.
    kept : ndarray of bool (image,)
        The images whose maps are kept.
    method : str
        Name of the relevance method.
    regions : sequence of str
        Names of the regions.
    """
    traits, images = list(keys), prepared[IMAGE].to_numpy()
    sums = _gather_sums(parts, (len(groups), len(made), len(images), len(regions)))
    tables = _Tables(sums, made, former, images, groups, traits, regions)
    keeping.write_table(results / UNION_TABLE, map(unite_regions, tables))
    keeping.write_table(results / REGION_TABLE, tables)
    coordinates = {
        GROUP: np.array(groups, object),
        TRAIT: np.array(traits, object),
        **map_coordinates(prepared.sizes[Y]),
    }
    averages = _averages(parts, made, former, coordinates)
    averages["face"] = (Y, X, "colour"), average_face(prepared)
    averages.attrs = {"keys": keys, "regions": digest_file(results / REGION_TABLE)}
    with keeping.write_whole(results / AVERAGES) as temporary:
        write_arrays(temporary, averages)
    if not kept.any():
        keeping.remove(results / MAPS)
        return
    shape = (len(groups), len(traits), int(kept.sum()))
    ledger = {name: ((GROUP, TRAIT, IMAGE), np.full(shape, np.nan)) for name in LEDGER}
    attributes = {"method": method, "units": "rating points per pixel", "keys": keys}
    dataset = xr.Dataset(ledger, {**coordinates, IMAGE: images[kept]}, attributes)
    large = {RELEVANCE: ((GROUP, TRAIT, IMAGE, Y, X), "f2")}
    blocks = _maps(parts, made, former, traits, kept)
    with keeping.write_whole(results / MAPS) as temporary:
        write_arrays(temporary, dataset, large, blocks, {RELEVANCE: MAP_SCALE})


def _gather_sums(parts: Parts, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Gather the sums of regions from all blocks: (group, made trait, image, region, 2)."""
    sums = np.full((*shape, 2), np.nan)
    for positions, arrays in parts if shape[1] else ():
        sums[:, :, positions] = arrays["regions"]
    return sums


@dataclass(frozen=True, eq=False)
class _Tables:
    """The table of regions in the order of images, groups, traits and regions: some images at a time."""

    sums: np.ndarray
    made: list[str]
    former: Former
    images: np.ndarray
    groups: list[str]
    traits: list[str]
    regions: Sequence[str]

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for start in range(0, len(self.images), IMAGES_AT_ONCE):
            images = self.images[start : start + IMAGES_AT_ONCE]
            sums = self.sums[:, :, start : start + IMAGES_AT_ONCE]
            tables = []
            if self.made:
                tables.append(tabulate_sums(sums, images, self.groups, self.made, self.regions))
            if self.former.regions is not None:
                tables.append(self.former.regions[self.former.regions[IMAGE].isin(images)])
            table = pd.concat(tables, ignore_index=True)
            orders = ((IMAGE, images), (GROUP, self.groups), (TRAIT, self.traits), (REGION, self.regions))
            places = [pd.Index(order).get_indexer(table[name]) for name, order in orders]
            yield table.iloc[np.lexsort(places[::-1])]


def _averages(
    parts: Parts, made: list[str], former: Former, coordinates: dict[str, np.ndarray]
) -> xr.Dataset:
    """Average over images: the mean, and the mean aligned with predictions."""
    dims = (GROUP, TRAIT, Y, X)
    shape = tuple(len(coordinates[name]) for name in dims)
    traits = list(coordinates[TRAIT])
    places = [traits.index(trait) for trait in made]
    whole = {}
    for name in ("aligned", "mean"):
        values = np.full(shape, np.nan)
        if made:
            total = np.zeros((shape[0], len(made), *shape[2:]))
            count = np.zeros((shape[0], len(made), 1, 1))
            for _, arrays in parts:
                total += arrays[name]
                count += np.isfinite(arrays["prediction"]).sum(-1)[..., None, None]
            values[:, places] = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        for trait in former.traits:
            assert former.averages is not None
            values[:, traits.index(trait)] = former.averages[name].sel({TRAIT: trait}).to_numpy()
        whole[name] = dims, values
    return xr.Dataset(whole, coordinates)


def _maps(
    parts: Parts, made: list[str], former: Former, traits: list[str], kept: np.ndarray
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Give maps and ledger of the kept images, those that were made and those that are taken over."""
    order = [[*made, *former.traits].index(trait) for trait in traits]
    for positions, arrays in parts:
        keep = np.flatnonzero(kept[positions])
        into = np.cumsum(kept)[positions[keep]] - 1
        together = {}
        for name in (RELEVANCE, *LEDGER):
            found = []
            if made:
                found.append(arrays[name] if name == RELEVANCE else arrays[name][:, :, keep])
            if former.maps is not None:
                old = former.maps[name].isel({IMAGE: into}).sel({TRAIT: former.traits}).to_numpy()
                found.append(compress_maps(old) if name == RELEVANCE else old)
            together[name] = np.concatenate(found, axis=1)[:, order]
        yield into, together


def explain_study(run: "Run", method: str, keep: str, advance: Advance) -> None:
    """Explain the traits whose readouts are new, and write the stores.

    Parameters
    ----------
    run : Run
        The run; its readouts are fitted.
    method : str
        Name of the relevance method.
    keep : {"all", "sample", "none"}
        Whose maps are kept.
    advance : callable
        Told of images done.
    """
    groups, traits, readouts = run.study.groups, run.study.traits, run.readouts
    blocks = list(blocks_by_fold(run.folds[FOLD].to_numpy()))
    predicted = predict_out_of_fold(readouts, run.features[1], blocks, groups, traits)
    kept, polygons = kept_images(len(run.study.images), keep), run.study.settings.faces.regions
    same = digest(run.features[0], run.folds, groups, method, list(polygons.items()), traitlens.__version__)
    keys = {trait: digest(same, [r for r in readouts if r.trait == trait]) for trait in traits}
    former = read_former(run.results, keys, run.prepared[IMAGE].to_numpy()[kept])
    made = [trait for trait in traits if trait not in former.traits]
    work = MapWork(
        run.machine,
        run.prepared_store,
        blocks,
        [readout for readout in readouts if readout.trait in made],
        groups,
        made,
        method,
        alignment(predicted)[:, [traits.index(trait) for trait in made]],
        kept,
        polygons,
    )
    stored = keeping.Blocks(run.results, "maps", digest([keys[trait] for trait in made]))
    if made:
        make_blocks(run.engine, stored, work, [len(positions) for _, positions in blocks], advance)
    write_stores(
        run.results,
        _Parts(stored, blocks, bool(made)),
        made,
        former,
        run.prepared,
        groups,
        keys,
        kept,
        method,
        region_names(polygons),
    )
    stored.remove()


@dataclass(frozen=True)
class _Parts:
    """The blocks in order, read from disk one at a time, as often as they are asked for."""

    stored: keeping.Blocks
    blocks: list[tuple[int, np.ndarray]]
    there: bool

    def __iter__(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        for number, (_, positions) in enumerate(self.blocks):
            yield positions, self.stored.read(number) if self.there else {}
