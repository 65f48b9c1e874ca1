"""Test whether readouts predict the ratings of two groups equally well."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import GROUP, IMAGE, OBSERVED, PREDICTED, TRAIT
from traitlens.comparison.compared_groups import label_raters, ratings_of_pair
from traitlens.comparison.group_pairs import GroupPair, compare_each_pair
from traitlens.comparison.permutation import center, familywise_p, permutation_p
from traitlens.comparison.rater_tests import detectable
from traitlens.comparison.refitting import FeatureKernel, TraitDesign, make_designs
from traitlens.ratings.rating_matrix import RatingMatrix
from traitlens.ratings.reliability import split_half

_KEYS = [GROUP, TRAIT]


def compare_performance(
    ratings: pd.DataFrame,
    kernel: FeatureKernel,
    penalties: float | Mapping[str, float],
    *,
    groups: tuple[str, str] | None = None,
    within: Sequence[str] = (),
    permutations: int = 10_000,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Test whether readouts predict the ratings of two groups equally well, with raters as random factor.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    kernel : FeatureKernel
        Features and folds.
    penalties : float or mapping of str to float
        Ridge penalty of each trait.
    groups : (str, str), optional
        The first minus the second; all pairs if None.
    within : sequence of str, default ()
        Columns of raters within which labels are permuted, see `compare_means`.
    permutations : int, default 10000
        Number of permutations of raters; readouts are refitted in each.
    seed : int, default 0
        Seed of the random number generator.
    progress : callable, optional
        Called with the number of permutations since the last call.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, r_1, r_2, expected (difference of Fisher's z that is due to the numbers of
        raters, the mean under permutation), estimate (the difference minus the expected one), ci_low, ci_high
        (jackknife over raters within groups, for these images), statistic, p, p_corrected (family-wise over
        traits), detectable (smallest difference found with 80 % power), cohens_q (same as estimate),
        difference_r, n_1, n_2, n_permutations, smallest_p.

    Notes
    -----
    Mean ratings of more raters are less noisy and therefore better predicted. The difference of performance
    that is due to the numbers of raters is subtracted, so that the expected estimate is zero if the raters of
    both groups come from one population.
    """

    def compare(pair: GroupPair) -> pd.DataFrame:
        """Compare the performance of readouts between two groups."""
        designs = make_designs(pair.ratings, pair.raters, kernel, penalties)
        labels = pair.sample.labels

        def differences(block: np.ndarray) -> np.ndarray:
            """Compute differences of Fisher's z, an array of shape (labelling, trait)."""
            return np.column_stack(
                [_fisher_z(d, block == 0) - _fisher_z(d, block == 1) for d in designs.values()]
            )

        permuted = [np.zeros((0, len(designs)))]
        for block in pair.sample.draw():
            permuted.append(differences(block))
            if progress:
                progress(len(block))
        observed, null, expected = center(differences(labels[None])[0], np.vstack(permuted))
        z = [[_fisher_z(d, (labels == group)[None])[0] for d in designs.values()] for group in (0, 1)]
        scale = np.sqrt((np.vstack([observed, null]) ** 2).mean(axis=0))
        error, freedom = np.array([_jackknife_error(design, labels) for design in designs.values()]).T
        width = stats.t.ppf(0.975, freedom) * error
        table = pd.DataFrame({TRAIT: list(designs), "r_1": np.tanh(z[0]), "r_2": np.tanh(z[1])})
        table["expected"], table["estimate"] = expected, observed
        table["ci_low"], table["ci_high"] = observed - width, observed + width
        table["statistic"] = observed / np.where(scale > 0, scale, np.inf)
        table["p"], table["p_corrected"] = permutation_p(observed, null), familywise_p(observed, null)
        table["detectable"] = detectable(null, error)
        table["cohens_q"], table["difference_r"] = observed, table["r_1"] - table["r_2"]
        for name, group in (("n_1", 0), ("n_2", 1)):
            table[name] = [int((labels[design.members] == group).sum()) for design in designs.values()]
        return table.assign(n_permutations=len(null), smallest_p=pair.sample.smallest_p)

    return compare_each_pair(compare, ratings, groups, within, permutations, seed)


