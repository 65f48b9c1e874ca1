"""Comparison of groups in the agreement of raters, and in the spread of their ratings over faces."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import GROUP, RATER, TRAIT
from traitlens.comparison.group_pairs import GroupPair, compare_each_pair
from traitlens.comparison.permutation import center, familywise_p, permutation_p
from traitlens.comparison.rater_tests import Cells, compare_cells
from traitlens.ratings.rating_matrix import RatingMatrix, is_linked, make_matrix

FEWEST_RATERS = 3
"""Minimum number of raters of a group; two raters would be a single pair."""
FEWEST_IMAGES = 4
"""Minimum number of images that two raters have in common."""
COLUMNS = ["group_1", "group_2", TRAIT, "measure", "mean_1", "mean_2", "estimate", "ci_low", "ci_high",
           "statistic", "p", "p_corrected", "n_1", "n_2", "n_permutations", "smallest_p"]  # fmt: skip
"""Columns of the table of `compare_agreement`."""


def rater_agreement(ratings: pd.DataFrame, reference: str | None = None) -> pd.DataFrame:
    """Correlate each rater with a group's consensus, and measure the rater's spread over faces.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    reference : str, optional
        Group whose mean ratings are the consensus; if None, each rater's own group. The consensus that a
        rater is correlated with leaves out the rater's own ratings.

    Returns
    -------
    DataFrame
        rater, group, trait, agreement (correlation over images), agreement_z (Fisher's z), spread (standard
        deviation over images), n (images). A consensus of more raters is less noisy, so groups of different
        size should be compared by `compare_agreement`.
    """
    rows = []
    for trait, part in ratings.groupby(TRAIT, sort=True, observed=True):
        matrices = {str(group): make_matrix(own) for group, own in part.groupby(GROUP, observed=True)}
        for group, matrix in matrices.items():
            consensus = matrices[reference or group]
            ours = consensus.images.get_indexer(matrix.images)
            known = np.where(ours[None] >= 0, consensus.ratings[:, ours], np.nan)
            sums, counts = np.nansum(known, axis=0), (~np.isnan(known)).sum(axis=0)
            for rater, own in zip(matrix.raters, matrix.ratings, strict=True):
                if group == (reference or group):
                    seen = ~np.isnan(own)
                    others, left = sums - np.nan_to_num(own), counts - seen
                else:
                    others, left = sums, counts
                both = ~np.isnan(own) & (left > 0)
                x, y = own[both], others[both] / left[both]
                varied = both.sum() > 2 and x.std() > 0 and y.std() > 0
                r = float(np.corrcoef(x, y)[0, 1]) if varied else np.nan
                rows.append(
                    {
                        RATER: rater,
                        GROUP: group,
                        TRAIT: trait,
                        "agreement": r,
                        "agreement_z": float(np.arctanh(np.clip(r, -0.999999, 0.999999))),
                        "spread": float(np.nanstd(own, ddof=1)) if (~np.isnan(own)).sum() > 1 else np.nan,
                        "n": int(both.sum()),
                    }
                )
    return pd.DataFrame(rows)


def correlate_raters(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlate each rater of one matrix with each rater of another, over the images that both rated.

    Parameters
    ----------
    first : ndarray of shape (rater, image)
        Ratings; NaN if missing.
    second : ndarray of shape (other rater, image)
        Ratings of the same images.

    Returns
    -------
    ndarray of shape (rater, other rater)
        Correlations; NaN with fewer than four common images or without variance.
    """
    seen_1, seen_2 = (~np.isnan(first)).astype(float), (~np.isnan(second)).astype(float)
    # Centring by rater first avoids rounding errors in the sums of squares.
    x = np.nan_to_num(first - _row_means(first))
    y = np.nan_to_num(second - _row_means(second))
    n = seen_1 @ seen_2.T
    several = np.maximum(n, 1)
    sum_1, sum_2 = x @ seen_2.T, seen_1 @ y.T
    cross = x @ y.T - sum_1 * sum_2 / several
    square_1 = x**2 @ seen_2.T - sum_1**2 / several
    square_2 = seen_1 @ (y**2).T - sum_2**2 / several
    scale = np.sqrt(np.maximum(square_1, 0) * np.maximum(square_2, 0))
    sound = (n >= FEWEST_IMAGES) & (scale > 1e-9)
    return np.where(sound, cross / np.where(sound, scale, 1), np.nan)


