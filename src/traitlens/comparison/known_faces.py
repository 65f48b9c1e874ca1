"""Faces whose raters are simulated: what differs between groups is known."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from traitlens.comparison.operator import RegionOperator
from traitlens.words import GROUP, IMAGE, RATER, RATING, TRAIT

REGIONS = ("brows", "eyes", "nose", "mouth", "cheeks", "chin", "forehead", "hair")


@dataclass(frozen=True)
class Design:
    """What a simulated study looks like.

    Parameters
    ----------
    raters : (int, int), default (20, 20)
        Raters of each group.
    images : int, default 80
        Faces, one identity each.
    traits : int, default 3
        Traits, each rated by all raters.
    regions : tuple of str
        Regions; the readouts' features are parted among them.
    planted : tuple of str, default ("mouth",)
        Regions that the second group uses more.
    difference : float, default 0.5
        How much more, in standard deviations of the first group's true impression that the planted
        regions' own impression adds.
    taste : float, default 0.5
        Standard deviation of a rater's own way of judging, beside one for the shared impression.
    noise : float, default 1.0
        Standard deviation of noise of a judgement, beside the same.
    level : float, default 0.5
        Standard deviation of raters' mean levels.
    features : int, default 6
        Features of a region.
    folds : int, default 5
        Folds.
    """

    raters: tuple[int, int] = (20, 20)
    images: int = 80
    traits: int = 3
    regions: tuple[str, ...] = field(default=REGIONS)
    planted: tuple[str, ...] = ("mouth",)
    difference: float = 0.5
    taste: float = 0.5
    noise: float = 1.0
    level: float = 0.5
    features: int = 6
    folds: int = 5


def simulate_faces(design: Design, seed: int = 0) -> tuple[RegionOperator, np.ndarray]:
    """Draw faces as features by region.

    Parameters
    ----------
    design : Design
        The study.
    seed : int, default 0
        Seed.

    Returns
    -------
    operator : RegionOperator
        Kernels of gradient times input, whose relevance conserves the prediction.
    features : ndarray of shape (region, image, feature)
        The features, centred.
    """
    rng = np.random.default_rng([seed, 1])
    shape = (len(design.regions), design.images, design.features)
    # Parts of one face go together a little, as faces do.
    features = rng.normal(size=shape) + 0.5 * rng.normal(size=shape[1:])
    features -= features.mean(axis=1, keepdims=True)
    kernels = features @ features.transpose(0, 2, 1)
    names = tuple(f"face{number:04d}" for number in range(design.images))
    folds = rng.permutation(np.arange(design.images) % design.folds)
    return RegionOperator(names, design.regions, folds, kernels.sum(axis=0), kernels), features


def simulate_ratings(design: Design, features: np.ndarray, seed: int) -> pd.DataFrame:
    """Draw raters of two groups and their ratings of given faces.

    Parameters
    ----------
    design : Design
        The study.
    features : ndarray of shape (region, image, feature)
        Of `simulate_faces`.
    seed : int
        Seed of traits and raters.

    Returns
    -------
    DataFrame
        rater, group ("a", "b"), image, trait, rating (standard deviation of the true impression is 1).
    """
    rng = np.random.default_rng([seed, 2])
    planted = np.isin(design.regions, design.planted)
    parts = []
    for trait in range(design.traits):
        weights = rng.normal(size=(len(design.regions), design.features))
        by_region = np.einsum("gif,gf->gi", features, weights)
        truth = by_region.sum(axis=0)
        scale = truth.std()
        extra = by_region[planted].sum(axis=0) if planted.any() else np.zeros(design.images)
        extra = extra / max(extra.std(), 1e-12)
        for group, number, share in zip("ab", design.raters, (0.0, design.difference), strict=True):
            own = np.einsum("gif,rgf->ri", features, rng.normal(size=(number, *weights.shape)))
            values = (
                truth / scale
                + share * extra
                + design.taste * own / scale
                + design.noise * rng.normal(size=own.shape)
                + design.level * rng.normal(size=(number, 1))
            )
            parts.append(
                pd.DataFrame(
                    {
                        RATER: np.repeat([f"{group}{rater:03d}" for rater in range(number)], design.images),
                        IMAGE: np.tile([f"face{image:04d}" for image in range(design.images)], number),
                        RATING: values.ravel(),
                        GROUP: group,
                        TRAIT: f"trait{trait + 1}",
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class KnownFaces:
    """Faces, and what simulated raters would say of them.

    Parameters
    ----------
    operator : RegionOperator
        Kernels and folds of the faces.
    identities : ndarray of shape (image,)
        Who is shown.
    rate : callable
        From the numbers of raters of the two groups, the difference and a seed to ratings: rater, group,
        image, trait, rating.
    planted : callable
        From the difference to the cells (trait, region) in which the groups then differ in truth.
    """

    operator: RegionOperator
    identities: np.ndarray
    rate: Callable[[tuple[int, int], float, int], pd.DataFrame]
    planted: Callable[[float], set[tuple[str, str]]]

    @classmethod
    def of(cls, design: Design, seed: int = 0) -> "KnownFaces":
        """Make synthetic faces.

        Parameters
        ----------
        design : Design
            The studies.
        seed : int, default 0
            Seed of the faces.

        Returns
        -------
        KnownFaces
            Features by region, and raters who weigh them.
        """
        operator, features = simulate_faces(design, seed)
        traits = [f"trait{number + 1}" for number in range(design.traits)]

        def rate(raters: tuple[int, int], difference: float, seed: int) -> pd.DataFrame:
            return simulate_ratings(replace(design, raters=raters, difference=difference), features, seed)

        def planted(difference: float) -> set[tuple[str, str]]:
            return {(trait, region) for trait in traits for region in design.planted if difference}

        return cls(operator, np.arange(design.images), rate, planted)
