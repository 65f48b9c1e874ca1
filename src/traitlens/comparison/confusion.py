"""Simulation of which regions the test of cue utilisation confuses on the faces of a study."""

from dataclasses import replace

import numpy as np
import pandas as pd

from traitlens.columns import IMAGE, REGION, TRAIT
from traitlens.comparison.answers import ALPHA
from traitlens.comparison.common_cues import CommonCues
from traitlens.comparison.compared_groups import ratings_of_pair
from traitlens.comparison.lens_design import LensDesign, TraitRatings, make_design, standardise
from traitlens.comparison.permutation import draw_labels, find_strata
from traitlens.comparison.use_test import UseTest
from traitlens.comparison.utilisation import Progress, group_utilisation
from traitlens.readouts.multitask import JointCues


def confuse_regions(
    ratings: pd.DataFrame,
    cues: CommonCues,
    pair: tuple[str, str],
    size: float,
    identities: pd.Series | None = None,
    *,
    traits: list[str] | None = None,
    studies: int = 20,
    draws: int = 100,
    seed: int = 0,
    progress: Progress = None,
) -> pd.DataFrame:
    """Simulate a difference of use in each region in turn, and count in which regions the test finds it.

    The mean utilisation of both groups is made equal, raters are permuted between the groups, and their
    ratings are shifted along the cues so that one group uses the region more and the strongest other region
    less, with unchanged range (see :func:`opposed_shifts`). The cues of the test are refitted to the
    predicted mean ratings plus permuted residuals. If the test finds a difference in another region, the two
    regions are confused on these faces.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    cues : CommonCues
        Cues of the study.
    pair : (str, str)
        The groups.
    size : float
        Size of the simulated difference, in rating points per standard deviation of a cue.
    identities : Series, optional
        The person shown, by image.
    traits : list of str, optional
        Traits to test; all if None.
    studies : int, default 20
        Number of simulated studies per region.
    draws : int, default 100
        Number of bootstrap draws per test.
    seed : int, default 0
        Seed of the random number generator.
    progress : callable, optional
        Called after the studies of all regions with the same raters.

    Returns
    -------
    DataFrame
        planted (region of the simulated difference), region, size, called (proportion of studies and traits
        with a significant difference in `region`; missing if that is the region that is used less), any_wrong
        (proportion of studies with a significant difference in any other region for any trait), studies.
    """
    both = ratings_of_pair(ratings, pair)
    array = cues.array if traits is None else cues.array.sel({TRAIT: traits})
    design = make_design(both, array, identities, pair)
    strata = find_strata(both, design.raters, design.labels)
    rng = np.random.default_rng(seed)
    regions = len(design.regions)
    called = np.zeros((studies, regions, len(design.traits), regions), bool)
    shifts = opposed_shifts(UseTest(design, strata, 1).observed.directions[0], size)
    added: np.ndarray | float = 0.0
    if isinstance(cues.fitted, JointCues):
        added = UseTest(design, strata, draws, seed).learning_variance(cues.relearn)
    alike = shift_utilisation(design, design.labels, -_group_differences(design))
    orders = draw_labels(design.labels, strata, studies, seed)
    for number, labels in enumerate(np.concatenate(list(orders))):
        learnt = _refit_cues(cues, design, rng)
        for place, shift in enumerate(shifts):
            planted = shift_utilisation(alike, labels, shift)
            test = UseTest(replace(planted, cues=learnt), strata, draws, number)
            test.added = added
            called[number, place] = test.profile_differences()[1] <= ALPHA
        if progress:
            progress(1)
    less = (shifts != 0) & ~np.eye(regions, dtype=bool)[:, None]
    rates = np.where(less, np.nan, called.mean(axis=0))
    rows = []
    for place, name in enumerate(design.regions):
        wrong = (called[:, place] & (shifts[place] == 0)).any(axis=(1, 2)).mean()
        for column, region in enumerate(design.regions):
            of_traits = rates[place, :, column]
            known = of_traits[np.isfinite(of_traits)]
            rows.append((name, region, size, known.mean() if len(known) else np.nan, wrong, studies))
    return pd.DataFrame(rows, columns=["planted", REGION, "size", "called", "any_wrong", "studies"])


def opposed_shifts(directions: np.ndarray, size: float) -> np.ndarray:
    """Compute shifts of utilisation that increase one region and decrease another, with unchanged range.

    Parameters
    ----------
    directions : ndarray of shape (trait, region)
        Direction of the utilisation that groups share.
    size : float
        Increase of the utilisation of one region.

    Returns
    -------
    ndarray of shape (increased region, trait, region)
        Shifts, orthogonal to the directions. The strongest other region is decreased.

    Examples
    --------
    >>> opposed_shifts(np.array([[0.8, 0.5, 0.1]]), 0.4)[1].tolist()
    [[-0.25, 0.4, 0.0]]
    """
    traits, regions = directions.shape
    shifts = np.zeros((regions, traits, regions))
    for place in range(regions):
        for trait, direction in enumerate(directions):
            others = np.abs(direction)
            others[place] = -1
            other = int(others.argmax())
            shifts[place, trait, place] = size
            if direction[other] != 0 and direction[place] != 0:
                shifts[place, trait, other] = -size * direction[place] / direction[other]
    return shifts


def shift_utilisation(design: LensDesign, labels: np.ndarray, shifts: np.ndarray) -> LensDesign:
    """Shift the ratings of two groups along the cues in opposite directions.

    Parameters
    ----------
    design : LensDesign
        Ratings and cues of the study.
    labels : ndarray of int, shape (rater,)
        New group of each rater, 0 or 1.
    shifts : ndarray of shape (trait, region)
        Rating points per standard deviation of a cue. Half is added to the utilisation of the first group,
        and half is subtracted from that of the second.

    Returns
    -------
    LensDesign
        The study with the new groups and ratings.
    """
    signs = np.where(labels == 0, 0.5, -0.5)
    moved = []
    for trait, cues, shift in zip(design.ratings, design.cues, shifts, strict=True):
        along = cues @ shift
        if isinstance(trait.seen, np.ndarray):
            added = trait.seen * signs[:, None] * along
        else:
            added = trait.seen.multiply(signs[:, None]).multiply(along).tocsr()
        moved.append(TraitRatings(trait.seen, trait.ratings + added))
    return replace(design, labels=labels, ratings=tuple(moved))


def _group_differences(design: LensDesign) -> np.ndarray:
    """Return the utilisation of the first group minus that of the second, of shape (trait, region)."""
    members = np.stack([design.labels == group for group in (0, 1)]).astype(float)
    first, second = group_utilisation(design, members[:, None], np.ones((1, len(design.images))))[:, 0]
    return np.asarray(first - second)


def _refit_cues(cues: CommonCues, design: LensDesign, rng: np.random.Generator) -> np.ndarray:
    """Refit cues to predicted mean ratings plus permuted residuals, and standardise them."""
    predicted = pd.DataFrame(
        cues.fitted.predictions.T, index=cues.array[IMAGE].values, columns=cues.targets.columns
    )
    targets = cues.targets.reindex(predicted.index)
    residuals = targets - predicted
    for trait in targets:
        rated = np.flatnonzero(residuals[trait].notna())
        column = residuals.columns.get_loc(trait)
        residuals.iloc[rated, column] = residuals.iloc[rng.permutation(rated), column].to_numpy()
    again = cues.refit(predicted + residuals).array
    again = again.sel({TRAIT: list(design.traits), IMAGE: list(design.images), REGION: list(design.regions)})
    return standardise(again.values, design.ratings)[0]
