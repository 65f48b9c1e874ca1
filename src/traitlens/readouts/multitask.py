r"""Joint fit of the regional readouts of several traits, whose cues are correlated.

The cue of region r for trait t has a Gaussian prior with covariances
:math:`\mathrm{cov}(g_{rt}(x), g_{ru}(x')) = \Gamma_r[t, u]\, k_r(x, x')`, and ratings are
:math:`y_t(x) = m_t + \sum_r g_{rt}(x) + e_t(x)` with :math:`\mathrm{cov}(e(x)) = \Gamma_0`: the linear
model of coregionalization (Álvarez, Rosasco and Lawrence 2012, doi:10.1561/2200000036). A cue is the
posterior mean of :math:`g_{rt}`. With diagonal :math:`\Gamma` it is ridge regression with one kernel per
region.

The ratings of a trait are thus informative about the cues of other traits. The error of a posterior mean is
uncorrelated with all posterior means (a Berkson error). Regressions of ratings on cues are therefore not
biased towards regions with correlated cues, provided that the estimated variances of regions are correct.

The covariances are estimated by maximum likelihood, with a few steps of the minorisation-maximisation
algorithm of Zhou et al. (2019, doi:10.1080/10618600.2018.1529601) starting from equal weights. Stopping after
few steps shrinks the covariances towards equal weights.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from threadpoolctl import threadpool_limits

from traitlens.readouts.kernels import Kernels
from traitlens.readouts.region_readouts import Cues

STEPS = 8
"""Number of steps of the maximisation. More steps did not improve cues in simulated studies."""

EXPLAINED = 0.6
"""Initial share of the variance of mean ratings that is explained by features."""

_COARSE, _FINE = 1e-3, 1e-8
"""Relative residuals at which conjugate gradients stop, for intermediate and for final solutions."""


@dataclass(frozen=True, eq=False)
class JointCues(Cues):
    """Cues of all images for several traits, estimated jointly.

    Parameters
    ----------
    regions, values, intercepts
        See :class:`~traitlens.readouts.region_readouts.Cues`.
    covariances : ndarray of shape (fold, region + 1, trait, trait)
        Covariances between traits of the cues of each region, and last those of the residuals, for ratings
        with a standard deviation of 1.
    """

    covariances: np.ndarray


def cross_fit_joint_cues(
    kernels: Kernels, ratings: np.ndarray, folds: np.ndarray, covariances: np.ndarray | None = None
) -> JointCues:
    """Compute the cues of each image from images of other folds, jointly for all traits.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        Kernels of shape (image, image). Kernels of one region are divided by their mean diagonals and added.
    ratings : ndarray of shape (image, trait)
        Mean ratings; NaN where an image was not rated.
    folds : ndarray of int, shape (image,)
        Fold of each image; images of an identity are in the same fold.
    covariances : ndarray of shape (fold, region + 1, trait, trait), optional
        Covariances of an earlier fit; if None, they are estimated from the training images of each fold.

    Returns
    -------
    JointCues
        Cues of every image, including images that were not rated.

    Examples
    --------
    >>> from traitlens.features.feature_spaces import FeatureSpace
    >>> from traitlens.features.taps import Tap
    >>> rng = np.random.default_rng(0)
    >>> eyes, mouth = (FeatureSpace(Tap("block4_pool", 1), region=name) for name in ("eyes", "mouth"))
    >>> features = {space: rng.normal(size=(30, 3)) for space in (eyes, mouth)}
    >>> kernels = {space: values @ values.T for space, values in features.items()}
    >>> ratings = features[mouth][:, :1] + 5 + 0.1 * rng.normal(size=(30, 2))
    >>> cross_fit_joint_cues(kernels, ratings, np.arange(30) % 3).values.std(axis=2).round().tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """
    regions = tuple(dict.fromkeys(space.region for space in kernels))
    numbers, traits = np.unique(folds), ratings.shape[1]
    values = np.zeros((traits, len(regions), len(ratings)))
    intercepts = np.empty((traits, len(ratings)))
    found = np.empty((len(numbers), len(regions) + 1, traits, traits))
    with threadpool_limits(1):
        for turn, fold in enumerate(numbers):
            training, inside = _TrainingFold.of(kernels, ratings, folds != fold), folds == fold
            if covariances is None:
                found[turn], duals = training.estimate()
            else:
                found[turn] = covariances[turn]
                duals = training.solve(found[turn], _FINE)
            values[:, :, inside] = training.cues(found[turn], duals, inside)
            intercepts[:, inside] = training.means[:, None]
    return JointCues(regions, values, intercepts, found)


def leave_out(
    kernels: Kernels, ratings: np.ndarray, folds: np.ndarray, covariances: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    """Refit the cues of :func:`cross_fit_joint_cues` to several sets of fewer training images.

    Parameters
    ----------
    kernels, ratings, folds
        See :func:`cross_fit_joint_cues`.
    covariances : ndarray of shape (fold, region + 1, trait, trait)
        Covariances of the fit to all images, whose centring and scaling of kernels and ratings are reused.
    kept : ndarray of bool, shape (set, image)
        Training images of each set.

    Returns
    -------
    ndarray of shape (set, trait, region, image)
        Cues of all images.
    """
    regions = tuple(dict.fromkeys(space.region for space in kernels))
    values = np.zeros((len(kept), ratings.shape[1], len(regions), len(ratings)))
    with threadpool_limits(1):
        for turn, fold in enumerate(np.unique(folds)):
            training, inside = _TrainingFold.of(kernels, ratings, folds != fold), folds == fold
            fewer = training.take(kept)
            start = training.solve(covariances[turn], _COARSE) * fewer.seen
            duals = fewer.solve(covariances[turn], _COARSE, start)
            values[..., inside] = fewer.cues(covariances[turn], duals, inside)
    return values


@dataclass(frozen=True, eq=False)
class _TrainingFold:
    """Ratings and kernels of the training images of a fold.

    Parameters
    ----------
    training : ndarray of int, shape (training image,)
        The training images that were rated.
    rows : ndarray of shape (region, image, training image)
        Kernels, centred on the training images, with a mean diagonal of 1.
    ratings : ndarray of shape (..., trait, training image)
        Standardised ratings; 0 where an image was not rated.
    seen : ndarray of shape (..., trait, training image)
        1 where an image was rated, otherwise 0.
    means, scales : ndarray of shape (trait,)
        Means and standard deviations by which ratings were standardised.
    basis : ndarray of shape (training image, component)
        Eigenvectors of the sum of the kernels.
    diagonals : ndarray of shape (region + 1, component)
        Diagonals of the kernels in this basis, and ones.
    """

    training: np.ndarray
    rows: np.ndarray
    ratings: np.ndarray
    seen: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    basis: np.ndarray
    diagonals: np.ndarray

    @classmethod
    def of(cls, kernels: Kernels, ratings: np.ndarray, outside: np.ndarray) -> "_TrainingFold":
        """Standardise the ratings and centre the kernels on the images outside the fold."""
        training = np.flatnonzero(outside & np.isfinite(ratings).any(axis=1))
        rows = _centred_rows(kernels, training)
        own = ratings[training].T
        seen = np.isfinite(own)
        count = np.maximum(seen.sum(axis=1), 1)  # A trait may be rated in one fold only.
        means = np.where(seen, own, 0).sum(axis=1) / count
        deviations = np.where(seen, own - means[:, None], 0)
        scales = np.sqrt((deviations**2).sum(axis=1) / count)
        scales[scales <= 1e-9 * np.maximum(np.abs(means), 1e-9)] = 1
        inner = rows[:, training]
        basis = np.linalg.eigh(inner.sum(axis=0))[1]
        diagonals = [np.maximum((basis * (kernel @ basis)).sum(axis=0), 0) for kernel in inner]
        diagonals.append(np.ones(len(training)))
        standard = deviations / scales[:, None]
        return cls(training, rows, standard, seen.astype(float), means, scales, basis, np.array(diagonals))

    @cached_property
    def kernels(self) -> np.ndarray:
        """Kernels between training images, of shape (region, training image, training image)."""
        return self.rows[:, self.training]

    def take(self, kept: np.ndarray) -> "_TrainingFold":
        """Return a copy with only the ratings of some images, for several sets of shape (set, image)."""
        held = kept[:, None, self.training]
        fewer = replace(self, ratings=self.ratings * held, seen=self.seen * held)
        fewer.__dict__["kernels"] = self.kernels
        return fewer

    def cues(self, covariances: np.ndarray, duals: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Compute the cues of some images, an array of shape (..., trait, region, image)."""
        cues = [c @ _times(duals, rows[images].T) for c, rows in zip(covariances, self.rows, strict=False)]
        return self.scales[:, None, None] * np.stack(cues, axis=-2)

    def estimate(self) -> tuple[np.ndarray, np.ndarray]:
        """Estimate the covariances of regions and residuals; return them and the dual coefficients."""
        traits, regions = len(self.ratings), len(self.kernels)
        start = np.full(regions + 1, EXPLAINED / regions)
        start[-1] = 1 - EXPLAINED
        covariances = start[:, None, None] * np.eye(traits)
        # Missing ratings, assumed to be missing at random, do not contribute to traces.
        together = self.seen @ self.seen.T / self.seen.shape[1]
        duals = np.zeros_like(self.ratings)
        for _ in range(STEPS):
            duals = self.solve(covariances, _COARSE, duals)
            blocks = self._inverse_blocks(covariances)
            products = [duals @ (kernel @ duals.T) for kernel in self.kernels]
            products.append(duals @ duals.T)
            for place, product in enumerate(products):
                trace = together * np.tensordot(self.diagonals[place], blocks, 1)
                covariances[place] = _step(covariances[place], product, trace)
        return covariances, self.solve(covariances, _FINE, duals)

    def solve(self, covariances: np.ndarray, tolerance: float, start: np.ndarray | None = None) -> np.ndarray:
        """Solve for the dual coefficients (..., trait, image) by preconditioned conjugate gradients."""
        blocks = self._inverse_blocks(covariances)
        found = np.zeros_like(self.ratings) if start is None else start
        residual = self.ratings - self._multiply(covariances, found)
        preconditioned = self._precondition(blocks, residual)
        direction, size = preconditioned, (residual * preconditioned).sum()
        enough = tolerance * np.linalg.norm(self.ratings)
        for _ in range(self.ratings.size):
            if np.linalg.norm(residual) <= enough:
                break
            image = self._multiply(covariances, direction)
            length = size / (direction * image).sum()
            found = found + length * direction
            residual = residual - length * image
            preconditioned = self._precondition(blocks, residual)
            size, before = (residual * preconditioned).sum(), size
            direction = preconditioned + size / before * direction
        return found

    def _multiply(self, covariances: np.ndarray, duals: np.ndarray) -> np.ndarray:
        """Multiply dual coefficients by the covariance matrix of the ratings."""
        total = covariances[-1] @ duals
        for covariance, kernel in zip(covariances, self.kernels, strict=False):
            total += covariance @ _times(duals, kernel)
        return np.asarray(self.seen * total)

    def _inverse_blocks(self, covariances: np.ndarray) -> np.ndarray:
        """Approximate the inverse covariance of the ratings by blocks of shape (component, trait, trait)."""
        return np.linalg.inv(np.einsum("rtu,ri->itu", covariances, self.diagonals))

    def _precondition(self, blocks: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """Multiply a residual by the approximate inverse covariance of the ratings."""
        turned = np.einsum("itu,...ui->...ti", blocks, _times(residual, self.basis))
        return np.asarray(self.seen * _times(turned, self.basis.T))


def _times(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Multiply an array of shape (..., trait, image) by a matrix, as one matrix product."""
    return np.asarray(rows.reshape(-1, rows.shape[-1]) @ matrix).reshape(*rows.shape[:-1], -1)


def _step(covariance: np.ndarray, product: np.ndarray, trace: np.ndarray) -> np.ndarray:
    """Return the covariance G that maximises the minorising function: G B G = C A C.

    C is the present covariance, A the product and B the trace. The gradient of the likelihood is (A - B) / 2.
    """
    traits = np.eye(len(covariance))
    root = np.linalg.cholesky(trace + (1e-6 * np.trace(trace) + 1e-9) * traits)
    inverse = np.linalg.inv(root)
    middle = root.T @ covariance @ product @ covariance @ root
    values, vectors = np.linalg.eigh((middle + middle.T) / 2)
    found = inverse.T @ (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T @ inverse
    return np.asarray(found + 1e-6 * traits)


def _centred_rows(kernels: Kernels, training: np.ndarray) -> np.ndarray:
    """Centre kernels on the training images, divide them by their mean diagonal and sum them by region.

    The result has the shape (region, image, training image).
    """
    regions = list(dict.fromkeys(space.region for space in kernels))
    rows = np.zeros((len(regions), len(next(iter(kernels.values()))), len(training)))
    for space, kernel in kernels.items():
        columns = np.asarray(kernel)[:, training]
        means = columns.mean(axis=1)
        columns = columns - means[:, None] - means[training] + means[training].mean()
        diagonal = columns[training, np.arange(len(training))].mean()
        if diagonal > 0:
            rows[regions.index(space.region)] += columns / diagonal
    return rows
