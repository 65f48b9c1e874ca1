"""Test whether groups differ in private taste (beholder index) and in the specificity of traits."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import IMAGE, RATER, RATING, REPEAT, TRAIT
from traitlens.comparison.group_pairs import GroupPair, compare_each_pair
from traitlens.comparison.permutation import center, familywise_p, permutation_p
from traitlens.comparison.rater_tests import Sample
from traitlens.ratings.rating_matrix import make_matrix

FEWEST_RATERS = 4
"""Minimum number of raters of a group."""
LEAST_VARIANCE = 1e-3
"""Smallest eigenvalue of the covariances of traits, as a share of their mean variance."""
COLUMNS = ["group_1", "group_2", TRAIT, "measure", "value_1", "value_2", "expected", "estimate", "ci_low",
           "ci_high", "statistic", "p", "p_corrected", "n_1", "n_2", "n_permutations",
           "smallest_p"]  # fmt: skip
"""Columns of the table of `compare_taste`."""
MOST_PERMUTATIONS = 1000
"""Maximum number of permutations, each of which takes a jackknife over all raters."""


def cross_products(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute for each pair of raters the sum of products of deviations over their common images.

    Parameters
    ----------
    first : ndarray of shape (rater, image)
        Ratings; NaN if missing.
    second : ndarray of shape (other rater, image)
        Ratings of the same images.

    Returns
    -------
    products, freedom : ndarray of shape (rater, other rater)
        Sums of products, and number of common images minus one. Their ratio is an unbiased covariance.
    """
    seen_1, seen_2 = (~np.isnan(first)).astype(float), (~np.isnan(second)).astype(float)
    x, y = (
        np.nan_to_num(
            one - np.nanmean(np.where(np.isnan(one).all(1, keepdims=True), 0, one), 1, keepdims=True)
        )
        for one in (first, second)
    )
    n = seen_1 @ seen_2.T
    products = x @ y.T - (x @ seen_2.T) * (seen_1 @ y.T) / np.maximum(n, 1)
    return np.where(n > 1, products, 0), np.maximum(n - 1, 0)


class Taste:
    """Shared and private taste of a group of raters, computed for many groups at once.

    Shared taste is the covariance over images between the ratings of two raters, averaged over pairs of
    raters. Shared plus private taste is the covariance between a rater's first and second ratings. Neither
    depends on the number of raters or contains noise.

    Parameters
    ----------
    ratings : dict of str to ndarray of shape (rater, image)
        Ratings of each trait, repeats averaged.
    repeated : dict of str to ndarray of shape (2, rater, image)
        First and second ratings of traits that were rated twice.
    """

    def __init__(self, ratings: dict[str, np.ndarray], repeated: dict[str, np.ndarray]):
        self.traits = list(ratings)
        number = len(self.traits)
        self.pairs = [(i, j) for i in range(number) for j in range(i, number)]
        self.between = []
        for i, j in self.pairs:
            products, freedom = cross_products(ratings[self.traits[i]], ratings[self.traits[j]])
            for one in (products, freedom):
                np.fill_diagonal(one, 0)  # Products of a rater's ratings with themselves contain noise.
            self.between.append((products + products.T, freedom + freedom.T))
        self.own = {trait: _own_products(*both) for trait, both in repeated.items()}

    def measures(self, group: np.ndarray) -> np.ndarray:
        """Compute the beholder index of each trait that was rated twice, then the specificity of each trait.

        Parameters
        ----------
        group : ndarray of shape (labelling, rater)
            1 for members of the group, else 0.

        Returns
        -------
        ndarray of shape (labelling, measure)
            Measures in the order of :attr:`names`; NaN if there are no data.
        """
        between = [
            (((group @ products) * group).sum(axis=1), ((group @ freedom) * group).sum(axis=1))
            for products, freedom in self.between
        ]
        own = {trait: (group @ products, group @ freedom) for trait, (products, freedom) in self.own.items()}
        return self._measures(between, own)

    def measures_without_each(self, group: np.ndarray) -> np.ndarray:
        """Compute the measures of a group without one of its raters, for each rater of the group.

        Parameters
        ----------
        group : ndarray of shape (labelling, rater)
            1 for members of the group, else 0; equally many in each labelling.

        Returns
        -------
        ndarray of shape (labelling, member, measure)
            Missing where there are no data.
        """
        labelling, member = np.nonzero(group)
        between = []
        for products, freedom in self.between:
            # A sum over pairs of raters loses the two products of a rater with each of the others.
            shares = [group @ products, group @ freedom]
            sums = [(share * group).sum(axis=1)[labelling] - 2 * share[labelling, member] for share in shares]
            between.append((sums[0], sums[1]))
        own = {
            trait: (
                (group @ products)[labelling] - products[member],
                (group @ freedom)[labelling] - freedom[member],
            )
            for trait, (products, freedom) in self.own.items()
        }
        found = self._measures(between, own)
        return found.reshape(len(group), -1, found.shape[1])

    def _measures(
        self, between: list[tuple[np.ndarray, np.ndarray]], own: dict[str, tuple[np.ndarray, np.ndarray]]
    ) -> np.ndarray:
        """Compute the measures from sums of products and degrees of freedom of raters and pairs of raters."""
        size, number = len(between[0][0]), len(self.traits)
        shared = np.full((size, number, number), np.nan)
        for (i, j), (total, count) in zip(self.pairs, between, strict=True):
            shared[:, i, j] = shared[:, j, i] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        columns = []
        for trait, (products, freedom) in own.items():
            place = self.traits.index(trait)
            stable = products / np.maximum(freedom, 1)
            index = 1 - shared[:, place, place] / np.where(stable > 0, stable, np.nan)
            columns.append(np.clip(index, -1, 2))
        if number > 1:
            columns += list(_specificity(shared).T)
        return np.column_stack(columns) if columns else np.zeros((size, 0))

    @property
    def names(self) -> list[tuple[str, str]]:
        """Trait and measure of each column of :meth:`measures`."""
        several = [(trait, "specificity") for trait in self.traits] if len(self.traits) > 1 else []
        return [(trait, "beholder index") for trait in self.own] + several


