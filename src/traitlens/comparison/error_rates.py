"""Error rates of tests and coverage of intervals in simulated studies whose true values are known."""

from collections.abc import Callable, Iterable
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import xarray as xr
from scipy import ndimage, stats

from traitlens.columns import GROUP, IMAGE, RATER, RATING, TRAIT, X, Y
from traitlens.comparison.answers import ALPHA
from traitlens.comparison.by_agreement import compare_agreement
from traitlens.comparison.by_face_type import compare_face_types, predict_difference
from traitlens.comparison.by_formula import compare_by_formula
from traitlens.comparison.by_image import compare_images
from traitlens.comparison.by_missing import compare_missing
from traitlens.comparison.by_performance import compare_performance
from traitlens.comparison.by_pixel import compare_pixels
from traitlens.comparison.by_rating import compare_means
from traitlens.comparison.by_reliability import compare_reliability
from traitlens.comparison.by_taste import compare_taste
from traitlens.comparison.by_trait_space import compare_trait_space
from traitlens.comparison.by_variable import compare_by_variable
from traitlens.comparison.lens_design import make_design
from traitlens.comparison.permutation import find_strata
from traitlens.comparison.rater_outcomes import MEASURES, rater_outcomes
from traitlens.comparison.rater_tests import Options
from traitlens.comparison.simulated_ratings import DESIGNS, PLANTED, Faces, StudyDesign, draw_ratings
from traitlens.comparison.utilisation import rater_utilisation
from traitlens.ratings.rating_matrix import make_matrix
from traitlens.readouts.performance import (
    correlation,
    jackknife_intervals,
    outside_means,
    permutation_p_of_r,
)
from traitlens.readouts.refit import Refit

CONFIRMATORY = ("means", "reliability", "performance")
"""Tests that the section "In short" of the report counts together."""
PENALTY = 60.0
"""Ridge penalty of simulated readouts, in units of the kernel."""

Job = tuple[StudyDesign, str, int, tuple[int, int]]
Run = Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]]
"""Function that applies a function to each item of a list: `map`, or the `map` of a pool of processes."""


class OptionsWithoutStrata(TypedDict):
    """Options of permutation tests that have no option `within`."""

    permutations: int
    seed: int


def rating_tests(ratings: pd.DataFrame, faces: Faces, options: Options) -> dict[str, pd.DataFrame]:
    """Run all tests of group differences in ratings on a simulated study.

    Returns
    -------
    dict of str to DataFrame
        Table of each test, by name.
    """
    agreement = compare_agreement(ratings, **options)
    space = compare_trait_space(ratings, **options)
    images = compare_images(ratings, **options)
    return {
        "means": compare_means(ratings, **options),
        "reliability": compare_reliability(ratings, splits=50, **options),
        "agreement": agreement[agreement["measure"] == "agreement"],
        "spread": agreement[agreement["measure"] == "spread"],
        **_taste_tests(ratings, options),
        "images": images,
        "interaction": images.drop_duplicates(TRAIT).assign(p_corrected=images["p_interaction"]),
        "trait_space": space,
        "similarity": space.head(1).assign(p_corrected=space["similarity_p"]),
        "missing": compare_missing(ratings, **options),
    } | _if_all_images_rated(ratings, lambda: {
        "performance": compare_performance(ratings, faces.kernel, PENALTY, **options),
        **_face_tests(ratings, faces, options),
    })  # fmt: skip


def _taste_tests(ratings: pd.DataFrame, options: Options) -> dict[str, pd.DataFrame]:
    """Run the tests of private taste and specificity, after simulating repeated ratings."""
    again = 0.8 * np.random.default_rng(options["seed"]).normal(size=len(ratings))
    twice = pd.concat([ratings.assign(repeat=1), ratings.assign(repeat=2, rating=ratings[RATING] + again)])
    table = compare_taste(twice, **options)
    return {name: table[table["measure"] == name] for name in ("beholder index", "specificity")}


