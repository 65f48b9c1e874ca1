"""Linear models of measures of raters, with robust standard errors and permutation of residuals."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

MOST_ELEMENTS = 2_000_000
"""Maximum number of values that are permuted at once."""


@dataclass(frozen=True)
class Rearrangement:
    """How residuals are rearranged under the null hypothesis: permuted within strata, or signs flipped.

    Parameters
    ----------
    strata : ndarray of int, shape (rater,)
        Stratum of each rater; residuals are permuted within strata.
    clusters : ndarray of int, shape (rater,), optional
        Cluster of each rater. If given, the signs of the residuals of whole clusters are flipped instead.
    number : int
        Number of random rearrangements.
    seed : int
        Seed of the random number generator.
    """

    strata: np.ndarray
    clusters: np.ndarray | None = None
    number: int = 5000
    seed: int = 0

    @property
    def smallest_p(self) -> float:
        """Smallest possible p value, which is large with few clusters."""
        possible = 1 / (self.number + 1)
        if self.clusters is None:
            return possible
        return max(possible, 2.0 ** (1 - min(len(np.unique(self.clusters)), 60)))

    def draw(self, block: int) -> Iterator[np.ndarray]:
        """Yield blocks of random sort keys or signs, arrays of shape (rearrangement, rater)."""
        rng = np.random.default_rng(self.seed)
        raters = len(self.strata)
        for start in range(0, self.number, block):
            size = min(block, self.number - start)
            if self.clusters is None:
                yield rng.random((size, raters))
            else:
                signs = rng.integers(0, 2, (size, int(self.clusters.max()) + 1)) * 2.0 - 1
                yield signs[:, self.clusters]

    def places(self, drawn: np.ndarray, members: np.ndarray) -> np.ndarray:
        """Return for each rearrangement and member the index of the member whose residual it gets."""
        strata, own = self.strata[members], drawn[:, members]
        places = np.empty(own.shape, int)
        # Sorting by random keys within strata gives raters the same order for every trait.
        places[:, np.argsort(strata, kind="stable")] = np.lexsort((own, np.broadcast_to(strata, own.shape)))
        return places


@dataclass(frozen=True)
class Contrast:
    """A linear combination of the coefficients of a model.

    Parameters
    ----------
    weights : ndarray of shape (rater,)
        Weights of the values of the raters, whose weighted sum is the estimate.
    adjusted : ndarray of shape (rater,)
        Weights for the standard error: those of each cluster are multiplied by the inverse square root of one
        minus the leverage.
    freedom : float
        Degrees of freedom of the variance (Satterthwaite).
    """

    weights: np.ndarray
    adjusted: np.ndarray
    freedom: float


class LinearModel:
    """Least-squares model with standard errors that allow unequal variances or dependence within clusters.

    Parameters
    ----------
    design : ndarray of shape (rater, column)
        Design matrix; columns may be collinear.
    clusters : ndarray of int, shape (rater,), optional
        Cluster of each rater; if None, each rater is a separate cluster.

    Notes
    -----
    Standard errors are HC2 (MacKinnon and White 1985), or with clusters CR2 (Bell and McCaffrey 2002).
    Degrees of freedom are those of Bell and McCaffrey (2002) under equal variances (Imbens and Kolesar 2016,
    eq. 8).
    """

    def __init__(self, design: np.ndarray, clusters: np.ndarray | None = None):
        left, sizes, right = np.linalg.svd(design, full_matrices=False)
        kept = sizes > 1e-9 * sizes.max(initial=0)
        self.basis = left[:, kept]
        self._coordinates = right[kept] / sizes[kept, None]
        self._rows = right[kept]
        own = np.arange(len(design)) if clusters is None else clusters
        self.clusters = np.unique(own, return_inverse=True)[1].ravel()

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the residuals."""
        return len(self.basis) - self.basis.shape[1]

    @cached_property
    def _members(self) -> list[np.ndarray]:
        order = np.argsort(self.clusters, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.clusters))[:-1])

    def contrast(self, combination: np.ndarray) -> Contrast | None:
        """Return the contrast of a linear combination of coefficients.

        Parameters
        ----------
        combination : ndarray of shape (column,)
            Weights of the coefficients.

        Returns
        -------
        Contrast or None
            None if the combination cannot be estimated with this design.
        """
        missed = combination - self._rows.T @ (self._rows @ combination)
        if np.abs(missed).max() > 1e-6 * np.abs(combination).max() or not np.abs(combination).max() > 0:
            return None
        weights = self.basis @ (self._coordinates @ combination)
        adjusted = np.empty(len(weights))
        columns = np.zeros((len(weights), len(self._members)))
        for number, own in enumerate(self._members):
            basis = self.basis[own]
            roots, vectors = np.linalg.eigh(np.eye(len(own)) - basis @ basis.T)
            inverse = np.where(roots > 1e-9, 1 / np.sqrt(np.maximum(roots, 1e-9)), 0)
            adjusted[own] = vectors @ (inverse * (vectors.T @ weights[own]))
            columns[own, number] = adjusted[own]
        columns -= self.basis @ (self.basis.T @ columns)
        products = columns.T @ columns
        freedom = np.trace(products) ** 2 / max((products**2).sum(), 1e-300)
        return Contrast(weights, adjusted, float(max(freedom, 1.0)))

    def estimate(self, contrast: Contrast, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Estimate a contrast, with standard errors.

        Parameters
        ----------
        contrast : Contrast
            Contrast from :meth:`contrast`.
        values : ndarray of shape (..., rater, cell)
            Values of the raters.

        Returns
        -------
        estimate, error : ndarray of shape (..., cell)
            Estimates and standard errors.
        """
        estimate = contrast.weights @ values
        residuals = values - self.basis @ (self.basis.T @ values)
        parts = contrast.adjusted[:, None] * residuals
        if len(self._members) < len(self.basis):
            member = (self.clusters == np.arange(len(self._members))[:, None]).astype(float)
            parts = member @ parts
        return estimate, np.sqrt((parts**2).sum(axis=-2))

    def residuals(self, values: np.ndarray) -> np.ndarray:
        """Return the residuals of values of shape (rater, cell)."""
        return np.asarray(values - self.basis @ (self.basis.T @ values))

    def restricted_residuals(self, contrast: Contrast, values: np.ndarray) -> np.ndarray:
        """Return the residuals of values of shape (rater, cell) in the model without a contrast."""
        w = contrast.weights[:, None]
        return self.residuals(values) + w * (w.T @ values) / float((w**2).sum())

    def residual_deviation(self, values: np.ndarray) -> np.ndarray:
        """Return the standard deviation of the residuals of each column."""
        return np.sqrt((self.residuals(values) ** 2).sum(axis=0) / max(self.freedom, 1))


@dataclass(frozen=True)
class ModelCells:
    """Values of some raters, with a linear model and the contrasts to test.

    Parameters
    ----------
    members : ndarray of int, shape (member,)
        Indices of the raters.
    values : ndarray of shape (member, cell)
        Values of the raters.
    model : LinearModel
        Model of the raters.
    contrasts : list of Contrast
        Contrasts to test.
    """

    members: np.ndarray
    values: np.ndarray
    model: LinearModel
    contrasts: list[Contrast]


def studentized(estimate: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Divide estimates by their standard errors; 0 where an error is 0."""
    ratio: np.ndarray = np.where(error > 0, estimate / np.where(error > 0, error, 1), 0)
    return ratio


def permute_residuals(blocks: list[ModelCells], how: Rearrangement) -> list[np.ndarray]:
    """Compute t of contrasts after rearranging residuals (Freedman and Lane 1983; Winkler et al. 2014).

    For each contrast, the residuals of the model in which the contrast is zero are rearranged.

    Parameters
    ----------
    blocks : list of ModelCells
        Values and models, such as one per trait. All blocks have the same rearrangements of raters.
    how : Rearrangement
        How residuals are rearranged.

    Returns
    -------
    list of ndarray of shape (rearrangement, contrast, cell)
        t of each block.
    """
    largest = max((one.values.size for one in blocks), default=1)
    rows: list[list[np.ndarray]] = [
        [np.zeros((0, len(one.contrasts), one.values.shape[1]))] for one in blocks
    ]
    for drawn in how.draw(max(1, MOST_ELEMENTS // largest)):
        for place, one in enumerate(blocks):
            if how.clusters is None:
                rows[place].append(_t_of_permuted_residuals(one, how.places(drawn, one.members)))
            else:
                rows[place].append(_t_of_flipped_residuals(one, drawn[:, one.members]))
    return [np.concatenate(parts) for parts in rows]


def _t_of_permuted_residuals(one: ModelCells, places: np.ndarray) -> np.ndarray:
    """Return t after permuting residuals, an array of shape (permutation, contrast, cell).

    The residuals of the model without a contrast are those of the full model plus a multiple of the weights
    of the contrast. The residuals of the full model are therefore permuted once for all contrasts.
    """
    basis, weights = one.model.basis, np.stack([contrast.weights for contrast in one.contrasts])
    square = np.stack([contrast.adjusted for contrast in one.contrasts]) ** 2
    factor = (weights @ one.values) / (weights**2).sum(axis=1, keepdims=True)
    whole = one.model.residuals(one.values)[places]
    own = whole - basis @ (basis.T @ whole)
    moved = weights.T[places]  # (permutation, member, contrast)
    rest = moved - basis @ (basis.T @ moved)
    estimate = weights @ whole + np.einsum("kn,pnk->pk", weights, moved)[:, :, None] * factor
    cross = (rest * square.T).transpose(0, 2, 1)
    variance = square @ own**2 + 2 * factor * (cross @ own)
    variance += factor**2 * np.einsum("kn,pnk->pk", square, rest**2)[:, :, None]
    return studentized(estimate, np.sqrt(np.maximum(variance, 0)))


def _t_of_flipped_residuals(one: ModelCells, signs: np.ndarray) -> np.ndarray:
    """Return t after flipping signs of residuals, an array of shape (rearrangement, contrast, cell)."""
    found = []
    for contrast in one.contrasts:
        residuals = one.model.restricted_residuals(contrast, one.values)
        found.append(studentized(*one.model.estimate(contrast, signs[:, :, None] * residuals)))
    return np.stack(found, axis=1)