def _row_means(values: np.ndarray) -> np.ndarray:
    """Return the mean of each row, ignoring missing values."""
    seen = ~np.isnan(values)
    means: np.ndarray = np.nansum(values, axis=1, keepdims=True) / np.maximum(
        seen.sum(axis=1, keepdims=True), 1
    )
    return means


class Agreement:
    """Mean correlation between pairs of raters of a group, for any assignment of raters to two groups.

    The mean over pairs does not depend on the number of raters. A correlation with the mean of all other
    raters would, since that mean is less noisy in a larger group.

    Parameters
    ----------
    matrix : RatingMatrix
        Ratings of one trait by both groups.
    reference : int or None
        The group (0 or 1) that all raters are correlated with; if None, each rater's own group.
    others : RatingMatrix, optional
        Ratings of a third group that all raters are correlated with.
    """

    def __init__(
        self, matrix: RatingMatrix, reference: int | None = None, others: RatingMatrix | None = None
    ):
        self.reference = reference
        if others is None:
            r = correlate_raters(matrix.ratings, matrix.ratings)
            np.fill_diagonal(r, np.nan)
        else:
            place = others.images.get_indexer(matrix.images)
            theirs = np.where(place[None] >= 0, others.ratings[:, place], np.nan)
            r = correlate_raters(matrix.ratings, theirs)
        self.fixed = others is not None
        self.known = (~np.isnan(r)).astype(float)
        self.r = np.nan_to_num(r)

    def _totals(self, values: np.ndarray, group: np.ndarray, side: int) -> np.ndarray:
        """Return sums over the pairs of each rater, an array of shape (labelling, rater)."""
        if self.fixed:
            return np.broadcast_to(values.sum(axis=1), group.shape)
        partner = group if self.reference in (None, side) else 1 - group
        totals: np.ndarray = partner @ values.T
        return totals

    def means(self, labels: np.ndarray) -> list[np.ndarray]:
        """Return the mean correlation of pairs of raters in each group.

        Parameters
        ----------
        labels : ndarray of shape (labelling, rater)
            0 and 1 for the groups.

        Returns
        -------
        list of ndarray of shape (labelling,)
            One array per group; NaN where no pair of raters has a correlation.
        """
        found = []
        for side in (0, 1):
            group = (labels == side).astype(float)
            total = (group * self._totals(self.r, group, side)).sum(axis=1)
            count = (group * self._totals(self.known, group, side)).sum(axis=1)
            found.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
        return found

    def errors(self, labels: np.ndarray) -> list[tuple[float, int]]:
        """Compute the jackknife standard error and degrees of freedom of each group's mean.

        Parameters
        ----------
        labels : ndarray of shape (rater,)
            0 and 1 for the groups.

        Returns
        -------
        list of (float, int)
            One pair per group (Arvesen 1969). The jackknife counts the noise of single pairs of raters twice
            (Efron and Stein 1981); the surplus is subtracted.
        """
        found = []
        for side in (0, 1):
            members = np.flatnonzero(labels == side)
            own = self.r[np.ix_(members, members)] if not self.fixed and self.reference is None else None
            n = len(members)
            if own is None:
                group = (labels == side).astype(float)[None]
                counts = self._totals(self.known, group, side)[0, members]
                values = self._totals(self.r, group, side)[0, members] / np.maximum(counts, 1)
                found.append((float(values.std(ddof=1) / np.sqrt(n)), n - 1))
                continue
            known = self.known[np.ix_(members, members)]
            total, count = own.sum(), known.sum()
            without = (total - 2 * own.sum(axis=1)) / np.maximum(count - 2 * known.sum(axis=1), 1)
            jackknife = (n - 1) / n * float(((without - without.mean()) ** 2).sum())
            effects = own.sum(axis=1) / np.maximum(known.sum(axis=1), 1) - total / max(count, 1)
            fitted = total / max(count, 1) + (effects[:, None] + effects[None]) * (n - 1) / max(n - 2, 1)
            pairs = count / 2
            noise = float((known * (own - fitted) ** 2).sum()) / 2 / max(pairs - n, 1) / max(pairs, 1)
            found.append((float(np.sqrt(max(jackknife - noise, jackknife / 2))), n - 1))
        return found


