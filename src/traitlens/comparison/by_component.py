r"""Comparison of groups in what of a region they use, beyond how much of its cue.

A region's cue is one number for each image: what the region says about a trait in the eyes of all raters.
Two groups can weigh that cue alike and still use something else of the same region. Here raters' ratings are
regressed on all cues and on the leading principal components of the features of one region, made
uncorrelated with the cues. With :math:`b_g` the mean weight of the region's cue in group g and :math:`c_g`
the mean weights of the components, both groups use the region in the same way, to whatever extent, if

.. math:: d = c_1 b_2 - c_2 b_1 = 0.

The statistic is :math:`d' V^{-1} d`, a :math:`T^2` with a covariance for each group, so that neither range
nor noise counts as a difference. Raters are permuted between the groups; faces are taken as fixed.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from scipy.sparse.linalg import LinearOperator, eigsh
from threadpoolctl import threadpool_limits

from traitlens.columns import REGION, TRAIT
from traitlens.comparison.lens_design import LensDesign, TraitRatings, make_design
from traitlens.comparison.permutation import (
    draw_labels,
    familywise_p,
    find_strata,
    pairs_of_groups,
    permutation_p,
    ratings_of_pair,
    smallest_p,
)
from traitlens.comparison.utilisation import rater_values
from traitlens.features.feature_spaces import FeatureSpace

COMPONENTS = 3
"""Components of a region's features."""

COLUMNS = ("group_1", "group_2", TRAIT, REGION, "components", "statistic", "p", "p_corrected", "n_1", "n_2",
           "n_permutations", "smallest_p")  # fmt: skip
"""Columns of a table of tests."""


