"""Simulation of raters whose weights of the regions of the face are known, and differ between groups."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from traitlens.columns import FOLD, IDENTITY, IMAGE
from traitlens.comparison.common_cues import CommonCues
from traitlens.comparison.lens_design import LensDesign, TraitRatings, standardise
from traitlens.readouts.kernels import Kernels
from traitlens.study.simulated_raters import GROUPS, RatingBehaviour, simulate_rater

REGIONS = ("eyes", "mouth", "brows", "nose", "forehead", "cheeks", "jaw", "background")
"""Regions of synthetic faces."""
PAIRS = (("mouth", "eyes"), ("jaw", "brows"), None)
"""Pairs of regions in which groups differ, for each trait (repeated cyclically)."""


@dataclass(frozen=True)
class Condition:
    """A condition of simulated studies: numbers of raters, size of the difference, and behaviour of raters.

    Parameters
    ----------
    name : str
        Name of the condition.
    raters : (int, int), default (20, 20)
        Number of raters in each group.
    difference : float, default 0
        Size of the difference between the groups' weights, which have length 1.
    first, second : RatingBehaviour
        Variation of the raters of each group around the weights of the group.
    seen : float, default 1
        Share of the faces, drawn at random, that each rater rates.
    """

    name: str
    raters: tuple[int, int] = (20, 20)
    difference: float = 0.0
    first: RatingBehaviour = field(default_factory=RatingBehaviour)
    second: RatingBehaviour = field(default_factory=RatingBehaviour)
    seen: float = 1.0

    @property
    def behaviours(self) -> tuple[RatingBehaviour, RatingBehaviour]:
        """Behaviour of the raters of the first and the second group."""
        return self.first, self.second


@dataclass(frozen=True)
class PlantedFaces:
    """Faces with true scores of regions, from which simulated raters form their ratings.

    Parameters
    ----------
    regions, traits : tuple of str
        Names.
    scores : ndarray of shape (trait, image, region)
        True score of each region of each image on each trait, with variance 1.
    weights : ndarray of shape (trait, region)
        Weights of the scores that both groups share, of length 1 for each trait.
    apart : ndarray of shape (trait, region)
        Direction of the difference between groups, orthogonal to the shared weights and of length 1; 0 for
        traits without a difference.
    identities : ndarray of int, shape (image,)
        The person shown in each image.
    kernels : mapping of FeatureSpace to ndarray
        One kernel of shape (image, image) per region.
    folds : ndarray of int, shape (image,)
        Fold of each image; images of an identity are in the same fold.
    """

    regions: tuple[str, ...]
    traits: tuple[str, ...]
    scores: np.ndarray
    weights: np.ndarray
    apart: np.ndarray
    identities: np.ndarray
    kernels: Kernels
    folds: np.ndarray

    def select_traits(self, traits: Sequence[int]) -> "PlantedFaces":
        """Return the faces with only some of the traits, by their indices."""
        rows = list(traits)
        return replace(
            self,
            traits=tuple(self.traits[row] for row in rows),
            scores=self.scores[rows],
            weights=self.weights[rows],
            apart=self.apart[rows],
        )

    def group_weights(self, difference: float) -> np.ndarray:
        """Compute the weights of each group: the shared weights plus or minus half of the difference.

        Parameters
        ----------
        difference : float
            Size of the difference; 0 for none.

        Returns
        -------
        ndarray of shape (group, trait, region)
            Weights of length 1.
        """
        weights = self.weights + difference * np.array([0.5, -0.5])[:, None, None] * self.apart
        return np.asarray(weights / np.linalg.norm(weights, axis=2, keepdims=True))

    @property
    def planted(self) -> np.ndarray:
        """Whether groups can differ, an array of bool of shape (trait, region)."""
        return np.asarray(np.abs(self.apart) > 1e-9)

    def true_differences(self, difference: float) -> np.ndarray:
        """Return the true difference between the groups' weights of cues.

        A cue increases with the predicted rating, so the sign of the difference is reversed for scores whose
        weight is negative.

        Parameters
        ----------
        difference : float
            Size of the difference.

        Returns
        -------
        ndarray of shape (trait, region)
            First group minus second.
        """
        first, second = self.group_weights(difference)
        return np.asarray((first - second) * np.where(first + second < 0, -1, 1))

    def simulate_ratings(
        self, raters: tuple[int, int], difference: float, behaviours: Sequence[RatingBehaviour], seed: int
    ) -> np.ndarray:
        """Simulate raters and their ratings of every face.

        Parameters
        ----------
        raters : (int, int)
            Number of raters in each group.
        difference : float
            Size of the difference between the groups' weights, which have length 1.
        behaviours : sequence of RatingBehaviour
            Variation of the raters of each group around the weights of the group.
        seed : int
            Seed of the random number generator.

        Returns
        -------
        ndarray of shape (rater, trait, image)
            Ratings, the first group's raters first.
        """
        weights = self.group_weights(difference)
        return np.stack(
            [
                simulate_rater(
                    self.scores, weights[group], behaviours[group], np.random.default_rng([seed, group, one])
                )
                for group in (0, 1)
                for one in range(raters[group])
            ]
        )

    def simulate_study(self, condition: "Condition", seed: int) -> tuple[LensDesign, CommonCues]:
        """Simulate the raters and ratings of a study, and fit cues to the ratings."""
        ratings = self.simulate_ratings(condition.raters, condition.difference, condition.behaviours, seed)
        if condition.seen < 1:
            rng = np.random.default_rng([seed, 2])
            missing = rng.random((len(ratings), 1, ratings.shape[2])) >= condition.seen
            ratings[np.broadcast_to(missing, ratings.shape)] = np.nan
        return self.fit_cues(ratings, condition.raters)

    def fit_cues(self, ratings: np.ndarray, raters: tuple[int, int]) -> tuple[LensDesign, CommonCues]:
        """Fit cues to the ratings of all raters, with equal weights of groups, and standardise them.

        Parameters
        ----------
        ratings : ndarray of shape (rater, trait, image)
            Ratings, the first group's raters first; NaN where a rater did not rate an image.
        raters : (int, int)
            Number of raters in each group.

        Returns
        -------
        design : LensDesign
            Ratings and standardised cues.
        cues : CommonCues
            The fitted cues.
        """
        labels = np.repeat([0, 1], raters)
        targets = pooled_means(ratings, labels)
        found = cues_from_means(self.kernels, self.folds, self.identities, targets, self.traits)
        matrices = []
        for trait in range(len(self.traits)):
            own = ratings[:, trait]
            seen = np.isfinite(own)
            matrices.append(TraitRatings(seen.astype(float), np.where(seen, own - np.nanmean(own), 0)))
        cues, scales = standardise(found.array.values, matrices)
        images = pd.RangeIndex(ratings.shape[2])
        design = LensDesign(
            pd.RangeIndex(len(ratings)), images, pd.Index(self.traits), pd.Index(self.regions), GROUPS,
            labels, cues, scales, self.identities, tuple(matrices),
        )  # fmt: skip
        return design, found


def pooled_means(ratings: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average ratings over the raters of each group, then over groups.

    Parameters
    ----------
    ratings : ndarray of shape (rater, trait, image)
        Ratings; NaN if missing.
    labels : ndarray of int, shape (rater,)
        Group of each rater.

    Returns
    -------
    ndarray of shape (trait, image)
        Mean over the groups that rated the image; if nobody rated it, the mean of the trait.
    """
    seen = np.isfinite(ratings)
    filled = np.where(seen, ratings, 0)
    sums = np.stack([filled[labels == group].sum(axis=0) for group in np.unique(labels)])
    counts = np.stack([seen[labels == group].sum(axis=0) for group in np.unique(labels)])
    there = counts > 0
    means = np.where(there, sums / np.maximum(counts, 1), 0)
    pooled = means.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    rated = there.any(axis=0)
    level = pooled.sum(axis=1) / np.maximum(rated.sum(axis=1), 1)
    return np.asarray(np.where(rated, pooled, level[:, None]))


def cues_from_means(
    kernels: Kernels, folds: np.ndarray, identities: np.ndarray, targets: np.ndarray, traits: Sequence[str]
) -> CommonCues:
    """Return cues fitted to an array of mean ratings; images are named by their numbers.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        One kernel of shape (image, image) per region.
    folds, identities : ndarray of shape (image,)
        Fold of each image, and the person shown in it.
    targets : ndarray of shape (trait, image)
        Mean ratings.
    traits : sequence of str
        Names of the traits.
    """
    images = pd.RangeIndex(targets.shape[1])
    table = pd.DataFrame({IMAGE: images, IDENTITY: identities, FOLD: folds})
    return CommonCues(kernels, pd.DataFrame(targets.T, images, list(traits)), table)