def _jackknife_error(design: TraitDesign, labels: np.ndarray) -> tuple[float, float]:
    """Compute the jackknife standard error over raters of a difference of Fisher's z, and its df."""
    parts, freedoms = [], []
    for group in (0, 1):
        members = design.members[labels[design.members] == group]
        n = len(members)
        without = np.tile(labels == group, (n, 1)).astype(float)
        without[np.arange(n), members] = 0
        z = _fisher_z(design, without)
        parts.append((n - 1) / n * float(((z - z.mean()) ** 2).sum()))
        freedoms.append(n - 1)
    total = sum(parts)
    below = sum(part**2 / freedom for part, freedom in zip(parts, freedoms, strict=True))
    return float(np.sqrt(total)), total**2 / below if below > 0 else float(sum(freedoms))


def _fisher_z(design: TraitDesign, weights: np.ndarray) -> np.ndarray:
    """Compute Fisher's z of the correlation of observed and predicted ratings, for each set of raters."""
    observed = design.targets(weights)
    predicted = observed @ design.prediction.T
    observed = observed - observed.mean(axis=1, keepdims=True)
    predicted = predicted - predicted.mean(axis=1, keepdims=True)
    scale = np.sqrt((observed**2).sum(axis=1) * (predicted**2).sum(axis=1))
    r = (observed * predicted).sum(axis=1) / np.where(scale > 0, scale, np.inf)
    z: np.ndarray = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
    return z


