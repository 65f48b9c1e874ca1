"""Check the maps of some images of one fold: sums, randomised models, pixel flipping, other methods."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from traitlens.columns import GROUP, IMAGE, RATING, REGION, TRAIT
from traitlens.features.backbone import Backbone
from traitlens.map_checks.measures import (
    conservation,
    edge_correlation,
    method_agreement,
    region_association,
)
from traitlens.map_checks.pixel_flipping import flip_patches
from traitlens.map_checks.randomisation import null_similarity, random_readouts, randomise_backbone
from traitlens.progress import Advance
from traitlens.readouts.readout import Readout
from traitlens.relevance.attribution import analyze, explain_with_conservation

REPEATS = 3
"""Number of null maps of each kind, which is enough to correlate null maps with each other."""

COMPARED = (
    "lrp.sequential_preset_a_flat",
    "lrp.sequential_preset_b_flat",
    "lrp.epsilon",
    "zennit.epsilon_gamma_box",
    "input_t_gradient",
)
"""Relevance methods, one of each kind, whose maps are compared with those of the study's method."""

Refit = Callable[[int], Sequence[Readout]]
"""Function that fits readouts to permuted ratings, given a seed."""


@dataclass(frozen=True, eq=False)
class CheckSample:
    """Images of one fold, and the readouts of that fold, on which maps are checked.

    Parameters
    ----------
    backbone : Backbone
        The network.
    readouts : tuple of Readout
        Readouts of the fold, one for each group and trait.
    images : list of str
        Names of the images.
    pixels : ndarray of uint8 (image, y, x, colour)
        The images.
    face : ndarray of uint8 (y, x, colour)
        The average face, whose pixels replace those of flipped patches.
    method : str
        Name of the study's relevance method.
    """

    backbone: Backbone
    readouts: tuple[Readout, ...]
    images: list[str]
    pixels: np.ndarray
    face: np.ndarray
    method: str

    def explain(
        self,
        advance: Advance,
        readouts: Sequence[Readout] | None = None,
        backbone: Backbone | None = None,
    ) -> xr.DataArray:
        """Compute maps (readout, image, y, x) of the images, optionally with other readouts or network.

        Parameters
        ----------
        advance : callable
            Called with the number of images just finished.
        readouts : sequence of Readout or None
            Readouts to use in place of the sample's, in the same order.
        backbone : Backbone or None
            Network to use in place of the sample's.
        """
        return analyze(
            backbone or self.backbone, readouts or self.readouts, self.pixels, self.method, progress=advance
        )


def choose_images(folds: np.ndarray, count: int) -> tuple[int, np.ndarray]:
    """Choose evenly spaced images of the first fold; return the fold and the positions of the images.

    Parameters
    ----------
    folds : ndarray (image,)
        Fold of each image.
    count : int
        Number of images; all images of the fold if it has fewer.

    Examples
    --------
    >>> choose_images(np.array([1, 0, 0, 1, 0, 0]), 2)
    (0, array([1, 5]))
    """
    fold = int(folds.min())
    of_fold = np.flatnonzero(folds == fold)
    return fold, of_fold[np.unique(np.linspace(0, len(of_fold) - 1, count).round().astype(int))]


def check_conservation(sample: CheckSample, advance: Advance) -> pd.DataFrame:
    """Compute how much of each prediction reached the pixels.

    Returns
    -------
    DataFrame
        Table of :func:`traitlens.map_checks.measures.conservation`, with the names of images.
    """
    account = explain_with_conservation(
        sample.backbone, sample.readouts, sample.pixels, sample.method, progress=advance
    )
    return conservation(account.assign_coords({IMAGE: np.array(sample.images, object)}))


def compare_with_null_maps(sample: CheckSample, refit: Refit | None, advance: Advance) -> pd.DataFrame:
    """Compare the maps with null maps, which are made with randomised ratings, readouts or networks.

    Parameters
    ----------
    sample : CheckSample
        Images and readouts.
    refit : callable or None
        Function that fits readouts to permuted ratings; if None, this kind of null map is left out.
    advance : callable
        Called with the number of images just finished.

    Returns
    -------
    DataFrame
        One row per readout and kind of null map, with columns null, similarity, null_low, null_high (see
        :func:`traitlens.map_checks.randomisation.null_similarity`), edge_correlation (of the maps) and
        null_edge_correlation (of the null maps).
    """
    maps = sample.explain(advance)
    edges = edge_correlation(maps, sample.pixels)["edge_correlation"]
    kinds: dict[str, Callable[[int], xr.DataArray]] = {
        "shuffled readout": lambda seed: sample.explain(advance, random_readouts(sample.readouts, seed)),
        "shuffled network": lambda seed: sample.explain(
            advance, backbone=randomise_backbone(sample.backbone, seed)
        ),
    }
    if refit is not None:
        kinds = {"permuted ratings": lambda seed: sample.explain(advance, refit(seed)), **kinds}
    tables = []
    for kind, explain in kinds.items():
        null = [explain(seed) for seed in range(REPEATS)]
        null_edges = [edge_correlation(one, sample.pixels)["edge_correlation"] for one in null]
        table = null_similarity(maps, null)
        table.insert(2, "null", kind)
        tables.append(table.assign(edge_correlation=edges, null_edge_correlation=np.mean(null_edges, axis=0)))
    return pd.concat(tables, ignore_index=True)


