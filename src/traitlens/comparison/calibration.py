"""False positive rate and power of the test of cue utilisation in simulated studies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from threadpoolctl import threadpool_limits

from traitlens.columns import REGION, TRAIT
from traitlens.comparison.answers import ALPHA
from traitlens.comparison.planted_faces import REGIONS, Condition, PlantedFaces
from traitlens.comparison.use_test import UseTest
from traitlens.comparison.utilisation import Progress
from traitlens.problems import Problem, TraitlensError
from traitlens.study.simulated_raters import RatingBehaviour

NULL_CONDITIONS: tuple[Condition, ...] = (
    Condition("20 and 20 raters"),
    Condition("12 and 40 raters", (12, 40)),
    Condition("each rater sees 30 % of the faces", seen=0.3),
    Condition("range x 0.7 in one group", first=RatingBehaviour(spread=1.6 * 0.7)),
    Condition("noise x 2 in one group", first=RatingBehaviour(noise=2.0)),
    Condition("noise x 2 in the 12 of 12 and 60", (12, 60), first=RatingBehaviour(noise=2.0)),
    Condition("level -1 in one group, with a floor", first=RatingBehaviour(level=-1.0)),
)
"""Conditions without a difference of cue utilisation."""

PLANTED_CONDITIONS: tuple[Condition, ...] = (
    Condition("difference 0.4", difference=0.4),
    Condition("difference 0.6", difference=0.6),
    Condition("difference 0.6, 60 and 60 raters", (60, 60), difference=0.6),
)
"""Conditions in which groups use two regions differently for some traits."""

SHARES_OF_STUDIES = ("any region called", "wrong place called", "background called")
"""Measures that are proportions of studies."""
OUTSIDE = "background"
_TASTE = 0.2
"""Share of the residual variance of a pilot study that is attributed to private taste."""


@dataclass(frozen=True)
class Calibration:
    """Error rates and power over simulated studies.

    Parameters
    ----------
    rates : DataFrame
        A row per condition and measure: condition, difference, n_1, n_2 (raters), measure, estimate, low,
        high (95 % Monte Carlo interval), studies. Measures: "any region called" (the family-wise error if no
        difference was planted), "wrong place called", "background called", "power per planted place" and
        "correlation with the planted differences" (over traits and regions; mean over studies).
    places : DataFrame
        A row per condition, trait and region: difference, planted (true difference of the weights), estimate
        (mean difference of the profiles), called (proportion of studies), studies.
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
    """Estimate error rates and power of the test of cue utilisation in studies with simulated raters.

    Parameters
    ----------
    faces : PlantedFaces
        Faces of all studies. Raters are new in each study, and cues are fitted to their ratings.
    conditions : sequence of Condition
        Conditions of the studies.
    studies : int, default 100
        Number of studies per condition.
    draws : int, default 200
        Number of bootstrap draws per study.
    seed : int, default 0
        Seed of the random number generator.
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
    tables = [_test_condition(faces, condition, studies, draws, seed, progress) for condition in conditions]
    rates, places = zip(*tables, strict=True) if tables else ((), ())
    return Calibration(pd.concat(rates, ignore_index=True), pd.concat(places, ignore_index=True))


def _test_condition(
    faces: PlantedFaces, condition: Condition, studies: int, draws: int, seed: int, progress: Progress
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulate and test the studies of one condition; return the tables of :class:`Calibration`."""
    planted = faces.planted & (condition.difference != 0)
    true = faces.true_differences(condition.difference)
    shape = (studies, *planted.shape)
    called, estimates = np.zeros(shape, bool), np.zeros(shape)
    # The matrices are small, so threads would only add overhead.
    with threadpool_limits(1):
        for number in range(studies):
            design, cues = faces.simulate_study(condition, seed * 1_000_003 + number)
            test = UseTest(design, np.zeros(len(design.raters), int), draws, number)
            test.added = test.learning_variance(cues.relearn)
            estimates[number], p = test.profile_differences()
            called[number] = p <= ALPHA
            if progress:
                progress(1)
    shared = {"condition": condition.name, "difference": condition.difference}
    shared |= {"n_1": condition.raters[0], "n_2": condition.raters[1]}
    outside = np.array([region == OUTSIDE for region in faces.regions])
    wrong = called & ~planted
    counted = (called.any(axis=(1, 2)), wrong.any(axis=(1, 2)), wrong[:, :, outside].any(axis=(1, 2)))
    rows = []
    for measure, hits in zip(SHARES_OF_STUDIES, counted, strict=True):
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


