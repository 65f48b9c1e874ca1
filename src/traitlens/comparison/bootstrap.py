"""Bootstrap over raters and faces: balanced samples, p values and intervals."""

import numpy as np
from scipy import special, stats

from traitlens.comparison.answers import ALPHA
from traitlens.comparison.lens_design import TraitRatings
from traitlens.comparison.rater_tests import POWER
from traitlens.comparison.utilisation import regress_raters


def balance(labels: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Compute weights of raters that give both groups the same composition of strata.

    Parameters
    ----------
    labels : ndarray of int, shape (rater,)
        Groups, 0 and 1.
    strata : ndarray of int, shape (rater,)
        Strata.

    Returns
    -------
    ndarray of shape (rater,)
        Size of the stratum divided by the number of the group's raters in it; 0 in strata without raters of
        the other group.

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
    """Compute squared residuals of judgements from the rater's regression and the group's consensus.

    The residuals of a rater's regression on the cues are compared with the mean residuals of the other
    raters of the group, since residuals that all raters share are not noise.

    Parameters
    ----------
    trait : TraitRatings
        Ratings.
    cues : ndarray of shape (image, region)
        Standardised cues.
    labels : ndarray of int, shape (rater,)
        Groups.

    Returns
    -------
    squares : ndarray of shape (rater, image)
        Squared deviations, whose expectation over raters of one group is the variance of the noise for any
        number of raters; 0 without a rating.
    counted : ndarray of shape (rater, image)
        Weights of the judgements: those of images that another rater of the group rated too, by raters with
        enough images for a regression, corrected for its degrees of freedom.
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
    r"""Compute the variance of estimates over raters and faces.

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
        With variances of raters, faces and their interaction :math:`V_r + V_f + V_{rf}`: draws of both have
        :math:`V_r + V_f + 3 V_{rf}` (Owen 2007), raters alone :math:`V_r + V_{rf}`, faces alone
        :math:`V_f + V_{rf}`. Twice the sum of these less that of both; at least the larger of these.

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
        Estimates, 0 under no difference.
    drawn : ndarray of shape (draw, cell)
        The same in each draw.
    errors, freedom : ndarray of shape (cell,)
        Standard errors over raters alone, and their degrees of freedom.
    spread : ndarray of shape (cell,), optional
        Standard errors of the estimates; the standard deviations of the draws if None.

    Returns
    -------
    p, p_corrected : ndarray of shape (cell,)
        Each by itself, and family-wise by the maximum over cells of the deviation of a draw from the
        estimate, divided by its standard deviation over draws. 1 for a cell that does not vary.

    Notes
    -----
    Draws of few raters spread like a normal variable where the statistic spreads like Student's t. The
    statistic is therefore transformed from the t distribution to the normal one; the degrees of freedom are
    Satterthwaite's, that part of the variance that is not of raters counting as known.
    """
    deviation = _not_zero(drawn.std(axis=0, ddof=1))
    spread = deviation if spread is None else _not_zero(np.where(np.isfinite(deviation), spread, 0))
    deviations = np.abs(drawn - estimate) / deviation
    t = np.abs(estimate) / spread
    # In logarithms, since tails of large statistics vanish.
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
    """Compute the smallest differences that would be found with 80 % power.

    Returns
    -------
    ndarray of shape (cell,)
        The family-wise critical value, as a value of Student's t, plus .84, in standard errors.
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
    """Compute 95 % intervals that are symmetric about the estimates.

    Returns
    -------
    low, high : ndarray of shape (cell,)
        The estimate minus and plus half the width. Half the width is the 95 % quantile of the absolute
        deviations of the draws from the estimate. It is multiplied by `spread` over the draws' standard
        deviation, and by the ratio of the t quantile to the normal quantile.
    """
    deviation = drawn.std(axis=0, ddof=1)
    spread = deviation if spread is None else spread
    wider = stats.t.ppf(1 - ALPHA / 2, _total_freedom(errors, freedom, spread)) / stats.norm.ppf(
        1 - ALPHA / 2
    )
    width = wider * np.quantile(np.abs(drawn - estimate), 1 - ALPHA, axis=0) * spread / _not_zero(deviation)
    return estimate - width, estimate + width


def _total_freedom(errors: np.ndarray, freedom: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return the degrees of freedom of a total standard error that includes the one over raters."""
    share = errors / _not_zero(spread)
    return np.asarray(np.clip(freedom / np.maximum(share**4, 1e-9), freedom, 1e9))


def nonzero(value: float) -> float:
    """Return a divisor, with infinity in place of zero."""
    return float(value) if abs(value) > 1e-12 else np.inf


def _not_zero(values: np.ndarray) -> np.ndarray:
    """Return divisors, with infinity in place of zero."""
    return np.asarray(np.where(values > 1e-12, values, np.inf))
