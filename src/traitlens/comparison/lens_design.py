"""Arrays for cue utilisation: the ratings of each rater, and the cues of the same images."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr
from scipy.sparse import csr_matrix, identity

from traitlens.columns import GROUP, IMAGE, RATER, RATING, REGION, TRAIT
from traitlens.comparison.compared_groups import label_raters
from traitlens.problems import Problem, TraitlensError

CUE = "cue"

DRAWS_AT_ONCE = 250
"""Number of bootstrap draws that are computed at once."""

_DENSE = 0.2
"""Share of ratings that are not missing above which dense matrices are used."""


@dataclass(frozen=True)
class TraitRatings:
    """Ratings of one trait as matrices of raters by images.

    Parameters
    ----------
    seen : ndarray or csr_matrix of shape (rater, image)
        1 where a rater rated an image, otherwise 0.
    ratings : ndarray or csr_matrix of shape (rater, image)
        Ratings minus the mean of all ratings of the trait; 0 if missing. Repeated ratings are averaged.
    """

    seen: np.ndarray | csr_matrix
    ratings: np.ndarray | csr_matrix

    @cached_property
    def patterns(self) -> tuple[np.ndarray | csr_matrix, np.ndarray | csr_matrix]:
        """Distinct sets of rated images, (pattern, image), and the set of each rater, (rater, pattern)."""
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
        """Number of images that each rater rated."""
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
        Index in `groups` of each rater's group.
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
        rater, group, image, trait, rating. Repeated ratings are averaged.
    cues : DataArray (trait, image, region)
        Cues in rating points, from a readout of all raters together; see :func:`cue_array`.
    identities : Series, optional
        The person shown, by image. Each image is a separate person if None.
    groups : tuple of str, optional
        Order of the groups; sorted if None.

    Returns
    -------
    LensDesign
        The arrays. Traits without cues are left out.

    Raises
    ------
    TraitlensError
        If the ratings have no raters, a rater belongs to two groups, or a rated image has no cue.
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
            Problem(
                f"image {image!r} was rated on {trait!r} but has no cue", "compute the cues of all images"
            )
            for image in sorted(set(part[IMAGE][without]))
        ]
        row, shape = raters.get_indexer(part[RATER]), (len(raters), len(images))
        if not without.any():
            matrices.append(_make_matrices(row, column, part[RATING].to_numpy(float), shape))
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


def _make_matrices(
    row: np.ndarray, column: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> TraitRatings:
    """Return the matrices of one trait, which are sparse if most ratings are missing."""
    centred = values - values.mean()
    seen = csr_matrix((np.ones(len(row)), (row, column)), shape)
    ratings = csr_matrix((centred, (row, column)), shape)
    if len(row) < _DENSE * shape[0] * shape[1]:
        return TraitRatings(seen, ratings)
    return TraitRatings(seen.toarray(), ratings.toarray())


def standardise(cues: np.ndarray, ratings: Sequence[TraitRatings]) -> tuple[np.ndarray, np.ndarray]:
    """Standardise the cues of each trait over the images that were rated on the trait.

    Parameters
    ----------
    cues : ndarray of shape (trait, image, region)
        Cues in rating points; missing values for unrated images are ignored.
    ratings : sequence of TraitRatings
        Ratings of each trait.

    Returns
    -------
    cues : ndarray of shape (trait, image, region)
        Cues with mean 0 and standard deviation 1; 0 where an image was not rated.
    scales : ndarray of shape (trait, region)
        Standard deviations of the cues, in rating points; 0 if less than a millionth of the largest.
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
