"""Sources of the variance of ratings: identity, photograph, rater, private taste and noise."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg, optimize
from scipy.sparse import csr_matrix, hstack

from traitlens.columns import GROUP, IMAGE, RATER, RATING, TRAIT

MOST_EFFECTS = 2500
"""Maximum number of raters, images and identities together, to limit computing time."""
DRAWS = 4000
ZERO = 1e-6
"""Share of the total variance below which a variance is set to zero."""


@dataclass(frozen=True)
class Variances:
    """Estimated variances of random effects, with their sampling covariance.

    Parameters
    ----------
    values : dict of str to float
        Variance of each factor, then "private" and "noise", or "residual" if there are no repeats.
    covariance : ndarray of shape (variance, variance)
        Sampling covariance of the logarithms of the variances; zero for variances that are zero.
    """

    values: dict[str, float]
    covariance: np.ndarray

    def draw(self, number: int, seed: int) -> dict[str, np.ndarray]:
        """Draw variances from the normal distribution of their logarithms (ten Hove et al. 2022).

        Returns
        -------
        dict of str to ndarray of shape (number,)
            Draws of each variance.
        """
        logs = np.log(np.maximum(list(self.values.values()), 1e-300))
        rng = np.random.default_rng(seed)
        # With few ratings the likelihood can be flat, and its inverse curvature slightly negative.
        squares, vectors = np.linalg.eigh(self.covariance)
        factor = vectors * np.sqrt(np.maximum(squares, 0))
        drawn = logs + rng.standard_normal((number, len(logs))) @ factor.T
        return dict(zip(self.values, np.exp(np.clip(drawn, -700, 300)).T, strict=True))


class _Deviance:
    """-2 log restricted likelihood of crossed random effects, and its gradient.

    The likelihood is computed from the means of cells with one or more repeats, and from the sum of squares
    within cells.
    """

    def __init__(self, factors: Mapping[str, np.ndarray], cells: np.ndarray, values: np.ndarray):
        codes, cell = np.unique(cells, return_inverse=True)
        counts = np.bincount(cell)
        means = np.bincount(cell, values) / counts
        first = np.zeros(len(codes), int)
        first[cell[::-1]] = np.arange(len(cell))[::-1]
        self.within = float(((values - means[cell]) ** 2).sum())
        self.repeats = len(values) - len(codes)
        self.names = [*factors, *(("private", "noise") if self.repeats else ("residual",))]
        parts = []
        for name in factors:
            of_cell = np.unique(factors[name], return_inverse=True)[1].ravel()[first]
            shape = (len(codes), int(of_cell.max()) + 1)
            parts.append(csr_matrix((np.ones(len(codes)), (np.arange(len(codes)), of_cell)), shape))
        parts.append(csr_matrix(np.ones((len(codes), 1))))
        self.slices = np.cumsum([0, *(part.shape[1] for part in parts[:-1])])
        design = hstack(parts, format="csr")
        self.sizes = np.unique(counts)
        self.products, self.right, self.squares, self.numbers = [], [], [], []
        for size in self.sizes:
            own, y = design[counts == size], means[counts == size]
            self.products.append((own.T @ own).toarray())
            self.right.append(own.T @ y)
            self.squares.append(float(y @ y))
            self.numbers.append(len(y))
        self.total = float(np.var(values))

    def __call__(self, logs: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the deviance for logarithms of the variances, and its gradient."""
        variances = np.exp(logs)
        random = variances[: len(self.slices) - 1]
        noise = variances[-1]
        private = variances[-2] if self.repeats else 0.0
        residual = private + noise / self.sizes
        columns = np.diff(self.slices)
        matrix = sum(part / d for part, d in zip(self.products, residual, strict=True))
        matrix = matrix + np.diag(np.append(np.repeat(1 / random, columns), 0))
        right = sum(part / d for part, d in zip(self.right, residual, strict=True))
        factor = linalg.cho_factor(matrix, lower=True, check_finite=False)
        solution = linalg.cho_solve(factor, right, check_finite=False)
        inverse = linalg.cho_solve(factor, np.eye(len(matrix)), check_finite=False)
        numbers, squares = np.array(self.numbers), np.array(self.squares)
        value = float(numbers @ np.log(residual) + columns @ np.log(random) + squares @ (1 / residual))
        value += 2 * float(np.log(np.diag(factor[0])).sum()) - float(right @ solution)
        gradient = np.empty(len(logs))
        for place, (start, stop) in enumerate(zip(self.slices[:-1], self.slices[1:], strict=True)):
            spread = np.trace(inverse[start:stop, start:stop]) + float((solution[start:stop] ** 2).sum())
            gradient[place] = (stop - start) - spread / random[place]
        by_size = np.array(
            [
                n / d - (float((inverse * m).sum()) + s - 2 * float(solution @ r) + float(solution @ m @
                solution)) / d**2 for n, d, m, s, r in zip(numbers, residual, self.products, squares,
                self.right, strict=True)
            ]
        )  # fmt: skip
        gradient[-1] = float(by_size @ (1 / self.sizes)) * noise
        if self.repeats:
            value += self.repeats * float(np.log(noise)) + self.within / noise
            gradient[-1] += self.repeats - self.within / noise
            gradient[-2] = float(by_size.sum()) * private
        return value, gradient


