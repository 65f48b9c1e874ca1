"""Relevance of regions by rater: each rater's part in the relevance of a readout of the group's mean ratings.

A description of readouts, and no test of the parts of the face that raters use: see
:mod:`traitlens.comparison.by_use`.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, IMAGE, RATER, RATING, REGION, TRAIT
from traitlens.comparison.exchange import (
    label_raters,
)
from traitlens.comparison.operator import (
    LinearMaps,
    RegionOperator,
    solve_folds,
    summarise,
    summary_gradient,
)
from traitlens.problems import Problem, TraitlensError

Progress = Callable[[int], None] | None


class TraitDesign:
    """One trait's ratings as matrices over all raters and images of the operator.

    Parameters
    ----------
    part : DataFrame
        rater, image, rating of one trait.
    raters : Index
        All raters, in the order of weights.
    images : Index
        Images in the order of `maps`.
    maps : LinearMaps
        Of `solve_folds`, with the trait's penalty.

    Raises
    ------
    TraitlensError
        Where an image was rated but has no features, or the other way round.
    """

    def __init__(self, part: pd.DataFrame, raters: pd.Index, images: pd.Index, maps: LinearMaps):
        once = part.groupby([RATER, IMAGE], observed=True)[RATING].mean().reset_index()
        row, column = raters.get_indexer(once[RATER]), images.get_indexer(once[IMAGE])
        if (column < 0).any():
            missing = sorted(set(once[IMAGE][column < 0]))
            raise TraitlensError(
                [Problem(f"image {name!r} was rated but has no features") for name in missing]
            )
        self.maps = maps
        self.members = np.unique(row)
        place = np.searchsorted(self.members, row)
        self.ratings = np.zeros((len(self.members), len(images)))
        self.seen = np.zeros_like(self.ratings)
        self.ratings[place, column] = once[RATING]
        self.seen[place, column] = 1
        counts = self.seen.sum(axis=0)
        if not counts.all():
            names = ", ".join(map(str, images[counts == 0][:5]))
            raise TraitlensError(
                Problem(
                    f"{int((counts == 0).sum())} images have no rating ({names})",
                    "make the operator of the rated images only",
                )
            )
        self.pooled = self.ratings.sum(axis=0) / counts

    def targets(self, weights: np.ndarray) -> np.ndarray:
        """Average ratings under weights of raters.

        Parameters
        ----------
        weights : ndarray of shape (set, rater)
            Weight of each rater; a group is ones and zeros.

        Returns
        -------
        ndarray of shape (set, image)
            Mean ratings. An image that a set left bare gets the mean of all raters, at the set's level.
        """
        own = weights[:, self.members].astype(float)
        counts = own @ self.seen
        sums = own @ self.ratings
        mean = np.where(counts > 0, sums / np.maximum(counts, 1e-12), self.pooled)
        # An image that this set of raters did not see is lifted to their general level.
        bare = counts <= 0
        if bare.any():
            level = np.where(bare, 0, mean - self.pooled).sum(axis=1) / np.maximum((~bare).sum(axis=1), 1)
            mean = mean + bare * level[:, None]
        return mean

    def deviations(self, targets: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
        """Tell how far each rater moves the mean ratings, times the number of raters.

        Parameters
        ----------
        targets : ndarray of shape (image,)
            Mean ratings of the raters.
        inside : ndarray of bool, shape (member,), optional
            The raters; all where missing.

        Returns
        -------
        ndarray of shape (rater, image)
            Their mean over raters is zero. With a complete design ratings less mean ratings.
        """
        inside = np.ones(len(self.members), bool) if inside is None else inside
        seen = self.seen[inside]
        counts = np.maximum(seen.sum(axis=0), 1)
        moved: np.ndarray = seen * (self.ratings[inside] - targets) * (inside.sum() / counts)
        return moved

    def rater_values(self, weights: np.ndarray, summary: str) -> np.ndarray:
        """Give single raters values whose mean is the group's.

        Parameters
        ----------
        weights : ndarray of shape (rater,)
            Ones for the group's raters, else zeros.
        summary : str
            See `summarise`.

        Returns
        -------
        ndarray of shape (rater, region)
            Linear expansion of the summary around the group's mean ratings. With a complete design this is
            its derivative applied to the rater's ratings, and exact where the summary is linear.
        """
        targets = self.targets(weights[None])[0]
        gradient = summary_gradient(targets, self.maps, summary)
        deviation = self.deviations(targets, weights[self.members] > 0)
        values: np.ndarray = summarise(targets[None], self.maps, summary) + deviation @ gradient.T
        return values


def make_designs(
    ratings: pd.DataFrame, raters: pd.Index, operator: RegionOperator, penalties: float | Mapping[str, float]
) -> dict[str, TraitDesign]:
    """Arrange each trait's ratings; the solution of a penalty is shared.

    Parameters
    ----------
    ratings : DataFrame
        rater, image, trait, rating.
    raters : Index
        Raters in the order of weights.
    operator : RegionOperator
        Kernels of all rated images.
    penalties : float or mapping of str to float
        Ridge penalty of each trait.

    Returns
    -------
    dict of str to TraitDesign
        By trait, sorted.
    """
    solved: dict[float, LinearMaps] = {}
    designs = {}
    images = pd.Index(operator.images)
    for trait, part in ratings.groupby(TRAIT, sort=True, observed=True):
        penalty = float(penalties[str(trait)] if isinstance(penalties, Mapping) else penalties)
        if penalty not in solved:
            solved[penalty] = solve_folds(operator, penalty)
        designs[str(trait)] = TraitDesign(part, raters, images, solved[penalty])
    return designs


def rater_regions(
    ratings: pd.DataFrame,
    operator: RegionOperator,
    penalties: float | Mapping[str, float],
    summary: str = "aligned",
) -> pd.DataFrame:
    """Give each rater a value per region, so that a group's value is the mean of its raters'.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    operator : RegionOperator
        Kernels of all rated images.
    penalties : float or mapping of str to float
        Ridge penalty of each trait.
    summary : {"aligned", "share", "mean"}, default "aligned"
        What is computed. "mean" with a complete design is the relevance of a readout fitted to the rater
        alone; else it is the linear expansion around the group's mean ratings.

    Returns
    -------
    DataFrame
        rater, group, trait, region, value.
    """
    tables = []
    for group, part in ratings.groupby(GROUP, sort=True, observed=True):
        raters, _ = label_raters(part, (str(group),))
        for trait, design in make_designs(part, raters, operator, penalties).items():
            values = design.rater_values(np.ones(len(raters)), summary)
            table = pd.DataFrame(values, index=raters[design.members], columns=list(operator.regions))
            long = table.rename_axis(RATER).reset_index().melt(RATER, var_name=REGION, value_name="value")
            tables.append(long.assign(**{GROUP: group, TRAIT: trait}))
    return pd.concat(tables, ignore_index=True)[[RATER, GROUP, TRAIT, REGION, "value"]]
