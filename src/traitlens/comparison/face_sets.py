"""Sets of faces for simulations of differences in cue utilisation: drawn, synthetic, or those of a study."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, TRAIT
from traitlens.comparison.planted_faces import PAIRS, REGIONS, PlantedFaces, cues_from_means
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.study.simulated_raters import TRAITS, make_part_weights

_FEATURES = 4
"""Number of informative features per region of synthetic faces."""


def drawn_faces(
    kernels: Mapping[FeatureSpace, np.ndarray],
    folds: np.ndarray,
    identities: np.ndarray,
    parts: pd.DataFrame,
    traits: Sequence[str] = TRAITS,
) -> PlantedFaces:
    """Make a set of drawn faces, whose parts have known scores on each trait.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        One kernel of shape (image, image) per region.
    folds : ndarray of int, shape (image,)
        Fold of each image; images of an identity are in the same fold.
    identities : ndarray of shape (image,)
        The person shown in each image.
    parts : DataFrame
        Score of each part (columns, named as regions) of each image, as written by the simulated study.
    traits : sequence of str
        Traits.

    Returns
    -------
    PlantedFaces
        Faces with the weights of :func:`traitlens.study.simulated_raters.make_part_weights`.
    """
    regions = _regions(kernels)
    scores = parts.reindex(columns=list(regions), fill_value=0.0).to_numpy(float)

    def weigh(effect: float) -> np.ndarray:
        """Return the weights of both groups, an array of shape (group, trait, region)."""
        table = make_part_weights(traits, list(parts.columns), effect)
        wide = table.pivot_table(index=[GROUP, TRAIT], columns="part", values="weight", sort=False)
        wide = wide.reindex(columns=list(regions), fill_value=0.0)
        return wide.to_numpy().reshape(2, len(traits), len(regions))

    shared, (first, second) = weigh(0.0)[0], weigh(1e-3)
    apart = np.where(np.abs(first - second) > 1e-9, first - second, 0)
    return PlantedFaces(
        regions,
        tuple(traits),
        np.broadcast_to(scores, (len(traits), *scores.shape)),
        shared,
        _unit(apart),
        pd.factorize(identities)[0],
        kernels,
        folds,
    )


def faces_of_cues(
    kernels: Mapping[FeatureSpace, np.ndarray],
    folds: np.ndarray,
    identities: np.ndarray,
    targets: pd.DataFrame,
    pairs: Sequence[tuple[str, str] | None] = PAIRS,
) -> PlantedFaces:
    """Make a set of real faces, with the cues of their mean ratings as true scores.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        One kernel of shape (image, image) per region.
    folds : ndarray of int, shape (image,)
        Fold of each image; images of an identity are in the same fold.
    identities : ndarray of shape (image,)
        The person shown in each image.
    targets : DataFrame
        Mean rating of each image on each trait (columns).
    pairs : sequence of (str, str) or None
        The two regions in which groups differ, for each trait (repeated cyclically); None for no difference.

    Returns
    -------
    PlantedFaces
        Faces whose true scores are the standardised cues.
    """
    regions = _regions(kernels)
    values = targets.to_numpy(float).T
    cues = cues_from_means(kernels, folds, identities, values, list(targets)).array.to_numpy()
    spread = cues.std(axis=1)
    weights = _unit(spread)
    scores = (cues - cues.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)[:, None]
    impressions = np.einsum("tir,tr->ti", scores, weights)
    scores = scores / impressions.std(axis=1)[:, None, None]
    apart = np.zeros_like(weights)
    for place in range(len(weights)):
        pair = pairs[place % len(pairs)]
        if pair is not None and set(pair) <= set(regions):
            one, other = (regions.index(name) for name in pair)
            apart[place, [one, other]] = weights[place, other], -weights[place, one]
    return PlantedFaces(
        regions,
        tuple(map(str, targets.columns)),
        scores,
        weights,
        _unit(apart),
        pd.factorize(identities)[0],
        kernels,
        folds,
    )


def synthetic_faces(
    images: int = 80, traits: int = 3, regions: Sequence[str] = REGIONS, seed: int = 0
) -> PlantedFaces:
    """Make a set of faces with random features, for fast estimates of power.

    Parameters
    ----------
    images : int, default 80
        Number of faces; each is a different person.
    traits : int, default 3
        Number of traits.
    regions : sequence of str
        Regions, which have equal weight for each trait.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    PlantedFaces
        Faces with four informative and four uninformative features per region.

    Examples
    --------
    >>> from traitlens.comparison.planted_faces import Condition
    >>> faces = synthetic_faces(images=40)
    >>> faces.simulate_study(Condition("small", (3, 4)), seed=1)[0].cues.shape
    (3, 40, 8)
    """
    rng = np.random.default_rng([seed, 1])
    features = rng.normal(size=(len(regions), images, 2 * _FEATURES))
    names = [FeatureSpace(Tap("features", 1), region=region) for region in regions]
    kernels = {name: values @ values.T for name, values in zip(names, features, strict=True)}
    seen = rng.normal(size=(traits, len(regions), _FEATURES))
    scores = np.einsum("rif,trf->tir", features[:, :, :_FEATURES], seen)
    scores = (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)
    weights = np.full((traits, len(regions)), len(regions) ** -0.5)
    apart = np.zeros_like(weights)
    apart[:, [0, 1]] = 1.0, -1.0
    folds = rng.permutation(np.arange(images) % 5)
    return PlantedFaces(
        tuple(regions),
        tuple(f"trait{number + 1}" for number in range(traits)),
        scores,
        weights,
        _unit(apart),
        np.arange(images),
        kernels,
        folds,
    )


def _regions(kernels: Mapping[FeatureSpace, np.ndarray]) -> tuple[str, ...]:
    """Return the names of the regions of the kernels, each once, in the order of the cues."""
    return tuple(dict.fromkeys(space.region for space in kernels))


def _unit(rows: np.ndarray) -> np.ndarray:
    """Normalise rows to length 1; rows of zeros are unchanged."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1))
