"""Test whether groups differ in the correlations between traits."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from traitlens.comparison.group_pairs import GroupPair, compare_each_pair
from traitlens.comparison.permutation import center, familywise_p, permutation_p


class TraitMeans:
    """Mean ratings of all traits by two groups, computed for many labellings at once.

    Parameters
    ----------
    pair : GroupPair
        The groups, their ratings and raters.
    """

    def __init__(self, pair: GroupPair):
        self.traits = list(pair.matrices)
        images = pd.Index(sorted(set.union(*[set(matrix.images) for matrix in pair.matrices.values()])))
        self.values = np.full((len(self.traits), len(pair.raters), len(images)), np.nan)
        for place, (trait, matrix) in enumerate(pair.matrices.items()):
            columns = images.get_indexer(matrix.images)
            self.values[place][np.ix_(pair.members[trait], columns)] = matrix.ratings
        self.seen = (~np.isnan(self.values)).astype(float)
        self.values = np.nan_to_num(self.values)
        self.pairs = np.triu_indices(len(self.traits), 1)

    def correlate(self, labels: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Correlate each pair of traits over the images that both groups rated on both traits.

        Parameters
        ----------
        labels : ndarray of shape (labelling, rater)
            Group of each rater, 0 or 1.

        Returns
        -------
        z : list of ndarray of shape (labelling, pair of traits)
            Fisher's z of the correlations in each group.
        n : ndarray of shape (labelling, pair of traits)
            Number of images.
        """
        means, rated = [], np.ones(1, bool)
        for group in (0, 1):
            own = (labels == group).astype(float)
            counts = np.einsum("br,tri->tbi", own, self.seen, optimize=True)
            sums = np.einsum("br,tri->tbi", own, self.values, optimize=True)
            means.append(sums / np.maximum(counts, 1))
            rated = rated & (counts > 0)
        first, second = self.pairs
        both = rated[first] & rated[second]
        n = both.sum(axis=2)
        z = []
        for mean in means:
            x, y = (_center_known(mean[side], both, n) for side in (first, second))
            scale = np.sqrt((x**2).sum(axis=2) * (y**2).sum(axis=2))
            r = (x * y).sum(axis=2) / np.where(scale > 0, scale, np.inf)
            z.append(np.arctanh(np.clip(r, -0.999999, 0.999999)).T)
        return z, n.T


def _center_known(values: np.ndarray, known: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Subtract the mean over images with known values, and set the other values to 0."""
    mean = (values * known).sum(axis=2) / np.maximum(n, 1)
    return np.where(known, values - mean[..., None], 0)


COLUMNS = ["group_1", "group_2", "trait_1", "trait_2", "r_1", "r_2", "expected", "estimate", "statistic", "p",
           "p_corrected", "similarity", "similarity_p", "n", "n_permutations", "smallest_p"]  # fmt: skip
"""Columns of the table of `compare_trait_space`."""


def compare_trait_space(
    ratings: pd.DataFrame,
    *,
    groups: tuple[str, str] | None = None,
    within: Sequence[str] = (),
    permutations: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether the correlations between traits differ between two groups, by permuting raters.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating; at least two traits.
    groups : (str, str), optional
        The first minus the second; all pairs if None.
    within : sequence of str, default ()
        Columns of raters within which labels are permuted, see `compare_means`.
    permutations : int, default 5000
        Number of permutations.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        group_1, group_2, trait_1, trait_2, r_1, r_2 (of mean ratings, over the images that both groups rated
        on both traits), expected (difference of Fisher's z that is due to the numbers of raters, the mean
        under permutation), estimate (the difference minus the expected one), statistic, p, p_corrected
        (family-wise over pairs of traits), similarity (correlation over pairs of traits of the two groups'
        Fisher's z) and similarity_p (share of permutations with at most this similarity); both are the same
        in every row, and missing with fewer than three traits; n (images), n_permutations, smallest_p.
    """
    return compare_each_pair(_compare_pair, ratings, groups, within, permutations, seed, columns=COLUMNS)


def _compare_pair(pair: GroupPair) -> pd.DataFrame | None:
    """Compare two groups in the correlations between traits; None with fewer than two traits."""
    if len(pair.matrices) < 2:
        return None
    space = TraitMeans(pair)
    (first, second), n = space.correlate(pair.sample.labels[None])
    null_difference, null_similarity = [np.zeros((0, first.shape[1]))], [np.zeros(0)]
    for block in pair.sample.draw():
        for part in np.array_split(block, max(1, len(block) // 50)):
            (one, other), _ = space.correlate(part)
            null_difference.append(one - other)
            null_similarity.append(_row_correlations(one, other))
    observed, null, expected = center(first[0] - second[0], np.vstack(null_difference))
    several = len(space.traits) > 2
    similarity = _row_correlations(first, second)[0] if several else np.nan
    fewer = np.sum(np.concatenate(null_similarity) <= similarity)
    names = np.array(space.traits, dtype=object)
    scale = np.sqrt((np.vstack([observed, null]) ** 2).mean(axis=0))
    return pd.DataFrame(
        {
            "trait_1": names[space.pairs[0]],
            "trait_2": names[space.pairs[1]],
            "r_1": np.tanh(first[0]),
            "r_2": np.tanh(second[0]),
            "expected": expected,
            "estimate": observed,
            "statistic": observed / np.where(scale > 0, scale, np.inf),
            "p": permutation_p(observed, null),
            "p_corrected": familywise_p(observed, null),
            "similarity": similarity,
            "similarity_p": (fewer + 1) / (len(null) + 1) if several else np.nan,
            "n": n[0],
            "n_permutations": len(null),
            "smallest_p": pair.sample.smallest_p,
        }
    )


def _row_correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlate each row of one array with the same row of another; NaN if a row is constant or empty."""
    if first.shape[1] == 0:
        return np.full(len(first), np.nan)
    x = first - first.mean(axis=1, keepdims=True)
    y = second - second.mean(axis=1, keepdims=True)
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    correlation: np.ndarray = (x * y).sum(axis=1) / np.where(scale > 0, scale, np.nan)
    return correlation
