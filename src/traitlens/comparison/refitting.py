"""Fast refits of ridge readouts to other ratings: a matrix from ratings to out-of-fold predictions."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg

from traitlens.columns import IMAGE, RATER, RATING, TRAIT
from traitlens.problems import Problem, TraitlensError


@dataclass(frozen=True)
class FeatureKernel:
    """Features and folds of the images that readouts are fitted to.

    Parameters
    ----------
    images : tuple of str
        Images, in the order of the arrays.
    folds : ndarray of int, shape (image,)
        Fold of each image, which is predicted by the readout fitted to the other folds.
    values : ndarray of shape (image, image)
        Inner products of the features of images, centred or not.

    Raises
    ------
    TraitlensError
        If shapes do not match or a value is not finite.
    """

    images: tuple[str, ...]
    folds: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.images)
        expected = {"folds": (n,), "values": (n, n)}
        problems = [
            Problem(f"{name} has shape {getattr(self, name).shape}, expected {shape}")
            for name, shape in expected.items()
            if getattr(self, name).shape != shape
        ]
        if not np.isfinite(self.values).all():
            problems.append(Problem("the kernel has values that are not finite"))
        if not problems and len(np.unique(self.folds)) < 2:
            problems.append(Problem("there is only one fold", "use at least two folds"))
        if problems:
            raise TraitlensError(problems)

    def take(self, images: Collection[str]) -> "FeatureKernel":
        """Return the kernel of some of the images, in the order of this kernel."""
        chosen = np.array([image in images for image in self.images])
        names = tuple(np.array(self.images, object)[chosen])
        return FeatureKernel(names, self.folds[chosen], self.values[np.ix_(chosen, chosen)])


def prediction_matrix(kernel: FeatureKernel, penalty: float) -> np.ndarray:
    r"""Compute the matrix from ratings to out-of-fold predictions.

    A ridge readout with penalty :math:`\lambda` fitted to training images :math:`T` has dual coefficients
    :math:`(H K_{TT} H + \lambda I)^{-1} H y_T`, where :math:`H` subtracts the mean.

    Parameters
    ----------
    kernel : FeatureKernel
        Features and folds.
    penalty : float
        Ridge penalty, in units of the kernel; positive.

    Returns
    -------
    ndarray of shape (image, image)
        Matrix from ratings to out-of-fold predictions.

    Examples
    --------
    >>> features = np.random.default_rng(0).normal(size=(6, 3))
    >>> kernel = FeatureKernel(tuple("abcdef"), np.arange(6) % 2, features @ features.T)
    >>> prediction_matrix(kernel, 1.0).shape
    (6, 6)
    """
    if not penalty > 0:
        raise TraitlensError(Problem(f"the penalty is {penalty}", "use a positive penalty"))
    prediction = np.zeros(kernel.values.shape)
    for fold in np.unique(kernel.folds):
        held, train = np.flatnonzero(kernel.folds == fold), np.flatnonzero(kernel.folds != fold)
        own = kernel.values[np.ix_(train, train)]
        centring = np.eye(len(train)) - 1 / len(train)
        centred = centring @ own @ centring
        duals = linalg.solve(centred + penalty * np.eye(len(train)), centring, assume_a="pos")
        across = kernel.values[np.ix_(held, train)] - own.mean(axis=0)
        prediction[np.ix_(held, train)] = across @ duals + 1 / len(train)
    return prediction


class TraitDesign:
    """Ratings of one trait as a matrix, with the matrix from mean ratings to predictions.

    Parameters
    ----------
    part : DataFrame
        rater, image, rating of one trait.
    raters : Index
        All raters; weights of raters are in this order.
    images : Index
        Images in the order of `prediction`.
    prediction : ndarray of shape (image, image)
        Matrix from `prediction_matrix` with the penalty of the trait.

    Raises
    ------
    TraitlensError
        If an image was rated but has no features, or vice versa.
    """

    def __init__(self, part: pd.DataFrame, raters: pd.Index, images: pd.Index, prediction: np.ndarray):
        once = part.groupby([RATER, IMAGE], observed=True)[RATING].mean().reset_index()
        row, column = raters.get_indexer(once[RATER]), images.get_indexer(once[IMAGE])
        if (column < 0).any():
            missing = sorted(set(once[IMAGE][column < 0]))
            raise TraitlensError(
                [Problem(f"image {name!r} was rated but has no features") for name in missing]
            )
        self.prediction = prediction
        self.members = np.unique(row)
        place = np.searchsorted(self.members, row)
        self.ratings = np.zeros((len(self.members), len(images)))
        self.seen = np.zeros_like(self.ratings)
        self.ratings[place, column] = once[RATING]
        self.seen[place, column] = 1
        counts = self.seen.sum(axis=0)
        if not counts.all():
            names = ", ".join(map(str, images[counts == 0][:5]))
            raise TraitlensError(
                Problem(
                    f"{int((counts == 0).sum())} images have no rating ({names})",
                    "use only the rated images of the kernel",
                )
            )
        self.pooled = self.ratings.sum(axis=0) / counts

    def targets(self, weights: np.ndarray) -> np.ndarray:
        """Compute weighted mean ratings for many sets of raters.

        Parameters
        ----------
        weights : ndarray of shape (set, rater)
            Weight of each rater in each set, such as 1 for members of a group and 0 for others.

        Returns
        -------
        ndarray of shape (set, image)
            Mean ratings. If no rater of a set rated an image, the mean of all raters, adjusted to the general
            level of the set.
        """
        own = weights[:, self.members].astype(float)
        counts = own @ self.seen
        sums = own @ self.ratings
        mean = np.where(counts > 0, sums / np.maximum(counts, 1e-12), self.pooled)
        bare = counts <= 0
        if bare.any():
            level = np.where(bare, 0, mean - self.pooled).sum(axis=1) / np.maximum((~bare).sum(axis=1), 1)
            mean = mean + bare * level[:, None]
        return mean

    def deviations(self, targets: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
        """Compute the deviation of each rater from the mean ratings; its mean over raters is zero.

        Parameters
        ----------
        targets : ndarray of shape (image,)
            Mean ratings of the raters.
        inside : ndarray of bool, shape (member,), optional
            Raters to use; all if None.

        Returns
        -------
        ndarray of shape (rater, image)
            Influence of each rater on the mean ratings, times the number of raters. With a complete design,
            ratings minus mean ratings.
        """
        inside = np.ones(len(self.members), bool) if inside is None else inside
        seen = self.seen[inside]
        counts = np.maximum(seen.sum(axis=0), 1)
        moved: np.ndarray = seen * (self.ratings[inside] - targets) * (inside.sum() / counts)
        return moved


def make_designs(
    ratings: pd.DataFrame, raters: pd.Index, kernel: FeatureKernel, penalties: float | Mapping[str, float]
) -> dict[str, TraitDesign]:
    """Arrange the ratings of each trait as a matrix; traits with the same penalty share a prediction matrix.

    Parameters
    ----------
    ratings : DataFrame
        rater, image, trait, rating.
    raters : Index
        All raters; weights of raters are in this order.
    kernel : FeatureKernel
        Features and folds of the rated images.
    penalties : float or mapping of str to float
        Ridge penalty of each trait.

    Returns
    -------
    dict of str to TraitDesign
        Ratings of each trait, sorted by trait.
    """
    solved: dict[float, np.ndarray] = {}
    designs = {}
    images = pd.Index(kernel.images)
    for trait, part in ratings.groupby(TRAIT, sort=True, observed=True):
        penalty = float(penalties[str(trait)] if isinstance(penalties, Mapping) else penalties)
        if penalty not in solved:
            solved[penalty] = prediction_matrix(kernel, penalty)
        designs[str(trait)] = TraitDesign(part, raters, images, solved[penalty])
    return designs
