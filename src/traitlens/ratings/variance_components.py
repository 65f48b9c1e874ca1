"""Variance components of ratings (image, rater, residual), and intraclass correlations."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize, stats

from traitlens.ratings.rating_matrix import RatingMatrix


@dataclass(frozen=True)
class VarianceComponents:
    """Variances of the crossed random effects of images and raters, and of the residual.

    Parameters
    ----------
    image, rater, residual : float
        Variances in squared rating units; the residual contains private taste and noise.
    covariance : ndarray of shape (3, 3) or None
        Sampling covariance of the logarithms of the variances; None if they were not fitted by REML.
    method : {"anova", "reml"}
        Method of estimation.
    """

    image: float
    rater: float
    residual: float
    covariance: np.ndarray | None
    method: str

    def icc(self, raters: float = 1, absolute: bool = True) -> float:
        """Compute the intraclass correlation of the mean of several raters.

        Parameters
        ----------
        raters : float, default 1
            Number of raters whose ratings are averaged.
        absolute : bool, default True
            True for absolute agreement (ICC(2,k), or ICC(A,k) of McGraw and Wong), False for consistency
            (ICC(3,k), ICC(C,k), Cronbach's alpha).

        Returns
        -------
        float
            Share of the variance of the mean that is due to images.
        """
        noise = self.residual + (self.rater if absolute else 0.0)
        total = self.image + noise / raters
        return self.image / total if total > 0 else np.nan


@dataclass(frozen=True)
class Interval:
    """An estimate with the lower and upper bound of its confidence interval."""

    estimate: float
    low: float
    high: float


def estimate_components(matrix: RatingMatrix) -> VarianceComponents:
    """Estimate the variances of images, raters and residual.

    Complete designs are analysed by mean squares; the estimates are unbiased and may be negative. If ratings
    are missing, the variances are fitted by restricted maximum likelihood with crossed random effects, as by
    `lmer(rating ~ 1 + (1|image) + (1|rater))` in R.

    Parameters
    ----------
    matrix : RatingMatrix
        Ratings of one group and trait.

    Examples
    --------
    >>> import pandas as pd
    >>> values = np.array([[9, 6, 8, 7, 10, 6], [2, 1, 4, 1, 5, 2], [5, 3, 6, 2, 6, 4.0], [8, 2, 8, 6, 9, 7]])
    >>> components = estimate_components(RatingMatrix(values, pd.RangeIndex(4), pd.RangeIndex(6)))
    >>> round(components.icc(), 2), round(components.icc(4), 2)  # Shrout and Fleiss 1979, table 4
    (0.29, 0.62)
    """
    if not matrix.complete:
        return _fit_reml(matrix.ratings)
    images, raters, residual = mean_squares(matrix.ratings)
    k, n = matrix.ratings.shape
    return VarianceComponents((images - residual) / k, (raters - residual) / n, residual, None, "anova")


def mean_squares(values: np.ndarray) -> tuple[float, float, float]:
    """Compute the mean squares of images, raters and residual of a complete design.

    Parameters
    ----------
    values : ndarray of shape (rater, image)
        Ratings without missing values.

    Returns
    -------
    images, raters, residual : float
        The mean squares.
    """
    k, n = values.shape
    by_image, by_rater = values.mean(axis=0), values.mean(axis=1)
    residual = values - by_image - by_rater[:, None] + values.mean()
    return (
        k * float(by_image.var(ddof=1)),
        n * float(by_rater.var(ddof=1)),
        float((residual**2).sum() / ((n - 1) * (k - 1))),
    )


def icc_intervals(
    matrix: RatingMatrix, components: VarianceComponents, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Compute intraclass correlations with intervals.

    Parameters
    ----------
    matrix : RatingMatrix
        Ratings of one group and trait.
    components : VarianceComponents
        Variance components of the ratings, as returned by :func:`estimate_components`.
    seed : int, default 0
        Seed of the Monte Carlo intervals, which are used if ratings are missing.
    level : float, default 0.95
        Coverage of the intervals.

    Returns
    -------
    dict of str to Interval
        "icc_2_1", "icc_2_k" (absolute agreement), "icc_3_1" and "icc_3_k" (consistency; the latter is
        Cronbach's alpha), where k is the number of raters per image. Intervals of complete designs are the F
        intervals of McGraw and Wong (1996), table 7. Others are percentiles of 4,000 draws from the normal
        distribution of the logarithms of the variances (Monte Carlo intervals, ten Hove et al. 2022).
    """
    number = matrix.raters_per_image
    kinds = {
        "icc_2_1": (1.0, True),
        "icc_2_k": (number, True),
        "icc_3_1": (1.0, False),
        "icc_3_k": (number, False),
    }
    estimates = {name: components.icc(*kind) for name, kind in kinds.items()}
    if components.method == "anova":
        bounds = _f_intervals(matrix.ratings, level)
    else:
        bounds = _monte_carlo_intervals(components, kinds, seed, level)
    return {name: Interval(estimates[name], *bounds[name]) for name in kinds}


def _f_intervals(values: np.ndarray, level: float) -> dict[str, tuple[float, float]]:
    """Compute the intervals of McGraw and Wong (1996), table 7, cases 2A and 3."""
    k, n = values.shape
    images, raters, residual = mean_squares(values)
    upper = 0.5 + level / 2
    if residual <= 1e-12 * images:  # Raters agree exactly, or differ by constants only.
        exact = {f"icc_3_{many}": (1.0, 1.0) for many in ("1", "k")}
        same_levels = raters <= 1e-12 * images
        bounds = (1.0, 1.0) if same_levels else (np.nan, np.nan)
        return exact | {f"icc_2_{many}": bounds for many in ("1", "k")}
    ratio = images / residual
    below = ratio / stats.f.ppf(upper, n - 1, (n - 1) * (k - 1))
    above = ratio * stats.f.ppf(upper, (n - 1) * (k - 1), n - 1)
    consistency = tuple((bound - 1) / (bound + k - 1) for bound in (below, above))

    single = (images - residual) / (images + (k - 1) * residual + k * (raters - residual) / n)
    a = k * single / (n * (1 - single))
    b = 1 + k * single * (n - 1) / (n * (1 - single))
    freedom = (a * raters + b * residual) ** 2 / (
        (a * raters) ** 2 / (k - 1) + (b * residual) ** 2 / ((n - 1) * (k - 1))
    )
    f_low, f_high = stats.f.ppf(upper, n - 1, freedom), stats.f.ppf(upper, freedom, n - 1)
    noise = k * raters + (k * n - k - n) * residual
    agreement = (
        n * (images - f_low * residual) / (f_low * noise + n * images),
        n * (f_high * images - residual) / (noise + n * f_high * images),
    )

    def step_up(bounds: tuple[float, ...]) -> tuple[float, float]:
        """Step up the bounds of a single rater to the mean of all raters by the Spearman-Brown formula."""
        low, high = (k * bound / (1 + (k - 1) * bound) for bound in bounds)
        return low, high

    return {
        "icc_2_1": agreement,
        "icc_2_k": step_up(agreement),
        "icc_3_1": (consistency[0], consistency[1]),
        "icc_3_k": step_up(consistency),
    }


def _monte_carlo_intervals(
    components: VarianceComponents, kinds: dict[str, tuple[float, bool]], seed: int, level: float
) -> dict[str, tuple[float, float]]:
    """Compute Monte Carlo intervals from variances drawn from their sampling distribution."""
    variances = np.array([components.image, components.rater, components.residual])
    if components.covariance is None or variances.min() <= 0:
        return dict.fromkeys(kinds, (np.nan, np.nan))
    rng = np.random.default_rng(seed)
    logarithms = rng.multivariate_normal(np.log(variances), components.covariance, size=4000, method="eigh")
    drawn = np.exp(np.clip(logarithms, -300, 300))  # Avoids overflow of very uncertain variances.
    tails = [(1 - level) / 2, (1 + level) / 2]
    bounds = {}
    for name, (raters, absolute) in kinds.items():
        noise = drawn[:, 2] + (drawn[:, 1] if absolute else 0)
        low, high = np.quantile(drawn[:, 0] / (drawn[:, 0] + noise / raters), tails)
        bounds[name] = (float(low), float(high))
    return bounds


def _fit_reml(values: np.ndarray) -> VarianceComponents:
    """Fit the variances of crossed random effects of raters and images by REML."""
    if values.shape[0] < values.shape[1]:
        swapped = _fit_reml(values.T)
        covariance = swapped.covariance
        if covariance is not None:
            covariance = covariance[np.ix_([1, 0, 2], [1, 0, 2])]
        return VarianceComponents(swapped.rater, swapped.image, swapped.residual, covariance, "reml")
    deviance = _Deviance(values)
    start = np.log(np.array([0.5, 0.5]))
    found = optimize.minimize(
        deviance.profiled, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9}
    )
    residual = deviance.residual(found.x)
    logs = np.append(found.x + np.log(residual), np.log(residual))
    covariance = None
    if found.x.min() > -12:  # Else a variance is zero, and its logarithm is not normally distributed.
        covariance = 2 * linalg.pinvh(_second_derivatives(deviance.full, logs))
    ratio_image, ratio_rater = np.where(found.x > -12, np.exp(found.x), 0.0)
    return VarianceComponents(residual * ratio_image, residual * ratio_rater, residual, covariance, "reml")


