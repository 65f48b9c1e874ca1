"""Checks of the maps of some images of one fold: sums, randomised models, pixel flipping, other methods."""

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
"""Number of null maps of each kind: enough for the correlations among null maps."""

COMPARED = (
    "lrp.sequential_preset_a_flat",
    "lrp.sequential_preset_b_flat",
    "lrp.epsilon",
    "zennit.epsilon_gamma_box",
    "input_t_gradient",
)
"""Methods whose maps are compared with those of the study's method: one of each kind."""

Refit = Callable[[int], Sequence[Readout]]
"""Fits readouts to permuted ratings, given a seed."""


@dataclass(frozen=True, eq=False)
class CheckSample:
    """Some images with the readouts of their fold.

    Parameters
    ----------
    readouts : tuple of Readout
        Readouts of one fold: one for each group and trait.
    images : list of str
        Names of images of that fold.
    pixels : ndarray of uint8 (image, y, x, colour)
        The images.
    face : ndarray of uint8 (y, x, colour)
        The average face, whose pixels replace removed ones.
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
        """Explain the images, by default with the sample's readouts and network.

        Parameters
        ----------
        advance : callable
            Called with the number of images done.
        readouts : sequence of Readout or None
            Other readouts, in the order of the sample's.
        backbone : Backbone or None
            Another network.

        Returns
        -------
        DataArray
            (readout, image, y, x).
        """
        return analyze(
            backbone or self.backbone, readouts or self.readouts, self.pixels, self.method, progress=advance
        )


def choose_images(folds: np.ndarray, count: int) -> tuple[int, np.ndarray]:
    """Choose images of the first fold, evenly spread over it.

    Parameters
    ----------
    folds : ndarray (image,)
        The fold of each image.

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
        As :func:`traitlens.map_checks.measures.conservation` returns it, with the images' names.
    """
    account = explain_with_conservation(
        sample.backbone, sample.readouts, sample.pixels, sample.method, progress=advance
    )
    return conservation(account.assign_coords({IMAGE: np.array(sample.images, object)}))


def compare_with_null_maps(sample: CheckSample, refit: Refit | None, advance: Advance) -> pd.DataFrame:
    """Compare the maps with null maps.

    Parameters
    ----------
    refit : callable or None
        Fits readouts to permuted ratings; if None, these are left out.

    Returns
    -------
    DataFrame
        One row per readout and kind of null map: null, similarity, null_low, null_high (see
        :func:`traitlens.map_checks.randomisation.null_similarity`), edge_correlation of the maps and
        null_edge_correlation of the null maps.
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
    """Replace patches of the images in the order of their maps.

    Parameters
    ----------
    advance : callable
        Called with the number of images done; each counts twice, once for its maps.
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
    """Correlate the maps of several methods.

    Parameters
    ----------
    advance : callable
        Called with the number of images done, once for every method.

    Returns
    -------
    DataFrame
        method, other, correlation: every pair once, and each method with itself.
    """
    methods = methods_compared(sample.method)
    table = method_agreement(sample.backbone, sample.readouts, sample.pixels, methods, progress=advance)
    pairs = [(one, other) for index, one in enumerate(methods) for other in methods[index:]]
    return pd.DataFrame(
        [{"method": one, "other": other, "correlation": table.loc[one, other]} for one, other in pairs]
    )


def methods_compared(method: str) -> list[str]:
    """Return the compared methods: the study's first."""
    return list(dict.fromkeys([method, *COMPARED]))


def associate_regions(
    activation: np.ndarray,
    regions: Sequence[str],
    images: np.ndarray,
    targets: pd.DataFrame,
    relevance: pd.DataFrame,
) -> pd.DataFrame:
    """Compute each region's association with the ratings, beside its relevance.

    Parameters
    ----------
    activation : ndarray (image, region, channel)
        Features averaged over the cells of each region.

    Returns
    -------
    DataFrame
        group, trait, region, share (mean over images), association (see
        :func:`traitlens.map_checks.measures.region_association`) and by_chance, its size without association.
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
    """Average each channel over the cells of each region, weighted by their overlap.

    Parameters
    ----------
    features : ndarray (channel, row, column)
        Features of one image.
    labels : ndarray of int (y, x)
        Region of each pixel.

    Returns
    -------
    ndarray (region, channel)
        Averages; 0 for a region without a pixel.
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
