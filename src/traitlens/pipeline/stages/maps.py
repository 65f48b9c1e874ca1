"""Stage that computes relevance maps, their averages, and their sums over regions.

Each image is explained by the readouts of its own fold, which were not fitted to it. Averages and sums are
accumulated block by block; the maps themselves need not be written.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from traitlens import storage
from traitlens.arrays import map_coordinates, open_arrays, write_arrays
from traitlens.artifacts import (
    AVERAGE_MAPS,
    MAPS,
    PREPARED,
    REGION_LABELS,
    REGION_TABLE,
    REGION_UNIONS,
)
from traitlens.columns import FOLD, GROUP, IMAGE, READOUT, REGION, RELEVANCE, TRAIT, X, Y
from traitlens.computing.blocks import blocks_by_fold, make_blocks
from traitlens.computing.machine import Machine
from traitlens.faces.prepared_faces import average_face
from traitlens.pipeline.costs import SAMPLE
from traitlens.pipeline.stage_io import StageIO
from traitlens.pipeline.stages.faces import NO_LABEL
from traitlens.pipeline.stages.features import read_features
from traitlens.pipeline.stages.readouts import read_readouts
from traitlens.readouts.fit_results import predict_out_of_fold
from traitlens.readouts.readout import Readout
from traitlens.relevance.attribution import Explainer
from traitlens.relevance.map_storage import MAP_SCALE, alignment, compress_maps
from traitlens.relevance.region_table import RegionTables, sum_regions, unite_regions

SUMS = ("prediction", "reference", "pixel_sum")
"""Numbers stored beside each map: the prediction, its reference, and the sum of the map over pixels."""


@dataclass(frozen=True)
class MapBlocks:
    """Function that computes maps and their sums, one block of images at a time.

    Parameters
    ----------
    machine : Machine
        Device and precision of the network.
    prepared, labels : Path
        Files of the prepared images, and of the region labels of images with landmarks.
    blocks : list of (int, ndarray)
        Fold of each block, and positions of its images.
    readouts : sequence of Readout
        Readouts of every group, trait and fold.
    groups, traits : list of str
        Groups and traits in the order of the maps.
    method : str
        Name of the relevance method.
    weights : ndarray (group, trait, image)
        Weight of each map in the aligned average.
    written : ndarray of bool (image,)
        Whether the maps of each image are written.
    """

    machine: Machine
    prepared: Path
    labels: Path
    blocks: list[tuple[int, np.ndarray]]
    readouts: Sequence[Readout]
    groups: list[str]
    traits: list[str]
    method: str
    weights: np.ndarray
    written: np.ndarray

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """Compute the maps of one block of images.

        Returns
        -------
        dict of str to ndarray
            "relevance" (group, trait, written image, y, x), compressed; "mean" and "aligned" (group, trait,
            y, x), summed over the images; the numbers of :data:`SUMS` (group, trait, image); "regions"
            (group, trait, image, region, 2), the sums of relevance and of its absolute values. NaN if a group
            has no readout of a trait.
        """
        fold, positions = self.blocks[number]
        prepared = open_arrays(self.prepared)
        labels = open_arrays(self.labels) if self.labels.exists() else None
        size, regions = prepared.sizes[Y], 0 if labels is None else labels.sizes[REGION]
        of_fold = [readout for readout in self.readouts if readout.fold == fold]
        where = [self.groups.index(r.group) * len(self.traits) + self.traits.index(r.trait) for r in of_fold]
        rows, count = len(self.groups) * len(self.traits), len(positions)
        keep = np.flatnonzero(self.written[positions])
        made: dict[str, np.ndarray] = {
            RELEVANCE: np.full((rows, len(keep), size, size), np.nan, np.float16),
            "mean": np.zeros((rows, size, size), np.float32),
            "aligned": np.zeros((rows, size, size), np.float32),
            "regions": np.full((rows, count, regions, 2), np.nan),
            **{name: np.full((rows, count), np.nan) for name in SUMS},
        }
        weights = self.weights.reshape(rows, -1)[where].astype(np.float32)
        explain = Explainer(self.machine.backbone(), of_fold, self.method).explain if of_fold else None
        for place, position in enumerate(positions):
            if explain is None:  # this fold has no readouts
                break
            found = explain(prepared["pixels"][position].to_numpy())
            found = found.rename(pixels="pixel_sum").transpose(READOUT, Y, X)
            maps = found[RELEVANCE].to_numpy()
            made["mean"][where] += maps
            made["aligned"][where] += maps * weights[:, position, None, None]
            for name in SUMS:
                made[name][where, place] = found[name].to_numpy()
            if labels is not None:
                own = labels["labels"][position].to_numpy()
                if own.flat[0] != NO_LABEL:
                    made["regions"][where, place] = sum_regions(maps, own, regions)
            if self.written[position]:
                made[RELEVANCE][where, np.searchsorted(keep, place)] = compress_maps(maps)
        shape = (len(self.groups), len(self.traits))
        return {name: values.reshape(*shape, *values.shape[1:]) for name, values in made.items()}


def explain(io: StageIO) -> None:
    """Write relevance maps, average maps, and the tables of relevance by region."""
    groups, traits, folds = io.value("groups"), io.value("traits"), io.value("folds")
    prepared, readouts = io.read(PREPARED), read_readouts(io)
    blocks = list(blocks_by_fold(folds[FOLD].to_numpy()))
    predicted = predict_out_of_fold(readouts, read_features(io), blocks, groups, traits)
    written = choose_written(prepared.sizes[IMAGE], io.value("settings.run.keep_maps"))
    make = MapBlocks(
        io.machine,
        io.file(PREPARED),
        io.file(REGION_LABELS),
        blocks,
        readouts,
        groups,
        traits,
        io.value("settings.relevance.method"),
        alignment(predicted),
        written,
    )
    make_blocks(io.engine, io.blocks, make, [len(positions) for _, positions in blocks], io.advance)
    regions = [str(name) for name in io.read(REGION_LABELS)[REGION].values] if io.has(REGION_LABELS) else []
    totals = _Totals((len(groups), len(traits)), prepared.sizes[IMAGE], len(regions), prepared.sizes[Y])
    parts = _accumulate(io, blocks, totals, written)
    if written.any():
        _write_maps(io, parts, prepared[IMAGE].to_numpy()[written])
    else:
        for _ in parts:
            pass
    _write_averages(io, totals, average_face(prepared))
    if regions:
        tables = RegionTables(totals.regions, prepared[IMAGE].to_numpy(), groups, traits, regions)
        io.write(REGION_UNIONS, map(unite_regions, tables()))
        io.write(REGION_TABLE, tables())


class _Totals:
    """Sums of maps over images, and sums of relevance over regions."""

    def __init__(self, shape: tuple[int, int], images: int, regions: int, size: int):
        self.mean, self.aligned = np.zeros((*shape, size, size)), np.zeros((*shape, size, size))
        self.count = np.zeros((*shape, 1, 1))
        self.regions = np.full((*shape, images, regions, 2), np.nan)

    def add(self, positions: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Add the arrays of one block, whose images are at the given positions."""
        self.mean += arrays["mean"]
        self.aligned += arrays["aligned"]
        self.count += np.isfinite(arrays["prediction"]).sum(-1)[..., None, None]
        self.regions[:, :, positions] = arrays["regions"]


