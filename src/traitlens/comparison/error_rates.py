"""Simulated studies whose truth is known: how often the printed tests err, and intervals hold the truth."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.comparison.by_agreement import compare_agreement
from traitlens.comparison.by_image import compare_images
from traitlens.comparison.by_performance import compare_performance
from traitlens.comparison.by_rating import compare_means
from traitlens.comparison.by_reliability import compare_reliability
from traitlens.comparison.by_trait_space import compare_trait_space
from traitlens.comparison.operator import RegionOperator
from traitlens.words import GROUP, IMAGE, RATER, RATING, TRAIT

ALPHA = 0.05
CONFIRMATORY = ("means", "reliability", "performance")
PENALTY = 60.0
"""Ridge penalty of simulated readouts, in units of the kernel."""


@dataclass(frozen=True)
class Design:
    """Raters and faces of a simulated study.

    Parameters
    ----------
    name : str
        What it is called in tables.
    raters : (int, int)
        Raters of each group.
    seen : float
        Share of the faces that each rater rates, drawn at random.
    noise : (float, float)
        Standard deviation of the noise of single ratings, by group.
    levels : float
        Difference of the groups' mean ratings.
    heavy : bool
        Whether noise has heavy tails (t with 2.5 degrees of freedom).
    floor : bool
        Whether ratings are whole numbers from 1 to 7, many of them 1.
    traits_each : int or None
        Traits that each rater rates; all where None.
    sets : (int, int) or None
        Raters of each group who rate the first half of the faces; the others rate the second half.
    no_null : tuple of str
        Tests whose null hypothesis does not hold in this design.
    """

    name: str
    raters: tuple[int, int] = (20, 20)
    seen: float = 1.0
    noise: tuple[float, float] = (1.2, 1.2)
    levels: float = 0.0
    heavy: bool = False
    floor: bool = False
    traits_each: int | None = None
    sets: tuple[int, int] | None = None
    no_null: tuple[str, ...] = field(default=())


_OF_NOISE = ("reliability", "agreement", "spread", "performance", "trait_space", "similarity")
DESIGNS = (
    Design("20 and 20 raters"),
    Design("12 and 60", (12, 60)),
    Design("12 and 60, 20 % of the faces", (12, 60), seen=0.2),
    Design("4 and 4", (4, 4)),
    Design("6 and 6", (6, 6)),
    Design("20 and 20, noise x 2 in one group", noise=(2.4, 1.2), no_null=_OF_NOISE),
    Design("12 and 60, noise x 2 in the 12", (12, 60), noise=(2.4, 1.2), no_null=_OF_NOISE),
    Design("20 and 20, heavy tails", heavy=True),
    Design("20 and 20, floor", floor=True),
    Design("36 and 90, one trait each", (36, 90), traits_each=1),
    Design("12 and 12 in sets of 10 + 2 and 2 + 10", (12, 12), sets=(10, 2)),
)
"""Studies without a difference, but for noise where the name says so."""


@dataclass(frozen=True)
class Faces:
    """Faces of a simulated study: features, folds and true mean ratings.

    Parameters
    ----------
    features : ndarray of shape (image, feature)
        Features.
    truth : ndarray of shape (trait, image)
        Mean ratings of all possible raters.
    """

    features: np.ndarray
    truth: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, images: int = 60, traits: int = 3, features: int = 30) -> "Faces":
        """Draw faces whose true ratings depend on the features for the most part."""
        values = rng.normal(size=(images, features))
        weights = rng.normal(size=(traits, features)) / np.sqrt(features)
        return cls(values, 0.9 * weights @ values.T + 0.45 * rng.normal(size=(traits, images)))

    @property
    def operator(self) -> RegionOperator:
        """Kernel and folds of the faces; one region."""
        kernel = self.features @ self.features.T
        names = tuple(f"{number:03d}" for number in range(len(kernel)))
        return RegionOperator(names, ("all",), np.arange(len(kernel)) % 5, kernel, kernel[None])


def draw_ratings(design: Design, faces: Faces, rng: np.random.Generator) -> pd.DataFrame:
    """Draw the ratings of one study.

    Parameters
    ----------
    design : Design
        Raters.
    faces : Faces
        Faces.
    rng : Generator
        Random numbers.

    Returns
    -------
    DataFrame
        rater, group, image, trait, rating.
    """
    traits, images = faces.truth.shape
    number = sum(design.raters)
    group = np.repeat([0, 1], design.raters)
    level = 0.5 * rng.normal(size=(number, 1, 1)) + design.levels * (group == 0)[:, None, None]
    taste = 0.3 * rng.normal(size=(number, traits, faces.features.shape[1])) @ faces.features.T
    noise = rng.standard_t(2.5, (number, traits, images)) if design.heavy else rng.normal(
        size=(number, traits, images)
    )  # fmt: skip
    noise = noise * np.array(design.noise)[group][:, None, None]
    values = faces.truth + level + taste / np.sqrt(faces.features.shape[1]) + noise
    if design.floor:
        values = np.clip(np.round(1.2 + 1.5 * values), 1, 7)
    known = np.ones(values.shape, bool)
    if design.seen < 1:
        order = rng.random((number, images)).argsort(axis=1).argsort(axis=1)
        known &= (order < round(design.seen * images))[:, None]
    if design.traits_each is not None:
        turn = np.concatenate([np.arange(count) % traits for count in design.raters])
        known &= (turn[:, None] == np.arange(traits))[:, :, None]
    if design.sets is not None:
        place = np.concatenate([np.arange(count) for count in design.raters])
        in_first = place < np.array(design.sets)[group]
        known &= (in_first[:, None] == (np.arange(images) < images // 2))[:, None]
    rater, trait, image = np.nonzero(known)
    names = np.array([f"r{one:03d}" for one in range(number)], object)
    pictures = np.array([f"{one:03d}" for one in range(images)], object)
    return pd.DataFrame(
        {
            RATER: names[rater],
            GROUP: np.array(["a", "b"], object)[group[rater]],
            IMAGE: pictures[image],
            TRAIT: np.array([f"t{one}" for one in range(traits)], object)[trait],
            RATING: values[known],
        }
    )


Tests = Callable[[pd.DataFrame, Faces, int, int], dict[str, pd.DataFrame]]


def run_tests(ratings: pd.DataFrame, faces: Faces, permutations: int, seed: int) -> dict[str, pd.DataFrame]:
    """Make every test between groups of one study.

    Parameters
    ----------
    ratings : DataFrame
        Of `draw_ratings`.
    faces : Faces
        Faces.
    permutations, seed : int
        Of the tests.

    Returns
    -------
    dict of str to DataFrame
        Tables by the name of the test.
    """
    given = {"permutations": permutations, "seed": seed}
    agreement = compare_agreement(ratings, **given)
    space = compare_trait_space(ratings, **given)
    rated = ratings.groupby(IMAGE)[TRAIT].nunique()
    images = compare_images(ratings, **given)
    tables = {
        "means": compare_means(ratings, **given),
        "reliability": compare_reliability(ratings, splits=50, **given),
        "agreement": agreement[agreement["measure"] == "agreement"],
        "spread": agreement[agreement["measure"] == "spread"],
        "images": images,
        "interaction": images.drop_duplicates(TRAIT).assign(p_corrected=images["p_interaction"]),
        "trait_space": space,
        "similarity": space.head(1).assign(p_corrected=space["similarity_p"]),
    }
    if (rated == ratings[TRAIT].nunique()).all():
        tables["performance"] = compare_performance(ratings, faces.operator, PENALTY, **given)
    return tables


def count_errors(
    designs: tuple[Design, ...] = DESIGNS,
    studies: int = 400,
    permutations: int = 199,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Count false positives and the coverage of intervals in studies without a difference.

    Parameters
    ----------
    designs : tuple of Design
        Studies.
    studies : int, default 400
        Studies of each design, with new faces and raters.
    permutations : int, default 199
        Permutations of each test.
    seed : int, default 0
        Seed.
    progress : callable, optional
        Called with the number of studies done.

    Returns
    -------
    DataFrame
        design, test, measure ("false positives": any family-wise p of the test at most .05; "detected": the
        same where groups differ in noise; "coverage": 95 % intervals that hold the true difference; "In
        short": any confirmatory claim), rate, low, high (95 % Monte Carlo interval, Clopper and Pearson
        1934), studies.
    """
    rows: list[dict[str, object]] = []
    for number, design in enumerate(designs):
        found: dict[tuple[str, str], list[float]] = {}
        for study in range(studies):
            for test, measure, value in _study(design, permutations, [seed, number, study]):
                found.setdefault((test, measure), []).append(value)
            if progress:
                progress(1)
        rows += [
            {"design": design.name, "test": test, "measure": measure} | monte_carlo(values)
            for (test, measure), values in found.items()
        ]
    return pd.DataFrame(rows)


