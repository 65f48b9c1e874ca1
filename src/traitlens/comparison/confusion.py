"""Which regions can be told apart on a study's own faces: differences are planted, and looked for."""

from dataclasses import replace

import numpy as np
import pandas as pd

from traitlens.comparison.by_use import ALPHA, PairTest, Progress
from traitlens.comparison.common_cues import CommonCues
from traitlens.comparison.exchange import draw_labels, find_strata, ratings_of_pair
from traitlens.comparison.utilisation import LensDesign, TraitRatings, make_design, standardise
from traitlens.words import IMAGE, REGION, TRAIT


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
    """Plant a difference of use in each region in turn, and count in which regions it is called.

    The study's own raters are permuted between groups, so that no difference is left, and ratings of one
    group are moved along the study's own cue of a region. The cues that the test uses are fitted to other
    ratings: those that the study's cues predict, with the residuals of the mean ratings in another order.
    What is called elsewhere tells which regions go together on these faces. Profiles are relative: where a
    group uses one region more at the same range, it uses all others a little less.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    cues : CommonCues
        The study's cues.
    pair : (str, str)
        The groups.
    size : float
        The planted difference, in rating points per standard deviation of a cue.
    identities : Series, optional
        The person shown, by image.
    traits : list of str, optional
        Traits of the test; all where missing.
    studies : int, default 20
        Permutations, in each of which every region has its turn.
    draws : int, default 100
        Bootstrap draws of each test.
    seed : int, default 0
        Seed.
    progress : callable, optional
        Called after each permutation.

    Returns
    -------
    DataFrame
        planted, region, size, called (share of studies and traits in which a difference planted in `planted`
        is called in `region`), any_wrong (share of studies in which any other region is called in any
        trait), studies.
    """
    both = ratings_of_pair(ratings, pair)
    array = cues.array if traits is None else cues.array.sel({TRAIT: traits})
    design = make_design(both, array, identities, pair)
    strata = find_strata(both, design.raters, design.labels)
    rng = np.random.default_rng(seed)
    shape = (studies, len(design.regions), len(design.traits), len(design.regions))
    called = np.zeros(shape, bool)
    orders = draw_labels(design.labels, strata, studies, seed)
    for number, labels in enumerate(np.concatenate(list(orders))):
        learnt = _learn_again(cues, design, rng)
        for place in range(len(design.regions)):
            planted = plant(design, labels, place, size)
            test = PairTest(replace(planted, cues=learnt), strata, draws, number)
            called[number, place] = test.profile_differences()[1] <= ALPHA
        if progress:
            progress(1)
    rows = []
    for place, name in enumerate(design.regions):
        others = np.arange(len(design.regions)) != place
        wrong = called[:, place][:, :, others].any(axis=(1, 2)).mean()
        for column, region in enumerate(design.regions):
            rows.append((name, region, size, called[:, place, :, column].mean(), wrong, studies))
    return pd.DataFrame(rows, columns=["planted", REGION, "size", "called", "any_wrong", "studies"])


def plant(design: LensDesign, labels: np.ndarray, region: int, size: float) -> LensDesign:
    """Move ratings of two groups apart along the cue of one region.

    Parameters
    ----------
    design : LensDesign
        The study.
    labels : ndarray of int, shape (rater,)
        Groups, 0 and 1.
    region : int
        Number of the region.
    size : float
        Rating points per standard deviation of the cue; half of it is added to the first group's ratings and
        half taken off the second group's.

    Returns
    -------
    LensDesign
        The study with these groups and ratings.
    """
    signs = np.where(labels == 0, 0.5, -0.5) * size
    moved = []
    for trait, cues in zip(design.ratings, design.cues, strict=True):
        if isinstance(trait.seen, np.ndarray):
            shift = trait.seen * signs[:, None] * cues[:, region]
        else:
            shift = trait.seen.multiply(signs[:, None]).multiply(cues[:, region]).tocsr()
        moved.append(TraitRatings(trait.seen, trait.ratings + shift))
    return replace(design, labels=labels, ratings=tuple(moved))


def _learn_again(cues: CommonCues, design: LensDesign, rng: np.random.Generator) -> np.ndarray:
    """Fit cues to what the study's cues predict, residuals permuted: standardised (trait, image, region)."""
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