def _face_tests(ratings: pd.DataFrame, faces: Faces, options: Options) -> dict[str, pd.DataFrame]:
    """Run the tests of face types and of the predicted difference; measures of faces are four features."""
    identities = pd.Series(faces.kernel.images, faces.kernel.images)
    measures = pd.DataFrame(faces.features[:, :4], faces.kernel.images)
    penalties = dict.fromkeys(ratings[TRAIT].unique(), PENALTY)
    slopes = compare_face_types(ratings, measures, identities, **options)
    found = predict_difference(ratings, faces.kernel, penalties, identities, **options)
    return {
        "face types": slopes,
        "face types, raters and faces": slopes.assign(
            p_corrected=np.minimum(slopes["crossed_p"] * len(slopes), 1),
            ci_low=slopes["crossed_low"],
            ci_high=slopes["crossed_high"],
        ),
        "difference": found.drop(columns=["ci_low", "ci_high"]),
    }


def readout_tests(ratings: pd.DataFrame, faces: Faces, options: Options) -> dict[str, pd.DataFrame]:
    """Run the tests of pixels, variables of raters and rater models on a simulated study.

    Returns
    -------
    dict of str to DataFrame
        Table of each test, by name. Regions are simulated by four sets of features, relevance maps by random
        smooth maps.
    """
    names = ratings[RATER].drop_duplicates()
    age = dict(zip(names, np.random.default_rng(options["seed"]).normal(size=len(names)), strict=True))
    aged = ratings.assign(age=ratings[RATER].map(age))
    drawn = OptionsWithoutStrata(permutations=options["permutations"], seed=options["seed"])

    def run_tests() -> dict[str, pd.DataFrame]:
        """Run the tests on a study in which every image was rated on every trait."""
        utilisation = rater_utilisation(make_design(ratings, faces.cues))
        table = compare_by_variable(aged, "age", utilisation, **drawn)
        level = table["measure"] == "level"
        return {
            "variables, mean ratings": table[level],
            "variables, utilisation": table[~level],
            **_rater_model_tests(aged, utilisation, options),
            "pixels": _pixel_test(ratings, options),
        }

    return _if_all_images_rated(ratings, run_tests)


def _rater_model_tests(
    aged: pd.DataFrame, utilisation: pd.DataFrame, options: Options
) -> dict[str, pd.DataFrame]:
    """Run the tests of group differences that are adjusted for age."""
    table = compare_by_formula(aged, rater_outcomes(aged, utilisation), "group + age", **options)
    own = table[table["variable"] == GROUP]
    return {
        f"rater models, {words}": own[own["measure"] == name]
        for name, words in MEASURES.items()
        if (own["measure"] == name).any()
    }


def _if_all_images_rated(
    ratings: pd.DataFrame, run_tests: Callable[[], dict[str, pd.DataFrame]]
) -> dict[str, pd.DataFrame]:
    """Return the tables of tests that need every image rated on every trait; otherwise an empty dict."""
    rated = ratings.groupby(IMAGE)[TRAIT].nunique()
    return run_tests() if (rated == ratings[TRAIT].nunique()).all() else {}


def _pixel_test(ratings: pd.DataFrame, options: Options) -> pd.DataFrame:
    """Test simulated maps of the first trait pixel by pixel; return a row with the smallest p value."""
    part = ratings[ratings[TRAIT] == ratings[TRAIT].iloc[0]]
    matrix = make_matrix(part)
    smooth = ndimage.gaussian_filter(
        np.random.default_rng(3).normal(size=(len(matrix.images), 12, 12)), (0, 1.5, 1.5)
    )
    known = np.nan_to_num(matrix.ratings - np.nanmean(matrix.ratings, axis=0))
    maps = xr.DataArray(np.einsum("ri,iyx->ryx", known, smooth), dims=(RATER, Y, X))
    groups = part.drop_duplicates(RATER).set_index(RATER)[GROUP].reindex(matrix.raters)
    labels = (groups.to_numpy() != groups.min()).astype(int)
    strata = find_strata(part, matrix.raters, labels)
    found = compare_pixels(
        maps, groups, strata=strata, permutations=options["permutations"], seed=options["seed"]
    )
    return pd.DataFrame({"p_corrected": [float(found.maps["p_corrected"].min())]})


