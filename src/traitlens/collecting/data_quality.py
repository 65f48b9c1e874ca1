"""Data quality by rater. Nothing is excluded here; the rules of `study.toml` decide about exclusion."""

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, RATER, RATING, REPEAT, TRAIT
from traitlens.study.cleaning import (
    CHECKS,
    MOVED,
    agreement_with_others,
    is_untouched,
    retest_correlations,
)
from traitlens.study.reading import Study
from traitlens.study.settings import CleaningSettings

FASTEST = 200.0
"""Response time in milliseconds below which an answer counts as too fast, unless the study sets a limit."""

LONG_RUN = 10
"""Minimum number of equal answers in a row that counts as a long run."""

TIME = "time"
"""Column with the date and time of each answer."""


def tabulate_quality(
    ratings: pd.DataFrame, left_out: pd.DataFrame | None, rules: CleaningSettings
) -> pd.DataFrame:
    """Compute data quality by rater, including ratings that cleaning left out.

    Parameters
    ----------
    ratings : DataFrame
        Ratings with the columns rater, group, trait and rating, and any others of the study.
    left_out : DataFrame or None
        Ratings that cleaning left out, with the name of the rule in the column step.
    rules : CleaningSettings
        The study's rules for cleaning.

    Returns
    -------
    DataFrame
        A row per rater: rater, group, n_ratings, n_untouched (sliders that were not moved), n_one_value
        (traits rated at least three times, always with the same value), longest_run (equal answers in a row),
        n_too_fast, median_time (in the unit of the column), retest (correlation of repeated ratings),
        agreement (correlation with the mean of the group's other raters, averaged over traits), checks_passed
        (share), n_left_out and left_out_by (rules of `study.toml`), and signs (of poor data quality, in
        words). Values are missing where the ratings lack the information.
    """
    if left_out is None:
        left_out = ratings.iloc[:0].assign(step="")
    every = pd.concat([ratings, left_out], ignore_index=True)
    every = every.sort_values(TIME, kind="stable") if TIME in every else every
    by_rater = every.groupby(RATER, sort=True)
    table = pd.DataFrame({GROUP: by_rater[GROUP].first(), "n_ratings": by_rater.size()})
    table["n_untouched"] = _count_by_rater(every, is_untouched(every)) if MOVED in every else np.nan
    table["n_one_value"] = _count_uniform_traits(every)
    table["longest_run"] = by_rater[RATING].apply(longest_run)
    times = pd.to_numeric(every[rules.time], errors="coerce") if rules.time in every else None
    if times is not None:
        table["n_too_fast"] = _count_by_rater(every, times < (rules.fastest or FASTEST))
        table["median_time"] = times.groupby(every[RATER]).median()
    else:
        table["n_too_fast"] = table["median_time"] = np.nan
    repeated = REPEAT in every and every[REPEAT].nunique() > 1
    table["retest"] = retest_correlations(every).reindex(table.index) if repeated else np.nan
    table["agreement"] = agreement_with_others(every).reindex(table.index)
    checks = pd.to_numeric(every[CHECKS], errors="coerce") if CHECKS in every else None
    table[CHECKS] = checks.groupby(every[RATER]).first() if checks is not None else np.nan
    taken = left_out.groupby(RATER)["step"]
    table["n_left_out"] = taken.size().reindex(table.index).fillna(0).astype(int)
    table["left_out_by"] = taken.agg(lambda steps: ", ".join(dict.fromkeys(steps))).reindex(table.index)
    table["left_out_by"] = table["left_out_by"].fillna("")
    table = table.rename_axis(RATER).reset_index()
    table["signs"] = ""
    for sign, shown, _ in _apply_rules(table, rules):
        table.loc[shown, "signs"] += sign + "; "
    table["signs"] = table["signs"].str.removesuffix("; ")
    return table


def find_poor_answers(study: Study) -> pd.DataFrame:
    """Return the signs of poor data quality in a study, as in :func:`find_signs`.

    The table is empty if the study's ratings do not identify raters.
    """
    if not study.has_raters:
        return pd.DataFrame(columns=["sign", "n_raters", "raters", "rule"])
    left_out = None if study.cleaning is None else study.cleaning.left_out
    rules = study.settings.cleaning
    return find_signs(tabulate_quality(study.ratings, left_out, rules), rules)


def _count_by_rater(ratings: pd.DataFrame, mask: pd.Series) -> pd.Series:
    """Return each rater's number of ratings for which the mask is true."""
    return mask.groupby(ratings[RATER]).sum().astype(int)


def _count_uniform_traits(ratings: pd.DataFrame) -> pd.Series:
    """Return each rater's number of traits with at least three ratings that are all equal."""
    parts = ratings.groupby([RATER, TRAIT])[RATING]
    straight = (parts.nunique() == 1) & (parts.size() >= 3)
    return straight.groupby(level=RATER).sum().astype(int)


def longest_run(answers: pd.Series) -> int:
    """Return the length of the longest run of equal answers; `answers` are in order of time.

    Examples
    --------
    >>> longest_run(pd.Series([4, 4, 2, 2, 2, 5]))
    3
    """
    runs = (answers != answers.shift()).cumsum()
    return int(runs.value_counts().max())


def find_signs(table: pd.DataFrame, rules: CleaningSettings) -> pd.DataFrame:
    """List signs of poor data quality, the raters who show them, and the rule that would exclude them.

    Parameters
    ----------
    table : DataFrame
        Table of :func:`tabulate_quality`.
    rules : CleaningSettings
        The study's rules for cleaning; default limits apply where a rule is not set.

    Returns
    -------
    DataFrame
        A row per sign that occurs: sign, n_raters, raters (the first five), rule (a line for `study.toml`).
    """
    rows = []
    for sign, shown, rule in _apply_rules(table, rules):
        names = list(map(str, table.loc[shown, RATER]))
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            rows.append((sign, len(names), ", ".join(names[:5]) + more, rule))
    return pd.DataFrame(rows, columns=["sign", "n_raters", "raters", "rule"])


def _apply_rules(table: pd.DataFrame, rules: CleaningSettings) -> list[tuple[str, pd.Series, str]]:
    """Return each sign of poor data quality with a mask of the raters who show it and the excluding rule."""
    share_fast = table["n_too_fast"] / table["n_ratings"]
    most_fast = rules.most_too_fast if rules.most_too_fast is not None else 0.1
    lowest_retest = rules.lowest_retest if rules.lowest_retest is not None else 0.2
    lowest_agreement = rules.lowest_agreement if rules.lowest_agreement is not None else 0.0
    lowest_checks = rules.lowest_checks if rules.lowest_checks is not None else 0.5
    return [
        ("sliders that were not moved", table["n_untouched"] > 0, "untouched = true"),
        ("one value throughout a trait", table["n_one_value"] > 0, "one_value = true"),
        (f"{LONG_RUN} equal answers in a row or more", table["longest_run"] >= LONG_RUN, ""),
        (f"more than {most_fast:.0%} too fast", share_fast > most_fast, f"most_too_fast = {most_fast:g}"),
        (f"repeated ratings correlate below {lowest_retest:g}", table["retest"] < lowest_retest,
         f"lowest_retest = {lowest_retest:g}"),
        (f"agreement with others below {lowest_agreement:g}", table["agreement"] < lowest_agreement,
         f"lowest_agreement = {lowest_agreement:g}"),
        (f"passed less than {lowest_checks:.0%} of the attention checks", table[CHECKS] < lowest_checks,
         f"lowest_checks = {lowest_checks:g}"),
    ]  # fmt: skip