def _study(design: Design, permutations: int, seed: list[int]) -> Iterator[tuple[str, str, float]]:
    """Run one study; yield tests, measures and values from 0 to 1."""
    rng = np.random.default_rng(seed)
    faces = Faces.draw(rng)
    tables = run_tests(draw_ratings(design, faces, rng), faces, permutations, int(rng.integers(2**31)))
    smallest = {}
    for test, table in tables.items():
        smallest[test] = float(table["p_corrected"].min()) if len(table) else 1.0
        measure = "detected" if test in design.no_null else "false positives"
        yield test, measure, float(smallest[test] <= ALPHA)
        if test not in (*design.no_null, "interaction") and "ci_low" in table:
            truth = design.levels if test == "means" else 0.0
            inside = (table["ci_low"] <= truth) & (truth <= table["ci_high"])
            yield test, "coverage", float(inside.mean())
    if "crossed_low" in tables["means"]:
        means = tables["means"]
        inside = (means["crossed_low"] <= design.levels) & (design.levels <= means["crossed_high"])
        yield "means, raters and images", "coverage", float(inside.mean())
        yield (
            "means, raters and images",
            "false positives",
            float(means["crossed_p"].min() * len(means) <= ALPHA),
        )
    if not design.no_null:
        confirmatory = [
            smallest[test] for test in ("means", "reliability", "performance") if test in smallest
        ]
        yield "In short", "false positives", float(min(confirmatory) * len(confirmatory) <= ALPHA)


def monte_carlo(values: list[float]) -> dict[str, float]:
    """Compute a rate over studies and its 95 % Monte Carlo interval.

    Parameters
    ----------
    values : list of float
        From 0 to 1, a value for each study.

    Returns
    -------
    dict of str to float
        rate, low, high, studies. Of zeros and ones the interval is that of Clopper and Pearson (1934); of
        shares within a study it is the normal one of their mean.
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
