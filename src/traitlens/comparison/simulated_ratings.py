"""Simulated studies whose true values are known: designs, faces and ratings."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from traitlens.columns import GROUP, IMAGE, RATER, RATING, REGION, TRAIT
from traitlens.comparison.refitting import FeatureKernel


@dataclass(frozen=True)
class StudyDesign:
    """Design of a simulated study: numbers of raters, missing ratings, and differences between groups.

    Parameters
    ----------
    name : str
        Name of the design in tables.
    raters : (int, int)
        Number of raters in each group.
    seen : float
        Share of the faces, drawn at random, that each rater rates.
    noise : (float, float)
        Standard deviation of the noise of single ratings in each group.
    scale : (float, float)
        Factor by which the true mean ratings of each group are multiplied.
    unpredictable : (float, float)
        Standard deviation over faces of the part of each group's mean ratings that features do not predict.
    levels : float
        Difference of the groups' mean ratings.
    heavy : bool
        Whether noise has heavy tails (t with 2.5 degrees of freedom).
    floor : bool
        Whether ratings are whole numbers from 1 to 7, many of them 1.
    traits_each : int or None
        Number of traits that each rater rates; all if None.
    sets : (int, int) or None
        Number of raters in each group who rate the first half of the faces; the others rate the second half.
    no_null : tuple of str
        Tests whose null hypothesis is false in this design.
    """

    name: str
    raters: tuple[int, int] = (20, 20)
    seen: float = 1.0
    noise: tuple[float, float] = (1.2, 1.2)
    scale: tuple[float, float] = (1.0, 1.0)
    unpredictable: tuple[float, float] = (0.0, 0.0)
    levels: float = 0.0
    heavy: bool = False
    floor: bool = False
    traits_each: int | None = None
    sets: tuple[int, int] | None = None
    no_null: tuple[str, ...] = field(default=())


_OF_NOISE = (
    "reliability",
    "agreement",
    "spread",
    "beholder index",
    "performance",
    "trait_space",
    "similarity",
    "rater models, agreement with all other raters",
    "rater models, spread of ratings over faces",
    "rater models, specificity",
)

_OF_FACES = (*_OF_NOISE, "images", "interaction", "face types", "face types, raters and faces", "difference")
_ALONE = (*_OF_FACES, "specificity")

DESIGNS = (
    StudyDesign("20 and 20 raters"),
    StudyDesign("12 and 60", (12, 60)),
    StudyDesign("12 and 60, 20 % of the faces", (12, 60), seen=0.2),
    StudyDesign("4 and 4", (4, 4)),
    StudyDesign("6 and 6", (6, 6)),
    StudyDesign("20 and 20, noise x 2 in one group", noise=(2.4, 1.2), no_null=_OF_NOISE),
    StudyDesign("12 and 60, noise x 2 in the 12", (12, 60), noise=(2.4, 1.2), no_null=_OF_NOISE),
    StudyDesign("20 and 20, heavy tails", heavy=True),
    StudyDesign("20 and 20, floor", floor=True),
    StudyDesign("36 and 90, one trait each", (36, 90), traits_each=1),
    StudyDesign("12 and 12 in sets of 10 + 2 and 2 + 10", (12, 12), sets=(10, 2)),
)
"""Designs in which groups do not differ, except in noise if the name says so."""

PLANTED = (
    StudyDesign("12 and 60, noise 0.9 and 1.5", (12, 60), noise=(0.9, 1.5), no_null=_OF_NOISE),
    StudyDesign("12 and 60, noise 1.5 and 0.9", (12, 60), noise=(1.5, 0.9), no_null=_OF_NOISE),
    StudyDesign("12 and 60, the 12 use 1.6 of the scale", (12, 60), scale=(1.6, 1.0), no_null=_OF_FACES),
    StudyDesign("12 and 60, the 60 less predictable", (12, 60), unpredictable=(0.0, 0.4), no_null=_ALONE),
    StudyDesign("12 and 60, the 12 less predictable", (12, 60), unpredictable=(0.4, 0.0), no_null=_ALONE),
    StudyDesign("20 and 20, one group less predictable", unpredictable=(0.4, 0.0), no_null=_ALONE),
    StudyDesign("20 and 20, means differ by 0.55", levels=0.55, no_null=("means",)),
)  # fmt: skip
"""Designs in which groups differ."""


@dataclass(frozen=True)
class Faces:
    """Faces of a simulated study: features and true mean ratings.

    Parameters
    ----------
    features : ndarray of shape (image, feature)
        Features of each face.
    truth : ndarray of shape (trait, image)
        True mean ratings, without noise of raters.
    """

    features: np.ndarray
    truth: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, images: int = 60, traits: int = 3, features: int = 30) -> "Faces":
        """Draw faces whose true ratings depend mostly on the features."""
        values = rng.normal(size=(images, features))
        weights = rng.normal(size=(traits, features)) / np.sqrt(features)
        return cls(values, 0.9 * weights @ values.T + 0.45 * rng.normal(size=(traits, images)))

    @property
    def kernel(self) -> FeatureKernel:
        """Kernel and folds of the faces."""
        names = tuple(f"{number:03d}" for number in range(len(self.features)))
        return FeatureKernel(names, np.arange(len(names)) % 5, self.features @ self.features.T)

    @property
    def cues(self) -> xr.DataArray:
        """True cues of four regions, each with a quarter of the features."""
        weights = np.linalg.lstsq(self.features, self.truth.T, rcond=None)[0]
        columns = np.array_split(np.arange(len(weights)), 4)
        cues = np.stack([self.features[:, own] @ weights[own] for own in columns], axis=2)
        regions = [f"region {number}" for number in range(len(columns))]
        traits = [f"t{number}" for number in range(len(self.truth))]
        coordinates = {TRAIT: traits, IMAGE: list(self.kernel.images), REGION: regions}
        return xr.DataArray(cues.transpose(1, 0, 2), coordinates, (TRAIT, IMAGE, REGION))


def draw_ratings(design: StudyDesign, faces: Faces, rng: np.random.Generator) -> pd.DataFrame:
    """Simulate the ratings of one study.

    Parameters
    ----------
    design : StudyDesign
        Design of the study.
    faces : Faces
        Faces that are rated.
    rng : Generator
        Random number generator.

    Returns
    -------
    DataFrame
        rater, group, image, trait, rating.
    """
    traits, images = faces.truth.shape
    number = sum(design.raters)
    group = np.repeat([0, 1], design.raters)
    level = 0.5 * rng.normal(size=(number, 1, 1)) + design.levels * (group == 0)[:, None, None]
    taste = 0.3 * rng.normal(size=(number, traits, faces.features.shape[1])) @ faces.features.T
    noise = rng.standard_t(2.5, (number, traits, images)) if design.heavy else rng.normal(
        size=(number, traits, images)
    )  # fmt: skip
    noise = noise * np.array(design.noise)[group][:, None, None]
    alone = rng.normal(size=(2, traits, images)) * np.array(design.unpredictable)[:, None, None]
    # The groups' means over these faces differ by the levels only.
    alone -= alone.mean(axis=2, keepdims=True)
    mean = faces.truth.mean(axis=1, keepdims=True)
    values = (
        mean
        + (faces.truth - mean) * np.array(design.scale)[group][:, None, None]
        + alone[group]
        + level
        + taste / np.sqrt(faces.features.shape[1])
        + noise
    )
    if design.floor:
        values = np.clip(np.round(1.2 + 1.5 * values), 1, 7)
    known = np.ones(values.shape, bool)
    if design.seen < 1:
        order = rng.random((number, images)).argsort(axis=1).argsort(axis=1)
        known &= (order < round(design.seen * images))[:, None]
    if design.traits_each is not None:
        turn = np.concatenate([np.arange(count) % traits for count in design.raters])
        known &= (turn[:, None] == np.arange(traits))[:, :, None]
    if design.sets is not None:
        place = np.concatenate([np.arange(count) for count in design.raters])
        in_first = place < np.array(design.sets)[group]
        known &= (in_first[:, None] == (np.arange(images) < images // 2))[:, None]
    rater, trait, image = np.nonzero(known)
    names = np.array([f"r{one:03d}" for one in range(number)], object)
    pictures = np.array([f"{one:03d}" for one in range(images)], object)
    return pd.DataFrame(
        {
            RATER: names[rater],
            GROUP: np.array(["a", "b"], object)[group[rater]],
            IMAGE: pictures[image],
            TRAIT: np.array([f"t{one}" for one in range(traits)], object)[trait],
            RATING: values[known],
        }
    )
