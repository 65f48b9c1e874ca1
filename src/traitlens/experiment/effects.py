r"""Effects of altered regions on ratings, with raters and base faces as random factors.

A trial is one rating of one picture. If a region's cue was moved by the step :math:`x` (0 for all other
regions), the rating of base face b by rater i of group g is

.. math:: y = a_i + f_b + \sum_r \beta_{gr} x_r + e,

for each trait. :math:`\beta_{gr}` is the group's change of the rating per standard deviation of the region's
cue. Standard errors are clustered by raters and by base faces: the variances over raters and over faces are
added, and the variance over their cells is subtracted (Cameron, Gelbach and Miller 2011,
doi:10.1198/jbes.2010.07136; for designs with crossed raters and stimuli, Judd, Westfall and Kenny 2012,
doi:10.1037/a0028347). Differences between groups are tested by permutation of raters, with the maximum of the
standardised difference over regions and traits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import GROUP, RATER, RATING, REGION, TRAIT

BASE, STEP = "base", "step"
"""Columns of trials: the base face, and the change of the region's cue in standard deviations."""

EFFECT, SE, LOW, HIGH, P = "effect", "se", "ci_low", "ci_high", "p"
SWEEPS = 200
"""Maximum number of iterations in :func:`_remove_means`."""

BATCH = 100
"""Number of permutations computed at once."""


@dataclass(frozen=True)
class ExperimentEffects:
    """Observed effects of an experiment.

    Parameters
    ----------
    effects : DataFrame
        Effects of each group: trait, region, group, effect (rating points per standard deviation of the cue),
        se, ci_low, ci_high, p, raters, faces.
    differences : DataFrame
        Differences between two groups: trait, region, group_1, group_2, difference (group_1 minus group_2),
        se, ci_low, ci_high, p (corrected for all regions and traits), p_uncorrected; empty with one group.
    """

    effects: pd.DataFrame
    differences: pd.DataFrame


def estimate_effects(
    trials: pd.DataFrame, groups: Sequence[str] | None = None, permutations: int = 999, seed: int = 0
) -> ExperimentEffects:
    """Estimate the effects of altered regions on ratings, and compare two groups.

    Parameters
    ----------
    trials : DataFrame
        A row per rating: rater, group, trait, base, region, step, rating. Pictures that were not altered have
        the step 0.
    groups : sequence of str, optional
        Names of the groups, of which the first two are compared; in alphabetical order by default.
    permutations : int, default 999
        Number of permutations of raters between groups.
    seed : int, default 0
        Seed of the permutations.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rows = [(rater, "xy"[rater % 2], "warm", base, "eyes", step, 4 + base + (rater % 2) * step)
    ...         for rater in range(8) for base in range(4) for step in (-1.0, 1.0)]
    >>> columns = ["rater", "group", "trait", "base", "region", "step", "rating"]
    >>> trials = pd.DataFrame(rows, columns=columns)
    >>> estimate_effects(trials, permutations=9).effects["effect"].round(6).tolist()
    [0.0, 1.0]
    """
    names = list(groups) if groups is not None else sorted(trials[GROUP].astype(str).unique())
    designs = [_TraitDesign(rows, trait) for trait, rows in trials.groupby(TRAIT, sort=False, observed=True)]
    effects = pd.concat([design.tabulate(name) for design in designs for name in names], ignore_index=True)
    pair = names[:2]
    differences = _test_differences(designs, pair, permutations, seed) if len(pair) == 2 else pd.DataFrame()
    return ExperimentEffects(effects, differences)


