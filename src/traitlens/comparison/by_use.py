r"""Comparison of groups in the use of the scale and of the face: range, noise and use.

*Range*: the slope of a group's ratings on the impression that both groups share. *Noise*: the deviation of
single ratings from the rater's cues and the group's consensus. *Use*: the relative weights of the regions of
the face, independent of range and noise.

Raters and faces are both random factors: raters within each group, and the persons shown, are drawn with
replacement together (a crossed or "pigeonhole" bootstrap, Owen 2007, doi:10.1214/07-AOAS122). With fixed
faces, chance relations between the regions of these faces appear as differences of use. The bootstrap counts
the interaction of raters and faces three times; the standard error is corrected for that.
"""

from collections.abc import Sequence

import pandas as pd
import xarray as xr

from traitlens.columns import REGION
from traitlens.comparison.bootstrap import balance
from traitlens.comparison.compared_groups import pairs_of_groups, ratings_of_pair
from traitlens.comparison.lens_design import make_design
from traitlens.comparison.permutation import find_strata
from traitlens.comparison.use_test import QUESTIONS, PairTest, Relearn
from traitlens.comparison.utilisation import (
    Progress,
)


def compare_use(
    ratings: pd.DataFrame,
    cues: xr.DataArray,
    identities: pd.Series | None = None,
    *,
    groups: tuple[str, str] | None = None,
    within: Sequence[str] = (),
    draws: int = 2000,
    relearn: Relearn | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> pd.DataFrame:
    r"""Test whether two groups differ in range, in noise, and in the use of the face's regions.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    cues : DataArray (trait, image, region)
        Rating points, from a readout of all raters together. Leave out traits that are not predicted better
        than chance, whose cues have no meaning.
    identities : Series, optional
        The person shown, by image. Each image is a separate person if None.
    groups : (str, str), optional
        The first minus the second; all pairs of groups if None.
    within : sequence of str, default ()
        Columns of the ratings with categories of raters, such as gender: raters are weighted so that both
        groups have the same composition; categories without raters of both groups are left out.
    draws : int, default 2000
        Bootstrap draws of raters and identities.
    relearn : callable, optional
        Fits the cues again without some images, such as
        :meth:`traitlens.comparison.common_cues.CommonCues.relearn`. Standard errors and intervals of "use"
        then include the uncertainty of the cues; without it cues are taken as known.
    seed : int, default 0
        Seed. Swapping the names of the groups changes signs only.
    progress : callable, optional
        Called with the number of further draws done.

    Returns
    -------
    DataFrame
        group_1, group_2, question ("range", "noise", "use"), trait, region (empty but for "use"), value_1,
        value_2, difference, low, high (95 %, raters and faces as samples), raters_low, raters_high (fixed
        faces; Welch's t), faces_low, faces_high (fixed raters), p, p_corrected (family-wise over the regions
        and traits of a question; missing for regions that add less than 1 % to the explained variance of
        both groups' mean ratings, which are not tested), called (p_corrected at most .05), detectable
        (smallest difference found with 80 % power), hedges_g with hedges_g_low and hedges_g_high (over
        raters), n_1, n_2 (raters). All values are rating points: the spread of the predicted ratings for
        "range", the standard deviation of the residuals for "noise", and for "use" points per standard
        deviation of the cue, with both groups brought to their mean range.

    Notes
    -----
    With :math:`G_g` the mean utilisation of group g and a trait, :math:`m` the mean of both
    groups' unit vectors and :math:`u = m / m'm`, the range is :math:`s_g = G_g'u` and the profile
    :math:`P_g = G_g / s_g`. The question of use is about :math:`P_1 - P_2`. p values compare the difference
    divided by its standard error (:func:`crossed_variance`) with absolute deviations of draws from it,
    divided by their standard deviation; the maximum over the question's cells for p_corrected.

    Examples
    --------
    >>> compare_use(study.ratings, cue_array(cues), identities)  # doctest: +SKIP
    """
    tables = []
    for pair in pairs_of_groups(ratings, groups):
        both = ratings_of_pair(ratings, pair)
        design = make_design(both, cues, identities, pair)
        strata = find_strata(both, design.raters, design.labels, within)
        weights = balance(design.labels, strata) if within else None
        test = PairTest(design, strata, draws, seed, progress, weights)
        if relearn is not None:
            test.added = test.learning_variance(relearn)
        table = test.table()
        table.insert(0, "group_1", pair[0])
        table.insert(1, "group_2", pair[1])
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def by_question(tests: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Split a table of tests by question.

    Returns
    -------
    dict of str to DataFrame
        "range", "noise" and "use", each with its own family of p values, and named like other tables of
        tests: estimate, ci_low, ci_high. Questions without rows are left out.
    """
    named = tests.rename(columns={"difference": "estimate", "low": "ci_low", "high": "ci_high"})
    tables = {question: named[named["question"] == question] for question in QUESTIONS}
    return {
        question: (table if question == "use" else table.drop(columns=REGION)).reset_index(drop=True)
        for question, table in tables.items()
        if len(table)
    }
