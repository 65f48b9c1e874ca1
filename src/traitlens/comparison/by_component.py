r"""Test whether groups use different information of a region, beyond the weight of its cue.

The cue of a region is one number per image: the contribution of the region to the prediction of a trait that
was fitted to all raters. Two groups can give the cue the same weight and still use different features of the
region. Here the ratings of each rater are regressed on all cues and on the leading principal components of
the features of every region, which are made uncorrelated with the cues. With :math:`b_g` the mean weight of
the cue in group g and :math:`c_g` the mean weights of the components, both groups use the same information,
although perhaps with different weight, if

.. math:: d = c_1 b_2 - c_2 b_1 = 0.

The statistic is F, computed from :math:`d' V^{-1} d` with a separate covariance for each group, so that
differences of range or noise do not count. The degrees of freedom are those of Krishnamoorthy and Yu (2004,
doi:10.1016/j.spl.2003.10.012). Raters are permuted between the groups, and faces are fixed.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats
from scipy.sparse.linalg import LinearOperator, eigsh
from threadpoolctl import threadpool_limits

from traitlens.columns import REGION, TRAIT
from traitlens.comparison.group_pairs import GroupPair, compare_each_pair
from traitlens.comparison.lens_design import LensDesign, TraitRatings, make_design
from traitlens.comparison.permutation import familywise_p, permutation_p
from traitlens.comparison.utilisation import rater_values
from traitlens.features.feature_spaces import FeatureSpace

COMPONENTS = 3
"""Number of components of a region's features."""

COLUMNS = ("group_1", "group_2", TRAIT, REGION, "statistic", "df_1", "df_2", "p", "p_corrected", "n_1", "n_2",
           "n_permutations", "smallest_p")  # fmt: skip
"""Columns of the table of `compare_components`."""


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
        Cues in rating points, from a readout of all raters together.
    components : mapping of str to ndarray
        For each region an array of shape (image, component), from :func:`region_components`; images in the
        order of the cues.
    groups : (str, str), optional
        All pairs of groups if None.
    within : sequence of str, default ()
        Columns of raters within which labels are permuted.
    permutations : int, default 5000
        Number of permutations.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, region, statistic (F), df_1 (number of components), df_2, p, p_corrected
        (family-wise over regions and traits), n_1, n_2 (raters), n_permutations, smallest_p. Exploratory; the
        result generalises to other raters but not to other faces. With few images, fewer components are
        used; traits with fewer than two images per weight are left out.

    Examples
    --------
    >>> compare_components(study.ratings, cues.array, components)  # doctest: +SKIP
    """

    def compare(pair: GroupPair) -> pd.DataFrame | None:
        """Compare two groups in the use of each region; None if there are too few images."""
        cells = _rater_weights(make_design(pair.ratings, cues, groups=pair.groups), components)
        if not cells:
            return None
        labels = pair.sample.labels
        # Degrees of freedom of F differ between labellings, so p values are compared.
        found = np.concatenate(
            [
                np.column_stack([_negative_log_p(block, cell) for cell in cells])
                for block in [labels[None], *pair.sample.draw()]
            ]
        )
        table = pd.DataFrame([cell[:2] for cell in cells], columns=[TRAIT, REGION])
        table[["statistic", "df_1", "df_2"]] = [
            [part[0] for part in f_statistic(labels[None, members] == 0, values)]
            for _, _, values, members in cells
        ]
        table["p"] = permutation_p(found[0], found[1:])
        table["p_corrected"] = familywise_p(found[0], found[1:])
        table[["n_1", "n_2"]] = [np.bincount(labels[members], minlength=2) for *_, members in cells]
        return table.assign(n_permutations=len(found) - 1, smallest_p=pair.sample.smallest_p)

    return compare_each_pair(compare, ratings, groups, within, permutations, seed, columns=COLUMNS)


def region_components(
    kernels: Mapping[FeatureSpace, np.ndarray], number: int = COMPONENTS
) -> dict[str, np.ndarray]:
    """Compute the leading principal components of each region's features.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        Kernels of shape (image, image). The kernels of a region are divided by their mean diagonal and added.
    number : int, default 3
        Number of components per region.

    Returns
    -------
    dict of str to ndarray
        For each region an array of shape (image, component) with columns of length 1.

    Examples
    --------
    >>> from traitlens.features.taps import Tap
    >>> features = np.random.default_rng(0).normal(size=(20, 6))
    >>> kernels = {FeatureSpace(Tap("block4_pool", 1), region="eyes"): features @ features.T}
    >>> region_components(kernels)["eyes"].shape
    (20, 3)
    """
    found = {}
    for region in dict.fromkeys(space.region for space in kernels if space.region):
        own = [kernel for space, kernel in kernels.items() if space.region == region]
        sizes = [float(np.trace(kernel)) / len(kernel) for kernel in own]

        def centred(
            vector: np.ndarray, own: list[np.ndarray] = own, sizes: list[float] = sizes
        ) -> np.ndarray:
            """Multiply a vector by the centred sum of the kernels."""
            vector = vector - vector.mean()
            product = sum(kernel @ vector / size for kernel, size in zip(own, sizes, strict=True) if size > 0)
            return np.asarray(product - np.mean(product))

        images = len(own[0])
        # A fixed starting vector gives identical results in every run.
        start = np.random.default_rng(0).normal(size=images)
        operator = LinearOperator((images, images), matvec=centred, dtype=float)
        with threadpool_limits(1):
            _, vectors = eigsh(operator, min(number, images - 2), v0=start)
        found[region] = vectors[:, ::-1]
    return found


def _rater_weights(
    design: LensDesign, components: Mapping[str, np.ndarray]
) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """Return trait, region, weights of shape (rater, 1 + component), and indices of the raters."""
    cells = []
    for place, trait in enumerate(design.ratings):
        cues, members = design.cues[place], np.flatnonzero(trait.n_images > 0)
        used = [region for region in design.regions if region in components]
        rated = int((np.asarray(trait.seen.sum(axis=0)) > 0).sum())
        number = min(COMPONENTS, (rated // 2 - 1 - cues.shape[1]) // max(len(used), 1))
        if number < 1:
            continue
        joined = np.hstack([components[region][:, :number] for region in used])
        values = rater_values(trait, np.hstack([cues, _uncorrelated(joined, cues, trait)]), members)
        for place_of, region in enumerate(used):
            first = cues.shape[1] + place_of * number
            columns = [design.regions.get_loc(region), *range(first, first + number)]
            cells.append((str(design.traits[place]), str(region), values[:, columns], members))
    return cells


def _uncorrelated(components: np.ndarray, cues: np.ndarray, trait: TraitRatings) -> np.ndarray:
    """Regress the cues out of the components over the rated images, and standardise the residuals."""
    rated = np.asarray(trait.seen.sum(axis=0)).ravel() > 0
    known = np.column_stack([np.ones(rated.sum()), cues[rated]])
    rest = components[rated] - known @ np.linalg.lstsq(known, components[rated])[0]
    spread = rest.std(axis=0)
    result = np.zeros_like(components)
    result[rated] = rest / np.where(spread > 1e-9, spread, np.inf)
    return result


def _negative_log_p(block: np.ndarray, cell: tuple[str, str, np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the negative logarithm of the p value of F for each labelling."""
    _, _, values, members = cell
    return np.asarray(-stats.f.logsf(*f_statistic(block[:, members] == 0, values)))


