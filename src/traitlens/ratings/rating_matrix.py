"""Ratings of one group on one trait as a matrix of raters by images."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from traitlens.columns import IMAGE, RATER, RATING


@dataclass(frozen=True)
class RatingMatrix:
    """Ratings of one group on one trait.

    Parameters
    ----------
    ratings : ndarray of shape (rater, image)
        Ratings, averaged over repeats; NaN where a rater did not rate an image.
    raters, images : Index
        Names of the rows and columns.

    Examples
    --------
    >>> ratings = pd.DataFrame({"rater": ["a", "a", "b"], "image": ["1", "2", "1"], "rating": [1.0, 2, 3]})
    >>> make_matrix(ratings).ratings
    array([[ 1.,  2.],
           [ 3., nan]])
    """

    ratings: np.ndarray
    raters: pd.Index
    images: pd.Index

    @property
    def complete(self) -> bool:
        """Whether every rater rated every image."""
        return not np.isnan(self.ratings).any()

    @property
    def raters_per_image(self) -> float:
        """Harmonic mean, over images, of the number of raters."""
        return float(1 / np.mean(1 / (~np.isnan(self.ratings)).sum(axis=0)))


def make_matrix(ratings: pd.DataFrame) -> RatingMatrix:
    """Reshape the ratings of one group on one trait to a matrix, averaging repeated ratings of a rater."""
    row, raters = pd.factorize(ratings[RATER], sort=True)
    column, images = pd.factorize(ratings[IMAGE], sort=True)
    rating = ratings[RATING].to_numpy(float, na_value=np.nan)
    known = (row >= 0) & (column >= 0) & ~np.isnan(rating)
    cell = row[known] * len(images) + column[known]
    counts = np.bincount(cell, minlength=len(raters) * len(images))
    sums = np.bincount(cell, rating[known], minlength=len(counts))
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).reshape(len(raters), len(images))
    rated = ~np.isnan(means)
    keep_raters, keep_images = rated.any(axis=1), rated.any(axis=0)
    return RatingMatrix(
        means[np.ix_(keep_raters, keep_images)],
        pd.Index(raters, name=RATER)[keep_raters],
        pd.Index(images, name=IMAGE)[keep_images],
    )


def find_blocks(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group raters by the images that they rated.

    Parameters
    ----------
    seen : ndarray of bool, shape (rater, image)
        Whether a rater rated an image.

    Returns
    -------
    component : ndarray of int, shape (rater,)
        Connected component of each rater. Raters in different components rated no image in common.
    pattern : ndarray of int, shape (rater,)
        Pattern of each rater. Raters with the same pattern rated exactly the same images.
    """
    _, first, pattern = np.unique(np.packbits(seen, axis=1), axis=0, return_index=True, return_inverse=True)
    pattern = pattern.ravel()
    links = csr_matrix(seen[first])
    _, component = connected_components(links @ links.T, directed=False)
    return pd.factorize(component[pattern])[0], pattern


FEWEST_LINKED = 4
"""Minimum number of raters that must be linked by shared images to compute intervals."""


def is_linked(matrix: RatingMatrix, raters: np.ndarray) -> bool:
    """Return whether each of the selected raters is linked by shared images to at least three others.

    Parameters
    ----------
    matrix : RatingMatrix
        Ratings of one group on one trait.
    raters : ndarray of bool, shape (rater,)
        Mask that selects raters.
    """
    component = find_blocks(~np.isnan(matrix.ratings[raters]))[0]
    return bool(np.bincount(component).min() >= FEWEST_LINKED)


def fit_additive(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Fit additive effects of raters and images by least squares.

    Minimises :math:`\sum (y_{ri} - a_r - b_i)^2` over the known ratings, so that the effect of a rater does
    not depend on the selection of images that the rater rated. In a complete design, the effects of raters
    are the deviations of their means from the grand mean.

    Parameters
    ----------
    values : ndarray of shape (rater, image)
        Ratings; NaN where a rater did not rate an image. Each rater and each image needs a rating.

    Returns
    -------
    raters : ndarray of shape (rater,)
        Effects of raters :math:`a_r`, with mean zero over raters who are linked by shared images.
    images : ndarray of shape (image,)
        Effects of images :math:`b_i`, which estimate the mean ratings by all raters.
    """
    seen = ~np.isnan(values)
    component = find_blocks(seen)[0]
    raters, images = np.zeros(len(values)), np.zeros(values.shape[1])
    for block in np.unique(component):
        members = np.flatnonzero(component == block)
        rated = np.flatnonzero(seen[members].any(axis=0))
        own = seen[np.ix_(members, rated)].astype(float)
        filled = np.nan_to_num(values[np.ix_(members, rated)])
        share = own / own.sum(axis=0)  # Eliminates the images from the normal equations.
        normal = np.diag(own.sum(axis=1)) - share @ own.T
        right = filled.sum(axis=1) - share @ filled.sum(axis=0)
        # The constant is not identified. This term makes the mean of the raters zero.
        normal += np.full_like(normal, own.sum() / len(members) ** 2)
        raters[members] = linalg.solve(normal, right, assume_a="pos")
        images[rated] = (filled - own * raters[members, None]).sum(axis=0) / own.sum(axis=0)
    return raters, images