def pool_rates(rates: pd.DataFrame) -> pd.DataFrame:
    """Pool the rates of several sets of faces and traits.

    Parameters
    ----------
    rates : DataFrame
        Rates of :class:`Calibration` for all sets, concatenated.

    Returns
    -------
    DataFrame
        The same columns, with a row per condition and measure: means over all studies. Intervals of
        proportions are exact; others are computed from the intervals of the sets, which are independent.
    """
    rows = []
    for _, part in rates.groupby(["condition", "measure"], sort=False):
        studies = int(part["studies"].sum())
        estimate = float((part["estimate"] * part["studies"]).sum() / studies)
        if part["measure"].iloc[0] in SHARES_OF_STUDIES:
            low, high = stats.binomtest(round(estimate * studies), studies).proportion_ci(0.95, "exact")
        else:
            width = np.sqrt((((part["estimate"] - part["low"]) * part["studies"]) ** 2).sum()) / studies
            low, high = estimate - width, min(estimate + width, 1.0)
        kept = part.iloc[0][["condition", "difference", "n_1", "n_2", "measure"]].to_dict()
        rows.append(kept | {"estimate": estimate, "low": low, "high": high, "studies": studies})
    return pd.DataFrame(rows)


def estimate_power(
    faces: PlantedFaces,
    differences: Sequence[float] = (0.2, 0.4, 0.6),
    raters: Sequence[int] = (10, 20, 40, 80),
    behaviour: RatingBehaviour | None = None,
    *,
    studies: int = 100,
    draws: int = 200,
    seed: int = 0,
    progress: Progress = None,
) -> pd.DataFrame:
    """Estimate the power to find a difference in cue utilisation.

    Parameters
    ----------
    faces : PlantedFaces
        Faces, such as :func:`traitlens.comparison.face_sets.synthetic_faces`.
    differences : sequence of float
        Differences between the groups' weights of regions, which have length 1.
    raters : sequence of int
        Numbers of raters per group.
    behaviour : RatingBehaviour, optional
        Variation of raters around the weights of their group, such as :func:`behaviour_of_pilot`.
    studies : int, default 100
        Number of simulated studies per difference and number of raters.
    draws : int, default 200
        Number of bootstrap draws per study.
    seed : int, default 0
        Seed of the random number generator.
    progress : callable, optional
        Called after each study.

    Returns
    -------
    DataFrame
        Rates of :class:`Calibration`.
    """
    own = behaviour or RatingBehaviour()
    conditions = [
        Condition(f"difference {difference:g}, {number} raters", (number, number), difference, own, own)
        for number in raters
        for difference in differences
    ]
    return calibrate(faces, conditions, studies, draws=draws, seed=seed, progress=progress).rates


def behaviour_of_pilot(reliability: pd.DataFrame) -> RatingBehaviour:
    """Estimate noise, taste and levels of raters from the reliability table of a pilot study.

    Returns
    -------
    RatingBehaviour
        Standard deviations relative to that of the shared impression, medians over groups and traits. A fifth
        of the residual variance is attributed to taste, divided among eight regions, and the rest to noise;
        only repeated ratings could separate the two.

    Raises
    ------
    TraitlensError
        If the pilot's raters do not agree.
    """
    known = reliability[reliability["var_image"] > 0]
    if known.empty:
        raise TraitlensError(
            Problem("the raters of the pilot study do not agree", "estimate power from another pilot study")
        )
    residual = float((known["var_residual"] / known["var_image"]).median())
    level = float((known["var_rater"].clip(lower=0) / known["var_image"]).median())
    spread = RatingBehaviour().spread
    return RatingBehaviour(
        noise=float(spread * np.sqrt(residual * (1 - _TASTE))),
        taste=float(np.sqrt(residual * _TASTE / len(REGIONS))),
        bias=float(spread * np.sqrt(level)),
    )