SUITES = {"ratings": rating_tests, "readouts": readout_tests}
"""Functions that run several tests on one study."""

CALIBRATED = {
    "means": ("means", "means, raters and images"),
    "missing": ("missing",),
    "reliability": ("reliability",),
    "agreement": ("agreement", "spread"),
    "taste": ("beholder index", "specificity"),
    "trait_space": ("trait_space", "similarity"),
    "performance": ("performance",),
    "variables": ("variables, mean ratings", "variables, utilisation"),
    "rater_models": ("rater models, mean rating", "rater models, use of a region"),
    "face_types": ("face types", "face types, raters and faces"),
    "difference": ("difference",),
    "pixels": ("pixels",),
}
"""Tests and intervals whose error rates are counted, by table in `comparisons`."""


def count_errors(
    designs: tuple[StudyDesign, ...] = (*DESIGNS, *PLANTED),
    studies: int = 400,
    permutations: int = 199,
    seed: int = 0,
    suite: str = "ratings",
    run: Run = map,
) -> pd.DataFrame:
    """Count false positives and true findings of tests, and the coverage of intervals, in simulated studies.

    Parameters
    ----------
    designs : tuple of StudyDesign
        Designs of the studies.
    studies : int, default 400
        Number of studies per design, with new faces and raters.
    permutations : int, default 199
        Number of permutations per test.
    seed : int, default 0
        Seed of the random number generator.
    suite : {"ratings", "readouts"}, default "ratings"
        Tests to run.
    run : callable, default map
        Function that applies a function to each item of a list, such as the `map` of a pool of processes.

    Returns
    -------
    DataFrame
        design, test, measure, rate, low, high (95 % Monte Carlo interval), studies. Measures: "false
        positives" (studies with a family-wise p of at most .05), "detected" (the same if the groups differ),
        "coverage" (95 % intervals that contain the true difference), "detectable" (the computed smallest
        difference with 80 % power, divided by the smallest one in the simulations).
    """
    jobs = [(design, suite, permutations, (seed, study)) for design in designs for study in range(studies)]
    found: dict[tuple[str, str, str], list[float]] = {}
    estimates: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for (design, *_), (values, planted) in zip(jobs, run(run_study, jobs), strict=True):
        for test, measure, value in values:
            found.setdefault((design.name, test, measure), []).append(value)
        for test, *numbers in planted:
            estimates.setdefault((design.name, test), []).append((numbers[0], numbers[1], numbers[2]))
    rows = [
        {"design": name, "test": test, "measure": measure} | monte_carlo(values)
        for (name, test, measure), values in found.items()
    ]
    rows += [
        {"design": name, "test": test, "measure": "detectable"} | _compare_detectable(np.array(values))
        for (name, test), values in estimates.items()
    ]
    return pd.DataFrame(rows)