def flip_pixels(sample: CheckSample, advance: Advance) -> pd.DataFrame:
    """Replace patches of the images in the order of their relevance, with :func:`flip_patches`.

    `advance` is called with 1 twice for each image: after its maps, and after its patches.
    """
    return flip_patches(
        sample.backbone,
        sample.readouts,
        sample.pixels,
        sample.explain(advance).to_numpy(),
        sample.face,
        patch=sample.pixels.shape[1] // 8,
        steps=6,
        progress=advance,
    )


def compare_methods(sample: CheckSample, advance: Advance) -> pd.DataFrame:
    """Correlate the maps of the study's method and of other relevance methods.

    Parameters
    ----------
    sample : CheckSample
        Images and readouts.
    advance : callable
        Called with the number of images just finished, for each method.

    Returns
    -------
    DataFrame
        Columns method, other and correlation; each pair of methods once, and each method with itself.
    """
    methods = methods_compared(sample.method)
    table = method_agreement(sample.backbone, sample.readouts, sample.pixels, methods, progress=advance)
    pairs = [(one, other) for index, one in enumerate(methods) for other in methods[index:]]
    return pd.DataFrame(
        [{"method": one, "other": other, "correlation": table.loc[one, other]} for one, other in pairs]
    )


def methods_compared(method: str) -> list[str]:
    """Return the names of the methods that are compared, beginning with the study's method."""
    return list(dict.fromkeys([method, *COMPARED]))


def associate_regions(
    activation: np.ndarray,
    regions: Sequence[str],
    images: np.ndarray,
    targets: pd.DataFrame,
    relevance: pd.DataFrame,
) -> pd.DataFrame:
    """Compute how strongly the activation of each region is associated with ratings, beside its relevance.

    Parameters
    ----------
    activation : ndarray (image, region, channel)
        Features averaged over the cells of each region.
    regions : sequence of str
        Names of the regions.
    images : ndarray of str (image,)
        Names of the images.
    targets : DataFrame
        Mean ratings: group, trait, image, rating.
    relevance : DataFrame
        Relevance by image, group, trait and region.

    Returns
    -------
    DataFrame
        Columns group, trait, region, share (mean over images), association (see
        :func:`traitlens.map_checks.measures.region_association`) and by_chance (expected association if there
        is none).
    """
    shares = relevance.groupby([GROUP, TRAIT, REGION])["share"].mean()
    rows = []
    for (group, trait), part in targets.groupby([GROUP, TRAIT], sort=False):
        ratings = part.set_index(IMAGE)[RATING].reindex(images).to_numpy(float)
        rated = np.isfinite(ratings)
        found = region_association(activation[rated], ratings[rated])
        chance = 1 / np.sqrt(max(rated.sum() - 1, 1))
        for region, value in zip(regions, found, strict=True):
            share = shares.get((group, trait, region), np.nan)
            rows.append(
                {GROUP: group, TRAIT: trait, REGION: region, "share": share, "association": value}
                | {"by_chance": chance}
            )
    return pd.DataFrame(rows)


def average_by_region(features: np.ndarray, labels: np.ndarray, number: int) -> np.ndarray:
    """Average features (channel, row, column) of an image over the cells of each region: (region, channel).

    Cells are weighted by their overlap with the region. `labels` (y, x) is the index of the region of each
    pixel, `number` the number of regions. A region without pixels has the average 0.
    """
    rows, columns = features.shape[1:]
    cell = (
        np.arange(labels.shape[0])[:, None] * rows // labels.shape[0] * columns
        + np.arange(labels.shape[1]) * columns // labels.shape[1]
    )
    counts = np.zeros((number, rows * columns))
    np.add.at(counts, (labels.ravel(), cell.ravel()), 1)
    total = counts.sum(1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    return np.asarray(shares @ features.reshape(len(features), -1).T)
