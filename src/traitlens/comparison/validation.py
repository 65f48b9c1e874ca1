"""Simulated studies: how often the tests err, and how many raters a difference needs.

Faces are synthetic features by region, raters are weights on regions with their own taste and noise; what
differs between groups is known, so that error rates and power can be counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.comparison.by_performance import compare_performance
from traitlens.comparison.by_region import Progress, compare_regions
from traitlens.comparison.operator import RegionOperator
from traitlens.words import GROUP, IMAGE, RATER, RATING, REGION, TRAIT

REGIONS = ("brows", "eyes", "nose", "mouth", "cheeks", "chin", "forehead", "hair")


@dataclass(frozen=True)
class Design:
    """What a simulated study looks like.

    Parameters
    ----------
    raters : (int, int), default (20, 20)
        Raters of each group.
    images : int, default 80
        Faces, one identity each.
    traits : int, default 3
        Traits, each rated by all raters.
    regions : tuple of str
        Regions; the readouts' features are parted among them.
    planted : tuple of str, default ("mouth",)
        Regions that the second group uses more.
    difference : float, default 0.5
        How much more, in standard deviations of the first group's true impression that the planted
        regions' own impression adds.
    taste : float, default 0.5
        Standard deviation of a rater's own way of judging, beside one for the shared impression.
    noise : float, default 1.0
        Standard deviation of noise of a judgement, beside the same.
    level : float, default 0.5
        Standard deviation of raters' mean levels.
    features : int, default 6
        Features of a region.
    folds : int, default 5
        Folds.
    penalty : float, default 20
        Ridge penalty.
    """

    raters: tuple[int, int] = (20, 20)
    images: int = 80
    traits: int = 3
    regions: tuple[str, ...] = field(default=REGIONS)
    planted: tuple[str, ...] = ("mouth",)
    difference: float = 0.5
    taste: float = 0.5
    noise: float = 1.0
    level: float = 0.5
    features: int = 6
    folds: int = 5
    penalty: float = 20.0


def simulate_faces(design: Design, seed: int = 0) -> tuple[RegionOperator, np.ndarray]:
    """Draw faces as features by region.

    Parameters
    ----------
    design : Design
        The study.
    seed : int, default 0
        Seed.

    Returns
    -------
    operator : RegionOperator
        Kernels of gradient times input, whose relevance conserves the prediction.
    features : ndarray of shape (region, image, feature)
        The features, centred.
    """
    rng = np.random.default_rng([seed, 1])
    shape = (len(design.regions), design.images, design.features)
    # Parts of one face go together a little, as faces do.
    features = rng.normal(size=shape) + 0.5 * rng.normal(size=shape[1:])
    features -= features.mean(axis=1, keepdims=True)
    kernels = features @ features.transpose(0, 2, 1)
    names = tuple(f"face{number:04d}" for number in range(design.images))
    folds = rng.permutation(np.arange(design.images) % design.folds)
    return RegionOperator(names, design.regions, folds, kernels.sum(axis=0), kernels), features


def simulate_ratings(design: Design, features: np.ndarray, seed: int) -> pd.DataFrame:
    """Draw raters of two groups and their ratings of given faces.

    Parameters
    ----------
    design : Design
        The study.
    features : ndarray of shape (region, image, feature)
        Of `simulate_faces`.
    seed : int
        Seed of traits and raters.

    Returns
    -------
    DataFrame
        rater, group ("a", "b"), image, trait, rating (standard deviation of the true impression is 1).
    """
    rng = np.random.default_rng([seed, 2])
    planted = np.isin(design.regions, design.planted)
    parts = []
    for trait in range(design.traits):
        weights = rng.normal(size=(len(design.regions), design.features))
        by_region = np.einsum("gif,gf->gi", features, weights)
        truth = by_region.sum(axis=0)
        scale = truth.std()
        extra = by_region[planted].sum(axis=0) if planted.any() else np.zeros(design.images)
        extra = extra / max(extra.std(), 1e-12)
        for group, number, share in zip("ab", design.raters, (0.0, design.difference), strict=True):
            own = np.einsum("gif,rgf->ri", features, rng.normal(size=(number, *weights.shape)))
            values = (
                truth / scale
                + share * extra
                + design.taste * own / scale
                + design.noise * rng.normal(size=own.shape)
                + design.level * rng.normal(size=(number, 1))
            )
            table = pd.DataFrame(
                values,
                index=[f"{group}{rater:03d}" for rater in range(number)],
                columns=[f"face{image:04d}" for image in range(design.images)],
            )
            long = table.rename_axis(RATER).reset_index().melt(RATER, var_name=IMAGE, value_name=RATING)
            parts.append(long.assign(**{GROUP: group, TRAIT: f"trait{trait + 1}"}))
    return pd.concat(parts, ignore_index=True)


def validate(
    design: Design | None = None,
    *,
    studies: int = 200,
    permutations: int = 499,
    summary: str = "aligned",
    alpha: float = 0.05,
    seed: int = 0,
    progress: Progress = None,
) -> pd.DataFrame:
    """Count errors and finds over simulated studies: same faces, new raters each time.

    Parameters
    ----------
    design : Design, optional
        The studies; a difference of 0 gives the rate of false positives.
    studies : int, default 200
        How many.
    permutations : int, default 499
        Exchanges of raters in each.
    summary : str, default "aligned"
        What the region test compares.
    alpha : float, default 0.05
        Level of the tests.
    seed : int, default 0
        Seed.
    progress : callable, optional
        Called after each study.

    Returns
    -------
    DataFrame
        One row per test ("region", "performance"): difference, n_1, n_2, n_images, studies, significant
        (number of studies with any corrected p at or below alpha), estimate (their rate), ci_low, ci_high
        (Clopper-Pearson), right_region (rate of studies whose largest effect is planted; regions only).

    Examples
    --------
    >>> validate(Design(difference=0.0), studies=2, permutations=19)["test"].tolist()
    ['region', 'performance']
    """
    design = design or Design()
    operator, features = simulate_faces(design, seed)
    found = {"region": 0, "performance": 0}
    right = 0
    for study in range(studies):
        ratings = simulate_ratings(design, features, seed * 1_000_003 + study)
        regions = compare_regions(
            ratings, operator, design.penalty, summary=summary, permutations=permutations, seed=study
        )
        performance = compare_performance(
            ratings, operator, design.penalty, permutations=permutations, seed=study
        )
        found["region"] += bool(regions["p_corrected"].min() <= alpha)
        found["performance"] += bool(performance["p_corrected"].min() <= alpha)
        right += regions.loc[regions["statistic"].abs().idxmax(), REGION] in design.planted
        if progress:
            progress(1)
    rows = []
    for test, count in found.items():
        low, high = stats.binomtest(count, studies).proportion_ci(0.95, "exact")
        rows.append(
            {
                "test": test,
                "difference": design.difference,
                "n_1": design.raters[0],
                "n_2": design.raters[1],
                "n_images": design.images,
                "studies": studies,
                "significant": count,
                "estimate": count / studies,
                "ci_low": low,
                "ci_high": high,
                "right_region": right / studies
                if test == "region" and design.difference and design.planted
                else np.nan,
            }
        )
    return pd.DataFrame(rows)


def power(
    raters: Sequence[int] = (10, 20, 40, 80),
    differences: Sequence[float] = (0.25, 0.5, 1.0),
    design: Design | None = None,
    *,
    studies: int = 100,
    permutations: int = 199,
    seed: int = 0,
    progress: Progress = None,
) -> pd.DataFrame:
    """Tell how often a difference would be found, before data are collected.

    Parameters
    ----------
    raters : sequence of int
        Numbers of raters per group to try.
    differences : sequence of float
        Differences to try, in standard deviations of the true impression.
    design : Design, optional
        Everything else.
    studies : int, default 100
        Simulated studies each.
    permutations : int, default 199
        Exchanges in each study.
    seed : int, default 0
        Seed.
    progress : callable, optional
        Called after each study.

    Returns
    -------
    DataFrame
        As of `validate`, rows for each number of raters and difference; `estimate` is the power.
    """
    base = (design or Design()).__dict__
    tables = [
        validate(
            Design(**{**base, "raters": (number, number), "difference": difference}),
            studies=studies,
            permutations=permutations,
            seed=seed,
            progress=progress,
        )
        for number in raters
        for difference in differences
    ]
    return pd.concat(tables, ignore_index=True)
