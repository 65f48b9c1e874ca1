"""Data quality by rater. No ratings are excluded here, only by the rules of `study.toml`."""

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
"""Number of equal answers in a row that counts as a long run."""

TIME = "time"
"""Column with the time of the answer."""


def tabulate_quality(
    ratings: pd.DataFrame, left_out: pd.DataFrame | None, rules: CleaningSettings
) -> pd.DataFrame:
    """Compute data quality by rater, including ratings that cleaning left out.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, trait, rating and further columns of a study.
    left_out : DataFrame or None
        The ratings that cleaning left out, with the rule in the column step.

    Returns
    -------
    DataFrame
        rater, group, n_ratings, n_untouched (sliders that were not moved), n_one_value (traits with one value
        throughout, three ratings at least), longest_run (equal answers in a row), n_too_fast, median_time (in
        the unit of the column), retest (correlation of repeated ratings), agreement (correlation with the
        mean of the group's others, averaged over traits), checks_passed (share), n_left_out and left_out_by
        (the rules of `study.toml`), signs (of poor data quality, in words). Missing where the ratings lack
        the information.
    """
    if left_out is None:
        left_out = ratings.iloc[:0].assign(step="")
    every = pd.concat([ratings, left_out], ignore_index=True)
    every = every.sort_values(TIME, kind="stable") if TIME in every else every
    by_rater = every.groupby(RATER, sort=True)
    table = pd.DataFrame({GROUP: by_rater[GROUP].first(), "n_ratings": by_rater.size()})
    table["n_untouched"] = _count(every, is_untouched(every)) if MOVED in every else np.nan
    table["n_one_value"] = _one_value(every)
    table["longest_run"] = by_rater[RATING].apply(longest_run)
    times = pd.to_numeric(every[rules.time], errors="coerce") if rules.time in every else None
    if times is not None:
        table["n_too_fast"] = _count(every, times < (rules.fastest or FASTEST))
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
    for sign, shown, _ in _find(table, rules):
        table.loc[shown, "signs"] += sign + "; "
    table["signs"] = table["signs"].str.removesuffix("; ")
    return table


def find_poor_answers(study: Study) -> pd.DataFrame:
    """Return the signs of poor data quality in a study.

    Returns
    -------
    DataFrame
        sign, n_raters, raters, rule: see :func:`find_signs`; no rows if the study has no raters.
    """
    if not study.has_raters:
        return pd.DataFrame(columns=["sign", "n_raters", "raters", "rule"])
    left_out = None if study.cleaning is None else study.cleaning.left_out
    rules = study.settings.cleaning
    return find_signs(tabulate_quality(study.ratings, left_out, rules), rules)


def _count(ratings: pd.DataFrame, mask: pd.Series) -> pd.Series:
    """Return the number of marked ratings of each rater."""
    return mask.groupby(ratings[RATER]).sum().astype(int)


def _one_value(ratings: pd.DataFrame) -> pd.Series:
    """Return the number of traits on which a rater gave the same rating throughout."""
    parts = ratings.groupby([RATER, TRAIT])[RATING]
    straight = (parts.nunique() == 1) & (parts.size() >= 3)
    return straight.groupby(level=RATER).sum().astype(int)


def longest_run(answers: pd.Series) -> int:
    """Return the length of the longest run of equal answers.

    Parameters
    ----------
    answers : Series
        Answers in the order in which they were given.

    Examples
    --------
    >>> longest_run(pd.Series([4, 4, 2, 2, 2, 5]))
    3
    """
    runs = (answers != answers.shift()).cumsum()
    return int(runs.value_counts().max())


def find_signs(table: pd.DataFrame, rules: CleaningSettings) -> pd.DataFrame:
    """Return signs of poor data quality, the raters that show them, and the rule that would exclude them.

    Parameters
    ----------
    table : DataFrame
        From :func:`tabulate_quality`.
    rules : CleaningSettings
        The rules of the study, with usual limits where it sets none.

    Returns
    -------
    DataFrame
        sign, n_raters, raters (the first five), rule; only signs that occur.
    """
    rows = []
    for sign, shown, rule in _find(table, rules):
        names = list(map(str, table.loc[shown, RATER]))
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            rows.append((sign, len(names), ", ".join(names[:5]) + more, rule))
    return pd.DataFrame(rows, columns=["sign", "n_raters", "raters", "rule"])


def _find(table: pd.DataFrame, rules: CleaningSettings) -> list[tuple[str, pd.Series, str]]:
    """Yield signs of poor data quality, the raters that show them, and the excluding rule."""
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
