"""Bootstrap over raters and faces: samples, standard errors, p values and intervals."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special, stats

from traitlens.comparison.answers import ALPHA
from traitlens.comparison.lens_design import DRAWS_AT_ONCE, TraitRatings
from traitlens.comparison.rater_tests import POWER
from traitlens.comparison.utilisation import regress_raters


@dataclass(frozen=True)
class Draws:
    """Bootstrap draws of raters and of images.

    Parameters
    ----------
    raters : ndarray of shape (draw, rater)
        Number of times that each rater was drawn.
    images : ndarray of shape (draw, image)
        Number of times that each image was drawn, with all images of its identity.
    """

    raters: np.ndarray
    images: np.ndarray

    @property
    def of_faces(self) -> "Draws":
        """The same draws of images, with each rater once."""
        return Draws(np.ones_like(self.raters), self.images)


def draw_samples(
    labels: np.ndarray, strata: np.ndarray, identities: np.ndarray, draws: int, seed: int
) -> Iterator[Draws]:
    """Draw raters within groups and strata, and identities, with replacement.

    In each group and stratum, one rater fewer is drawn than there are. The variance of a mean over draws is
    then unbiased (Rao and Wu 1988).

    Parameters
    ----------
    labels : ndarray of int, shape (rater,)
        Group of each rater.
    strata : ndarray of int, shape (rater,)
        Stratum of each rater.
    identities : ndarray of int, shape (image,)
        Number of the person shown.
    draws : int
        Number of draws.
    seed : int
        Seed of the random number generator. Draws do not depend on the numbering of groups and strata.

    Yields
    ------
    Draws
        Blocks of at most 250 draws.
    """
    for_raters, for_images = (np.random.default_rng([seed, stream]) for stream in (1, 2))
    cell = pd.factorize(pd.MultiIndex.from_arrays([labels, strata]))[0]  # Numbered by the first member.
    number = identities.max() + 1
    for start in range(0, draws, DRAWS_AT_ONCE):
        size = min(DRAWS_AT_ONCE, draws - start)
        raters = np.zeros((size, len(labels)))
        for one in range(cell.max() + 1):
            members = np.flatnonzero(cell == one)
            raters[:, members] = for_raters.multinomial(
                max(len(members) - 1, 1), np.full(len(members), 1 / len(members)), size
            )
        persons = for_images.multinomial(number, np.full(number, 1 / number), size)
        yield Draws(raters, persons[:, identities].astype(float))


def balance(labels: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Compute weights of raters so that strata have the same proportions in both groups.

    Parameters
    ----------
    labels : ndarray of int, shape (rater,)
        Group of each rater, 0 or 1.
    strata : ndarray of int, shape (rater,)
        Stratum of each rater.

    Returns
    -------
    ndarray of shape (rater,)
        Size of the rater's stratum divided by the number of raters of the rater's group in it; 0 if the
        stratum has no raters of the other group.

    Examples
    --------
    >>> balance(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 1])).tolist()
    [1.5, 1.5, 2.0, 3.0, 2.0]
    """
    weights = np.zeros(len(labels))
    for stratum in np.unique(strata):
        here = strata == stratum
        counts = [np.sum(here & (labels == group)) for group in (0, 1)]
        if min(counts) > 0:
            for group in (0, 1):
                weights[here & (labels == group)] = sum(counts) / counts[group]
    return weights