def _accumulate(
    io: StageIO, blocks: list[tuple[int, np.ndarray]], totals: _Totals, written: np.ndarray
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Add each block to the totals; yield the maps to write and their positions in the file."""
    for number, (_, positions) in enumerate(blocks):
        arrays = io.blocks.read(number)
        totals.add(positions, arrays)
        keep = np.flatnonzero(written[positions])
        sums = {name: arrays[name][:, :, keep] for name in SUMS}
        yield np.cumsum(written)[positions[keep]] - 1, {RELEVANCE: arrays[RELEVANCE], **sums}


def _coordinates_of_maps(io: StageIO, size: int) -> dict[str, np.ndarray]:
    groups, traits = (np.array(io.value(name), object) for name in ("groups", "traits"))
    return {GROUP: groups, TRAIT: traits, **map_coordinates(size)}


def _write_maps(
    io: StageIO, parts: Iterator[tuple[np.ndarray, dict[str, np.ndarray]]], images: np.ndarray
) -> None:
    """Write the file of maps, block by block."""
    size = io.read(PREPARED).sizes[Y]
    coordinates = {**_coordinates_of_maps(io, size), IMAGE: images}
    shape = tuple(len(coordinates[name]) for name in (GROUP, TRAIT, IMAGE))
    sums = {name: ((GROUP, TRAIT, IMAGE), np.full(shape, np.nan)) for name in SUMS}
    attributes = {"method": io.value("settings.relevance.method"), "units": "rating points per pixel"}
    dataset = xr.Dataset(sums, coordinates, attributes)
    large = {RELEVANCE: ((GROUP, TRAIT, IMAGE, Y, X), "f2")}
    with storage.atomic_write(io.file(MAPS)) as temporary:
        write_arrays(temporary, dataset, large, parts, {RELEVANCE: MAP_SCALE})


def _write_averages(io: StageIO, totals: _Totals, face: np.ndarray) -> None:
    """Write mean maps, means of maps weighted by standardised predictions, and the average face."""
    dataset = xr.Dataset(coords=_coordinates_of_maps(io, len(face)))
    for name, total in (("aligned", totals.aligned), ("mean", totals.mean)):
        empty = np.full_like(total, np.nan)
        average = np.divide(total, totals.count, out=empty, where=totals.count > 0)
        dataset[name] = (GROUP, TRAIT, Y, X), average
    dataset["face"] = (Y, X, "colour"), face
    with storage.atomic_write(io.file(AVERAGE_MAPS)) as temporary:
        write_arrays(temporary, dataset)


def choose_written(number: int, keep: str) -> np.ndarray:
    """Choose the images whose maps are written, without regard to ratings and predictions.

    Parameters
    ----------
    keep : {"all", "sample", "none"}
        "sample" is at most :data:`SAMPLE` images, evenly spaced in the study's table of images.

    Returns
    -------
    ndarray of bool (image,)
        Whether the map of each image is written.

    Examples
    --------
    >>> int(choose_written(1000, "sample").sum())
    200
    """
    wanted = {"all": number, "sample": min(number, SAMPLE), "none": 0}[keep]
    chosen = np.zeros(number, bool)
    chosen[np.linspace(0, number - 1, wanted).round().astype(int)] = True
    return chosen
