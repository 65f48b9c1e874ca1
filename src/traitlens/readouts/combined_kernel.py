r"""A single kernel for all feature spaces of a ridge readout, which is the same for every fold and rating.

A ridge regression on several feature spaces is a kernel ridge regression with the weighted sum of their
kernels (Nunez-Elizalde et al. 2019, doi:10.1016/j.neuroimage.2019.04.012). The scale of each space and the
whitening of its channels are computed from the features of all images and without ratings, so predictions are
linear in the ratings.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.readouts.kernels import kernel_factors, linear_kernel, whitened_kernel, whitening
from traitlens.readouts.readout import LinearPart


@dataclass(frozen=True, eq=False)
class CombinedKernel:
    """A weighted sum of the kernels of feature spaces.

    Parameters
    ----------
    values : ndarray of shape (image, image)
        Inner products of features.
    factors : dict of FeatureSpace to float
        Factor of the kernel of each space.
    whitenings : dict of FeatureSpace to ndarray
        Whitening of each space, of shape (channel, whitened channel); empty if channels are not whitened.
    """

    values: np.ndarray
    factors: dict[FeatureSpace, float]
    whitenings: dict[FeatureSpace, np.ndarray]

    def parts(
        self, features: Mapping[FeatureSpace, np.ndarray], training: np.ndarray, duals: np.ndarray
    ) -> list[tuple[LinearPart, ...]]:
        """Convert dual coefficients to weights of features.

        Parameters
        ----------
        features : mapping of FeatureSpace to ndarray
            Features of shape (image, channel, row, column).
        training : ndarray of int, shape (training image,)
            Training images, whose mean is the reference.
        duals : ndarray of shape (training image, readout)
            Dual coefficients, which sum to zero for each readout.

        Returns
        -------
        list of tuple of LinearPart
            One tuple per readout.
        """
        found: list[list[LinearPart]] = [[] for _ in range(duals.shape[1])]
        for space, factor in self.factors.items():
            seen = features[space][training].astype(np.float64)
            reference = seen.mean(axis=0)
            weights = factor * np.tensordot(duals.T, seen - reference, axes=1)
            if space in self.whitenings:
                metric = self.whitenings[space].astype(np.float64) @ self.whitenings[space].T
                weights = np.einsum("kdyx,dc->kcyx", weights, metric, optimize=True)
            for parts, weight in zip(found, weights, strict=True):
                parts.append(LinearPart(space, weight.astype(np.float32), reference.astype(np.float32)))
        return [tuple(parts) for parts in found]


def combine_kernels(
    features: Mapping[FeatureSpace, np.ndarray],
    weights: Mapping[FeatureSpace, float],
    whiten: float | None = None,
) -> CombinedKernel:
    """Compute the combined kernel of several feature spaces.

    Parameters
    ----------
    features : mapping of FeatureSpace to ndarray
        Features of shape (image, channel, row, column).
    weights : mapping of FeatureSpace to float
        Weight of each space; 1 if missing.
    whiten : float or None, default None
        Shrinkage with which channels are whitened, estimated from all images.

    Returns
    -------
    CombinedKernel
        For one space, the kernel in the units of the features; for several, a kernel with a mean diagonal of
        1 after centring.
    """
    everyone = np.arange(len(next(iter(features.values()))))
    whitenings, kernels = {}, {}
    for space, values in features.items():
        if whiten is None:
            kernels[space] = linear_kernel(values)
        else:
            whitenings[space] = whitening(values, everyone, whiten)
            kernels[space] = whitened_kernel(values, everyone, whitenings[space])
    factors = dict.fromkeys(kernels, 1.0) if len(kernels) == 1 else kernel_factors(kernels, everyone, weights)
    total = np.zeros((len(everyone), len(everyone)))
    for space, kernel in kernels.items():
        total += factors[space] * kernel
    return CombinedKernel(total, factors, whitenings)
