"""Checks that a reviewer asks for: do maps depend on the data, add up, and point at what matters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from traitlens import words
from traitlens.features.backbone import Backbone
from traitlens.readouts.readout import DenseReadout, FeatureSpace, Readout
from traitlens.relevance.analyze import analyze
from traitlens.relevance.entering import Cells
from traitlens.relevance.sights import Sights, View, sights_of, spaces_of

if TYPE_CHECKING:
    import xarray


def conservation(ledger: "xarray.Dataset") -> pd.DataFrame:
    """Account for every prediction: what reached the pixels, and what leaked on the way.

    Parameters
    ----------
    ledger : Dataset
        From :func:`traitlens.relevance.analyze.explain_with_ledger`.

    Returns
    -------
    DataFrame
        One row per image and readout: explained (prediction minus reference), constant, pixels,
        leaked_in_readout, leaked_in_backbone, and ``unaccounted``, which is zero but for rounding.
    """
    parts = ["constant", "pixels", "leaked_in_readout", "leaked_in_backbone"]
    table = ledger[["prediction", "reference", *parts]].to_dataframe().reset_index()
    table["explained"] = table["prediction"] - table["reference"]
    table["unaccounted"] = table["explained"] - table[parts].sum(axis=1)
    return table


def random_readouts(readouts: Sequence[Readout], seed: int = 0) -> list[Readout]:
    """Shuffle the weights of readouts: same sizes, no meaning.

    Parameters
    ----------
    readouts : sequence of Readout
        The fitted ones.
    seed : int, default 0
        Of the shuffles.

    Returns
    -------
    list of Readout
        One for each, in order.
    """
    rng = np.random.default_rng(seed)

    def shuffled(values: np.ndarray) -> np.ndarray:
        return rng.permutation(np.asarray(values).ravel()).reshape(np.shape(values))

    made: list[Readout] = []
    for readout in readouts:
        if isinstance(readout, DenseReadout):
            weights = {"fc1_weight": shuffled(readout.fc1_weight), "fc2_weight": shuffled(readout.fc2_weight)}
            made.append(replace(readout, **weights))  # type: ignore[arg-type]
        else:
            parts = tuple(replace(part, weight=shuffled(part.weight)) for part in readout.parts)
            made.append(replace(readout, parts=parts))
    return made


def randomise_backbone(backbone: Backbone, seed: int = 0) -> Backbone:
    """Shuffle the weights within each convolution (Adebayo et al. 2018).

    Parameters
    ----------
    backbone : Backbone
        Stays as it is.
    seed : int, default 0
        Of the shuffles.

    Returns
    -------
    Backbone
        The same layers without what was learned. With it, do not rank methods (Binder et al. 2023): ask only
        whether the map changes.
    """
    import torch

    random = torch.Generator().manual_seed(seed)

    def shuffled(weight: torch.Tensor) -> torch.Tensor:
        order = torch.randperm(weight.numel(), generator=random).to(weight.device)
        values = weight.contiguous().view(-1)[order].view(weight.shape)
        return values.contiguous(memory_format=torch.channels_last)

    layers = tuple(
        layer if layer.weight is None else replace(layer, weight=shuffled(layer.weight))
        for layer in backbone.layers
    )
    return replace(backbone, layers=layers, digest=f"{backbone.digest}, shuffled with seed {seed}")


def null_similarity(maps: "xarray.DataArray", null_maps: "Sequence[xarray.DataArray]") -> pd.DataFrame:
    """Correlate maps with those of readouts or backbones that know nothing.

    Parameters
    ----------
    maps : DataArray
        (readout, image, y, x).
    null_maps : sequence of DataArray
        Maps of the same images by readouts fitted on permuted ratings, shuffled readouts
        (:func:`random_readouts`) or a shuffled backbone (:func:`randomise_backbone`); readouts in order.

    Returns
    -------
    DataFrame
        One row per readout: ``similarity``, the mean correlation with the null maps over images, and
        ``null_low`` and ``null_high``, the band (5th to 95th percentile) of correlations among the null maps,
        missing for a single one. A similarity inside or above the band says that the map shows the faces and
        the network more than the ratings.
    """
    real = _flat(maps)
    null = np.stack([_flat(one) for one in null_maps])
    similarity = np.mean([_correlation(real, one).mean(1) for one in null], axis=0)
    among = [_correlation(null[one], null[other]).mean(1) for one in range(len(null)) for other in range(one)]
    low, high = np.percentile(among, [5, 95], axis=0) if among else np.full((2, len(similarity)), np.nan)
    table = _readout_table(maps)
    return table.assign(similarity=similarity, null_low=low, null_high=high)


def edge_energy(images: np.ndarray) -> np.ndarray:
    """Compute how much contour there is at each pixel.

    Parameters
    ----------
    images : ndarray
        uint8 RGB (image, row, column, 3).

    Returns
    -------
    ndarray
        (image, row, column): squared length of the luminance gradient (Sobel).
    """
    from scipy import ndimage

    grey = np.asarray(images, np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    rows, columns = ndimage.sobel(grey, axis=1), ndimage.sobel(grey, axis=2)
    return np.asarray(rows**2 + columns**2)


def edge_correlation(maps: "xarray.DataArray", images: np.ndarray, smooth: float = 4.0) -> pd.DataFrame:
    """Correlate the size of relevance with the contours of the image.

    Parameters
    ----------
    maps : DataArray
        (readout, image, y, x).
    images : ndarray
        uint8 RGB (image, row, column, 3).
    smooth : float, default 4
        Standard deviation in pixels of the Gaussian applied to both.

    Returns
    -------
    DataFrame
        One row per readout: ``edge_correlation``, Pearson, mean over images. Near 1, the map shows salient
        structure that any readout would show.
    """
    from scipy import ndimage

    edges = ndimage.gaussian_filter(edge_energy(images), (0, smooth, smooth)).reshape(len(images), -1)
    strength = ndimage.gaussian_filter(np.abs(maps.to_numpy()), (0, 0, smooth, smooth))
    found = [_correlation(one.reshape(len(images), -1), edges).mean() for one in strength]
    return _readout_table(maps).assign(edge_correlation=found)


def method_agreement(
    backbone: Backbone | str,
    readouts: Sequence[Readout],
    images: np.ndarray,
    methods: Sequence[str],
    smooth: float = 4.0,
    views: Mapping[str, View] | None = None,
) -> pd.DataFrame:
    """Correlate the maps of several methods.

    Parameters
    ----------
    backbone : Backbone or str
        The frozen network, or its name.
    readouts : sequence of Readout
        What is explained.
    images : ndarray
        uint8 RGB (image, row, column, 3).
    methods : sequence of str
        Names from :data:`traitlens.relevance.methods.METHODS`.
    smooth : float, default 4
        Standard deviation in pixels of the Gaussian applied to all maps.
    views : mapping of str to View or None
        The crops that the readouts name.

    Returns
    -------
    DataFrame
        Methods by methods: Pearson, mean over readouts and images.
    """
    from scipy import ndimage

    maps = []
    for method in methods:
        values = analyze(backbone, readouts, images, method, views=views).to_numpy()
        smoothed = ndimage.gaussian_filter(values, (0, 0, smooth, smooth))
        maps.append(smoothed.reshape(*values.shape[:2], -1))
    table = [[_correlation(one, other).mean() for other in maps] for one in maps]
    return pd.DataFrame(table, index=list(methods), columns=list(methods))


def activation_correlation(activation: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """Correlate the activation of regions with ratings: association, beside what the model used.

    A region may carry relevance as a suppressor although it says nothing about the rating by itself, and the
    other way round (Haufe et al. 2014; Wilming et al. 2023).

    Parameters
    ----------
    activation : ndarray
        (image, region, ...): summed activation at a tap.
    ratings : ndarray
        (image,).

    Returns
    -------
    ndarray
        (region, ...): Pearson; not a number where nothing varies.
    """
    activation, ratings = np.asarray(activation, float), np.asarray(ratings, float)
    moved = np.moveaxis(activation, 0, -1)
    return _correlation(moved, np.broadcast_to(ratings, moved.shape))


def predict(
    backbone: Backbone,
    readouts: Sequence[Readout],
    images: np.ndarray,
    views: Mapping[str, View] | None = None,
) -> np.ndarray:
    """Predict ratings from pixels.

    Parameters
    ----------
    backbone : Backbone
        The frozen network.
    readouts : sequence of Readout
        What predicts.
    images : ndarray
        uint8 RGB (image, row, column, 3).
    views : mapping of str to View or None
        The crops that the readouts name.

    Returns
    -------
    ndarray
        (readout, image), rating units.
    """
    spaces = list(dict.fromkeys(space for readout in readouts for space in spaces_of(readout)))
    sights = Sights(spaces, views)
    columns = []
    for image in images:
        seen = {
            sight: backbone.activations(sights.see(image, sight)[None], taps)
            for sight, taps in sights.taps.items()
        }
        features: dict[FeatureSpace, np.ndarray] = {}
        for space in spaces:
            activations = [seen[sight][space.tap.layer][0].float() for sight in sights_of(space)]
            features[space] = Cells(space, activations).feature.cpu().numpy()[None]
        columns.append([readout.predict(features)[0] for readout in readouts])
    return np.array(columns).T


def flip_patches(
    backbone: Backbone,
    readouts: Sequence[Readout],
    images: np.ndarray,
    maps: np.ndarray,
    replacement: np.ndarray,
    patch: int = 28,
    steps: int = 8,
    seed: int = 0,
    views: Mapping[str, View] | None = None,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Replace patches by those of an average face, most and least relevant first (Blücher et al. 2024).

    Parameters
    ----------
    backbone : Backbone
        The frozen network.
    readouts : sequence of Readout
        Whose maps are tried.
    images : ndarray
        uint8 RGB (image, row, column, 3).
    maps : ndarray
        (readout, image, row, column).
    replacement : ndarray
        uint8 RGB (row, column, 3): an average face, in the same alignment.
    patch : int, default 28
        Edge of the square patches, in pixels.
    steps : int, default 8
        After how many even shares of all patches predictions are made.
    seed : int, default 0
        Of the random order.
    views : mapping of str to View or None
        The crops that the readouts name.
    progress : callable or None
        Called with 1 after each image and readout.

    Returns
    -------
    DataFrame
        One row per readout and order ("relevance", "random", "central"): ``gain``, the mean prediction while
        what lowers it goes first, minus that while what raises it goes first: the area between both
        curves, in rating units, mean over images, and ``standard_error`` over images. Relevance that points
        at what the model uses beats random order and a Gaussian round the centre.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number, readout in enumerate(readouts):
        gains: dict[str, list[float]] = {"relevance": [], "random": [], "central": []}
        for place, image in enumerate(images):
            sums = _patch_sums(np.asarray(maps[number, place], float), patch)
            rank, column = np.indices(sums.shape)
            centre = (np.array(sums.shape) - 1) / 2
            distance = ((rank - centre[0]) / sums.shape[0]) ** 2 + ((column - centre[1]) / sums.shape[1]) ** 2
            orders = {
                "relevance": sums,
                "random": rng.normal(size=sums.shape),
                "central": np.exp(-distance / 0.08) * np.sign(sums.sum() or 1),
            }
            for name, values in orders.items():
                raised = _curve(backbone, readout, image, values, replacement, patch, steps, views)
                lowered = _curve(backbone, readout, image, -values, replacement, patch, steps, views)
                gains[name].append(float(np.mean(lowered - raised)))
            if progress is not None:
                progress(1)
        for name, found in gains.items():
            error = np.std(found, ddof=1) / np.sqrt(len(found)) if len(found) > 1 else np.nan
            rows.append(
                {
                    words.GROUP: readout.group,
                    words.TRAIT: readout.trait,
                    "order": name,
                    "gain": np.mean(found),
                    "standard_error": error,
                }
            )
    return pd.DataFrame(rows)


def _curve(
    backbone: Backbone,
    readout: Readout,
    image: np.ndarray,
    values: np.ndarray,
    replacement: np.ndarray,
    patch: int,
    steps: int,
    views: Mapping[str, View] | None,
) -> np.ndarray:
    """Predict while the patches with the highest values go first, in steps."""
    order = np.argsort(-values.ravel(), kind="stable")
    made = []
    for step in range(1, steps):  # at none and at all replaced, every order gives the same
        gone = np.zeros(values.size, bool)
        gone[order[: round(step * len(order) / steps)]] = True
        mask = gone.reshape(values.shape).repeat(patch, 0).repeat(patch, 1)
        mask = mask[: image.shape[0], : image.shape[1], None]
        made.append(np.where(mask, replacement, image))
    return predict(backbone, [readout], np.stack(made), views)[0]


def _patch_sums(values: np.ndarray, patch: int) -> np.ndarray:
    """Sum a map over square patches; those at the lower and right edge may be cut."""
    rows = np.arange(0, values.shape[0], patch)
    columns = np.arange(0, values.shape[1], patch)
    summed: np.ndarray = np.add.reduceat(np.add.reduceat(values, rows, 0), columns, 1)
    return summed


def _flat(maps: "xarray.DataArray") -> np.ndarray:
    """Lay maps out as (readout, image, pixel)."""
    ordered = maps.transpose(words.READOUT, words.IMAGE, words.Y, words.X)
    return np.reshape(ordered.to_numpy(), (*ordered.shape[:2], -1))


def _correlation(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Pearson correlation along the last axis; not a number where nothing varies."""
    some = some - some.mean(-1, keepdims=True, dtype=float)
    others = others - others.mean(-1, keepdims=True, dtype=float)
    size = np.sqrt((some**2).sum(-1) * (others**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((some * others).sum(-1) / size)


def _readout_table(maps: "xarray.DataArray") -> pd.DataFrame:
    """Name the readouts of some maps, one row each."""
    return pd.DataFrame({name: maps[name].to_numpy() for name in (words.GROUP, words.TRAIT, words.FOLD)})
