"""Exclusion of ratings by the rules of a study, with counts of excluded ratings and raters."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, IMAGE, RATER, RATING, REPEAT, TRAIT
from traitlens.problems import Problem, StudyError
from traitlens.study.rating_condition import SIGNS, parse_condition
from traitlens.study.settings import CleaningSettings

MOVED, CHECKS = "moved", "checks_passed"
"""Columns of ratings that were collected with traitlens: whether the slider was moved, and the share of
attention checks passed."""


@dataclass(frozen=True)
class Cleaned:
    """Cleaned ratings, and the ratings that each step excluded.

    Parameters
    ----------
    ratings : DataFrame
        The remaining ratings, in their original order.
    steps : DataFrame
        step, raters_left_out, ratings_left_out, raters, ratings: numbers excluded by each step and numbers
        remaining after it; the first row counts the ratings before cleaning.
    left_out : DataFrame
        The excluded ratings, with the step that excluded them in the column step.
    """

    ratings: pd.DataFrame
    steps: pd.DataFrame
    left_out: pd.DataFrame

    def __str__(self) -> str:
        return str(self.steps.to_string(index=False))


def clean_ratings(
    ratings: pd.DataFrame, settings: CleaningSettings, scale: tuple[float, float] | None = None
) -> Cleaned:
    """Exclude ratings by the rules that are set, in the order below.

    1. `off_scale`: ratings outside the scale. 2. `untouched`: answers given without moving the slider.
    3. `fastest`: answers given too fast, and with `most_too_fast` all ratings of raters who gave too many of
    them. 4. `recognised`: a rater's ratings of faces that this rater recognised. 5. `one_value`: a rater's
    ratings of a trait if they are all equal (three or more ratings). 6. `lowest_checks`: raters who missed
    too many attention checks. 7. `lowest_retest`: raters with a low correlation between repeated ratings.
    8. `lowest_agreement`: raters with a low correlation with the other raters of their group.
    9. `most_missing`: a rater's ratings of a trait if the rater skipped too many of the images that the group
    rated. 10. `fewest_ratings`: a group's ratings of an image on a trait if too few raters gave them.

    Parameters
    ----------
    ratings : DataFrame
        One row per judgement.
    settings : CleaningSettings
        The rules.
    scale : (float, float), optional
        Lowest and highest possible rating.

    Returns
    -------
    Cleaned
        The remaining ratings, and the ratings that each step excluded.

    Raises
    ------
    StudyError
        If a rule needs a column that the ratings do not have.

    Examples
    --------
    >>> table = pd.DataFrame({"rater": ["a", "a", "b"], "group": "g", "trait": "warm",
    ...     "image": ["1", "2", "1"], "rating": [3.0, 9.0, 4.0], "repeat": 1})
    >>> print(clean_ratings(table, CleaningSettings(off_scale=True), scale=(1, 7)))
         step  raters_left_out  ratings_left_out  raters  ratings
         read                0                 0       2        3
    off_scale                0                 1       2        2
    """
    _check_columns(ratings, settings)
    steps = [("read", ratings.iloc[:0])]
    left = ratings

    def leave_out(step: str, mask: pd.Series) -> None:
        """Remove the rows of the mask from the remaining ratings and record the step."""
        nonlocal left
        steps.append((step, left[mask]))
        left = left[~mask]

    if settings.off_scale and scale is not None:
        leave_out("off_scale", (left[RATING] < scale[0]) | (left[RATING] > scale[1]))
    if settings.untouched:
        leave_out("untouched", is_untouched(left))
    if settings.fastest is not None:
        fast = pd.to_numeric(left[settings.time], errors="coerce") < settings.fastest
        if settings.most_too_fast is not None:
            share = fast.groupby(left[RATER]).mean()
            leave_out("most_too_fast", left[RATER].isin(share.index[share > settings.most_too_fast]))
            fast = fast[left.index]
        leave_out("fastest", fast)
    if settings.recognised is not None:
        leave_out("recognised", _is_recognised(left, settings.recognised))
    if settings.one_value:
        groups = left.groupby([RATER, TRAIT])[RATING]
        leave_out("one_value", (groups.transform("nunique") == 1) & (groups.transform("size") >= 3))
    if settings.lowest_checks is not None:
        leave_out("lowest_checks", pd.to_numeric(left[CHECKS], errors="coerce") < settings.lowest_checks)
    if settings.lowest_retest is not None:
        retest = retest_correlations(left)
        poor = retest.index[retest < settings.lowest_retest]
        leave_out("lowest_retest", left[RATER].isin(poor))
    if settings.lowest_agreement is not None:
        agreement = agreement_with_others(left)
        poor = agreement.index[agreement < settings.lowest_agreement]
        leave_out("lowest_agreement", left[RATER].isin(poor))
    if settings.most_missing is not None:
        leave_out("most_missing", _missing_shares(left) > settings.most_missing)
    if settings.fewest_ratings is not None:
        who = RATER if RATER in left else RATING
        number = left.groupby([GROUP, TRAIT, IMAGE])[who].transform("nunique" if who == RATER else "size")
        leave_out("fewest_ratings", number < settings.fewest_ratings)
    return Cleaned(left.reset_index(drop=True), _count_steps(ratings, steps), _collect_excluded(steps))


def retest_correlations(ratings: pd.DataFrame) -> pd.Series:
    """Correlate each rater's first and second rating of the same images.

    Parameters
    ----------
    ratings : DataFrame
        One row per judgement, with `repeat` numbering the judgements of one rater, image and trait.

    Returns
    -------
    Series
        Pearson correlation by rater, for raters with at least three repeated images; 0 if one of the two
        ratings is constant.
    """
    order = ratings.groupby([RATER, TRAIT, IMAGE])[REPEAT].rank(method="first")
    keys = [RATER, TRAIT, IMAGE]
    first = ratings[order == 1].set_index(keys)[RATING]
    second = ratings[order == 2].set_index(keys)[RATING]
    pairs = pd.DataFrame({"first": first.reindex(second.index), "second": second})
    correlations = {}
    for rater, rows in pairs.groupby(level=RATER):
        if len(rows) >= 3:
            varies = rows["first"].nunique() > 1 and rows["second"].nunique() > 1
            correlations[rater] = float(np.corrcoef(rows["first"], rows["second"])[0, 1]) if varies else 0.0
    return pd.Series(correlations, dtype=float)


def agreement_with_others(ratings: pd.DataFrame) -> pd.Series:
    """Correlate each rater's ratings with the mean ratings of the other raters of the group.

    Parameters
    ----------
    ratings : DataFrame
        One row per judgement; repeated judgements are averaged.

    Returns
    -------
    Series
        Pearson correlation by rater, averaged over the traits with at least three images that others rated
        too; 0 for a trait on which the rater gave one value. Raters without such a trait are omitted.
    """
    own = ratings.groupby([RATER, GROUP, TRAIT, IMAGE])[RATING].mean()
    by_image = own.groupby(level=[GROUP, TRAIT, IMAGE])
    number = by_image.transform("size")
    others = (by_image.transform("sum") - own) / (number - 1)
    pairs = pd.DataFrame({"own": own, "others": others})[number > 1]
    correlations = {}
    for (rater, trait), rows in pairs.groupby(level=[RATER, TRAIT]):
        if len(rows) >= 3 and rows["others"].nunique() > 1:
            varies = rows["own"].nunique() > 1
            correlations[rater, trait] = (
                float(np.corrcoef(rows["own"], rows["others"])[0, 1]) if varies else 0.0
            )
    by_trait = pd.Series(correlations, dtype=float)
    return by_trait.groupby(level=0).mean() if len(by_trait) else by_trait


def is_untouched(ratings: pd.DataFrame) -> pd.Series:
    """Return which answers were given without moving the slider.

    Parameters
    ----------
    ratings : DataFrame
        Ratings with the column `moved`.

    Returns
    -------
    Series of bool
        True where `moved` is false; False where it is true or empty.
    """
    return ratings[MOVED].astype(str).str.strip().str.lower().isin({"false", "no", "0", "0.0"})


def _is_recognised(ratings: pd.DataFrame, condition: str) -> pd.Series:
    """Return which ratings are of faces that the rater recognised, except the answers to that item itself."""
    trait, sign, number = parse_condition(condition)
    own = ratings[TRAIT] == trait
    known = ratings[own & SIGNS[sign](ratings[RATING], number)]
    faces = pd.MultiIndex.from_frame(known[[RATER, IMAGE]])
    found = pd.MultiIndex.from_frame(ratings[[RATER, IMAGE]]).isin(faces)
    return pd.Series(found, ratings.index) & ~own


def _missing_shares(ratings: pd.DataFrame) -> pd.Series:
    """Return for each row the share of the images rated by the group on the trait that its rater skipped."""
    there = ratings.groupby([GROUP, TRAIT])[IMAGE].transform("nunique")
    rated = ratings.groupby([RATER, GROUP, TRAIT])[IMAGE].transform("nunique")
    return 1 - rated / there


def _check_columns(ratings: pd.DataFrame, settings: CleaningSettings) -> None:
    """Raise an error if the ratings lack a column that a rule needs."""
    needs = {
        "fastest": [settings.time],
        "most_too_fast": [settings.time, RATER],
        "untouched": [MOVED],
        "recognised": [RATER],
        "one_value": [RATER],
        "lowest_checks": [RATER, CHECKS],
        "lowest_retest": [RATER, REPEAT],
        "lowest_agreement": [RATER],
        "most_missing": [RATER],
    }
    problems = [
        Problem(f"cleaning.{rule} needs column {column!r}", "add it, or remove the rule", "ratings.csv")
        for rule, columns in needs.items()
        if getattr(settings, rule) not in (None, False)
        for column in columns
        if column not in ratings
    ]
    if settings.recognised is not None:
        item = parse_condition(settings.recognised)[0]
        if item not in set(ratings[TRAIT]):
            what = f"cleaning.recognised names {item!r}, which nobody rated"
            problems.append(Problem(what, "use a trait that occurs in the ratings", "ratings.csv"))
    if problems:
        raise StudyError(problems)


def _count_steps(ratings: pd.DataFrame, steps: list[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """Count the raters and ratings that each step excluded and that remained after it."""
    rows = []
    left = ratings
    for step, taken in steps:
        after = left.drop(taken.index)
        raters = after[RATER].nunique() if RATER in after else 0
        before = left[RATER].nunique() if RATER in left else 0
        rows.append((step, before - raters, len(taken), raters, len(after)))
        left = after
    return pd.DataFrame(rows, columns=["step", "raters_left_out", "ratings_left_out", "raters", "ratings"])


def _collect_excluded(steps: list[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """Return the excluded ratings of all steps, with the name of the step."""
    return pd.concat([taken.assign(step=step) for step, taken in steps], ignore_index=True)