def run_study(job: Job) -> tuple[list[tuple[str, str, float]], list[tuple[str, float, float, float]]]:
    """Simulate one study and run the tests of a suite.

    Returns
    -------
    values : list of (str, str, float)
        Test, measure ("false positives", "detected" or "coverage") and a value from 0 to 1.
    planted : list of (str, float, float, float)
        For tests of a simulated difference: name, estimate, whether it is significant, and computed
        detectable difference.
    """
    design, suite, permutations, seed = job
    # The seed does not depend on the design, so that all designs have the same faces.
    rng = np.random.default_rng(seed)
    faces = Faces.draw(rng)
    ratings = draw_ratings(design, faces, rng)
    tables = SUITES[suite](ratings, faces, {"permutations": permutations, "seed": int(rng.integers(2**31))})
    values: list[tuple[str, str, float]] = []
    planted: list[tuple[str, float, float, float]] = []
    smallest = {}
    for test, table in tables.items():
        smallest[test] = float(table["p_corrected"].min()) if len(table) else 1.0
        null = test not in design.no_null
        values.append((test, "false positives" if null else "detected", float(smallest[test] <= ALPHA)))
        if "ci_low" in table and test != "interaction" and (null or test == "means"):
            truth = design.levels if test == "means" else 0.0
            if table["ci_low"].notna().any():
                values.append((test, "coverage", _coverage(table, "ci_low", "ci_high", truth)))
        if not null and test in ("means", "performance"):
            cells = zip(table["estimate"], table["p_corrected"] <= ALPHA, table["detectable"], strict=True)
            planted += [(test, abs(one), float(two), three) for one, two, three in cells]
    if "means" not in tables:
        return values, planted
    means = tables["means"]
    values.append(
        (
            "means, raters and images",
            "coverage",
            _coverage(means, "crossed_low", "crossed_high", design.levels),
        )
    )
    if not design.no_null:
        crossed = float(means["crossed_p"].min()) * len(means)
        values.append(("means, raters and images", "false positives", float(crossed <= ALPHA)))
        confirmatory = [smallest[test] for test in CONFIRMATORY if test in smallest]
        values.append(("In short", "false positives", float(min(confirmatory) * len(confirmatory) <= ALPHA)))
    return values, planted


def _coverage(table: pd.DataFrame, low: str, high: str, truth: float) -> float:
    """Return the proportion of intervals that contain the true value."""
    known = table[table[low].notna()]
    return float(((known[low] <= truth) & (truth <= known[high])).mean())


def _compare_detectable(values: np.ndarray) -> dict[str, float]:
    """Divide the computed detectable difference by the difference that is found in 80 % of studies."""
    estimate, found, computed = values.T
    n, power = len(values), float(np.clip(found.mean(), 1 / len(values), 1 - 1 / len(values)))
    spread = float(estimate.std(ddof=1))
    needed = float(estimate.mean()) + (stats.norm.ppf(0.8) - stats.norm.ppf(power)) * spread
    error = np.sqrt(power * (1 - power) / n) / stats.norm.pdf(stats.norm.ppf(power)) * spread
    ratio = float(np.nanmean(computed)) / needed
    width = 1.96 * ratio * np.hypot(error, spread / np.sqrt(n)) / needed
    return {"rate": ratio, "low": ratio - width, "high": ratio + width, "studies": n}


PREDICTIONS = {
    "40 identities, 1 image each": (40, 1, 30, 2.0, 1.0),
    "40 identities, 5 images each": (40, 5, 30, 2.0, 1.0),
    "80 identities, 1 image each": (80, 1, 30, 2.0, 1.0),
    "20 identities, 5 images each": (20, 5, 30, 2.0, 1.0),
    "160 identities, 400 features": (160, 1, 400, 1.0, 1.0),
    "60 identities, 400 features": (60, 1, 400, 1.0, 1.0),
    "noise, 60 images, weak penalty": (60, 1, 400, 0.05, 0.0),
    "noise, 60 images, strong penalty": (60, 1, 400, 5.0, 0.0),
    "noise, 120 images, weak penalty": (120, 1, 400, 0.05, 0.0),
    "noise, 120 images, strong penalty": (120, 1, 400, 5.0, 0.0),
}
"""Simulated studies for the errors of r and R²: number of identities, images per identity, number of
features, penalty, and weight of the features in the ratings."""