def fit_variances(factors: Mapping[str, np.ndarray], cells: np.ndarray, values: np.ndarray) -> Variances:
    """Fit variances of crossed or nested random effects by restricted maximum likelihood.

    Parameters
    ----------
    factors : mapping of str to ndarray of shape (observation,)
        Levels of each random factor, such as image and rater.
    cells : ndarray of shape (observation,)
        Cell of each observation; repeated observations have the same cell.
    values : ndarray of shape (observation,)
        Observed values.

    Returns
    -------
    Variances
        Variances of the factors, of cells ("private") and of repeats ("noise"), or "residual" without
        repeats.

    Notes
    -----
    The model is that of ``lmer(value ~ 1 + (1|image) + (1|rater) + (1|image:rater))`` in R.

    Examples
    --------
    Dyestuff of lme4 (Bates et al. 2015): variances of 1764 between batches, 2451 within.

    >>> dyestuff = [1545, 1440, 1440, 1520, 1580, 1540, 1555, 1490, 1560, 1495, 1595, 1550, 1605, 1510, 1560]
    >>> dyestuff += [1445, 1440, 1595, 1465, 1545, 1595, 1630, 1515, 1635, 1625, 1520, 1455, 1450, 1480, 1445]
    >>> fit = fit_variances({"batch": np.arange(30) // 5}, np.arange(30), np.array(dyestuff, float))
    >>> {name: round(value) for name, value in fit.values.items()}
    {'batch': 1764, 'residual': 2451}
    """
    deviance = _Deviance(factors, cells, np.asarray(values, float))
    scale = max(deviance.total, 1e-300)
    number = len(deviance.names)
    start = np.full(number, np.log(scale / number))
    low, high = np.log(scale) - 20, np.log(scale) + 8
    found = optimize.minimize(
        deviance, start, jac=True, method="L-BFGS-B", bounds=[(low, high)] * number,
        options={"maxiter": 500, "ftol": 1e-14, "gtol": 1e-7},
    )  # fmt: skip
    logs = found.x
    free = np.exp(logs) > ZERO * scale
    covariance = np.zeros((number, number))
    if free.any():
        step = 1e-3
        rows = [
            (deviance(logs + step * unit)[1] - deviance(logs - step * unit)[1]) / (2 * step)
            for unit in np.eye(number)[free]
        ]
        hessian = np.array(rows)[:, free]
        covariance[np.ix_(free, free)] = 2 * linalg.pinvh((hessian + hessian.T) / 2)
    variances = np.where(free, np.exp(logs), 0.0)
    return Variances(dict(zip(deviance.names, map(float, variances), strict=True)), covariance)


