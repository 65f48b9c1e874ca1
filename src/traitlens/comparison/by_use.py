r"""Comparison of groups in the use of the scale and of the face: range, noise and use.

*Range* is the slope of a group's ratings on the impression that both groups share. *Noise* is the standard
deviation of single ratings around the rater's regression on the cues and the consensus of the group. *Use* is
the relative weight of each region of the face, independent of range and noise.

Raters and faces are both random factors: raters within each group and the persons shown are resampled
together (a crossed or "pigeonhole" bootstrap, Owen 2007, doi:10.1214/07-AOAS122). With fixed faces, chance
correlations between the regions of these faces would appear as differences of use. The bootstrap counts the
interaction of raters and faces three times; the standard error is corrected for that.
"""

from collections.abc import Sequence

import pandas as pd
import xarray as xr

from traitlens.columns import REGION
from traitlens.comparison.bootstrap import balance
from traitlens.comparison.compared_groups import pairs_of_groups, ratings_of_pair
from traitlens.comparison.lens_design import make_design
from traitlens.comparison.permutation import find_strata
from traitlens.comparison.use_test import QUESTIONS, Relearn, UseTest
from traitlens.comparison.utilisation import Progress


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
        Cues in rating points, from a readout of all raters together. Leave out traits that are not predicted
        better than chance, because their cues are meaningless.
    identities : Series, optional
        The person shown, by image. Each image is a separate person if None.
    groups : (str, str), optional
        The first minus the second; all pairs of groups if None.
    within : sequence of str, default ()
        Columns of the ratings with categories of raters, such as gender. Raters are weighted so that both
        groups have the same proportions; categories without raters of both groups are left out.
    draws : int, default 2000
        Number of bootstrap draws of raters and identities.
    relearn : callable, optional
        Function that refits the cues without some images, such as
        :meth:`traitlens.comparison.common_cues.CommonCues.relearn`. Standard errors and intervals of "use"
        then include the uncertainty of the cues. If None, cues are taken as known.
    seed : int, default 0
        Seed of the random number generator. The order of the groups affects only the sign of differences.
    progress : callable, optional
        Called with the number of draws since the last call.

    Returns
    -------
    DataFrame
        group_1, group_2, question ("range", "noise", "use"), trait, region (only for "use"), value_1,
        value_2, difference, low, high (95 %, raters and faces as random factors), raters_low, raters_high
        (fixed faces; Welch's t), faces_low, faces_high (fixed raters), p, p_corrected (family-wise over the
        regions and traits of a question; missing for regions that add less than 1 % to the explained variance
        of the mean ratings of both groups, which are not tested), called (whether p_corrected is at most
        .05), detectable (smallest difference found with 80 % power), hedges_g with hedges_g_low and
        hedges_g_high (over raters), n_1, n_2 (raters). All values are in rating points: the standard
        deviation of the predicted ratings for "range", the standard deviation of the residuals for "noise",
        and for "use" points per standard deviation of the cue, with both groups rescaled to their mean range.

    Notes
    -----
    With :math:`G_g` the mean utilisation of group g for a trait, :math:`m` the mean of both groups' vectors
    scaled to length 1, and :math:`u = m / m'm`, the range is :math:`s_g = G_g'u` and the profile
    :math:`P_g = G_g / s_g`. "use" tests :math:`P_1 - P_2`. The difference divided by its standard error
    (:func:`crossed_variance`) is compared with the absolute standardised deviations of the draws from it; for
    p_corrected with their maximum over all tests of a question.

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
        test = UseTest(design, strata, draws, seed, progress, weights)
        if relearn is not None:
            test.added = test.learning_variance(relearn)
        table = test.table()
        table.insert(0, "group_1", pair[0])
        table.insert(1, "group_2", pair[1])
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def by_question(tests: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Split the table of `compare_use` by question.

    Returns
    -------
    dict of str to DataFrame
        Tables "range", "noise" and "use", with columns named as in other tables of tests: estimate, ci_low,
        ci_high. Questions without rows are left out.
    """
    named = tests.rename(columns={"difference": "estimate", "low": "ci_low", "high": "ci_high"})
    tables = {question: named[named["question"] == question] for question in QUESTIONS}
    return {
        question: (table if question == "use" else table.drop(columns=REGION)).reset_index(drop=True)
        for question, table in tables.items()
        if len(table)
    }
