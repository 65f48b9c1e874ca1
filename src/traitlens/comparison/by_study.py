"""Test whether group differences replicate in a second study with other raters or other faces."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import GROUP, IMAGE, RATER, RATING, REGION, TRAIT
from traitlens.comparison.compared_groups import pairs_of_groups
from traitlens.comparison.group_pairs import GroupPair
from traitlens.comparison.permutation import holm
from traitlens.comparison.rater_tests import Sample, contrast, studentize
from traitlens.problems import Problem, TraitlensError
from traitlens.ratings.reliability import reliability_table
from traitlens.ratings.targets import make_targets

ALPHA = 0.05
FEWEST_CELLS = 3
"""Minimum number of effects for a comparison of patterns."""
EFFECT_COLUMNS = [
    "group_1", "group_2", "measure", TRAIT, REGION, "estimate_1", "low_1", "high_1", "estimate_2", "low_2",
    "high_2", "predicted_low", "predicted_high", "inside", "pooled", "pooled_low", "pooled_high",
    "p_1", "p_2_one_sided", "p_2_corrected", "replicated", "n_1", "n_2",
]  # fmt: skip
PATTERN_COLUMNS = [
    "group_1", "group_2", "measure", "n_effects", "similarity", "p", "p_corrected", "n_permutations",
]  # fmt: skip


@dataclass(frozen=True)
class _Effects:
    """Group differences of one measure in one study, observed and under permutation of raters."""

    cells: pd.DataFrame
    estimate: np.ndarray
    error: np.ndarray
    freedom: np.ndarray
    null: np.ndarray
    raters: np.ndarray

    @property
    def t(self) -> np.ndarray:
        """Estimates divided by their standard errors."""
        return studentize(self.estimate, self.error)


def compare_studies(
    first: tuple[pd.DataFrame, pd.DataFrame],
    second: tuple[pd.DataFrame, pd.DataFrame],
    *,
    within: Sequence[str] = (),
    permutations: int = 5000,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare the group differences of two studies, effect by effect and as patterns over all effects.

    Parameters
    ----------
    first, second : (DataFrame, DataFrame)
        Ratings (rater, group, image, trait, rating) and values of raters (rater, measure, trait, region,
        value; see `traitlens.comparison.rater_outcomes.rater_outcomes`) of the original study and of the
        replication. Groups, traits and regions that are not in both studies are left out.
    within : sequence of str, default ()
        Columns of raters within which labels are permuted, see `compare_means`.
    permutations : int, default 5000
        Number of permutations of the raters of the second study.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    effects : DataFrame
        group_1, group_2, measure, trait, region, estimate_1, low_1, high_1 (original, 95 %), estimate_2,
        low_2, high_2 (replication), predicted_low, predicted_high (95 % prediction interval of the
        replication's estimate), inside (whether the estimate is in that interval), pooled with pooled_low and
        pooled_high (inverse-variance mean of both), p_1 (original, t test), p_2_one_sided (replication, in
        the direction of the original, permutation of raters), p_2_corrected (Holm over effects that were
        significant in the original), replicated (whether it is at most .05), n_1, n_2 (raters).
    patterns : DataFrame
        group_1, group_2, measure, n_effects, similarity (cosine between the t values of both studies over
        traits and regions), p (one-sided, raters of the second study permuted), p_corrected (Holm over
        measures), n_permutations.

    Raises
    ------
    TraitlensError
        If the studies have no pair of groups and no trait in common.

    Notes
    -----
    The prediction interval contains the estimate of 95 % of exact replications (Patil, Peng and Leek 2016);
    its width includes the standard errors of both studies. An estimate inside the interval does not
    contradict the original, but is no evidence of a replication. That evidence is p_2_corrected and the p
    value of the pattern.
    """
    effects, patterns = [], []
    pairs = set(pairs_of_groups(first[0])) & set(pairs_of_groups(second[0]))
    for pair in sorted(pairs):
        studies = [
            _estimate_effects(values, GroupPair.of(ratings, pair, within, permutations, seed))
            for ratings, values in (first, second)
        ]
        for measure in (name for name in studies[0] if name in studies[1]):
            one, two = _common_effects(studies[0][measure], studies[1][measure])
            if not len(one.cells):
                continue
            shared = {"group_1": pair[0], "group_2": pair[1], "measure": measure}
            effects.append(_compare_effects(one, two).assign(**shared))
            if len(one.cells) >= FEWEST_CELLS:
                patterns.append(shared | _compare_patterns(one, two))
    if not effects:
        raise TraitlensError(
            Problem(
                "the studies have no two groups and no trait in common",
                "name groups and traits alike in both studies",
            )
        )
    table = pd.DataFrame(patterns, columns=PATTERN_COLUMNS)
    if len(table):
        table["p_corrected"] = holm(table["p"].to_numpy(float))
    return pd.concat(effects, ignore_index=True)[EFFECT_COLUMNS], table