def count_prediction_errors(
    studies: int = 400, permutations: int = 199, seed: int = 0, run: Run = map
) -> pd.DataFrame:
    """Estimate the false positive rate of r, and the coverage of intervals of r and R².

    Parameters
    ----------
    studies : int, default 400
        Number of studies for each item of `PREDICTIONS`, with new faces and refitted readouts.
    permutations : int, default 199
        Number of permutations per test.
    seed : int, default 0
        Seed of the random number generator.
    run : callable, default map
        Function that applies a function to each item of a list, such as the `map` of a pool of processes.

    Returns
    -------
    DataFrame
        Table as of `count_errors` with the tests "r" and "R²". The mean over studies is the true value.
    """
    jobs = [(name, permutations, (seed, study)) for name in PREDICTIONS for study in range(studies)]
    found: dict[str, list[list[float]]] = {}
    for (name, *_), values in zip(jobs, run(run_prediction, jobs), strict=True):
        found.setdefault(name, []).append(values)
    rows = []
    for name, listed in found.items():
        values = np.array(listed)
        if PREDICTIONS[name][-1] == 0:
            errors = (values[:, 6] <= ALPHA).astype(float).tolist()
            rows.append({"design": name, "test": "r", "measure": "false positives"} | monte_carlo(errors))
            continue
        for test, column in (("r", 0), ("R²", 3)):
            low, high = values[:, column + 1], values[:, column + 2]
            truth = values[:, column].mean()
            inside = ((low <= truth) & (truth <= high)).astype(float).tolist()
            rows.append({"design": name, "test": test, "measure": "coverage"} | monte_carlo(inside))
    return pd.DataFrame(rows)


def run_prediction(job: tuple[str, int, tuple[int, int]]) -> list[float]:
    """Simulate the ratings of one group and predict them out of fold.

    Parameters
    ----------
    job : tuple
        Name of an item of `PREDICTIONS`, number of permutations, and seed.

    Returns
    -------
    list of float
        r and its interval, R² and its interval, and p of r (NaN if ratings depend on the features).
    """
    name, permutations, seed = job
    identities, each, number, penalty, weight = PREDICTIONS[name]
    rng = np.random.default_rng(seed)
    weights = np.random.default_rng(7).normal(size=number) / np.sqrt(number)
    features = 0.8 * np.repeat(rng.normal(size=(identities, number)), each, axis=0)
    features = features + 0.6 * rng.normal(size=features.shape)
    person = np.repeat(rng.normal(size=identities), each)
    ratings = weight * features @ weights + 0.5 * person + 0.5 * rng.normal(size=len(features))
    identity = np.repeat(np.arange(identities), each)
    kernel = features @ features.T
    folds = rng.permutation(np.arange(identities) % 5)[identity]
    refit = Refit.of(lambda fold: kernel, ratings, folds, identity, dict.fromkeys(range(5), penalty))
    predicted = refit.prediction @ ratings
    r = correlation(ratings, predicted)
    deviation = ratings - outside_means(ratings, folds)
    r2 = 1 - float(((ratings - predicted) ** 2).sum() / (deviation**2).sum())
    bounds = jackknife_intervals(ratings, refit)
    p = permutation_p_of_r(ratings, refit, r, rng, permutations) if weight == 0 else float("nan")
    return [r, *bounds[:2], r2, *bounds[2:], p]


def monte_carlo(values: list[float]) -> dict[str, float]:
    """Compute a rate over studies and its 95 % Monte Carlo interval.

    Parameters
    ----------
    values : list of float
        A value from 0 to 1 for each study.

    Returns
    -------
    dict of str to float
        rate, low, high, studies. If all values are 0 or 1, the interval is that of Clopper and Pearson
        (1934), otherwise the normal interval of a mean.
    """
    rates = np.array(values)
    n, rate = len(rates), float(rates.mean())
    if np.isin(rates, (0, 1)).all():
        k = rates.sum()
        low = float(stats.beta.ppf(0.025, k, n - k + 1)) if k else 0.0
        high = float(stats.beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    else:
        half = 1.96 * float(rates.std(ddof=1)) / np.sqrt(n)
        low, high = max(rate - half, 0.0), min(rate + half, 1.0)
    return {"rate": rate, "low": low, "high": high, "studies": n}
