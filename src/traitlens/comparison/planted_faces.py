"""Faces with simulated raters, whose weights of regions are known."""

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
PAIRS = (("mouth", "eyes"), ("jaw", "brows"), None)
"""Regions in which groups differ, by trait (repeated cyclically)."""


@dataclass(frozen=True)
class Condition:
    """Condition of simulated studies.

    Parameters
    ----------
    name : str
        Its name.
    raters : (int, int), default (20, 20)
        Raters of each group.
    difference : float, default 0
        Size of the difference between groups, in the unit of weights of length 1.
    first, second : RatingBehaviour
        Variation of raters around their group's weights.
    seen : float, default 1
        Share of the faces that each rater rates, drawn at random.
    """

    name: str
    raters: tuple[int, int] = (20, 20)
    difference: float = 0.0
    first: RatingBehaviour = field(default_factory=RatingBehaviour)
    second: RatingBehaviour = field(default_factory=RatingBehaviour)
    seen: float = 1.0

    @property
    def behaviours(self) -> tuple[RatingBehaviour, RatingBehaviour]:
        """Behaviour of raters of both groups."""
        return self.first, self.second


@dataclass(frozen=True)
class PlantedFaces:
    """Faces with scores of regions for simulated raters.

    Parameters
    ----------
    regions, traits : tuple of str
        Names.
    scores : ndarray of shape (trait, image, region)
        Score of each region for each trait, with variance 1; raters weight these.
    weights : ndarray of shape (trait, region)
        Weights that both groups share, of length 1 for each trait.
    apart : ndarray of shape (trait, region)
        Direction of the difference between groups, orthogonal to the shared weights and of length 1; 0 for
        traits without a difference.
    identities : ndarray of int, shape (image,)
        The person shown in each image.
    kernels : mapping of FeatureSpace to ndarray
        (image, image), one for each region.
    folds : ndarray of int, shape (image,)
        Folds by identity.
    """

    regions: tuple[str, ...]
    traits: tuple[str, ...]
    scores: np.ndarray
    weights: np.ndarray
    apart: np.ndarray
    identities: np.ndarray
    kernels: Kernels
    folds: np.ndarray

    def take(self, traits: Sequence[int]) -> "PlantedFaces":
        """Return the faces with some traits only."""
        rows = list(traits)
        return replace(
            self,
            traits=tuple(self.traits[row] for row in rows),
            scores=self.scores[rows],
            weights=self.weights[rows],
            apart=self.apart[rows],
        )

    def group_weights(self, difference: float) -> np.ndarray:
        """Compute the weights of both groups.

        Parameters
        ----------
        difference : float
            Size of the planted difference; 0 for none.

        Returns
        -------
        ndarray (group, trait, region)
            Weights of length 1.
        """
        weights = self.weights + difference * np.array([0.5, -0.5])[:, None, None] * self.apart
        return np.asarray(weights / np.linalg.norm(weights, axis=2, keepdims=True))

    @property
    def planted(self) -> np.ndarray:
        """Return the regions in which groups can differ: bool (trait, region)."""
        return np.asarray(np.abs(self.apart) > 1e-9)

    def true_differences(self, difference: float) -> np.ndarray:
        """Return the difference of the groups' weights, in the direction of the shared weights.

        Cues are oriented towards higher ratings, so a negative weight counts by its absolute value.

        Parameters
        ----------
        difference : float
            Size of the difference.

        Returns
        -------
        ndarray of shape (trait, region)
            First group minus second, weights of length 1.
        """
        first, second = self.group_weights(difference)
        return np.asarray((first - second) * np.where(first + second < 0, -1, 1))

    def judge(
        self, raters: tuple[int, int], difference: float, behaviours: Sequence[RatingBehaviour], seed: int
    ) -> np.ndarray:
        """Simulate raters and their ratings of every face.

        Parameters
        ----------
        raters : (int, int)
            Raters of each group.
        difference : float
            Difference between groups, in the unit of the weights.
        behaviours : sequence of RatingBehaviour
            Variation of raters around their group's weights.
        seed : int
            Seed.

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

    def study(self, condition: "Condition", seed: int) -> tuple[LensDesign, CommonCues]:
        """Simulate a study: new raters, their ratings, and cues fitted to these."""
        ratings = self.judge(condition.raters, condition.difference, condition.behaviours, seed)
        if condition.seen < 1:
            rng = np.random.default_rng([seed, 2])
            missing = rng.random((len(ratings), 1, ratings.shape[2])) >= condition.seen
            ratings[np.broadcast_to(missing, ratings.shape)] = np.nan
        return self.design(ratings, condition.raters)

    def design(self, ratings: np.ndarray, raters: tuple[int, int]) -> tuple[LensDesign, CommonCues]:
        """Fit cues to all raters, with equal weights of groups, and return the study for the tests.

        Parameters
        ----------
        ratings : ndarray of shape (rater, trait, image)
            Ratings, the first group's raters first; missing where a rater did not rate an image.
        raters : (int, int)
            Raters of each group.
        """
        labels = np.repeat([0, 1], raters)
        targets = pooled_means(ratings, labels)
        found = common_cues(self.kernels, self.folds, self.identities, targets, self.traits)
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
        Groups.

    Returns
    -------
    ndarray of shape (trait, image)
        The mean over the groups that rated the image; the trait's mean where nobody did.
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


def common_cues(
    kernels: Kernels, folds: np.ndarray, identities: np.ndarray, targets: np.ndarray, traits: Sequence[str]
) -> CommonCues:
    """Return the cues of a study from mean ratings.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        (image, image), one for each region.
    folds, identities : ndarray of shape (image,)
        Folds by identity, and who is shown.
    targets : ndarray of shape (trait, image)
        Mean ratings.
    traits : sequence of str
        Names.

    Returns
    -------
    CommonCues
        Cues; images are named by their numbers.
    """
    images = pd.RangeIndex(targets.shape[1])
    table = pd.DataFrame({IMAGE: images, IDENTITY: identities, FOLD: folds})
    return CommonCues(kernels, pd.DataFrame(targets.T, images, list(traits)), table)