def tabulate_variances(ratings: pd.DataFrame, identities: pd.Series, seed: int = 0) -> pd.DataFrame:
    """Estimate the sources of variance of the ratings, by group and trait.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating; several rows of a rater, trait and image are repeats.
    identities : Series
        Identity of each image; the index is the image.
    seed : int, default 0
        Seed of the Monte Carlo intervals.

    Returns
    -------
    DataFrame
        group, trait, part, variance (squared rating points), share, share_low, share_high (95 % Monte Carlo
        interval from the sampling distribution of the variances), n_raters, n_images, n_identities, n_repeats
        (number of ratings that repeat another). The parts are "identity" (the person shown), "photograph" (of
        a person; "image" if each person has one image), "rater" (the rater's mean), "private taste" (rater by
        image) and "noise", or "private taste and noise" without repeats. With repeats, the parts "beholder
        index" (b1 of Hoenekopp 2006: private taste over the sum of private and shared taste) and "beholder
        index with levels" (b2: variance of raters counted as private) have the index in the column share.

    Notes
    -----
    Shared taste is identity and photograph together. Martinez, Funk and Todorov (2020) discuss both indices.
    """
    rows: list[dict[str, object]] = []
    for (group, trait), own in ratings.groupby([GROUP, TRAIT], sort=True, observed=True):
        rows += [
            {GROUP: str(group), TRAIT: str(trait)} | row for row in _estimate_sources(own, identities, seed)
        ]
    columns = [GROUP, TRAIT, "part", "variance", "share", "share_low", "share_high", "n_raters", "n_images",
               "n_identities", "n_repeats"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _estimate_sources(ratings: pd.DataFrame, identities: pd.Series, seed: int) -> list[dict[str, object]]:
    """Compute the rows of :func:`tabulate_variances` for one group and trait; none if data are too few."""
    rater, image = (pd.factorize(ratings[name])[0] for name in (RATER, IMAGE))
    person = pd.factorize(identities.reindex(ratings[IMAGE].to_numpy()).to_numpy())[0]
    raters, images, persons = (len(np.unique(codes)) for codes in (rater, image, person))
    values = ratings[RATING].to_numpy(float)
    if min(raters, images) < 3 or raters + images + persons > MOST_EFFECTS or not np.ptp(values) > 0:
        return []
    factors: dict[str, np.ndarray] = {}
    if 3 <= persons < images:
        factors |= {"identity": person, "photograph": image}
    else:
        factors["image"] = image
    factors["rater"] = rater
    cells = rater * (image.max() + 1) + image
    fit = fit_variances(factors, cells, values)
    drawn = fit.draw(DRAWS, seed)
    total = sum(fit.values.values())
    totals = np.sum(list(drawn.values()), axis=0)
    named = {"private": "private taste", "residual": "private taste and noise"}
    facts = {"n_raters": raters, "n_images": images, "n_identities": persons,
             "n_repeats": len(values) - len(np.unique(cells))}  # fmt: skip
    rows: list[dict[str, object]] = [
        {"part": named.get(name, name), "variance": variance, "share": variance / total}
        | _share_interval(drawn[name] / totals)
        for name, variance in fit.values.items()
    ]
    if "private" in fit.values:
        shared = [name for name in ("identity", "photograph", "image") if name in fit.values]
        for part, private in (
            ("beholder index", ["private"]),
            ("beholder index with levels", ["private", "rater"]),
        ):
            taste = np.sum([drawn[name] for name in private], axis=0)
            every = np.sum([drawn[name] for name in shared], axis=0)
            mine = sum(fit.values[name] for name in private)
            both = mine + sum(fit.values[name] for name in shared)
            index = mine / both if both > 0 else np.nan
            rows.append(
                {"part": part, "share": index} | _share_interval(taste / np.maximum(taste + every, 1e-300))
            )
    return [row | facts for row in rows]


def _share_interval(draws: np.ndarray) -> dict[str, object]:
    """Compute the 95 % interval of a share from Monte Carlo draws."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"share_low": float(low), "share_high": float(high)}
