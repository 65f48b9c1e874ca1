"""How often the test of use errs, and what it finds, in simulated studies whose truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from threadpoolctl import threadpool_limits

from traitlens.comparison.by_use import ALPHA, PairTest, Progress
from traitlens.comparison.planted_faces import Condition, PlantedFaces
from traitlens.study.raters import RatingBehaviour
from traitlens.words import REGION, TRAIT

NULL_CONDITIONS: tuple[Condition, ...] = (
    Condition("20 and 20 raters"),
    Condition("12 and 40 raters", (12, 40)),
    Condition("each rater sees 30 % of the faces", seen=0.3),
    Condition("range x 0.7 in one group", first=RatingBehaviour(spread=1.6 * 0.7)),
    Condition("noise x 2 in one group", first=RatingBehaviour(noise=2.0)),
    Condition("noise x 2 in the 12 of 12 and 60", (12, 60), first=RatingBehaviour(noise=2.0)),
    Condition("level -1 in one group, with a floor", first=RatingBehaviour(level=-1.0)),
)
"""Studies without a difference of use."""

PLANTED_CONDITIONS: tuple[Condition, ...] = (
    Condition("difference 0.4", difference=0.4),
    Condition("difference 0.6", difference=0.6),
    Condition("difference 0.6, 60 and 60 raters", (60, 60), difference=0.6),
)
"""Studies in which groups use two regions of some traits differently."""

OUTSIDE = "background"


@dataclass(frozen=True)
class Calibration:
    """What was counted over simulated studies.

    Parameters
    ----------
    rates : DataFrame
        A row per condition and measure: condition, difference, n_1, n_2 (raters), measure, estimate, low,
        high (95 % Monte Carlo interval), studies. Measures: "any region called" (with no planted difference
        the family-wise error), "wrong place called", "background called", "power per planted place" and
        "correlation with the planted differences" (over traits and regions, means over studies).
    places : DataFrame
        A row per condition, trait and region: difference, planted (true difference of the weights), estimate
        (mean difference of the profiles), called (share of studies), studies.
    """

    rates: pd.DataFrame
    places: pd.DataFrame

    def __str__(self) -> str:
        return self.rates.to_string(index=False)


def calibrate(
    faces: PlantedFaces,
    conditions: Sequence[Condition] = (*NULL_CONDITIONS, *PLANTED_CONDITIONS),
    studies: int = 100,
    *,
    draws: int = 200,
    seed: int = 0,
    progress: Progress = None,
) -> Calibration:
    """Count errors and findings of the test of use: the same faces, new raters in each study.

    Parameters
    ----------
    faces : PlantedFaces
        The faces. Cues are fitted anew to the ratings of each study.
    conditions : sequence of Condition
        What the studies are like.
    studies : int, default 100
        Studies of each condition.
    draws : int, default 200
        Bootstrap draws in each.
    seed : int, default 0
        Seed.
    progress : callable, optional
        Called after each study.

    Returns
    -------
    Calibration
        Rates with Monte Carlo intervals.

    Examples
    --------
    >>> calibrate(simulate_faces(), studies=2, draws=20).rates["measure"].nunique()  # doctest: +SKIP
    5
    """
    tables = [_count(faces, condition, studies, draws, seed, progress) for condition in conditions]
    rates, places = zip(*tables, strict=True) if tables else ((), ())
    return Calibration(pd.concat(rates, ignore_index=True), pd.concat(places, ignore_index=True))


def _count(
    faces: PlantedFaces, condition: Condition, studies: int, draws: int, seed: int, progress: Progress
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run the studies of one condition: rates and places."""
    planted = faces.planted & (condition.difference != 0)
    true = faces.true_differences(condition.difference)
    shape = (studies, *planted.shape)
    called, estimates = np.zeros(shape, bool), np.zeros(shape)
    # The matrices are small: threads would wait for one another longer than they work.
    with threadpool_limits(1):
        for number in range(studies):
            design = faces.study(condition, seed * 1_000_003 + number)
            test = PairTest(design, np.zeros(len(design.raters), int), draws, number)
            estimates[number], p = test.profile_differences()
            called[number] = p <= ALPHA
            if progress:
                progress(1)
    shared = {"condition": condition.name, "difference": condition.difference}
    shared |= {"n_1": condition.raters[0], "n_2": condition.raters[1]}
    outside = np.array([region == OUTSIDE for region in faces.regions])
    counted = {
        "any region called": called.any(axis=(1, 2)),
        "wrong place called": (called & ~planted).any(axis=(1, 2)),
        "background called": (called & ~planted)[:, :, outside].any(axis=(1, 2)),
    }
    rows = []
    for measure, hits in counted.items():
        low, high = stats.binomtest(int(hits.sum()), studies).proportion_ci(0.95, "exact")
        rows.append({"measure": measure, "estimate": hits.mean(), "low": low, "high": high})
    if planted.any():
        power = called[:, planted].mean(axis=1)
        related = np.array([np.corrcoef(one.ravel(), true.ravel())[0, 1] for one in estimates])
        for measure, values in (
            ("power per planted place", power),
            ("correlation with the planted differences", related),
        ):
            width = stats.norm.ppf(0.975) * values.std(ddof=1) / np.sqrt(studies) if studies > 1 else np.nan
            low, high = values.mean() - width, min(values.mean() + width, 1.0)
            rows.append({"measure": measure, "estimate": values.mean(), "low": low, "high": high})
    rates = pd.DataFrame([shared | row | {"studies": studies} for row in rows])
    places = pd.DataFrame(
        [
            shared
            | {TRAIT: trait, REGION: region, "planted": true[place] if planted[place] else 0.0}
            | {
                "estimate": estimates[:, *place].mean(),
                "called": called[:, *place].mean(),
                "studies": studies,
            }
            for place, (trait, region) in zip(
                np.ndindex(planted.shape),
                [(trait, region) for trait in faces.traits for region in faces.regions],
                strict=True,
            )
        ]
    )
    return rates, places
