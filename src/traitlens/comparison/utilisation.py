"""Cue utilisation: how strongly each rater weighs what each region of the face says about a trait.

In Brunswik's lens model (Brunswik 1956; Hammond, Hursch and Todd 1964; Nestler and Back 2013) a judgement is
a weighted sum of cues. Here a cue is a region's part of a prediction that was fitted to all raters together.
The weight of a cue in a rater's ratings is the rater's utilisation of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats
from scipy.sparse import csr_matrix, identity

from traitlens.columns import GROUP, IMAGE, RATER, RATING, REGION, TRAIT
from traitlens.comparison.permutation import label_raters
from traitlens.problems import Problem, TraitlensError

UTILISATION = "utilisation"
CUE = "cue"

DRAWS_AT_ONCE = 250
"""Bootstrap draws that are worked on at once."""

Progress = Callable[[int], None] | None
"""Called with how many further draws are done."""

_DENSE = 0.2
"""Share of judgements present from which ratings are stored densely."""


@dataclass(frozen=True)
class TraitRatings:
    """Ratings of one trait as matrices, rows of raters and columns of images.

    Parameters
    ----------
    seen : ndarray or csr_matrix of shape (rater, image)
        1 where a rater rated an image, else 0.
    ratings : ndarray or csr_matrix of shape (rater, image)
        Ratings, less the mean of all ratings of the trait; 0 where there is none. Repeats are averaged.
    """

    seen: np.ndarray | csr_matrix
    ratings: np.ndarray | csr_matrix

    @cached_property
    def patterns(self) -> tuple[np.ndarray | csr_matrix, np.ndarray | csr_matrix]:
        """Sets of images that raters saw, (pattern, image), and who saw which: (rater, pattern), 0 and 1."""
        number = self.seen.shape[0]
        if isinstance(self.seen, csr_matrix):
            return self.seen, identity(number, format="csr")
        _, first, pattern = np.unique(
            np.packbits(self.seen > 0, axis=1), axis=0, return_index=True, return_inverse=True
        )
        members = np.zeros((number, len(first)))
        members[np.arange(number), pattern.ravel()] = 1
        return self.seen[first], members

    @property
    def n_images(self) -> np.ndarray:
        """Number of images that each rater rated: (rater,)."""
        return np.asarray(self.seen.sum(axis=1)).ravel()


@dataclass(frozen=True)
class LensDesign:
    """Ratings and standardised cues of a study as arrays.

    Parameters
    ----------
    raters, images, traits, regions : Index
        Names.
    groups : tuple of str
        Groups of raters.
    labels : ndarray of int, shape (rater,)
        Place of each rater's group in `groups`.
    cues : ndarray of shape (trait, image, region)
        Cues with mean 0 and standard deviation 1 over the rated images of a trait; 0 for images that nobody
        rated on the trait, and for a cue that does not vary.
    scales : ndarray of shape (trait, region)
        Standard deviations of the cues, in rating points.
    identities : ndarray of int, shape (image,)
        Number of the person shown.
    ratings : tuple of TraitRatings
        Ratings of each trait.
    """

    raters: pd.Index
    images: pd.Index
    traits: pd.Index
    regions: pd.Index
    groups: tuple[str, ...]
    labels: np.ndarray
    cues: np.ndarray
    scales: np.ndarray
    identities: np.ndarray
    ratings: tuple[TraitRatings, ...]


def make_design(
    ratings: pd.DataFrame,
    cues: xr.DataArray,
    identities: pd.Series | None = None,
    groups: tuple[str, ...] | None = None,
) -> LensDesign:
    """Arrange ratings and cues as arrays.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating. Repeats of a rater are averaged.
    cues : DataArray (trait, image, region)
        Rating points, from a readout of all raters together; see :func:`cue_array`.
    identities : Series, optional
        The person shown, by image. Every image is a person of its own where missing.
    groups : tuple of str, optional
        Order of the groups; sorted where missing.

    Returns
    -------
    LensDesign
        The arrays. Traits without cues are left out.

    Raises
    ------
    TraitlensError
        If ratings are averages, if a rater belongs to two groups, or if a rated image lacks a cue.
    """
    if RATER not in ratings:
        problem = "ratings are averages without raters"
        raise TraitlensError(Problem(problem, "cue utilisation needs each rater's ratings"))
    groups = groups or tuple(sorted(map(str, ratings[GROUP].unique())))
    raters, labels = label_raters(ratings, groups)
    rated = set(ratings[TRAIT].unique())
    cues = cues.transpose(TRAIT, IMAGE, REGION)
    cues = cues.sel({TRAIT: sorted(trait for trait in cues[TRAIT].values.tolist() if trait in rated)})
    images, traits, regions = (pd.Index(cues[name].values) for name in (IMAGE, TRAIT, REGION))
    missing = np.isnan(cues.values).any(axis=2)
    once = ratings.groupby([TRAIT, RATER, IMAGE], observed=True)[RATING].mean().reset_index()
    matrices, problems = [], []
    for place, trait in enumerate(traits):
        part = once[once[TRAIT] == trait]
        column = images.get_indexer(part[IMAGE])
        without = (column < 0) | missing[place, column]
        problems += [
            Problem(f"image {image!r} was rated on {trait!r} but has no cue", "compute its features")
            for image in sorted(set(part[IMAGE][without]))
        ]
        row, shape = raters.get_indexer(part[RATER]), (len(raters), len(images))
        if not without.any():
            matrices.append(_matrices(row, column, part[RATING].to_numpy(float), shape))
    if problems:
        raise TraitlensError(problems)
    shown = images if identities is None else identities.reindex(images)
    standard, scales = standardise(cues.values, matrices)
    persons = pd.factorize(np.asarray(shown))[0]
    return LensDesign(
        raters, images, traits, regions, groups, labels, standard, scales, persons, tuple(matrices)
    )


def cue_array(cues: pd.DataFrame) -> xr.DataArray:
    """Arrange a table of cues as an array.

    Parameters
    ----------
    cues : DataFrame
        image, trait, region, cue; in any order.

    Returns
    -------
    DataArray (trait, image, region)
        Cues; missing where the table has no row. Regions keep the order of the table.

    Examples
    --------
    >>> rows = [("a", "warm", "eyes", 1.0), ("a", "warm", "mouth", 2.0)]
    >>> table = pd.DataFrame(rows, columns=["image", "trait", "region", "cue"])
    >>> cue_array(table).values.tolist()
    [[[1.0, 2.0]]]
    """
    array = cues.set_index([TRAIT, IMAGE, REGION])[CUE].to_xarray()
    return array.sel({REGION: pd.unique(cues[REGION])}).transpose(TRAIT, IMAGE, REGION)


def _matrices(
    row: np.ndarray, column: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> TraitRatings:
    """Fill the matrices of one trait, sparse where few judgements are there."""
    centred = values - values.mean()
    seen = csr_matrix((np.ones(len(row)), (row, column)), shape)
    ratings = csr_matrix((centred, (row, column)), shape)
    if len(row) < _DENSE * shape[0] * shape[1]:
        return TraitRatings(seen, ratings)
    return TraitRatings(seen.toarray(), ratings.toarray())


def standardise(cues: np.ndarray, ratings: Sequence[TraitRatings]) -> tuple[np.ndarray, np.ndarray]:
    """Standardise cues over the images of each trait that were rated.

    Parameters
    ----------
    cues : ndarray of shape (trait, image, region)
        Cues in rating points; what is missing for images that were not rated is ignored.
    ratings : sequence of TraitRatings
        Ratings of each trait.

    Returns
    -------
    cues : ndarray of shape (trait, image, region)
        Mean 0 and standard deviation 1; 0 where an image was not rated.
    scales : ndarray of shape (trait, region)
        Standard deviations, in rating points. A cue of less than a millionth of the largest counts as
        constant.
    """
    standard = np.zeros_like(cues)
    scales = np.zeros((cues.shape[0], cues.shape[2]))
    for place, trait in enumerate(ratings):
        rated = np.asarray(trait.seen.sum(axis=0)).ravel() > 0
        values = cues[place][rated]
        spread = values.std(axis=0)
        spread[spread <= 1e-6 * spread.max(initial=0)] = 0
        scales[place] = spread
        standard[place, rated] = np.where(
            spread > 0, (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1), 0
        )
    return standard, scales


def group_utilisation(
    design: LensDesign, raters: np.ndarray, images: np.ndarray, cues: np.ndarray | None = None
) -> np.ndarray:
    r"""Compute the mean utilisation of weighted sets of raters, on weighted images.

    The least-squares fit of all judgements with a level for each rater and one weight per cue. With a
    complete design it is the mean of the raters' own regressions; else raters count by what their images
    tell about each cue.

    Parameters
    ----------
    design : LensDesign
        The study.
    raters : ndarray of shape (group, draw, rater)
        Weight of each rater; 0 for raters of other groups.
    images : ndarray of shape (draw, image)
        Weight of each image.
    cues : ndarray of shape (trait, image, region), optional
        Standardised cues to use in place of the design's.

    Returns
    -------
    ndarray of shape (group, draw, trait, region)
        Rating points per standard deviation of a cue; 0 for a cue that does not vary.
    """
    cues = design.cues if cues is None else cues
    result = np.empty((*raters.shape[:2], len(design.traits), len(design.regions)))
    for place, trait in enumerate(design.ratings):
        result[:, :, place] = _trait_utilisation(trait, cues[place], raters, images)
    return result


def _trait_utilisation(
    trait: TraitRatings, cues: np.ndarray, raters: np.ndarray, images: np.ndarray
) -> np.ndarray:
    """Solve the normal equations of one trait, raters' levels taken off: (group, draw, region)."""
    regions = cues.shape[1]
    products = _products(cues)
    # Means of the cues over the images of each pattern: (draw, pattern, region).
    patterns, members = trait.patterns
    count = np.asarray(images @ patterns.T)
    safe = np.maximum(count, 1e-12)
    means = np.stack([np.asarray((images * cue) @ patterns.T) / safe for cue in cues.T], axis=2)
    sums = np.asarray(images @ trait.ratings.T)
    result = np.empty((*raters.shape[:2], regions))
    for place, own in enumerate(raters):
        gram = ((np.asarray(own @ trait.seen) * images) @ products).reshape(-1, regions, regions)
        weighted = (np.asarray(own @ members) * count)[:, :, None] * means
        gram -= weighted.transpose(0, 2, 1) @ means
        right = (np.asarray(own @ trait.ratings) * images) @ cues
        right -= (np.asarray((own * sums) @ members)[:, None, :] @ means)[:, 0]
        result[place] = solve_normal(gram, right)
    return result


