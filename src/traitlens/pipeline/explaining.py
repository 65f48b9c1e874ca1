"""Predictions become maps and their sums, a block of images at a time.

Each image is explained by the readouts of its fold, which did not see it. Averages and regions are summed
while the maps are at hand, so that the maps themselves need not be kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from traitlens.arrays import open_arrays
from traitlens.faces.regions import UNIONS, Polygon, region_labels, region_names
from traitlens.features.spaces import FeatureSpace
from traitlens.features.views import FACE_VIEWS
from traitlens.pipeline.machine import Machine
from traitlens.readouts.readout import Readout
from traitlens.relevance.attribution import explain_each
from traitlens.relevance.maps import compress_maps
from traitlens.relevance.region_table import REGION_COLUMNS, sum_regions
from traitlens.words import GROUP, IMAGE, READOUT, REGION, RELEVANCE, SHARE, TRAIT, X, Y

LEDGER = ("prediction", "reference", "pixel_sum")
"""Beside each map: what was predicted, the value it is explained against, and the sum over its pixels."""


@dataclass(frozen=True)
class MapWork:
    """Makes blocks of maps and of their sums.

    Parameters
    ----------
    machine : Machine
        Where and how the network is run.
    prepared : Path
        The prepared images.
    blocks : list of (int, ndarray)
        Fold and positions of each block's images.
    readouts : sequence of Readout
        Of every group and fold, and of the traits that are explained.
    groups, traits : list of str
        In the order of the maps.
    method : str
        Name of the relevance method.
    weights : ndarray (group, trait, image)
        How much each map counts in the aligned average.
    kept : ndarray of bool (image,)
        The images whose maps are kept.
    polygons : mapping of str to sequence
        The study's own regions.
    """

    machine: Machine
    prepared: Path
    blocks: list[tuple[int, np.ndarray]]
    readouts: Sequence[Readout]
    groups: list[str]
    traits: list[str]
    method: str
    weights: np.ndarray
    kept: np.ndarray
    polygons: Mapping[str, Polygon]

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """Make a block.

        Parameters
        ----------
        number : int
            Which.

        Returns
        -------
        dict of str to ndarray
            relevance (group, trait, kept image, y, x), compressed; mean and aligned (group, trait, y, x),
            summed over the images; :data:`LEDGER` (group, trait, image); regions (group, trait, image,
            region, 2): sums of relevance and of its absolute values. Not a number where a group has no
            readout of a trait.
        """
        fold, positions = self.blocks[number]
        prepared = open_arrays(self.prepared)
        size = prepared.sizes[Y]
        of_fold = [readout for readout in self.readouts if readout.fold == fold]
        where = [self.groups.index(r.group) * len(self.traits) + self.traits.index(r.trait) for r in of_fold]
        rows, count = len(self.groups) * len(self.traits), len(positions)
        keep, names = np.flatnonzero(self.kept[positions]), region_names(self.polygons)
        made: dict[str, np.ndarray] = {
            RELEVANCE: np.full((rows, len(keep), size, size), np.nan, np.float16),
            "mean": np.zeros((rows, size, size), np.float32),
            "aligned": np.zeros((rows, size, size), np.float32),
            "regions": np.full((rows, count, len(names), 2), np.nan),
            **{name: np.full((rows, count), np.nan) for name in LEDGER},
        }
        weights = self.weights.reshape(rows, -1)[where].astype(np.float32)
        pixels = (prepared["pixels"][position].to_numpy() for position in positions)
        each = (
            explain_each(self.machine.backbone(), of_fold, pixels, self.method, views=FACE_VIEWS)
            if of_fold
            else ()
        )
        for place, (position, found) in enumerate(zip(positions, each, strict=False)):
            found = found.rename(pixels="pixel_sum").transpose(READOUT, Y, X)
            maps = found[RELEVANCE].to_numpy()
            made["mean"][where] += maps
            made["aligned"][where] += maps * weights[:, position, None, None]
            for name in LEDGER:
                made[name][where, place] = found[name].to_numpy()
            points = prepared["points"][position].to_numpy()
            if np.isfinite(points).all():
                made["regions"][where, place] = sum_regions(
                    maps, region_labels(points, size, self.polygons), len(names)
                )
            if self.kept[position]:
                made[RELEVANCE][where, np.searchsorted(keep, place)] = compress_maps(maps)
        shape = (len(self.groups), len(self.traits))
        return {name: values.reshape(*shape, *values.shape[1:]) for name, values in made.items()}


def predict_out_of_fold(
    readouts: Sequence[Readout],
    features: Mapping[FeatureSpace, np.ndarray],
    blocks: Sequence[tuple[int, np.ndarray]],
    groups: list[str],
    traits: list[str],
) -> np.ndarray:
    """Predict every image by the readouts of its fold, also where a group did not rate it.

    Parameters
    ----------
    readouts : sequence of Readout
        Of every group, trait and fold.
    features : mapping of FeatureSpace to ndarray
        (image, channel, row, column), transformed.
    blocks : sequence of (int, ndarray)
        Fold and positions of each block's images.
    groups, traits : list of str
        In the order of the result.

    Returns
    -------
    ndarray (group, trait, image)
        Rating units; not a number where a group has no readout of a trait.
    """
    count = sum(len(positions) for _, positions in blocks)
    predicted = np.full((len(groups), len(traits), count), np.nan)
    for fold, positions in blocks:
        seen = {space: np.asarray(values[positions]) for space, values in features.items()}
        for readout in readouts:
            if readout.fold == fold:
                place = groups.index(readout.group), traits.index(readout.trait)
                predicted[(*place, positions)] = readout.predict(seen)
    return predicted


def kept_images(number: int, keep: str) -> np.ndarray:
    """Choose the images whose maps are kept, whatever was rated or predicted.

    Parameters
    ----------
    number : int
        Images in the study.
    keep : {"all", "sample", "none"}
        "sample": at most :data:`SAMPLE`, evenly spread over the study.

    Returns
    -------
    ndarray of bool (image,)
        Which.

    Examples
    --------
    >>> int(kept_images(1000, "sample").sum())
    200
    """
    wanted = {"all": number, "sample": min(number, SAMPLE), "none": 0}[keep]
    chosen = np.zeros(number, bool)
    chosen[np.linspace(0, number - 1, wanted).round().astype(int)] = True
    return chosen


SAMPLE = 200
"""Images whose maps are kept where only a sample is."""


def unite_regions(table: pd.DataFrame) -> pd.DataFrame:
    """Sum the relevance of regions over the larger regions that they make up.

    Parameters
    ----------
    table : DataFrame
        image, group, trait, region, relevance, share.

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
