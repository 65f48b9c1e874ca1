"""Pixel flipping: replace patches of a face in the order of their relevance, and predict again."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, TRAIT
from traitlens.features.backbone import Backbone
from traitlens.features.extraction import extract
from traitlens.features.views import View
from traitlens.readouts.readout import Readout


def _predict_ratings(
    backbone: Backbone, readouts: Sequence[Readout], images: np.ndarray, views: Mapping[str, View] | None
) -> np.ndarray:
    """Predict the ratings of images, one image at a time to save memory: (readout, image)."""
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
    """Measure how predictions change when patches are replaced by an average face (Blücher et al. 2024).

    Patches are replaced in the order of relevance, once from the highest and once from the lowest.

    Parameters
    ----------
    backbone : Backbone
        The frozen network.
    readouts : sequence of Readout
        The readouts to which the maps belong.
    images : ndarray
        uint8 RGB (image, row, column, 3).
    maps : ndarray (readout, image, row, column)
        Relevance maps.
    replacement : ndarray
        An average face with the same alignment, uint8 RGB (row, column, 3).
    patch : int, default 28
        Side of the square patches in pixels.
    steps : int, default 8
        Number of steps; equal numbers of patches are replaced in each.
    seed : int, default 0
        Seed of the random order.
    views : mapping of str to View or None
        Definitions of the readouts' views, beside "image".
    progress : callable or None
        Called with 1 after each image.

    Returns
    -------
    DataFrame
        One row per readout and order of patches: by "relevance", "random", or "central" (by a Gaussian around
        the centre). ``gain``, in rating points, is the mean prediction with the lowest patches replaced first
        minus that with the highest replaced first (the area between the two curves), averaged over images;
        ``standard_error`` is over images. If maps show what the model uses, the gain of relevance is larger
        than that of the other orders.
    """
    rng = np.random.default_rng(seed)
    gains: dict[str, list[np.ndarray]] = {"relevance": [], "random": [], "central": []}
    for index, image in enumerate(images):
        sums = np.stack([_patch_sums(np.asarray(one[index], float), patch) for one in maps])

        def gain(values: np.ndarray, mine: Sequence[Readout], image: np.ndarray = image) -> np.ndarray:
            """Return the mean prediction with the lowest first minus that with the highest first."""
            raised, lowered = (
                _predict_ratings(
                    backbone, mine, _replace_patches(image, order, replacement, patch, steps), views
                )
                for order in (values, -values)
            )
            return np.asarray((lowered - raised).mean(1))

        alone = [gain(one, [readout])[0] for one, readout in zip(sums, readouts, strict=True)]
        gains["relevance"].append(np.array(alone))
        gains["random"].append(gain(rng.normal(size=sums.shape[1:]), readouts))
        # In the central order, patches have the sign of the sum of the map.
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


def _replace_patches(
    image: np.ndarray, values: np.ndarray, replacement: np.ndarray, patch: int, steps: int
) -> np.ndarray:
    """Replace patches, those with the highest values first; return the image after each step."""
    order = np.argsort(-values.ravel(), kind="stable")
    made = []
    for step in range(1, steps):  # orders differ only if some patches are replaced
        gone = np.zeros(values.size, bool)
        gone[order[: round(step * len(order) / steps)]] = True
        mask = gone.reshape(values.shape).repeat(patch, 0).repeat(patch, 1)
        mask = mask[: image.shape[0], : image.shape[1], None]
        made.append(np.where(mask, replacement, image))
    return np.stack(made)


def _centrality(shape: tuple[int, ...]) -> np.ndarray:
    """Return values of patches that fall off as a Gaussian from the centre of the image."""
    rows, columns = (np.linspace(-0.5, 0.5, count + 1)[:-1] + 0.5 / count for count in shape)
    distance: np.ndarray = rows[:, None] ** 2 + columns**2
    return np.exp(-distance / 0.08)


def _patch_sums(values: np.ndarray, patch: int) -> np.ndarray:
    """Sum a map over square patches, which may be smaller at the lower and right edge."""
    rows = np.arange(0, values.shape[0], patch)
    columns = np.arange(0, values.shape[1], patch)
    summed: np.ndarray = np.add.reduceat(np.add.reduceat(values, rows, 0), columns, 1)
    return summed
