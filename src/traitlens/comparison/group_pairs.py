"""Comparison of each pair of groups, with the raters of both groups as the sample of a permutation test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from traitlens.columns import TRAIT
from traitlens.comparison.compared_groups import label_raters, pairs_of_groups, ratings_of_pair
from traitlens.comparison.permutation import covariates_of_raters, find_strata
from traitlens.comparison.rater_tests import Sample
from traitlens.ratings.rating_matrix import RatingMatrix, make_matrix


@dataclass(frozen=True, eq=False)
class GroupPair:
    """Two groups: their names, ratings and raters.

    Parameters
    ----------
    groups : (str, str)
        Names of the groups.
    ratings : DataFrame
        rater, group, image, trait, rating of both groups, on the traits that can be compared.
    raters : Index
        Raters, sorted.
    sample : Sample
        Labels, strata and covariates of the raters, and the settings of the permutation test.
    """

    groups: tuple[str, str]
    ratings: pd.DataFrame
    raters: pd.Index
    sample: Sample

    @classmethod
    def of(
        cls,
        ratings: pd.DataFrame,
        groups: tuple[str, str],
        within: Sequence[str],
        permutations: int,
        seed: int,
        covariates: Sequence[str] = (),
    ) -> "GroupPair":
        """Select the ratings of two groups, and find labels, strata and covariates of their raters."""
        both = ratings_of_pair(ratings, groups)
        raters, labels = label_raters(both, groups)
        strata = find_strata(both, raters, labels, within)
        values = covariates_of_raters(both, raters, covariates) if covariates else None
        return cls(groups, both, raters, Sample(labels, strata, values, permutations, seed))

    @cached_property
    def matrices(self) -> dict[str, RatingMatrix]:
        """Rating matrix of each trait."""
        by_trait = self.ratings.groupby(TRAIT, observed=True)
        return {str(trait): make_matrix(part) for trait, part in by_trait}

    @cached_property
    def members(self) -> dict[str, np.ndarray]:
        """Index in `raters` of each row of the rating matrix of each trait."""
        return {trait: self.raters.get_indexer(matrix.raters) for trait, matrix in self.matrices.items()}

    def labels(self, trait: str) -> np.ndarray:
        """Return the group (0 or 1) of each row of the rating matrix of a trait."""
        return self.sample.labels[self.members[trait]]


def compare_each_pair(
    compare: Callable[[GroupPair], pd.DataFrame | None],
    ratings: pd.DataFrame,
    groups: tuple[str, str] | None,
    within: Sequence[str],
    permutations: int,
    seed: int,
    *,
    covariates: Sequence[str] = (),
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Compare each pair of groups, and stack the tables.

    Parameters
    ----------
    compare : callable
        Returns the table of a pair of groups, or None if they cannot be compared.
    ratings : DataFrame
        rater, group, image, trait, rating.
    groups : (str, str) or None
        The only pair to compare; all pairs if None.
    within, covariates : sequence of str
        Columns of raters, see `compare_means`.
    permutations, seed : int
        Number of permutations, and seed of the random number generator.
    columns : sequence of str, optional
        Columns of the result, in order; if None, all columns, with group_1, group_2 and trait first.

    Returns
    -------
    DataFrame
        The tables of all pairs, with the names of the groups in group_1 and group_2.
    """
    tables = []
    for names in pairs_of_groups(ratings, groups):
        table = compare(GroupPair.of(ratings, names, within, permutations, seed, covariates))
        if table is not None:
            tables.append(table.assign(group_1=names[0], group_2=names[1]))
    if not tables:
        return pd.DataFrame(columns=columns)
    stacked = pd.concat(tables, ignore_index=True)
    first = ["group_1", "group_2", TRAIT]
    return stacked[list(columns or [*first, *stacked.columns.drop(first)])]