def _own_products(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of products of each rater's first and second ratings, and number of images minus one."""
    both = ~np.isnan(first) & ~np.isnan(second)
    n = both.sum(axis=1)
    sums = [np.where(both, one, 0).sum(axis=1) for one in (first, second)]
    products = np.where(both, first * second, 0).sum(axis=1) - sums[0] * sums[1] / np.maximum(n, 1)
    return np.where(n > 1, products, 0), np.maximum(n - 1, 0).astype(float)


def _specificity(shared: np.ndarray) -> np.ndarray:
    """Compute the share of each trait's shared variance that the other traits do not explain.

    Parameters
    ----------
    shared : ndarray of shape (labelling, trait, trait)
        Covariances over images, free of noise.

    Returns
    -------
    ndarray of shape (labelling, trait)
        1 over the product of the trait's variance and its diagonal entry of the inverse covariance matrix;
        NaN without variance.
    """
    known = np.isfinite(shared).all(axis=(1, 2))
    variances = np.diagonal(shared, axis1=1, axis2=2)
    known &= (variances > 0).all(axis=1)
    found = np.full(variances.shape, np.nan)
    if known.any():
        scale = np.sqrt(variances[known])
        correlations = shared[known] / scale[:, :, None] / scale[:, None, :]
        values, vectors = np.linalg.eigh(correlations)
        # Estimates of noise-free covariances may not be positive definite.
        values = np.maximum(values, LEAST_VARIANCE)
        inverse = (vectors / values[:, None, :]) @ vectors.transpose(0, 2, 1)
        restored = (vectors * values[:, None, :]) @ vectors.transpose(0, 2, 1)
        diagonal = np.diagonal(inverse, axis1=1, axis2=2) * np.diagonal(restored, axis1=1, axis2=2)
        found[known] = 1 / diagonal
    return found


def compare_taste(
    ratings: pd.DataFrame,
    *,
    groups: tuple[str, str] | None = None,
    within: Sequence[str] = (),
    permutations: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether groups differ in private taste, and in the specificity of traits.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating, repeat.
    groups : (str, str), optional
        The first minus the second; all pairs if None.
    within : sequence of str, default ()
        Columns of raters within which labels are permuted, see `compare_means`.
    permutations : int, default 5000
        Number of permutations; at most `MOST_PERMUTATIONS` are made.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, measure, value_1, value_2, expected (difference that is due to the numbers of
        raters, the mean under permutation), estimate (difference minus the expected one), ci_low, ci_high
        (jackknife over raters), statistic, p, p_corrected (family-wise over the traits of a measure), n_1,
        n_2, n_permutations, smallest_p. Measures: "beholder index" (share of private taste in private plus
        shared taste, Hoenekopp 2006; only for traits that raters of both groups rated twice) and
        "specificity" (share of the noise-free variance of a trait that the other traits do not explain).
        Groups with fewer than four raters are left out.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> cells = pd.MultiIndex.from_product([range(12), range(40), [1, 2]], names=["rater", "image", "repeat"])
    >>> table = cells.to_frame(index=False).assign(trait="warm")
    >>> taste = rng.normal(size=(12, 40)) + rng.normal(size=40)
    >>> table["rating"] = taste[table["rater"], table["image"]] + 0.5 * rng.normal(size=len(table))
    >>> table = table.assign(rater=table["rater"].astype(str), group=np.where(table["rater"] < 6, "a", "b"))
    >>> found = compare_taste(table, permutations=99)
    >>> found["measure"].tolist(), found[["value_1", "value_2"]].round(1).values.tolist()
    (['beholder index'], [[0.4, 0.5]])
    """
    number = min(permutations, MOST_PERMUTATIONS)
    return compare_each_pair(_compare_pair, ratings, groups, within, number, seed, columns=COLUMNS)


def _compare_pair(pair: GroupPair) -> pd.DataFrame | None:
    """Compare two groups in taste; None if there are too few raters or no measure can be computed."""
    if np.bincount(pair.sample.labels, minlength=2).min() < FEWEST_RATERS:
        return None
    taste = Taste(*_arrange_ratings(pair.ratings, pair.raters, pair.sample.labels))
    return _test_measures(taste, pair.sample) if taste.names else None


def _arrange_ratings(
    ratings: pd.DataFrame, raters: pd.Index, labels: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return for each trait the ratings of all raters and images, and the first and second ratings."""
    images = pd.Index(sorted(ratings[IMAGE].unique()))
    every, repeated = {}, {}

    def arrange(part: pd.DataFrame) -> np.ndarray:
        """Return mean ratings as an array of shape (rater, image)."""
        values = np.full((len(raters), len(images)), np.nan)
        if len(part):
            matrix = make_matrix(part)
            values[np.ix_(raters.get_indexer(matrix.raters), images.get_indexer(matrix.images))] = (
                matrix.ratings
            )
        return values

    for trait, own in ratings.groupby(TRAIT, sort=True, observed=True):
        every[str(trait)] = arrange(own)
        if REPEAT not in own:
            continue
        turn = (
            own.sort_values(REPEAT, kind="stable").groupby([RATER, IMAGE], observed=True)[RATING].cumcount()
        )
        turn = turn.reindex(own.index)
        occasions = np.stack([arrange(own[turn == number]) for number in (0, 1)])
        twice = (~np.isnan(occasions)).all(axis=0).sum(axis=1) > 2
        if np.bincount(labels[twice], minlength=2).min() >= FEWEST_RATERS:
            repeated[str(trait)] = occasions
    return every, repeated


def _test_measures(taste: Taste, sample: Sample) -> pd.DataFrame:
    """Test all measures between two groups; the traits of a measure are one family of tests.

    Differences are divided by their jackknife standard error under every labelling: raters of one group may
    be noisier than those of the other (Janssen 1997; Chung and Romano 2013).
    """
    names = taste.names

    def differences(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the differences of the measures under labellings, and their t statistics."""
        first, second = ((block == side).astype(float) for side in (0, 1))
        found = taste.measures(first) - taste.measures(second)
        error = np.hypot(_standard_errors(taste, first), _standard_errors(taste, second))
        return found, np.divide(found, error, out=np.zeros_like(found), where=error > 0)

    drawn = [differences(block) for block in sample.draw()]
    permuted, permuted_t = (
        np.vstack([np.zeros((0, len(names))), *part]) for part in zip(*drawn, strict=True)
    )
    labels = sample.labels[None]
    (observed,), (observed_t,) = differences(labels)
    centred, _, expected = center(np.nan_to_num(observed), np.nan_to_num(permuted))
    statistic, null, _ = center(np.nan_to_num(observed_t), np.nan_to_num(permuted_t))
    groups = [(labels == side).astype(float) for side in (0, 1)]
    errors = [_standard_errors(taste, group)[0] for group in groups]
    below = sum(part**4 / (group.sum() - 1) for part, group in zip(errors, groups, strict=True))
    error = np.hypot(*errors)
    width = stats.t.ppf(0.975, np.maximum(error**4 / np.maximum(below, 1e-300), 1)) * error
    table = pd.DataFrame(names, columns=[TRAIT, "measure"])
    table["value_1"], table["value_2"] = (taste.measures(group)[0] for group in groups)
    table["expected"], table["estimate"] = expected, np.where(np.isnan(observed), np.nan, centred)
    table["ci_low"], table["ci_high"] = table["estimate"] - width, table["estimate"] + width
    table["statistic"] = np.where(error > 0, statistic, np.nan)
    for _, own in table.groupby("measure", sort=False):
        place = own.index.to_numpy()
        table.loc[place, "p"] = permutation_p(statistic[place], null[:, place])
        table.loc[place, "p_corrected"] = familywise_p(statistic[place], null[:, place])
    table.loc[np.isnan(observed), ["p", "p_corrected"]] = np.nan
    for group, name in zip(groups, ("n_1", "n_2"), strict=True):
        table[name] = int(group.sum())
    return table.assign(n_permutations=len(null), smallest_p=sample.smallest_p)


def _standard_errors(taste: Taste, group: np.ndarray) -> np.ndarray:
    """Compute jackknife standard errors over the raters of a group: (labelling, measure)."""
    left = taste.measures_without_each(group)
    n = left.shape[1]
    deviations = left - left.mean(axis=1, keepdims=True)
    return np.asarray(np.sqrt((n - 1) / n * (deviations**2).sum(axis=1)))
