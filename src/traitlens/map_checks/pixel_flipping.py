"""Pixel flipping: patches of a face are replaced in the order of their relevance."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, TRAIT
from traitlens.features.backbone import Backbone
from traitlens.features.extraction import extract
from traitlens.features.views import View
from traitlens.readouts.readout import Readout


def _predict(
    backbone: Backbone, readouts: Sequence[Readout], images: np.ndarray, views: Mapping[str, View] | None
) -> np.ndarray:
    """Predict ratings from pixels, image by image: (readout, image)."""
    spaces = [space for readout in readouts for space in readout.spaces]
    columns = []
    for image in images:
        features = extract(backbone, spaces, image[None], views)
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
        The readouts of the maps.
    images : ndarray
        uint8 RGB (image, row, column, 3).
    maps : ndarray
        (readout, image, row, column).
    replacement : ndarray
        uint8 RGB (row, column, 3): an average face, in the same alignment.
    patch : int, default 28
        Edge of the square patches, in pixels.
    steps : int, default 8
        Number of steps, at which equal shares of patches are replaced.
    seed : int, default 0
        Seed of the random order.
    views : mapping of str to View or None
        Views of the readouts.
    progress : callable or None
        Called with 1 after each image.

    Returns
    -------
    DataFrame
        One row per readout and order ("relevance", "random", "central"): ``gain``, the mean prediction while
        what lowers it goes first, minus that while what raises it goes first: the area between both
        curves, in rating units, mean over images, and ``standard_error`` over images. Relevance that points
        at what the model uses beats random order and a Gaussian round the centre.
    """
    rng = np.random.default_rng(seed)
    gains: dict[str, list[np.ndarray]] = {"relevance": [], "random": [], "central": []}
    for index, image in enumerate(images):
        sums = np.stack([_patch_sums(np.asarray(one[index], float), patch) for one in maps])

        def gain(values: np.ndarray, mine: Sequence[Readout], image: np.ndarray = image) -> np.ndarray:
            """Replace patches from the highest and from the lowest value; mean difference by readout."""
            raised, lowered = (
                _predict(backbone, mine, _replaced(image, order, replacement, patch, steps), views)
                for order in (values, -values)
            )
            return np.asarray((lowered - raised).mean(1))

        alone = [gain(one, [readout])[0] for one, readout in zip(sums, readouts, strict=True)]
        gains["relevance"].append(np.array(alone))
        gains["random"].append(gain(rng.normal(size=sums.shape[1:]), readouts))
        # The sign of the central order is that of the map's sum.
        sign = np.where(np.sum(sums, (1, 2)) < 0, -1.0, 1.0)
        gains["central"].append(sign * gain(_centrality(sums.shape[1:]), readouts))
        if progress is not None:
            progress(1)
    rows = []
    for number, readout in enumerate(readouts):
        for name, found in gains.items():
            mine = np.array([one[number] for one in found])
            error = np.std(mine, ddof=1) / np.sqrt(len(mine)) if len(mine) > 1 else np.nan
            rows.append(
                {
                    GROUP: readout.group,
                    TRAIT: readout.trait,
                    "order": name,
                    "gain": mine.mean(),
                    "standard_error": error,
                }
            )
    return pd.DataFrame(rows)


def _replaced(
    image: np.ndarray, values: np.ndarray, replacement: np.ndarray, patch: int, steps: int
) -> np.ndarray:
    """Replace the patches with the highest values first: an image per step."""
    order = np.argsort(-values.ravel(), kind="stable")
    made = []
    for step in range(1, steps):  # with no or all patches replaced, every order gives the same
        gone = np.zeros(values.size, bool)
        gone[order[: round(step * len(order) / steps)]] = True
        mask = gone.reshape(values.shape).repeat(patch, 0).repeat(patch, 1)
        mask = mask[: image.shape[0], : image.shape[1], None]
        made.append(np.where(mask, replacement, image))
    return np.stack(made)


def _centrality(shape: tuple[int, ...]) -> np.ndarray:
    """Return a Gaussian around the centre of the image as values of patches."""
    rows, columns = (np.linspace(-0.5, 0.5, count + 1)[:-1] + 0.5 / count for count in shape)
    distance: np.ndarray = rows[:, None] ** 2 + columns**2
    return np.exp(-distance / 0.08)


def _patch_sums(values: np.ndarray, patch: int) -> np.ndarray:
    """Sum a map over square patches; those at the lower and right edge may be cut."""
    rows = np.arange(0, values.shape[0], patch)
    columns = np.arange(0, values.shape[1], patch)
    summed: np.ndarray = np.add.reduceat(np.add.reduceat(values, rows, 0), columns, 1)
    return summed