def solve_normal(gram: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve normal equations, of the smallest norm where they have many solutions.

    Parameters
    ----------
    gram : ndarray of shape (set, region, region)
        Sums of products of the predictors.
    right : ndarray of shape (set, region)
        Sums of products of predictors and criterion.

    Returns
    -------
    ndarray of shape (set, region)
        Weights.
    """
    inverse = np.linalg.pinv(gram, rcond=1e-10, hermitian=True)
    return np.asarray((inverse @ right[:, :, None])[:, :, 0])


def _products(cues: np.ndarray) -> np.ndarray:
    """Products of all pairs of cues: (image, region * region)."""
    return np.asarray((cues[:, :, None] * cues[:, None, :]).reshape(len(cues), -1))


@dataclass(frozen=True)
class RaterRegressions:
    """Each rater's own regression of ratings on cues, for one trait.

    Parameters
    ----------
    utilisation : ndarray of shape (rater, region)
        Rating points per standard deviation of the cue; missing for raters with too few images.
    n_images : ndarray of shape (rater,)
        Images that the rater rated.
    consistency : ndarray of shape (rater,)
        Multiple correlation of the ratings with the cues.
    noise : ndarray of shape (rater,)
        Standard deviation of the residuals, in rating points.
    grams, right : ndarray of shape (rater, region, region) and (rater, region)
        The normal equations, the rater's level taken off.
    """

    utilisation: np.ndarray
    n_images: np.ndarray
    consistency: np.ndarray
    noise: np.ndarray
    grams: np.ndarray
    right: np.ndarray


def least_images(regions: int) -> int:
    """Return how many images a rater must have rated for a regression of the rater's own.

    Parameters
    ----------
    regions : int
        Number of regions.

    Returns
    -------
    int
        2 (regions + 1).
    """
    return 2 * (regions + 1)


def regress_raters(trait: TraitRatings, cues: np.ndarray) -> RaterRegressions:
    """Fit ratings to cues by least squares, for every rater at once.

    Parameters
    ----------
    trait : TraitRatings
        Ratings.
    cues : ndarray of shape (image, region)
        Standardised cues.

    Returns
    -------
    RaterRegressions
        The fits.
    """
    regions = cues.shape[1]
    count = trait.n_images
    safe = np.maximum(count, 1)
    mean = np.asarray(trait.seen @ cues) / safe[:, None]
    level = np.asarray(trait.ratings.sum(axis=1)).ravel() / safe
    grams = np.asarray(trait.seen @ _products(cues)).reshape(-1, regions, regions)
    grams -= count[:, None, None] * mean[:, :, None] * mean[:, None, :]
    right = np.asarray(trait.ratings @ cues) - (count * level)[:, None] * mean
    squares = trait.ratings.power(2) if isinstance(trait.ratings, csr_matrix) else trait.ratings**2
    total = np.asarray(squares.sum(axis=1)).ravel() - count * level**2
    coefficients = solve_normal(grams, right)
    explained = (coefficients * right).sum(axis=1)
    varied = int((np.abs(cues).max(axis=0, initial=0) > 0).sum())
    freedom = count - varied - 1
    few = count < least_images(regions)
    with np.errstate(invalid="ignore", divide="ignore"):
        consistency = np.sqrt(np.clip(explained / total, 0, 1))
        noise = np.sqrt(np.maximum(total - explained, 0) / freedom)
    consistency[few | (total <= 1e-12 * np.maximum(count, 1))] = np.nan
    noise[few] = np.nan
    coefficients[few] = np.nan
    return RaterRegressions(coefficients, count.astype(int), consistency, noise, grams, right)


def rater_utilisation(design: LensDesign) -> pd.DataFrame:
    """Tabulate each rater's cue utilisation.

    Parameters
    ----------
    design : LensDesign
        The study.

    Returns
    -------
    DataFrame
        rater, group, trait, region, utilisation (rating points per standard deviation of the cue; missing for
        raters who rated fewer than :func:`least_images` images of the trait).

    Examples
    --------
    >>> rater_utilisation(make_design(study.ratings, cues))  # doctest: +SKIP
    """
    tables = []
    for place, trait in enumerate(design.ratings):
        fits = regress_raters(trait, design.cues[place])
        there = fits.n_images > 0
        wide = pd.DataFrame(fits.utilisation[there], columns=design.regions)
        wide.insert(0, RATER, design.raters[there])
        wide.insert(1, GROUP, np.array(design.groups, object)[design.labels[there]])
        long = wide.melt([RATER, GROUP], var_name=REGION, value_name=UTILISATION)
        tables.append(long.assign(**{TRAIT: design.traits[place]}))
    return pd.concat(tables, ignore_index=True)[[RATER, GROUP, TRAIT, REGION, UTILISATION]]


def rater_fits(design: LensDesign) -> pd.DataFrame:
    """Tabulate how well cues account for each rater's ratings.

    Parameters
    ----------
    design : LensDesign
        The study.

    Returns
    -------
    DataFrame
        rater, group, trait, n_images, consistency (multiple correlation of the rater's ratings with the
        cues), noise (standard deviation of the residuals, rating points), enough (whether the rater rated
        enough images for a regression).
    """
    tables = []
    for place, trait in enumerate(design.ratings):
        fits = regress_raters(trait, design.cues[place])
        there = fits.n_images > 0
        tables.append(
            pd.DataFrame(
                {
                    RATER: design.raters[there],
                    GROUP: np.array(design.groups, object)[design.labels[there]],
                    TRAIT: design.traits[place],
                    "n_images": fits.n_images[there],
                    "consistency": fits.consistency[there],
                    "noise": fits.noise[there],
                    "enough": fits.n_images[there] >= least_images(len(design.regions)),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def rater_values(
    trait: TraitRatings, cues: np.ndarray, members: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Compute values of single raters whose mean is their group's utilisation.

    Parameters
    ----------
    trait : TraitRatings
        Ratings.
    cues : ndarray of shape (image, region)
        Standardised cues.
    members : ndarray of int
        Raters of the group who rated the trait.
    weights : ndarray of shape (member,), optional
        Weight of each rater; 1 where missing.

    Returns
    -------
    ndarray of shape (member, region)
        The raters' own regressions where the design is complete and raters weigh alike; else the group's
        utilisation plus the rater's influence on it (infinitesimal jackknife, Jaeckel 1972).
    """
    fits = regress_raters(trait, cues)
    own = np.ones(len(members)) if weights is None else weights
    inverse = np.linalg.pinv(np.tensordot(own, fits.grams[members], 1), rcond=1e-10, hermitian=True)
    group = inverse @ (own @ fits.right[members])
    influence = own[:, None] * (fits.right[members] - fits.grams[members] @ group) @ inverse
    return np.asarray(group + len(members) * influence)


def summarise_utilisation(design: LensDesign) -> pd.DataFrame:
    """Tabulate the mean utilisation of each group, with intervals over raters.

    Parameters
    ----------
    design : LensDesign
        The study.

    Returns
    -------
    DataFrame
        group, trait, region, utilisation, low, high (95 %, Student's t over raters), n_raters.
    """
    rows = []
    for place, trait in enumerate(design.ratings):
        for number, group in enumerate(design.groups):
            members = np.flatnonzero((design.labels == number) & (trait.n_images > 0))
            if not len(members):
                continue
            values = rater_values(trait, design.cues[place], members)
            mean, low, high = mean_intervals(values)
            for region, *numbers in zip(design.regions, mean, low, high, strict=True):
                rows.append((group, design.traits[place], region, *numbers, len(members)))
    return pd.DataFrame(rows, columns=[GROUP, TRAIT, REGION, UTILISATION, "low", "high", "n_raters"])


def mean_intervals(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return means over rows and their 95 % intervals (Student's t); missing with one row.

    Parameters
    ----------
    values : ndarray of shape (row, column)
        Values.

    Returns
    -------
    mean, low, high : ndarray of shape (column,)
        Means and bounds.
    """
    number, mean = len(values), values.mean(axis=0)
    if number < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    width = stats.t.ppf(0.975, number - 1) * values.std(axis=0, ddof=1) / np.sqrt(number)
    return mean, mean - width, mean + width


def lens_model_equation(design: LensDesign, criterion: pd.DataFrame, name: str = "criterion") -> pd.DataFrame:
    r"""Decompose each rater's achievement: the correlation of the ratings with a criterion.

    :math:`r_a = G R_e R_s + C \sqrt{1 - R_e^2} \sqrt{1 - R_s^2}` (Hammond, Hursch and Todd 1964), computed on
    the images that the rater rated.

    Parameters
    ----------
    design : LensDesign
        The study.
    criterion : DataFrame
        image, trait, and the criterion in the column `rating`: what the persons shown said of themselves, or
        the mean ratings of another group.
    name : str, default "criterion"
        What to call the criterion.

    Returns
    -------
    DataFrame
        rater, group, trait, criterion, achievement (:math:`r_a`), matching (:math:`G`), predictability
        (:math:`R_e`), consistency (:math:`R_s`), unmodelled (:math:`C`). Raters with fewer than
        :func:`least_images` images that have a criterion are left out.
    """
    tables = []
    for place, trait in enumerate(design.ratings):
        own = criterion[criterion[TRAIT] == design.traits[place]].groupby(IMAGE, observed=True)[RATING].mean()
        values = own.reindex(design.images).to_numpy(float)
        known = np.isfinite(values)
        if not known.any():
            continue
        table = _decompose(trait, design.cues[place], np.where(known, values, 0), known)
        there = table["n_images"].to_numpy() >= least_images(len(design.regions))
        tables.append(
            table.assign(
                **{
                    RATER: design.raters,
                    GROUP: np.array(design.groups, object)[design.labels],
                    TRAIT: design.traits[place],
                    "criterion": name,
                }
            )[there]
        )
    columns = [RATER, GROUP, TRAIT, "criterion", "achievement", "matching", "predictability", "consistency"]
    if not tables:
        return pd.DataFrame(columns=[*columns, "unmodelled"])
    return pd.concat(tables, ignore_index=True)[[*columns, "unmodelled"]]


def summarise_achievement(design: LensDesign, ratings: pd.DataFrame) -> pd.DataFrame:
    """Tabulate how well single raters agree with the mean ratings of every other group, and why.

    Parameters
    ----------
    design : LensDesign
        The study.
    ratings : DataFrame
        group, image, trait, rating.

    Returns
    -------
    DataFrame
        group, criterion (the other group), trait, and means over the raters of the group: achievement,
        matching, predictability, consistency, unmodelled (see :func:`lens_model_equation`), n_raters. Empty
        where there is one group.
    """
    parts = ["achievement", "matching", "predictability", "consistency", "unmodelled"]
    tables = [pd.DataFrame(columns=[GROUP, "criterion", TRAIT, *parts, "n_raters"])]
    for other in design.groups:
        table = lens_model_equation(design, ratings[ratings[GROUP] == other], other)
        rows = table[table[GROUP] != other].groupby([GROUP, "criterion", TRAIT], sort=False)
        if rows.ngroups:
            means = rows[parts].mean().assign(n_raters=rows.size()).reset_index()
            tables.append(means)
    return pd.concat(tables[1:] or tables, ignore_index=True)


def _decompose(
    trait: TraitRatings, cues: np.ndarray, criterion: np.ndarray, known: np.ndarray
) -> pd.DataFrame:
    """Compute the terms of the lens-model equation for every rater of one trait."""
    seen = np.asarray(trait.seen.todense() if isinstance(trait.seen, csr_matrix) else trait.seen) * known
    dense = trait.ratings.todense() if isinstance(trait.ratings, csr_matrix) else trait.ratings
    ratings = np.asarray(dense) * known
    count = np.maximum(seen.sum(axis=1), 1)
    centred = criterion - criterion[known].mean()
    # Cues and criterion: sums of products over each rater's images, the rater's means taken off.
    columns = np.column_stack([cues, centred])
    sums = seen @ columns
    grams = np.einsum("ri,ij,ik->rjk", seen, columns, columns, optimize=True)
    grams -= sums[:, :, None] * sums[:, None, :] / count[:, None, None]
    right = ratings @ columns - sums * (ratings.sum(axis=1) / count)[:, None]
    squares = (ratings**2).sum(axis=1) - ratings.sum(axis=1) ** 2 / count
    inverse = np.linalg.pinv(grams[:, :-1, :-1], rcond=1e-10, hermitian=True)
    policy = np.einsum("rjk,rk->rj", inverse, right[:, :-1])
    ecology = np.einsum("rjk,rk->rj", inverse, grams[:, :-1, -1])
    explained_s, explained_e = (policy * right[:, :-1]).sum(1), (ecology * grams[:, :-1, -1]).sum(1)
    both = (policy * grams[:, :-1, -1]).sum(axis=1)
    criterion_squares, products = grams[:, -1, -1], right[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.DataFrame(
            {
                "n_images": seen.sum(axis=1),
                "achievement": products / np.sqrt(squares * criterion_squares),
                "matching": both / np.sqrt(explained_s * explained_e),
                "predictability": np.sqrt(explained_e / criterion_squares),
                "consistency": np.sqrt(explained_s / squares),
                "unmodelled": (products - both)
                / np.sqrt((squares - explained_s) * (criterion_squares - explained_e)),
            }
        )