def squared_residuals(
    trait: TraitRatings, cues: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the squared residual of each rating, from which the noise of raters is estimated.

    Each rater's ratings are regressed on the cues. The mean residual of the group is subtracted from the
    residuals, because residuals that all raters of a group share are not noise.

    Parameters
    ----------
    trait : TraitRatings
        Ratings.
    cues : ndarray of shape (image, region)
        Standardised cues.
    labels : ndarray of int, shape (rater,)
        Group of each rater.

    Returns
    -------
    squares : ndarray of shape (rater, image)
        Squared deviations, scaled so that their mean over the raters of a group is an unbiased estimate of
        the noise variance; 0 if missing.
    counted : ndarray of shape (rater, image)
        Weight of each rating, corrected for the degrees of freedom of the regression; 0 if no other rater of
        the group rated the image, or if the rater has too few images for a regression.
    """
    fits = regress_raters(trait, cues)
    known = np.isfinite(fits.noise)
    seen, ratings = (
        np.asarray(m.todense() if hasattr(m, "todense") else m) for m in (trait.seen, trait.ratings)
    )
    seen = seen * known[:, None]
    count = np.maximum(seen.sum(axis=1, keepdims=True), 1)
    predicted = np.nan_to_num(fits.utilisation) @ cues.T
    residuals = seen * (ratings - predicted)
    residuals = seen * (residuals - residuals.sum(axis=1, keepdims=True) / count)
    varied = (np.abs(cues).max(axis=0, initial=0) > 0).sum()
    squares, counted = np.zeros_like(residuals), np.zeros_like(residuals)
    for group in np.unique(labels):
        own = labels == group
        number = seen[own].sum(axis=0)
        several = number >= 2
        mean = residuals[own].sum(axis=0) / np.maximum(number, 1)
        factor = np.where(several, number / np.maximum(number - 1, 1), 0)
        squares[own] = seen[own] * (residuals[own] - mean) ** 2 * factor
        counted[own] = seen[own] * several
    left: np.ndarray = np.maximum(1 - (varied + 1) / count, 1e-12)
    return squares, counted * left


def crossed_variance(both: np.ndarray, faces: np.ndarray, errors: np.ndarray) -> np.ndarray:
    r"""Compute the variance of estimates with both raters and faces as random factors.

    Parameters
    ----------
    both : ndarray of shape (draw, cell)
        Estimates in draws of raters and identities together.
    faces : ndarray of shape (draw, cell)
        Estimates in draws of identities, with the original raters.
    errors : ndarray of shape (cell,)
        Standard errors over raters, with the original faces.

    Returns
    -------
    ndarray of shape (cell,)
        The sum :math:`V_r + V_f + V_{rf}` of the variances of raters, faces and their interaction. Draws of
        both have the variance :math:`V_r + V_f + 3 V_{rf}` (Owen 2007), draws of raters :math:`V_r + V_{rf}`
        and draws of faces :math:`V_f + V_{rf}`. The result is twice the sum of the last two minus the first,
        and at least the larger of the last two.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> both, faces = 2.0 * rng.normal(size=(9999, 1)), 1.0 * rng.normal(size=(9999, 1))
    >>> crossed_variance(both, faces, np.array([1.5])).round(1).tolist()
    [2.5]
    """
    over_raters, over_faces = errors**2, faces.var(axis=0, ddof=1)
    total = 2 * (over_raters + over_faces) - both.var(axis=0, ddof=1)
    return np.asarray(np.maximum(total, np.maximum(over_raters, over_faces)))


def bootstrap_p(
    estimate: np.ndarray,
    drawn: np.ndarray,
    errors: np.ndarray,
    freedom: np.ndarray,
    spread: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute p values of estimates from bootstrap draws.

    Parameters
    ----------
    estimate : ndarray of shape (cell,)
        Estimates, 0 under the null hypothesis.
    drawn : ndarray of shape (draw, cell)
        Estimates in each bootstrap draw.
    errors, freedom : ndarray of shape (cell,)
        Standard errors over raters alone, and their degrees of freedom.
    spread : ndarray of shape (cell,), optional
        Standard errors of the estimates; the standard deviations of the draws if None.

    Returns
    -------
    p, p_corrected : ndarray of shape (cell,)
        Uncorrected p values, and family-wise p values by the maximum over cells of the standardised deviation
        of a draw from the estimate; 1 for a cell that does not vary.

    Notes
    -----
    With few raters, bootstrap draws are approximately normal, while the statistic follows Student's t. The
    statistic is therefore transformed from the t to the normal distribution. The degrees of freedom are
    Satterthwaite's; the variance that is not due to raters counts as known.
    """
    deviation = _not_zero(drawn.std(axis=0, ddof=1))
    spread = deviation if spread is None else _not_zero(np.where(np.isfinite(deviation), spread, 0))
    deviations = np.abs(drawn - estimate) / deviation
    t = np.abs(estimate) / spread
    # Logarithms are used because tail probabilities of large statistics underflow.
    tails = stats.t.logsf(t, _total_freedom(errors, freedom, spread))
    statistic = np.where(np.isfinite(tails), -special.ndtri_exp(tails), t) * (1 - 1e-10)
    p = (1 + (deviations >= statistic).sum(axis=0)) / (1 + len(drawn))
    largest = deviations.max(axis=1, initial=0)
    corrected = (1 + (largest[:, None] >= statistic).sum(axis=0)) / (1 + len(drawn))
    return p, corrected


def detectable_difference(
    estimate: np.ndarray,
    drawn: np.ndarray,
    errors: np.ndarray,
    freedom: np.ndarray,
    spread: np.ndarray,
) -> np.ndarray:
    """Compute the smallest differences that would be found with 80 % power; parameters as `bootstrap_p`.

    Returns
    -------
    ndarray of shape (cell,)
        The family-wise critical value of Student's t plus .84, times the standard error.
    """
    deviations = np.abs(drawn - estimate) / _not_zero(drawn.std(axis=0, ddof=1))
    critical = np.quantile(deviations.max(axis=1, initial=0), 1 - ALPHA, method="higher")
    t = stats.t.isf(stats.norm.sf(critical), _total_freedom(errors, freedom, spread))
    return np.asarray((t + stats.norm.ppf(POWER)) * spread)


def bootstrap_interval(
    estimate: np.ndarray,
    drawn: np.ndarray,
    errors: np.ndarray,
    freedom: np.ndarray,
    spread: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute 95 % intervals that are symmetric about the estimates; parameters as `bootstrap_p`.

    Returns
    -------
    low, high : ndarray of shape (cell,)
        The estimate minus and plus half the width. Half the width is the 95 % quantile of the absolute
        deviations of the draws from the estimate, rescaled to the standard error `spread` and to Student's t.
    """
    deviation = drawn.std(axis=0, ddof=1)
    spread = deviation if spread is None else spread
    wider = stats.t.ppf(1 - ALPHA / 2, _total_freedom(errors, freedom, spread)) / stats.norm.ppf(
        1 - ALPHA / 2
    )
    width = wider * np.quantile(np.abs(drawn - estimate), 1 - ALPHA, axis=0) * spread / _not_zero(deviation)
    return estimate - width, estimate + width


def _total_freedom(errors: np.ndarray, freedom: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return Satterthwaite's degrees of freedom of a standard error that includes the one over raters."""
    share = errors / _not_zero(spread)
    return np.asarray(np.clip(freedom / np.maximum(share**4, 1e-9), freedom, 1e9))


def nonzero(value: float) -> float:
    """Return a divisor; infinity if it is zero, so that the quotient is zero."""
    return float(value) if abs(value) > 1e-12 else np.inf


def _not_zero(values: np.ndarray) -> np.ndarray:
    """Return divisors; infinity instead of zero, so that the quotients are zero."""
    return np.asarray(np.where(values > 1e-12, values, np.inf))
