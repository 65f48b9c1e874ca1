r"""Effects of altered regions on ratings, with raters and base faces as samples.

A trial is one rating of one picture. With the step :math:`x` by which a region's cue was moved (0 for all
other regions), the rating of rater i of group g for base face b is

.. math:: y = a_i + f_b + \sum_r \beta_{gr} x_r + e,

for each trait. :math:`\beta_{gr}` is the group's change of the rating per standard deviation of the region's
cue. Raters and base faces are both samples, so standard errors add the variances over raters and over
faces less the variance over their cells (Cameron, Gelbach and Miller 2011, doi:10.1198/jbes.2010.07136; for
designs in which raters meet stimuli, Judd, Westfall and Kenny 2012, doi:10.1037/a0028347). Differences
between groups are tested by permutation of raters, with the maximum of the standardised difference over
regions and traits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import GROUP, RATER, RATING, REGION, TRAIT

BASE, STEP = "base", "step"
"""Columns of trials: the base face, and the shift of the region's cue in standard deviations."""

EFFECT, SE, LOW, HIGH, P = "effect", "se", "ci_low", "ci_high", "p"
SWEEPS = 200

AT_ONCE = 100
"""Number of permutations in a batch."""


@dataclass(frozen=True)
class ExperimentEffects:
    """Observed effects of an experiment.

    Parameters
    ----------
    effects : DataFrame
        trait, region, group, effect (rating points per standard deviation of the cue), se, ci_low, ci_high,
        p, raters, faces.
    differences : DataFrame
        trait, region, group_1, group_2, difference (first less second), se, ci_low, ci_high, p (corrected for
        all regions and traits), p_uncorrected; empty if there is one group.
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
        rater, group, trait, base, region, step, rating. Pictures that were not altered have the step 0.
    groups : sequence of str, optional
        The groups in their order; the first two are compared.
    permutations : int, default 999
        Permutations of raters.
    seed : int, default 0
        Seed of the permutations.

    Returns
    -------
    ExperimentEffects
        Effects of each group, and differences between the first two.

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
    differences = _compare(designs, pair, permutations, seed) if len(pair) == 2 else pd.DataFrame()
    return ExperimentEffects(effects, differences)


class _TraitDesign:
    """Trials of one trait, centred by rater and base face."""

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
        self.products = _add_up(x * y[:, None], cell, number).reshape(*shape, regions)
        self.squares = _add_up(squares, cell, number).reshape(*shape, regions, regions)

    def fit(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fit groups of raters, bool (group, rater).

        Returns
        -------
        effects : ndarray (group, region)
            Effects of each group.
        influence : ndarray (group, rater, base, region)
            Influence of each cell on the effects; 0 for other raters.
        """
        squares = np.einsum("gi,irs->grs", members, self.squares.sum(axis=1))
        products = np.einsum("gi,ir->gr", members, self.products.sum(axis=1))
        inverse = np.linalg.pinv(squares, hermitian=True)
        effects = np.einsum("grs,gs->gr", inverse, products)
        scores = self.products - np.einsum("ibrs,gs->gibr", self.squares, effects, optimize=True)
        influence = np.einsum("gibr,grs->gibs", scores, inverse, optimize=True)
        return effects, influence * members[:, :, None, None]

    def tabulate(self, group: str) -> pd.DataFrame:
        """Return the effects of one group."""
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
        """Return differences of two groups, their standard errors and degrees of freedom."""
        (one, mine), (other, theirs) = self.fit(first), self.fit(second)
        error, freedom = _crossed_error([(first, mine), (second, -theirs)])
        return one - other, error, freedom


def _compare(designs: list[_TraitDesign], pair: Sequence[str], permutations: int, seed: int) -> pd.DataFrame:
    """Compare two groups in all regions and traits by permutation of raters."""
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
        for start in range(0, len(given), AT_ONCE):
            members = [given[start : start + AT_ONCE] == name for name in pair]
            change, error, freedom = design.difference(*members)
            ratios.append(np.abs(change) / np.where(error > 0, error, np.inf))
            if start == 0:
                half = stats.t.ppf(0.975, freedom[0]) * error[0]
                observed = (change[0], error[0], change[0] - half, change[0] + half)
                rows += list(zip([design.trait] * len(half), design.regions, *observed, strict=True))
        statistics.append(np.concatenate(ratios))
    every = np.concatenate(statistics, axis=1)
    table = pd.DataFrame(rows, columns=[TRAIT, REGION, "difference", SE, LOW, HIGH])
    # Equal labellings must not differ by rounding.
    table[P] = (every.max(axis=1, keepdims=True) >= every[0] - 1e-12).mean(axis=0)
    table["p_uncorrected"] = (every >= every[0] - 1e-12).mean(axis=0)
    table.insert(2, "group_1", pair[0])
    table.insert(3, "group_2", pair[1])
    return table


def _crossed_error(groups: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Compute standard errors over raters and faces, and degrees of freedom: (labelling, region).

    Groups are members (labelling, rater) and influences (labelling, rater, base, region); they have different
    raters and the same faces. The degrees of freedom follow Satterthwaite (1946, doi:10.2307/3002019).
    """
    faces = _clustered(sum(influence.sum(axis=1) for _, influence in groups))
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


def _clustered(influence: np.ndarray) -> np.ndarray:
    """Compute the variance of a sum over clusters (labelling, cluster, region)."""
    number = influence.shape[1]
    return np.asarray((influence**2).sum(axis=1) * number / max(number - 1, 1))


def _two_sided(values: np.ndarray, error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Return p-values of the t-test; 1 if nothing varies."""
    ratio = np.abs(values) / np.where(error > 0, error, np.inf)
    return np.asarray(2 * stats.t.sf(ratio, freedom))


def _remove_means(columns: np.ndarray, *clusters: np.ndarray) -> np.ndarray:
    """Remove the means of clusters of several kinds by alternating projections."""
    columns = columns.copy()
    scale = np.abs(columns).max() or 1.0
    for _ in range(SWEEPS):
        largest = 0.0
        for cluster in clusters:
            number = int(cluster.max()) + 1
            counts = np.maximum(np.bincount(cluster, minlength=number), 1)
            means = _add_up(columns, cluster, number) / counts[:, None]
            columns -= means[cluster]
            largest = max(largest, float(np.abs(means).max()))
        if largest < 1e-10 * scale:
            break
    return columns


def _add_up(columns: np.ndarray, cluster: np.ndarray, number: int) -> np.ndarray:
    """Sum rows by cluster."""
    return np.stack([np.bincount(cluster, column, number) for column in columns.T], axis=1)