def _estimate_effects(values: pd.DataFrame, pair: GroupPair) -> dict[str, _Effects]:
    """Estimate the group differences of one study in each measure."""
    values = values[values[RATER].isin(pair.raters) & values[TRAIT].isin(pair.ratings[TRAIT].unique())]
    return {
        str(measure): found
        for measure, own in values.groupby("measure", sort=False)
        if (found := _effects_of_measure(own, pair.raters, pair.sample)) is not None
    }


def _effects_of_measure(values: pd.DataFrame, raters: pd.Index, sample: Sample) -> _Effects | None:
    """Estimate the group differences of one measure, and their statistics under permutation."""
    first = (sample.labels == 0).astype(float)
    parts, cells, blocks = [], [], []
    for trait, own in values.groupby(TRAIT, sort=True, observed=True):
        wide = own.pivot_table(index=RATER, columns=REGION, values="value", observed=True).dropna()
        members = raters.get_indexer(wide.index)
        if np.bincount(sample.labels[members], minlength=2).min() < 3:
            continue
        basis = sample.nuisance(members)
        blocks.append((members, wide.to_numpy(), basis))
        parts.append(contrast(first[None, members], wide.to_numpy(), basis))
        cells.append(pd.DataFrame({TRAIT: str(trait), REGION: wide.columns.astype(str), "n": len(members)}))
    if not blocks:
        return None
    rows = [
        np.hstack(
            [
                studentize(*contrast((drawn[:, members] == 0).astype(float), own, basis)[:2])
                for members, own, basis in blocks
            ]
        )
        for drawn in sample.draw()
    ]
    table = pd.concat(cells, ignore_index=True)
    estimate, error, freedom = (np.concatenate([part[place][0] for part in parts]) for place in range(3))
    null = np.vstack([np.zeros((0, len(table))), *rows])
    return _Effects(table[[TRAIT, REGION]], estimate, error, freedom, null, table["n"].to_numpy())


def _common_effects(first: _Effects, second: _Effects) -> tuple[_Effects, _Effects]:
    """Select the effects that both studies have."""
    keys = [pd.MultiIndex.from_frame(one.cells) for one in (first, second)]
    shared = keys[0].intersection(keys[1], sort=False)
    return _select(first, keys[0].get_indexer(shared)), _select(second, keys[1].get_indexer(shared))


def _select(effects: _Effects, places: np.ndarray) -> _Effects:
    """Select effects by their indices."""
    return _Effects(
        effects.cells.iloc[places].reset_index(drop=True),
        effects.estimate[places],
        effects.error[places],
        effects.freedom[places],
        effects.null[:, places],
        effects.raters[places],
    )