def f_statistic(first: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the F statistic of one region and trait for many labellings.

    Parameters
    ----------
    first : ndarray of bool, shape (labelling, rater)
        Whether each rater is in the first group.
    values : ndarray of shape (rater, 1 + component)
        Weights of the cue and of the components in each rater's ratings.

    Returns
    -------
    f, df_1, df_2 : ndarray of shape (labelling,)
        F (0 if a group has fewer than two raters) and its degrees of freedom.
    """
    size = values.shape[1]
    products = (values[:, :, None] * values[:, None, :]).reshape(len(values), -1)
    means, covariances, counts = [], [], []
    for own in (first.astype(float), 1.0 - first):
        count = own.sum(axis=1)[:, None]
        mean = own @ values / np.maximum(count, 1)
        square = (own @ products / np.maximum(count, 1)).reshape(-1, size, size)
        scatter = square - mean[:, :, None] * mean[:, None, :]
        means.append(mean)
        # Variance of a mean, with one degree of freedom for the mean.
        covariances.append(scatter / np.maximum(count - 1, 1)[:, :, None])
        counts.append(count[:, 0])
    difference = means[0][:, 1:] * means[1][:, :1] - means[1][:, 1:] * means[0][:, :1]
    parts = []
    for covariance, other in zip(covariances, reversed(means), strict=True):
        # In each group's means the difference is linear, with coefficients -c and b of the other group.
        linear = np.concatenate([-other[:, 1:, None], other[:, :1, None] * np.eye(size - 1)], axis=2)
        parts.append(linear @ covariance @ linear.transpose(0, 2, 1))
    inverse = np.linalg.pinv(parts[0] + parts[1], rcond=1e-10, hermitian=True)
    square = np.einsum("lk,lkj,lj->l", difference, inverse, difference)
    number, smaller = size - 1, np.zeros(len(first))
    for part, count in zip(parts, counts, strict=True):
        share = part @ inverse
        traces = np.trace(share @ share, axis1=1, axis2=2) + np.trace(share, axis1=1, axis2=2) ** 2
        smaller += traces / np.maximum(count - 1, 1)
    freedom = (number + number**2) / np.maximum(smaller, 1e-12)
    rest = np.maximum(freedom - number + 1, 1)
    enough = np.minimum(*counts) > 1
    f = np.where(enough, square * rest / (np.maximum(freedom, 1) * number), 0.0)
    return f, np.full(len(first), float(number)), rest
