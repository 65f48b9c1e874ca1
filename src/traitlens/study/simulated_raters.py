"""Simulated raters: two groups who weigh the parts of a face by known weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, IMAGE, RATER, RATING, TRAIT

GROUPS = ("autistic", "non-autistic")
SCALE = (1.0, 9.0)

_WEIGHTS: dict[str, dict[str, float]] = {
    "warm": {"mouth": 0.7, "eyes": 0.45, "brows": -0.4, "cheeks": 0.3},
    "strong": {"jaw": 0.7, "brows": 0.5, "nose": 0.35, "mouth": -0.2},
    "trustworthy": {"eyes": 0.6, "mouth": 0.5, "brows": -0.45, "jaw": -0.2},
    "critical": {"brows": 0.7, "mouth": -0.5, "eyes": -0.3, "nose": 0.3},
    "youthful": {"cheeks": 0.6, "eyes": 0.55, "jaw": -0.45, "nose": -0.3},
    "practical": {"jaw": 0.5, "nose": 0.5, "cheeks": 0.5, "brows": 0.4},
}
"""Weight of each part of the face in the ratings of a trait, for both groups, before normalisation."""

_DIFFERENCES: dict[str, dict[str, float]] = {
    "warm": {"mouth": 0.45, "eyes": -0.7},
    "strong": {},
    "trustworthy": {"mouth": 0.6, "eyes": -0.5},
    "critical": {"brows": 0.5, "mouth": 0.7},
    "youthful": {},
    "practical": {"nose": 0.5, "jaw": -0.5},
}
"""Difference of the weights between the groups; the groups agree on traits with an empty entry.