def _compare_effects(first: _Effects, second: _Effects) -> pd.DataFrame:
    """Compare two studies effect by effect."""
    table = first.cells.copy()
    for number, study in enumerate((first, second), 1):
        width = stats.t.ppf(0.975, study.freedom) * study.error
        table[f"estimate_{number}"] = study.estimate
        table[f"low_{number}"], table[f"high_{number}"] = study.estimate - width, study.estimate + width
        table[f"n_{number}"] = study.raters
    total = np.hypot(first.error, second.error)
    below = first.error**4 / first.freedom + second.error**4 / second.freedom
    freedom = np.maximum(total**4 / np.maximum(below, 1e-300), 1)
    width = stats.t.ppf(0.975, freedom) * total
    table["predicted_low"], table["predicted_high"] = first.estimate - width, first.estimate + width
    table["inside"] = np.abs(second.estimate - first.estimate) <= width
    weights = [1 / np.maximum(study.error, 1e-150) ** 2 for study in (first, second)]
    pooled = (weights[0] * first.estimate + weights[1] * second.estimate) / sum(weights)
    width = stats.norm.ppf(0.975) / np.sqrt(sum(weights))
    table["pooled"], table["pooled_low"], table["pooled_high"] = pooled, pooled - width, pooled + width
    p_1 = 2 * stats.t.sf(np.abs(first.t), first.freedom)
    sign = np.sign(first.estimate)
    reached = (second.null * sign >= second.t * sign - 1e-12).sum(axis=0)
    p_2 = (reached + 1) / (len(second.null) + 1)
    corrected = np.full(len(table), np.nan)
    planned = p_1 <= ALPHA
    if planned.any():
        corrected[planned] = holm(p_2[planned])
    table["p_1"], table["p_2_one_sided"], table["p_2_corrected"] = p_1, p_2, corrected
    return table.assign(replicated=np.nan_to_num(corrected, nan=1.0) <= ALPHA)


def _compare_patterns(first: _Effects, second: _Effects) -> dict[str, float]:
    """Compare the patterns of effects of two studies by the cosine of their t values."""

    def cosine(rows: np.ndarray) -> np.ndarray:
        """Return the cosine of each row with the t values of the first study."""
        scale = np.linalg.norm(rows, axis=1) * np.linalg.norm(first.t)
        return np.where(scale > 0, rows @ first.t / np.where(scale > 0, scale, 1), 0)

    observed = float(cosine(second.t[None])[0])
    reached = int((cosine(second.null) >= observed - 1e-12).sum())
    return {
        "n_effects": len(first.cells),
        "similarity": observed,
        "p": (reached + 1) / (len(second.null) + 1),
        "n_permutations": len(second.null),
    }


def compare_mean_ratings(
    first: pd.DataFrame, second: pd.DataFrame, predicted: pd.DataFrame | None = None, seed: int = 0
) -> pd.DataFrame:
    """Correlate the mean ratings of two studies, and the first study's predictions with the second's ratings.

    Parameters
    ----------
    first, second : DataFrame
        rater, group, image, trait, rating. Images with the same name in both studies are the same image.
    predicted : DataFrame, optional
        image, group, trait, predicted; predictions of the second study's images by readouts of the first.
    seed : int, default 0
        Seed of the split halves.

    Returns
    -------
    DataFrame
        group, trait, what ("mean ratings": of the images in both studies; "prediction": of the images of the
        second study), r, ceiling (the highest r that the reliabilities allow), n_images. Rows with fewer than
        three images are left out.
    """
    targets = [make_targets(one).set_index([GROUP, TRAIT, IMAGE])[RATING] for one in (first, second)]
    reliability = [
        reliability_table(one, seed=seed).set_index([GROUP, TRAIT])["ceiling_r2"] for one in (first, second)
    ]
    rows = []
    for group, trait in reliability[0].index.intersection(reliability[1].index):
        own = [target.loc[group, trait] for target in targets]
        ceilings = [max(float(table.get((group, trait), np.nan)), 0) for table in reliability]
        both = pd.concat(own, axis=1, join="inner").dropna()
        if len(both) >= 3:
            rows.append((group, trait, "mean ratings", both, np.sqrt(ceilings[0] * ceilings[1])))
        if predicted is not None:
            chosen = predicted[(predicted[GROUP] == group) & (predicted[TRAIT] == trait)]
            made = chosen.set_index(IMAGE)["predicted"]
            both = pd.concat([made, own[1]], axis=1, join="inner").dropna()
            if len(both) >= 3:
                rows.append((group, trait, "prediction", both, np.sqrt(ceilings[1])))
    return pd.DataFrame(
        [
            {GROUP: group, TRAIT: trait, "what": what, "r": float(both.corr().iloc[0, 1]), "ceiling": ceiling,
             "n_images": len(both)}
            for group, trait, what, both, ceiling in rows
        ],
        columns=[GROUP, TRAIT, "what", "r", "ceiling", "n_images"],
    )  # fmt: skip
