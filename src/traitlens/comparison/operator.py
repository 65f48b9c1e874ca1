r"""The road from ratings to relevance by region, as one matrix.

A ridge readout with penalty :math:`\lambda` fitted on training images :math:`T` has dual coefficients
:math:`a = (H K_{TT} H + \lambda I)^{-1} H y_T`, :math:`H` taking off the mean. Its prediction is linear in
:math:`a`, and so is its relevance, which conserves sums: everything here is linear in the ratings
:math:`y`, out of fold.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from traitlens.problems import Problem, TraitlensError


@dataclass(frozen=True)
class RegionOperator:
    """What linear readouts need to be fitted and explained by region.

    Parameters
    ----------
    images : tuple of str
        Images, in the order of the arrays.
    regions : tuple of str
        Regions.
    folds : ndarray of int, shape (image,)
        Fold of each image: it is predicted and explained by the readout fitted on the other folds.
    kernel : ndarray of shape (image, image)
        Inner products of features; centred or raw.
    region_kernels : ndarray of shape (region, image, image)
        Relevance in a region of an explained image (rows) that a training image (columns) contributes for
        a dual coefficient of one.
    areas : ndarray of shape (region,), optional
        Mean number of pixels of each region, for differences per pixel.

    Raises
    ------
    TraitlensError
        Where shapes do not fit or a value is not finite.
    """

    images: tuple[str, ...]
    regions: tuple[str, ...]
    folds: np.ndarray
    kernel: np.ndarray
    region_kernels: np.ndarray
    areas: np.ndarray | None = None

    def __post_init__(self) -> None:
        n, g = len(self.images), len(self.regions)
        expected = {"folds": (n,), "kernel": (n, n), "region_kernels": (g, n, n)}
        problems = [
            Problem(f"{name} has shape {getattr(self, name).shape}, expected {shape}")
            for name, shape in expected.items()
            if getattr(self, name).shape != shape
        ]
        problems += [
            Problem(f"{name} holds values that are not finite")
            for name in ("kernel", "region_kernels")
            if not np.isfinite(getattr(self, name)).all()
        ]
        if not problems and len(np.unique(self.folds)) < 2:
            problems.append(Problem("there is one fold", "give two at least"))
        if problems:
            raise TraitlensError(problems)

    def take(self, images: Collection[str]) -> "RegionOperator":
        """Keep some images.

        Parameters
        ----------
        images : collection of str
            Which.

        Returns
        -------
        RegionOperator
            The images that are among them, in the operator's order.
        """
        keep = np.array([image in images for image in self.images])
        return RegionOperator(
            tuple(np.array(self.images, object)[keep]),
            self.regions,
            self.folds[keep],
            self.kernel[np.ix_(keep, keep)],
            self.region_kernels[:, keep][:, :, keep],
            self.areas,
        )


@dataclass(frozen=True)
class LinearMaps:
    """Out-of-fold prediction and relevance as matrices that multiply ratings.

    Parameters
    ----------
    prediction : ndarray of shape (image, image)
        Predicted ratings are `prediction @ ratings`.
    relevance : ndarray of shape (region, image, image)
        Relevance in region g of each image is `relevance[g] @ ratings`.
    """

    prediction: np.ndarray
    relevance: np.ndarray


def solve_folds(operator: RegionOperator, penalty: float) -> LinearMaps:
    """Fit the readouts of all folds for any ratings at once.

    Parameters
    ----------
    operator : RegionOperator
        Kernels and folds.
    penalty : float
        Ridge penalty, in units of the kernel; positive.

    Returns
    -------
    LinearMaps
        Matrices that take ratings to predictions and to relevance.

    Examples
    --------
    >>> features = np.random.default_rng(0).normal(size=(6, 3))
    >>> kernel = features @ features.T
    >>> operator = RegionOperator(tuple("abcdef"), ("all",), np.arange(6) % 2, kernel, kernel[None])
    >>> solve_folds(operator, 1.0).relevance.shape
    (1, 6, 6)
    """
    if not penalty > 0:
        raise TraitlensError(Problem(f"the penalty is {penalty}", "give a positive one"))
    n = len(operator.images)
    prediction = np.zeros((n, n))
    relevance = np.zeros((len(operator.regions), n, n))
    for fold in np.unique(operator.folds):
        held, train = np.flatnonzero(operator.folds == fold), np.flatnonzero(operator.folds != fold)
        kernel = operator.kernel[np.ix_(train, train)]
        centring = np.eye(len(train)) - 1 / len(train)
        centred = centring @ kernel @ centring
        duals = linalg.solve(centred + penalty * np.eye(len(train)), centring, assume_a="pos")
        across = operator.kernel[np.ix_(held, train)] - kernel.mean(axis=0)
        prediction[np.ix_(held, train)] = across @ duals + 1 / len(train)
        for number, region in enumerate(operator.region_kernels):
            relevance[number][np.ix_(held, train)] = region[np.ix_(held, train)] @ duals
    return LinearMaps(prediction, relevance)


SUMMARIES = ("aligned", "share", "mean")


def summarise(targets: np.ndarray, maps: LinearMaps, summary: str) -> np.ndarray:
    """Summarise relevance over images, for many sets of ratings at once.

    Parameters
    ----------
    targets : ndarray of shape (set, image)
        Mean ratings.
    maps : LinearMaps
        Of `solve_folds`.
    summary : {"aligned", "share", "mean"}
        "mean": mean relevance over images, in rating units. "aligned": mean of relevance times the
        standardised prediction, in rating units: how much the region moves the prediction along with the
        others; where relevance is conserved, regions add up to the standard deviation of the predictions.
        "share": aligned relevance as part of its sum over regions.

    Returns
    -------
    ndarray of shape (set, region)
        The summaries.
    """
    if summary == "mean":
        mean: np.ndarray = targets @ maps.relevance.mean(axis=1).T
        return mean
    predicted = targets @ maps.prediction.T
    predicted -= predicted.mean(axis=1, keepdims=True)
    deviation = np.sqrt((predicted**2).mean(axis=1, keepdims=True))
    standard = predicted / np.where(deviation > 0, deviation, np.inf)
    regions, n, _ = maps.relevance.shape
    relevance = (targets @ maps.relevance.reshape(regions * n, n).T).reshape(-1, regions, n)
    aligned: np.ndarray = (relevance @ standard[:, :, None])[:, :, 0] / n
    if summary == "share":
        aligned = aligned / aligned.sum(axis=1, keepdims=True)
    return aligned


def summary_gradient(targets: np.ndarray, maps: LinearMaps, summary: str) -> np.ndarray:
    """Derivative of the summaries of one set of ratings by the ratings.

    Parameters
    ----------
    targets : ndarray of shape (image,)
        Mean ratings.
    maps : LinearMaps
        Of `solve_folds`.
    summary : {"aligned", "share", "mean"}
        See `summarise`.

    Returns
    -------
    ndarray of shape (region, image)
        Change of each region's summary with each image's mean rating.
    """
    if summary == "mean":
        gradient: np.ndarray = maps.relevance.mean(axis=1)
        return gradient
    n = len(targets)
    predicted = maps.prediction @ targets
    predicted = predicted - predicted.mean()
    deviation = np.sqrt((predicted**2).mean())
    centred = maps.prediction - maps.prediction.mean(axis=0)
    relevance = maps.relevance @ targets
    product = relevance @ predicted / n
    of_deviation = predicted @ centred / (n * deviation)
    of_product = np.einsum("gij,i->gj", maps.relevance, predicted) / n + relevance @ centred / n
    aligned: np.ndarray = of_product / deviation - np.outer(product, of_deviation) / deviation**2
    if summary == "aligned":
        return aligned
    total = product.sum() / deviation
    share: np.ndarray = (aligned - np.outer(product / product.sum(), aligned.sum(axis=0))) / total
    return share