def compare_components(
    ratings: pd.DataFrame,
    cues: xr.DataArray,
    components: Mapping[str, np.ndarray],
    *,
    groups: tuple[str, str] | None = None,
    within: Sequence[str] = (),
    permutations: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether two groups use the same information of each region.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    cues : DataArray (trait, image, region)
        Rating points, from a readout of all raters together.
    components : mapping of str to ndarray
        (image, component) of each region, of :func:`leading_components`; images in the order of the cues.
    groups : (str, str), optional
        All pairs of groups if None.
    within : sequence of str, default ()
        Columns of raters within which labels are permuted.
    permutations : int, default 5000
        Number of permutations.
    seed : int, default 0
        Seed.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, region, components (how many), statistic, p, p_corrected (family-wise over
        regions and traits), n_1, n_2 (raters), n_permutations, smallest_p. Exploratory: for other raters of
        these faces.

    Examples
    --------
    >>> compare_components(study.ratings, cues.array, components)  # doctest: +SKIP
    """
    tables = []
    for pair in pairs_of_groups(ratings, groups):
        both = ratings_of_pair(ratings, pair)
        design = make_design(both, cues, groups=pair)
        strata = find_strata(both, design.raters, design.labels, within)
        cells = _cells(design, components)
        counts = [[int(np.sum(design.labels[members] == group)) for group in (0, 1)] for *_, members in cells]
        blocks = [design.labels[None], *draw_labels(design.labels, strata, permutations, seed)]
        found = np.concatenate(
            [
                np.column_stack(
                    [squared_distance(block[:, members] == 0, values) for _, _, values, members in cells]
                )
                for block in blocks
            ]
        )
        table = pd.DataFrame([cell[:2] for cell in cells], columns=[TRAIT, REGION])
        table["components"] = [cell[2].shape[1] - 1 for cell in cells]
        table["statistic"] = found[0]
        table["p"], table["p_corrected"] = (
            permutation_p(found[0], found[1:]),
            familywise_p(found[0], found[1:]),
        )
        table[["n_1", "n_2"]] = counts
        table["n_permutations"] = len(found) - 1
        table["smallest_p"] = smallest_p(design.labels, strata, permutations)
        tables.append(table.assign(group_1=pair[0], group_2=pair[1]))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def leading_components(
    kernels: Mapping[FeatureSpace, np.ndarray], number: int = COMPONENTS
) -> dict[str, np.ndarray]:
    """Compute the leading principal components of each region's features.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        (image, image) each; kernels of one region are divided by their mean diagonal and added.
    number : int, default 3
        Components of a region.

    Returns
    -------
    dict of str to ndarray
        (image, component) of each region, of length 1 over images.

    Examples
    --------
    >>> from traitlens.features.taps import Tap
    >>> features = np.random.default_rng(0).normal(size=(20, 6))
    >>> kernels = {FeatureSpace(Tap("block4_pool", 1), region="eyes"): features @ features.T}
    >>> leading_components(kernels)["eyes"].shape
    (20, 3)
    """
    found = {}
    for region in dict.fromkeys(space.region for space in kernels if space.region):
        own = [kernel for space, kernel in kernels.items() if space.region == region]
        sizes = [float(np.trace(kernel)) / len(kernel) for kernel in own]

        def centred(
            vector: np.ndarray, own: list[np.ndarray] = own, sizes: list[float] = sizes
        ) -> np.ndarray:
            """Multiply by the centred sum of the kernels."""
            vector = vector - vector.mean()
            product = sum(kernel @ vector / size for kernel, size in zip(own, sizes, strict=True) if size > 0)
            return np.asarray(product - np.mean(product))

        images = len(own[0])
        # Start from a fixed vector: the same bits in every run.
        start = np.random.default_rng(0).normal(size=images)
        operator = LinearOperator((images, images), matvec=centred, dtype=float)
        with threadpool_limits(1):
            _, vectors = eigsh(operator, min(number, images - 2), v0=start)
        found[region] = vectors[:, ::-1]
    return found


def _cells(
    design: LensDesign, components: Mapping[str, np.ndarray]
) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """Return trait, region, raters' weights (rater, 1 + component) and places of the raters."""
    cells = []
    for place, trait in enumerate(design.ratings):
        cues = design.cues[place]
        members = np.flatnonzero(trait.n_images > 0)
        for column, region in enumerate(design.regions):
            if region not in components or not np.abs(cues[:, column]).any():
                continue
            more = _uncorrelated(components[region], cues, trait)
            values = rater_values(trait, np.hstack([cues, more]), members)
            chosen = [column, *range(cues.shape[1], cues.shape[1] + more.shape[1])]
            cells.append((str(design.traits[place]), str(region), values[:, chosen], members))
    return cells


def _uncorrelated(components: np.ndarray, cues: np.ndarray, trait: TraitRatings) -> np.ndarray:
    """Make components uncorrelated with the cues over the rated images, with a standard deviation of 1."""
    rated = np.asarray(trait.seen.sum(axis=0)).ravel() > 0
    known = np.column_stack([np.ones(rated.sum()), cues[rated]])
    rest = components[rated] - known @ np.linalg.lstsq(known, components[rated])[0]
    spread = rest.std(axis=0)
    result = np.zeros_like(components)
    result[rated] = rest / np.where(spread > 1e-9, spread, np.inf)
    return result


def squared_distance(first: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Compute the statistic of one region and trait.

    Parameters
    ----------
    first : ndarray of bool, shape (labelling, rater)
        Raters of the first group.
    values : ndarray of shape (rater, 1 + component)
        Raters' weights of the cue and of the components.

    Returns
    -------
    ndarray of shape (labelling,)
        0 where a group has fewer than two raters.
    """
    size = values.shape[1]
    products = (values[:, :, None] * values[:, None, :]).reshape(len(values), -1)
    means, covariances, enough = [], [], []
    for own in (first.astype(float), 1.0 - first):
        count = own.sum(axis=1)[:, None]
        mean = own @ values / np.maximum(count, 1)
        square = (own @ products / np.maximum(count, 1)).reshape(-1, size, size)
        scatter = square - mean[:, :, None] * mean[:, None, :]
        means.append(mean)
        # Of a mean: divided by the number of raters, less one for the mean itself.
        covariances.append(scatter / np.maximum(count - 1, 1)[:, :, None])
        enough.append(count[:, 0] > 1)
    difference = means[0][:, 1:] * means[1][:, :1] - means[1][:, 1:] * means[0][:, :1]
    total = np.zeros((len(first), size - 1, size - 1))
    for covariance, other in zip(covariances, reversed(means), strict=True):
        # The difference is linear in each group's means: -c of the other for the cue, b for the components.
        linear = np.concatenate([-other[:, 1:, None], other[:, :1, None] * np.eye(size - 1)], axis=2)
        total += linear @ covariance @ linear.transpose(0, 2, 1)
    inverse = np.linalg.pinv(total, rcond=1e-10, hermitian=True)
    statistic = np.einsum("lk,lkj,lj->l", difference, inverse, difference)
    return np.where(enough[0] & enough[1], statistic, 0.0)