def match_reliability(
    ratings: pd.DataFrame,
    kernel: FeatureKernel,
    penalties: float | Mapping[str, float],
    *,
    groups: tuple[str, str],
    draws: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare performance between groups after drawing raters so that both groups are equally reliable.

    Parameters
    ----------
    ratings, kernel, penalties
        As for `compare_performance`.
    groups : (str, str)
        The groups.
    draws : int, default 100
        Number of random subsets of the raters of the more reliable group.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, reliability_1, reliability_2 (all raters), n_1, n_2 (raters used), r_1, r_2
        (means over draws), estimate (difference of Fisher's z, mean over draws), draws_low, draws_high (2.5th
        and 97.5th percentiles over draws; not a confidence interval). r_1 and all later columns are missing
        if the reliability of a group is unknown.

    Notes
    -----
    By the Spearman-Brown formula, a group of reliability a has reliability b with the share
    b (1 - a) / (a (1 - b)) of its raters.
    """
    both = ratings_of_pair(ratings, groups)
    raters, labels = label_raters(both, groups)
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for trait, design in make_designs(both, raters, kernel, penalties).items():
        members = [np.flatnonzero(labels[design.members] == group) for group in (0, 1)]
        blank = np.where(design.seen > 0, design.ratings, np.nan)
        reliability = [
            split_half(
                RatingMatrix(blank[own], pd.RangeIndex(len(own)), pd.RangeIndex(blank.shape[1])), 300, seed
            ).reliability
            for own in members
        ]
        if not np.isfinite(reliability).all():  # No two raters of a group rated the same images.
            blanks = dict.fromkeys(("r_1", "r_2", "estimate", "draws_low", "draws_high"), np.nan)
            rows.append(
                {"group_1": groups[0], "group_2": groups[1], TRAIT: trait}
                | {"reliability_1": reliability[0], "reliability_2": reliability[1]}
                | {"n_1": len(members[0]), "n_2": len(members[1])}
                | blanks
            )
            continue
        better = int(reliability[1] > reliability[0])
        a, b = (min(max(value, 0.01), 0.999) for value in (reliability[better], reliability[1 - better]))
        number = max(2, round(len(members[better]) * b * (1 - a) / (a * (1 - b))))
        used = [len(own) for own in members]
        used[better] = min(number, used[better])
        weights = [np.zeros((draws, len(raters))) for _ in range(2)]
        for group in (0, 1):
            for draw in range(draws):
                drawn = rng.choice(members[group], used[group], replace=False)
                weights[group][draw, design.members[drawn]] = 1
        z = [_fisher_z(design, weight) for weight in weights]
        low, high = np.quantile(z[0] - z[1], [0.025, 0.975])
        rows.append(
            {"group_1": groups[0], "group_2": groups[1], TRAIT: trait}
            | {"reliability_1": reliability[0], "reliability_2": reliability[1]}
            | {"n_1": used[0], "n_2": used[1], "r_1": np.tanh(z[0].mean()), "r_2": np.tanh(z[1].mean())}
            | {"estimate": float((z[0] - z[1]).mean()), "draws_low": low, "draws_high": high}
        )
    return pd.DataFrame(rows)


def transfer_table(
    predictions: pd.DataFrame, across: str = "group", reliability: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Correlate the predictions of each readout with the ratings of other groups, or of other traits.

    Parameters
    ----------
    predictions : DataFrame
        image, group, trait, observed, predicted (out of fold).
    across : {"group", "trait"}, default "group"
        Whether to predict the ratings of other groups or of other traits.
    reliability : DataFrame, optional
        Table of `reliability_table`, for the last two columns of the result.

    Returns
    -------
    DataFrame
        trait (or group), fitted_on, predicting, r, n, r_own (r of the readout with the ratings it was fitted
        to), predicts_other_better (whether r is larger than r_own; Keles et al. 2021), ratings_r (correlation
        of the two mean ratings), and if `reliability` is passed share_of_ceiling (r divided by the noise
        ceiling of the predicted ratings) and ratings_r_corrected (ratings_r corrected for attenuation; if
        near 1, r is lower than r_own only because the ratings are less reliable).
    """
    kept = TRAIT if across == GROUP else GROUP
    ceiling = None if reliability is None else reliability.set_index(_KEYS)["ceiling_r"]
    rows = []
    for fixed, part in predictions.groupby(kept, sort=True, observed=True):
        observed = part.pivot_table(index=IMAGE, columns=across, values=OBSERVED, observed=True)
        predicted = part.pivot_table(index=IMAGE, columns=across, values=PREDICTED, observed=True)
        for source in observed.columns:
            own = _correlate(pd.concat([predicted[source], observed[source]], axis=1).dropna().to_numpy())
            for target in observed.columns:
                both = pd.concat([predicted[source], observed[target]], axis=1).dropna().to_numpy()
                r = _correlate(both)
                shared = _correlate(observed[[source, target]].dropna().to_numpy())
                row = {kept: fixed, "fitted_on": source, "predicting": target, "r": r, "n": len(both)}
                row |= {"r_own": own, "predicts_other_better": bool(source != target and r > max(own, 0))}
                row["ratings_r"] = shared
                if ceiling is not None:
                    limits = [
                        float(ceiling[(name, fixed) if across == GROUP else (fixed, name)])
                        for name in (source, target)
                    ]
                    both_limits = limits[0] * limits[1]  # It is 0 if raters do not agree.
                    row["share_of_ceiling"] = r / limits[1] if limits[1] > 0 else np.nan
                    corrected = shared / both_limits if both_limits > 0 else np.nan
                    row["ratings_r_corrected"] = 1.0 if source == target else corrected
                rows.append(row)
    return pd.DataFrame(rows)


def _correlate(pairs: np.ndarray) -> float:
    """Correlate two columns; NaN if there are fewer than three rows or a column is constant."""
    if len(pairs) < 3 or (np.ptp(pairs, axis=0) == 0).any():
        return np.nan
    return float(np.corrcoef(pairs.T)[0, 1])