Each difference is orthogonal to the shared weights, so that the weights of both groups have the same length
and normalising them changes the other parts equally."""

TRAITS = tuple(_WEIGHTS)


@dataclass(frozen=True)
class RatingBehaviour:
    """Differences between simulated raters of a group, and the error of their ratings.

    Parameters
    ----------
    spread : float, default 1.6
        Rating points per standard deviation of the group's score.
    noise : float, default 1.0
        Standard deviation of the error of a single rating, in rating points.
    bias : float, default 0.7
        Standard deviation of the raters' mean ratings, in rating points.
    scale_use : float, default 0.25
        Standard deviation of the logarithm of the raters' scale ranges.
    taste : float, default 0.2
        Standard deviation of the raters' weights of each part.
    level : float, default 0
        Mean of all raters minus the midpoint of the scale, in rating points.
    """

    spread: float = 1.6
    noise: float = 1.0
    bias: float = 0.7
    scale_use: float = 0.25
    taste: float = 0.2
    level: float = 0.0


def make_part_weights(traits: Sequence[str], parts: Sequence[str], effect: float) -> pd.DataFrame:
    """Return the weights of the parts of a face for every group and trait.

    Parameters
    ----------
    traits : sequence of str
        Some of :data:`TRAITS`.
    parts : sequence of str
        Names of the parts.
    effect : float
        Size of the difference between groups, in the unit of the weights; 0 for none.

    Returns
    -------
    DataFrame
        group, trait, part, weight. The squared weights of each group and trait sum to 1, so that the scores
        have variance 1 over the population of faces.

    Examples
    --------
    >>> table = make_part_weights(["warm"], ["eyes", "brows", "nose", "mouth", "cheeks", "jaw"], effect=0.0)
    >>> bool((table.groupby("part")["weight"].nunique() == 1).all())
    True
    """
    rows = []
    for sign, group in zip((0.5, -0.5), GROUPS, strict=True):
        for trait in traits:
            shared = np.array([_WEIGHTS[trait].get(part, 0.0) for part in parts])
            apart = np.array([_DIFFERENCES[trait].get(part, 0.0) for part in parts])
            weights = shared + sign * effect * apart / max(float(np.linalg.norm(apart)), 1e-9)
            weights /= np.linalg.norm(weights)
            rows += [(group, trait, part, weight) for part, weight in zip(parts, weights, strict=True)]
    return pd.DataFrame(rows, columns=[GROUP, TRAIT, "part", "weight"])


def simulate_group_ratings(
    scores: pd.DataFrame, weights: pd.DataFrame, raters: int, behaviour: RatingBehaviour, seed: int
) -> pd.DataFrame:
    """Simulate ratings of every image on every trait by all raters of both groups.

    Parameters
    ----------
    scores : DataFrame
        Score of each part (columns) of each image (index).
    weights : DataFrame
        Weights of the parts, as returned by :func:`make_part_weights`.
    raters : int
        Number of raters in each group.
    behaviour : RatingBehaviour
        Differences between raters, and the error of their ratings.
    seed : int
        Seed of the random number generators.

    Returns
    -------
    DataFrame
        rater, group, image, trait, rating: one row per judgement, ratings as whole numbers on :data:`SCALE`.
    """
    blocks = []
    for number, group in enumerate(GROUPS):
        table = weights[weights[GROUP] == group].pivot_table(
            index=TRAIT, columns="part", values="weight", sort=False
        )
        liked = np.broadcast_to(scores[list(table.columns)].to_numpy(), (len(table), *scores.shape))
        for rater in range(raters):
            rng = np.random.default_rng([seed, 3, number, rater])
            values = simulate_rater(liked, table.to_numpy(), behaviour, rng)
            blocks += [
                pd.DataFrame(
                    {
                        RATER: f"{group[0].upper()}{rater + 1:03d}",
                        GROUP: group,
                        IMAGE: scores.index,
                        TRAIT: trait,
                        RATING: own.astype(int),
                    }
                )
                for trait, own in zip(table.index, values, strict=True)
            ]
    return pd.concat(blocks, ignore_index=True)


def simulate_rater(
    scores: np.ndarray, weights: np.ndarray, behaviour: RatingBehaviour, rng: np.random.Generator
) -> np.ndarray:
    """Simulate the ratings of one rater for every image and trait.

    Parameters
    ----------
    scores : ndarray of shape (trait, image, part)
        Scores of the parts, with variance 1.
    weights : ndarray of shape (trait, part)
        Weights of the rater's group.
    behaviour : RatingBehaviour
        Differences between raters, and the error of their ratings.
    rng : Generator
        Random number generator.

    Returns
    -------
    ndarray of shape (trait, image)
        Whole numbers on :data:`SCALE`.
    """
    level = sum(SCALE) / 2 + behaviour.level + rng.normal(0, behaviour.bias)
    stretch = np.exp(rng.normal(0, behaviour.scale_use))
    rows = []
    for own, values in zip(weights, scores, strict=True):
        liking = values @ (own + rng.normal(0, behaviour.taste, len(own)))
        errors = rng.normal(0, behaviour.noise, len(values))
        rows.append(np.clip(np.rint(level + stretch * behaviour.spread * liking + errors), *SCALE))
    return np.array(rows)


def score_images(scores: pd.DataFrame, weights: pd.DataFrame) -> pd.DataFrame:
    """Compute the score of every image for each group and trait, without noise.

    Parameters
    ----------
    scores : DataFrame
        Score of each part (columns) of each image (index).
    weights : DataFrame
        Weights of the parts, as returned by :func:`make_part_weights`.

    Returns
    -------
    DataFrame
        image, group, trait, score; scores have variance 1 over the population of faces.
    """
    blocks = [
        pd.DataFrame(
            {
                IMAGE: scores.index,
                GROUP: group,
                TRAIT: trait,
                "score": scores[own["part"].tolist()].to_numpy() @ own["weight"].to_numpy(),
            }
        )
        for (group, trait), own in weights.groupby([GROUP, TRAIT], sort=False)
    ]
    return pd.concat(blocks, ignore_index=True)


def true_differences(weights: pd.DataFrame, regions_of: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Compute the true difference between the groups in each region of the face, for each trait.

    Parameters
    ----------
    weights : DataFrame
        Weights of the parts, as returned by :func:`make_part_weights`.
    regions_of : mapping
        Regions of each part, which share the part's weight equally.

    Returns
    -------
    DataFrame
        trait, region, difference: weight in the first group minus weight in the second group.
    """
    by_group = weights.set_index([GROUP, TRAIT, "part"])["weight"]
    difference = (by_group[GROUPS[0]] - by_group[GROUPS[1]]).round(12)
    rows = [
        (trait, region, difference[trait, part] / len(regions))
        for trait in weights[TRAIT].unique()
        for part, regions in regions_of.items()
        for region in regions
    ]
    return pd.DataFrame(rows, columns=[TRAIT, "region", "difference"])
