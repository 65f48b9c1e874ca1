"""Simulated studies: how often the tests err, where they find a difference, and how many raters it needs.

The faces stay and raters are drawn anew for each study; what differs between groups is known, so that error
rates and power can be counted. Faces are synthetic features (seconds, for planning) or drawn faces seen by
the network (`traitlens validate`): what both give is a `KnownFaces`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats
from threadpoolctl import threadpool_limits

from traitlens.comparison.by_performance import compare_performance
from traitlens.comparison.by_region import Progress, compare_regions
from traitlens.comparison.by_reliability import compare_reliability
from traitlens.comparison.known_faces import Design, KnownFaces
from traitlens.comparison.penalty import choose_common_penalties
from traitlens.problems import Problem, TraitlensError
from traitlens.words import REGION, TRAIT

TESTS = ("region", "performance", "reliability")
_TASTE = 0.2
"""Part of the residual variance that is private taste; the default design has the same."""


@dataclass(frozen=True)
class Validation:
    """What was counted over simulated studies.

    Parameters
    ----------
    rates : DataFrame
        A row per test ("region", "performance", "reliability"): difference, n_1, n_2 (raters), n_images,
        studies, significant (number of studies with any corrected p at or below alpha), estimate (their
        rate), ci_low, ci_high (95 %, Clopper-Pearson), right_region (rate of studies whose largest
        significant effect lies where a difference was planted: the largest difference per pixel, since
        regions are of very unequal size; regions only).
    places : DataFrame
        A row per trait and region: difference, n_1, planted, largest (number of studies in which the cell had
        the largest significant effect of all), significant (number of studies in which it was significant),
        studies.
    """

    rates: pd.DataFrame
    places: pd.DataFrame

    def __str__(self) -> str:
        return self.rates.to_string(index=False)


def validate(
    faces: KnownFaces | None = None,
    difference: float = 0.0,
    raters: tuple[int, int] = (20, 20),
    *,
    studies: int = 200,
    permutations: int = 499,
    summary: str = "aligned",
    alpha: float = 0.05,
    seed: int = 0,
    progress: Progress = None,
) -> Validation:
    """Count errors and finds over simulated studies: same faces, new raters each time.

    Parameters
    ----------
    faces : KnownFaces, optional
        The faces; synthetic ones of the default `Design` where missing.
    difference : float, default 0
        How far the groups differ; 0 gives the rate of false positives.
    raters : (int, int), default (20, 20)
        Raters of the groups.
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
    Validation
        Rates of each test, and the regions that were found.

    Examples
    --------
    >>> validate(KnownFaces.of(Design()), studies=2, permutations=19).rates["test"].tolist()
    ['region', 'performance', 'reliability']
    """
    faces = faces or KnownFaces.of(Design(), seed)
    planted = faces.planted(difference)
    found = Counter(dict.fromkeys(TESTS, 0))
    largest: Counter[tuple[str, str]] = Counter()
    cells: Counter[tuple[str, str]] = Counter()
    # The matrices are small: threads would wait for one another longer than they work.
    with threadpool_limits(1):
        for study in range(studies):
            ratings = faces.rate(raters, difference, seed * 1_000_003 + study)
            penalties = choose_common_penalties(ratings, faces.operator, faces.identities, seed)
            tables = {
                "region": compare_regions(
                    ratings, faces.operator, penalties, summary=summary, permutations=permutations, seed=study
                ),
                "performance": compare_performance(
                    ratings, faces.operator, penalties, permutations=permutations, seed=study
                ),
                "reliability": compare_reliability(ratings, splits=20, permutations=permutations, seed=study),
            }
            found.update(test for test, table in tables.items() if table["p_corrected"].min() <= alpha)
            regions = tables["region"].set_index([TRAIT, REGION])
            significant = regions[regions["p_corrected"] <= alpha]
            cells.update(significant.index)
            if len(significant):
                largest[_effects(significant).abs().idxmax()] += 1
            if progress:
                progress(1)
    right = sum(count for cell, count in largest.items() if cell in planted)
    shared = {
        "difference": difference,
        "n_1": raters[0],
        "n_2": raters[1],
        "n_images": len(faces.operator.images),
        "studies": studies,
    }
    rows = []
    for test in TESTS:
        low, high = stats.binomtest(found[test], studies).proportion_ci(0.95, "exact")
        rows.append(
            {"test": test, **shared, "significant": found[test], "estimate": found[test] / studies}
            | {"ci_low": low, "ci_high": high}
            | {"right_region": right / studies if test == "region" and planted else np.nan}
        )
    places = [
        {TRAIT: cell[0], REGION: cell[1], **shared, "planted": cell in planted}
        | {"largest": largest[cell], "significant": cells[cell]}
        for cell in regions.index
    ]
    return Validation(pd.DataFrame(rows), pd.DataFrame(places))


def _effects(regions: pd.DataFrame) -> pd.Series:
    """Differences per pixel; plain ones where regions have no areas."""
    known = regions["estimate_per_pixel"].notna().all()
    return regions["estimate_per_pixel" if known else "estimate"]


def power(
    faces: KnownFaces | None = None,
    differences: Sequence[float] = (0.25, 0.5, 1.0),
    raters: Sequence[int] = (10, 20, 40, 80),
    *,
    studies: int = 100,
    permutations: int = 199,
    seed: int = 0,
    progress: Progress = None,
) -> pd.DataFrame:
    """Tell how often a difference would be found, before data are collected.

    Parameters
    ----------
    faces : KnownFaces, optional
        The faces; synthetic ones of the default `Design` where missing.
    differences : sequence of float
        Differences to try.
    raters : sequence of int
        Numbers of raters per group to try.
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
        As `Validation.rates`, rows for each number of raters and difference; `estimate` is the power.
    """
    faces = faces or KnownFaces.of(Design(), seed)
    tables = [
        validate(
            faces,
            difference,
            (number, number),
            studies=studies,
            permutations=permutations,
            seed=seed,
            progress=progress,
        ).rates
        for number in raters
        for difference in differences
    ]
    return pd.concat(tables, ignore_index=True)


def design_of_pilot(reliability: pd.DataFrame, design: Design | None = None) -> Design:
    """Take noise and levels of the simulated raters from a pilot.

    Parameters
    ----------
    reliability : DataFrame
        Of `reliability_table`: var_image, var_rater, var_residual.
    design : Design, optional
        Everything else.

    Returns
    -------
    Design
        With the pilot's standard deviations beside one of the true impression, medians over groups and
        traits. Of the residual a fifth is taken as private taste and the rest as noise: only repeats could
        part them.
    """
    known = reliability[reliability["var_image"] > 0]
    if known.empty:
        raise TraitlensError(
            Problem("the pilot's raters agree in nothing", "power cannot be told from this pilot")
        )
    residual = float((known["var_residual"] / known["var_image"]).median())
    level = float((known["var_rater"].clip(lower=0) / known["var_image"]).median())
    taste, noise = np.sqrt(residual * _TASTE), np.sqrt(residual * (1 - _TASTE))
    return replace(design or Design(), taste=float(taste), noise=float(noise), level=float(np.sqrt(level)))