class _Deviance:
    """-2 log restricted likelihood of crossed random effects of rows (raters) and columns (images).

    The block of the rows in the mixed model equations is diagonal. The rows are therefore eliminated, so that
    the matrix to be factorised has one row for each column of the ratings and one for the mean.
    """

    def __init__(self, values: np.ndarray):
        self.seen = (~np.isnan(values)).astype(float)
        centred = np.nan_to_num(values - np.nanmean(values))
        self.by_row, self.by_column = self.seen.sum(axis=1), self.seen.sum(axis=0)
        self.row_sums, self.column_sums = centred.sum(axis=1), centred.sum(axis=0)
        self.squares = float((centred**2).sum())
        self.total = float(centred.sum())
        self.number = int(self.seen.sum())

    def _solve(self, logs: np.ndarray) -> tuple[float, float]:
        """Return the quadratic form of the residuals, and the sum of log determinants.

        The arguments are the logarithms of image / residual and rater / residual variance.
        """
        image, rater = np.exp(np.clip(logs, -25, 25))
        rows = self.by_row + 1 / rater
        # Normal equations of the columns and the mean, after eliminating the rows.
        design = np.column_stack([self.seen, self.by_row])
        normal = np.empty((design.shape[1], design.shape[1]))
        normal[:-1, :-1] = np.diag(self.by_column + 1 / image)
        normal[-1, :-1] = normal[:-1, -1] = self.by_column
        normal[-1, -1] = self.number
        normal -= design.T @ (design / rows[:, None])
        right = np.append(self.column_sums, self.total) - design.T @ (self.row_sums / rows)
        factor = linalg.cholesky(normal, lower=True)
        half = linalg.solve_triangular(factor, right, lower=True)
        form = self.squares - float((self.row_sums**2 / rows).sum()) - float(half @ half)
        determinant = 2 * np.log(np.diag(factor)).sum() + np.log(rows).sum()
        determinant += len(rows) * np.log(rater) + (design.shape[1] - 1) * np.log(image)
        return form, float(determinant)

    def residual(self, logs: np.ndarray) -> float:
        """Return the residual variance of maximum likelihood, given the logarithms of the variance ratios."""
        return float(self._solve(logs)[0] / (self.number - 1))

    def profiled(self, logs: np.ndarray) -> float:
        """Return the deviance, minimised over the residual variance, for logarithms of variance ratios."""
        form, determinant = self._solve(logs)
        return float((self.number - 1) * np.log(form) + determinant)

    def full(self, logs: np.ndarray) -> float:
        """Return the deviance for the logarithms of the variances of image, rater and residual."""
        form, determinant = self._solve(logs[:2] - logs[2])
        return float((self.number - 1) * logs[2] + form / np.exp(logs[2]) + determinant)


def _second_derivatives(function, point: np.ndarray, step: float = 1e-2) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Compute the Hessian matrix of a function by central differences."""
    size = len(point)
    unit = np.eye(size) * step
    matrix = np.empty((size, size))
    for i in range(size):
        for j in range(i, size):
            corners = [
                sign * other * function(point + sign * unit[i] + other * unit[j])
                for sign in (1, -1)
                for other in (1, -1)
            ]
            matrix[i, j] = matrix[j, i] = sum(corners) / (4 * step**2)
    return matrix
