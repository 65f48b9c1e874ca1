r"""Relevance maps of single raters, computed as linear functions of the ratings.

The average map of a readout, weighted by a common standardised prediction :math:`z_i`, is :math:`\frac1n
\sum_i z_i R_i`. The relevance :math:`R_i` of a linear readout is linear in the ratings that the readout was
fitted to, so average maps are a matrix times ratings. Weights of readouts are approximated by combinations of
the leading components of the features; only the relevance of these components must be computed.

The common prediction gives groups equal weights, so that maps do not follow the larger group. For the maps of
one half of each group's raters, it is computed from the ratings of the other half, so that the noise in a
rater's ratings does not affect the weights of the rater's own map.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy import linalg

from traitlens.columns import GROUP, IMAGE, RATER, TRAIT, X, Y
from traitlens.comparison.refitting import FeatureKernel, TraitDesign, make_designs
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.readouts.combined_kernel import CombinedKernel
from traitlens.readouts.readout import LinearReadout


@dataclass(frozen=True)
class Components:
    """Principal components of the readouts of one fold.

    Parameters
    ----------
    training : ndarray of int, shape (training image,)
        Training images.
    duals : ndarray of shape (training image, component)
        Dual coefficients of the components, whose weights of features are orthogonal and of length 1.
    loadings : dict of str to ndarray of shape (component, training image)
        For each trait the contribution of the rating of a training image to each component of the readout.
    kept : float
        Share of the variance of predicted ratings (of all raters together, for the training images) that the
        components explain.
    """

    training: np.ndarray
    duals: np.ndarray
    loadings: dict[str, np.ndarray]
    kept: float


def leading_components(
    kernel: FeatureKernel,
    fold: int,
    designs: Mapping[str, TraitDesign],
    penalties: Mapping[str, float],
    number: int,
) -> Components:
    """Compute the leading components of the predictions of one fold's readouts.

    Parameters
    ----------
    kernel : FeatureKernel
        Features and folds.
    fold : int
        The held-out fold.
    designs : mapping of str to TraitDesign
        Ratings of each trait; the choice of components does not depend on groups.
    penalties : mapping of str to float
        Ridge penalty of each trait.
    number : int
        Number of components.

    Returns
    -------
    Components
        Components in descending order of the variance that they add to predictions. This variance is that of
        the mean ratings of all raters plus the sampling variance with half of the raters.
    """
    training = np.flatnonzero(kernel.folds != fold)
    centring = np.eye(len(training)) - 1 / len(training)
    centred = centring @ kernel.values[np.ix_(training, training)] @ centring
    squares, vectors = linalg.eigh(centred)
    sound = squares > squares[-1] * 1e-10
    squares, vectors = squares[sound], vectors[:, sound]
    length = np.sqrt(squares)
    loadings = {
        trait: (length / (squares + penalties[trait]))[:, None] * vectors.T @ centring for trait in designs
    }
    together, by_chance = np.zeros(len(squares)), np.zeros(len(squares))
    for trait, design in designs.items():
        variance = design.pooled[training].var()
        deviations = design.deviations(design.pooled)[:, training]
        predict = length[:, None] * loadings[trait]
        together += (predict @ design.pooled[training]) ** 2 / variance
        by_chance += ((predict @ deviations.T) ** 2).mean(axis=1) / len(deviations) / variance
    order = np.argsort(-(together + by_chance))[:number]
    return Components(
        training,
        vectors[:, order] / length[order],
        {trait: values[order] for trait, values in loadings.items()},
        float(together[order].sum() / together.sum()),
    )


@dataclass(frozen=True)
class MapOperator:
    """Linear operator from the ratings of a rater to the rater's average map on the template.

    Parameters
    ----------
    matrix : DataArray
        Contribution of a rating point of each image to each pixel of the average map, with the dimensions
        half (of the raters), trait, y, x, and image.
    kept : float
        Share of the variance of predicted ratings that the maps explain.
    halves : Series of int
        Half of each rater, 0 or 1.
    """

    matrix: xr.DataArray
    kept: float
    halves: pd.Series

    def rater_maps(
        self, ratings: pd.DataFrame, trait: str, kernel: FeatureKernel, penalty: float
    ) -> xr.DataArray:
        """Compute a map of each rater. The mean of the maps is the map of the mean ratings.

        Parameters
        ----------
        ratings : DataFrame
            rater, group, image, trait, rating.
        trait : str
            The trait.
        kernel : FeatureKernel
            Features and folds.
        penalty : float
            Ridge penalty.

        Returns
        -------
        DataArray
            Maps with the dimensions rater, y and x, and the coordinate group. With a complete design, the map
            of a readout fitted to the rater alone; otherwise the contribution of the rater to the mean map,
            times the number of raters.
        """
        part = ratings[ratings[TRAIT] == trait]
        of_rater = part.drop_duplicates(RATER).set_index(RATER)[GROUP].sort_index()
        design = make_designs(part, of_rater.index, kernel, penalty)[trait]
        own = self.matrix.sel({TRAIT: trait})
        matrices = own.transpose("half", IMAGE, Y, X).to_numpy().reshape(2, own.sizes[IMAGE], -1)
        values = design.pooled + design.deviations(design.pooled)
        half = self.halves[of_rater.index].to_numpy()
        maps = np.empty((len(values), matrices.shape[2]))
        for number, matrix in enumerate(matrices):
            maps[half == number] = values[half == number] @ matrix
        return xr.DataArray(
            maps.reshape(len(maps), own.sizes[Y], own.sizes[X]),
            dims=(RATER, Y, X),
            coords={RATER: of_rater.index.to_numpy(), GROUP: (RATER, of_rater.to_numpy())},
        )


def halve_raters(ratings: pd.DataFrame, seed: int = 0) -> pd.Series:
    """Divide each group's raters into random halves.

    Parameters
    ----------
    ratings : DataFrame
        rater, group.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    Series of int
        Half of each rater, 0 or 1; sorted by rater.
    """
    of_rater = ratings.drop_duplicates(RATER).set_index(RATER)[GROUP].sort_index()
    halves = pd.Series(0, of_rater.index)
    for group in of_rater.unique():
        members = of_rater.index[of_rater == group]
        halves[members] = np.random.default_rng(seed).permutation(len(members)) % 2
    return halves


def common_directions(
    designs: Mapping[str, TraitDesign], groups: np.ndarray, halves: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute the standardised out-of-fold predictions for the maps of each half's raters.

    Parameters
    ----------
    designs : mapping of str to TraitDesign
        Ratings of each trait.
    groups, halves : ndarray of shape (rater,)
        Group and half of each rater.

    Returns
    -------
    dict of str to ndarray of shape (2, image)
        For each trait, the predictions for the maps of half 0 and of half 1. Mean ratings by the raters of
        the other half (or by all raters of a group if the other half has none) are averaged over groups and
        predicted.
    """
    found = {}
    for trait, design in designs.items():
        directions = []
        for half in (0, 1):
            weights = []
            for group in pd.unique(groups[design.members]):
                own = (groups == group) & np.isin(np.arange(len(groups)), design.members)
                others = own & (halves != half)
                weights.append(others if others.any() else own)
            predicted = design.prediction @ design.targets(np.array(weights, float)).mean(axis=0)
            deviation = predicted.std()
            directions.append((predicted - predicted.mean()) / (deviation if deviation > 0 else 1.0))
        found[trait] = np.array(directions)
    return found