class _TraitDesign:
    """Sums of squares and products of one trait's trials, centred by rater and base face."""

    def __init__(self, trials: pd.DataFrame, trait: str):
        self.trait = str(trait)
        rater, self.raters = pd.factorize(trials[RATER])
        base, self.bases = pd.factorize(trials[BASE])
        first = trials.drop_duplicates(RATER).set_index(RATER)[GROUP].astype(str)
        self.group_of = first.reindex(self.raters).to_numpy()
        altered = trials[STEP].to_numpy(float) != 0
        self.regions = list(dict.fromkeys(trials[REGION].astype(str)[altered]))
        steps = trials[STEP].to_numpy(float)
        moved = np.stack([np.where(trials[REGION] == name, steps, 0.0) for name in self.regions], axis=1)
        columns = np.column_stack([moved, trials[RATING].to_numpy(float)])
        columns = _remove_means(columns, rater, base)
        x, y = columns[:, :-1], columns[:, -1]
        shape = (len(self.raters), len(self.bases))
        cell = rater * shape[1] + base
        squares = np.einsum("nr,ns->nrs", x, x).reshape(len(x), -1)
        number, regions = shape[0] * shape[1], len(self.regions)
        self.products = _sum_by_cluster(x * y[:, None], cell, number).reshape(*shape, regions)
        self.squares = _sum_by_cluster(squares, cell, number).reshape(*shape, regions, regions)

    def fit(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Estimate the effects in each of several groups of raters by least squares.

        Parameters
        ----------
        members : ndarray (group, rater) of bool
            The raters of each group.

        Returns
        -------
        effects : ndarray (group, region)
            Effects in each group.
        influence : ndarray (group, rater, base, region)
            Influence of each rater's ratings of each base face on the effects; 0 for raters of other groups.
        """
        squares = np.einsum("gi,irs->grs", members, self.squares.sum(axis=1))
        products = np.einsum("gi,ir->gr", members, self.products.sum(axis=1))
        inverse = np.linalg.pinv(squares, hermitian=True)
        effects = np.einsum("grs,gs->gr", inverse, products)
        scores = self.products - np.einsum("ibrs,gs->gibr", self.squares, effects, optimize=True)
        influence = np.einsum("gibr,grs->gibs", scores, inverse, optimize=True)
        return effects, influence * members[:, :, None, None]

    def tabulate(self, group: str) -> pd.DataFrame:
        """Return the table of one group's effects with standard errors, intervals and p values."""
        members = (self.group_of == group)[None]
        effects, influence = self.fit(members)
        error, freedom = (one[0] for one in _crossed_error([(members, influence)]))
        half = stats.t.ppf(0.975, freedom) * error
        return pd.DataFrame(
            {
                TRAIT: self.trait, REGION: self.regions, GROUP: group, EFFECT: effects[0], SE: error,
                LOW: effects[0] - half, HIGH: effects[0] + half, P: _two_sided(effects[0], error, freedom),
                "raters": int(members.sum()), "faces": len(self.bases),
            }
        )  # fmt: skip

    def difference(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return differences between two groups' effects, their standard errors and degrees of freedom."""
        (one, mine), (other, theirs) = self.fit(first), self.fit(second)
        error, freedom = _crossed_error([(first, mine), (second, -theirs)])
        return one - other, error, freedom


def _test_differences(
    designs: list[_TraitDesign], pair: Sequence[str], permutations: int, seed: int
) -> pd.DataFrame:
    """Test the differences between two groups in all regions and traits by permutation of raters."""
    labels = pd.concat([pd.Series(design.group_of, design.raters) for design in designs])
    labels = labels[~labels.index.duplicated() & labels.isin(pair)].sort_index()
    own = labels.to_numpy()
    rng = np.random.default_rng(seed)
    orders = np.stack([own, *(rng.permutation(own) for _ in range(permutations))])
    statistics, rows = [], []
    for design in designs:
        places = labels.index.get_indexer(design.raters)
        given = np.where(places >= 0, orders[:, places], "")
        ratios = []
        for start in range(0, len(given), BATCH):
            members = [given[start : start + BATCH] == name for name in pair]
            change, error, freedom = design.difference(*members)
            ratios.append(np.abs(change) / np.where(error > 0, error, np.inf))
            if start == 0:
                half = stats.t.ppf(0.975, freedom[0]) * error[0]
                observed = (change[0], error[0], change[0] - half, change[0] + half)
                rows += list(zip([design.trait] * len(half), design.regions, *observed, strict=True))
        statistics.append(np.concatenate(ratios))
    every = np.concatenate(statistics, axis=1)
    table = pd.DataFrame(rows, columns=[TRAIT, REGION, "difference", SE, LOW, HIGH])
    # The tolerance counts permutations that equal the observed groups in spite of rounding.
    table[P] = (every.max(axis=1, keepdims=True) >= every[0] - 1e-12).mean(axis=0)
    table["p_uncorrected"] = (every >= every[0] - 1e-12).mean(axis=0)
    table.insert(2, "group_1", pair[0])
    table.insert(3, "group_2", pair[1])
    return table


def _crossed_error(groups: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Compute standard errors over raters and faces, and degrees of freedom.

    Each group is given by its members, an array (permutation, rater), and their influences, an array
    (permutation, rater, base, region); groups have different raters and the same faces. Both results are
    arrays (permutation, region). Degrees of freedom follow Satterthwaite (1946, doi:10.2307/3002019).
    """
    faces = _cluster_variance(sum(influence.sum(axis=1) for _, influence in groups))
    cells = sum((influence**2).sum(axis=(1, 2)) for _, influence in groups)
    counts = [np.maximum(members.sum(axis=1), 2)[:, None] for members, _ in groups]
    per_group = [
        (influence.sum(axis=2) ** 2).sum(axis=1) * count / (count - 1)
        for count, (_, influence) in zip(counts, groups, strict=True)
    ]
    raters = sum(per_group)
    variance = np.maximum(raters, raters + faces - cells)
    spread = sum(one**2 / (count - 1) for one, count in zip(per_group, counts, strict=True))
    spread = spread + (variance - raters) ** 2 / max(groups[0][1].shape[2] - 1, 1)
    freedom = np.where(spread > 0, variance**2 / np.where(spread > 0, spread, 1), 1.0)
    return np.sqrt(variance), np.maximum(freedom, 1.0)


def _cluster_variance(influence: np.ndarray) -> np.ndarray:
    """Compute the variance of a sum over clusters from influences (permutation, cluster, region)."""
    number = influence.shape[1]
    return np.asarray((influence**2).sum(axis=1) * number / max(number - 1, 1))


def _two_sided(values: np.ndarray, error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Return two-sided p values of t tests; 1 where the standard error is 0."""
    ratio = np.abs(values) / np.where(error > 0, error, np.inf)
    return np.asarray(2 * stats.t.sf(ratio, freedom))


def _remove_means(columns: np.ndarray, *clusters: np.ndarray) -> np.ndarray:
    """Centre columns by several factors at once (such as raters and faces), by alternating projections."""
    columns = columns.copy()
    scale = np.abs(columns).max() or 1.0
    for _ in range(SWEEPS):
        largest = 0.0
        for cluster in clusters:
            number = int(cluster.max()) + 1
            counts = np.maximum(np.bincount(cluster, minlength=number), 1)
            means = _sum_by_cluster(columns, cluster, number) / counts[:, None]
            columns -= means[cluster]
            largest = max(largest, float(np.abs(means).max()))
        if largest < 1e-10 * scale:
            break
    return columns


def _sum_by_cluster(columns: np.ndarray, cluster: np.ndarray, number: int) -> np.ndarray:
    """Sum the rows of each cluster; returns an array (cluster, column)."""
    return np.stack([np.bincount(cluster, column, number) for column in columns.T], axis=1)