def compare_agreement(
    ratings: pd.DataFrame,
    reference: str | None = None,
    *,
    groups: tuple[str, str] | None = None,
    within: Sequence[str] = (),
    permutations: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether groups differ in agreement between raters and in spread over faces.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    reference : str, optional
        Group that all raters are correlated with; if None, each rater's own group.
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
        group_1, group_2, trait, measure ("agreement": mean correlation of pairs of raters; "spread":
        standard deviation of a rater's ratings), mean_1, mean_2, estimate, ci_low, ci_high, statistic, p,
        p_corrected (family-wise over the traits of a measure), n_1, n_2, n_permutations, smallest_p.
        Agreement is left out where a group has fewer than three raters, its interval where fewer than four
        raters of a group share images.
    """

    def compare(pair: GroupPair) -> pd.DataFrame:
        """Compare two groups in agreement and in spread."""
        others = None
        if reference is not None and reference not in pair.groups:
            theirs = ratings[ratings[GROUP] == reference]
            others = {str(trait): make_matrix(part) for trait, part in theirs.groupby(TRAIT, observed=True)}
        side = pair.groups.index(reference) if reference in pair.groups else None
        agreements = {
            trait: Agreement(matrix, side, None if others is None else others[trait])
            for trait, matrix in pair.matrices.items()
            if (others is None or trait in others)
            and np.bincount(pair.labels(trait), minlength=2).min() >= FEWEST_RATERS
        }
        tables = [_compare_pairs_of_raters(agreements, pair)] if agreements else []
        return pd.concat([*tables, _compare_spread(pair)])

    return compare_each_pair(compare, ratings, groups, within, permutations, seed, columns=COLUMNS)


def _compare_pairs_of_raters(agreements: dict[str, Agreement], pair: GroupPair) -> pd.DataFrame:
    """Test the mean correlation of pairs of raters; all traits are one family of tests."""
    sample = pair.sample

    def differences(block: np.ndarray) -> np.ndarray:
        """Return differences of mean correlations, an array of shape (labelling, trait)."""
        means = [agreement.means(block[:, pair.members[trait]]) for trait, agreement in agreements.items()]
        return np.nan_to_num(np.column_stack([first - second for first, second in means]))

    permuted = np.vstack([np.zeros((0, len(agreements))), *map(differences, sample.draw())])
    observed, null, _ = center(differences(sample.labels[None])[0], permuted)
    rows = []
    for trait, agreement in agreements.items():
        labels = pair.labels(trait)
        means = [float(mean[0]) for mean in agreement.means(labels[None])]
        (error_1, freedom_1), (error_2, freedom_2) = agreement.errors(labels)
        total = error_1**2 + error_2**2
        freedom = total**2 / max(error_1**4 / freedom_1 + error_2**4 / freedom_2, 1e-300)
        width = stats.t.ppf(0.975, max(freedom, 1)) * np.sqrt(total)
        estimate = means[0] - means[1]
        if not all(is_linked(pair.matrices[trait], labels == group) for group in (0, 1)):
            width = np.nan
        rows.append(
            {TRAIT: trait, "measure": "agreement", "mean_1": means[0], "mean_2": means[1]}
            | {"estimate": estimate, "ci_low": estimate - width, "ci_high": estimate + width}
            | {"statistic": estimate / np.sqrt(total) if total > 0 else np.nan}
            | {"n_1": int((labels == 0).sum()), "n_2": int((labels == 1).sum())}
        )
    table = pd.DataFrame(rows)
    table["p"], table["p_corrected"] = permutation_p(observed, null), familywise_p(observed, null)
    return table.assign(n_permutations=len(null), smallest_p=sample.smallest_p)


def _compare_spread(pair: GroupPair) -> pd.DataFrame:
    """Test the standard deviation of each rater's ratings; all traits are one family of tests."""
    families = []
    for trait, matrix in pair.matrices.items():
        several = (~np.isnan(matrix.ratings)).sum(axis=1) > 1
        spread = np.nanstd(matrix.ratings[several], axis=1, ddof=1)
        families.append(Cells(pair.members[trait][several], spread[:, None]))
    table = compare_cells(families, pair.sample)
    return table.assign(measure="spread", **{TRAIT: list(pair.matrices)})