def combine_components(
    sums: np.ndarray, components: list[Components], images: int, traits: list[str], halves: pd.Series
) -> MapOperator:
    """Combine the maps of components to the operator from ratings to maps.

    Parameters
    ----------
    sums : ndarray of shape (2, trait, fold, component, y, x)
        Maps of components times the common prediction for each half, summed over the images of the fold.
    components : list of Components
        Components of each fold.
    images : int
        Number of all images.
    traits : list of str
        Traits in the order of `sums`.
    halves : Series of int
        Half of each rater.
    """
    side = sums.shape[-1]
    matrix = np.zeros((2, len(traits), side, side, images))
    for place, trait in enumerate(traits):
        for fold, own in enumerate(components):
            count = len(own.loadings[trait])
            matrix[:, place][..., own.training] += np.einsum(
                "hkyx,kj->hyxj", sums[:, place, fold, :count] / images, own.loadings[trait]
            )
    kept = float(np.mean([own.kept for own in components]))
    array = xr.DataArray(matrix, dims=("half", TRAIT, Y, X, IMAGE), coords={TRAIT: traits})
    return MapOperator(array, kept, halves)


def component_readouts(
    components: Components, combined: CombinedKernel, features: Mapping[FeatureSpace, np.ndarray], fold: int
) -> list[LinearReadout]:
    """Return each component as a linear readout, so that its relevance can be computed.

    Parameters
    ----------
    components : Components
        The components.
    combined : CombinedKernel
        Kernel of the readouts.
    features : mapping of FeatureSpace to ndarray
        Features of each space, arrays of shape (image, channel, row, column).
    fold : int
        The held-out fold.
    """
    parts = combined.parts(features, components.training, components.duals)
    return [LinearReadout(f"component {number}", "", fold, own, 0.0) for number, own in enumerate(parts)]
