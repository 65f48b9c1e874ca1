"""Results of tests as phrases: one test for a paper, and what is significant for an answer."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from traitlens.report.numbers import bounded, count, decimal, interval, p_value
from traitlens.words import REGION, TRAIT

Row = Mapping[Any, Any]
_EFFECTS = {"t": ("t", "g"), "F": ("F", "η²"), "slope": ("t", "r")}
"""Symbols of the statistic and the effect size of each test of `comparison.statistics`."""
_MOST = 6


def thousandths(value: Any) -> str:
    """Write a number with three decimals."""
    return decimal(value, 3)


def _ci(row: Row, low: str, high: str, write: Callable[[Any], str]) -> str:
    """Write a confidence interval with its name."""
    return f"95% CI {interval(row[low], row[high], write)}"


def _means(row: Row) -> str:
    """Mean ratings."""
    return (
        f"{row[TRAIT]}, difference {decimal(row['estimate'])}, {_ci(row, 'ci_low', 'ci_high', decimal)}, "
        f"{p_value(row['p_corrected'])} (corrected), d = {decimal(row['cohens_d'])}, "
        f"{_ci(row, 'cohens_d_low', 'cohens_d_high', decimal)}"
    )


def _reliability(row: Row) -> str:
    """Reliability of mean ratings."""
    return (
        f"{row[TRAIT]}, {bounded(row['reliability_1'])} and {bounded(row['reliability_2'])}, difference "
        f"{bounded(row['estimate'])}, {_ci(row, 'ci_low', 'ci_high', bounded)}, "
        f"{p_value(row['p_corrected'])} (corrected)"
    )


def _performance(row: Row) -> str:
    """Performance of the readouts."""
    return (
        f"{row[TRAIT]}, r = {bounded(row['r_1'])} and {bounded(row['r_2'])}, q = {bounded(row['estimate'])}, "
        f"{_ci(row, 'ci_low', 'ci_high', bounded)}, {p_value(row['p_corrected'])} (corrected)"
    )


def _regions(row: Row) -> str:
    """Relevance of a region."""
    return (
        f"{row[REGION]}, {row[TRAIT]}, difference {thousandths(row['estimate'])}, "
        f"{_ci(row, 'ci_low', 'ci_high', thousandths)}, g = {decimal(row['hedges_g'])}, "
        f"{p_value(row['p_corrected'])} (corrected)"
    )


def _pixels(row: Row) -> str:
    """Area of a map."""
    symbol = _EFFECTS[row.get("test", "t")][0]
    return (
        f"{row[TRAIT]}, an area of {count(row['n_pixels'])} pixels, largest {symbol} = "
        f"{decimal(row['statistic'])}, {p_value(row['p_family'])} (corrected)"
    )


def _variables(row: Row) -> str:
    """Variable of the raters."""
    symbol, effect = _EFFECTS[row["test"]]
    region = row[REGION] if isinstance(row[REGION], str) and row[REGION] else "mean rating"
    return (
        f"{region}, {row[TRAIT]}, by {row['variable']}: {symbol} = {decimal(row['statistic'])}, {effect} = "
        f"{bounded(row['effect_size'])}, {p_value(row['p_corrected'])} (corrected)"
    )


TESTS: dict[str, Callable[[Row], str]] = {
    "means": _means,
    "reliability": _reliability,
    "performance": _performance,
    "regions": _regions,
    "pixels": _pixels,
    "variables": _variables,
}
"""How a row of each table of `comparisons` is written for a paper."""


def _cell_of_means(row: Row) -> str:
    """Mean ratings of a trait."""
    return (
        f"{row[TRAIT]} ({decimal(row['mean_1'])} and {decimal(row['mean_2'])}, "
        f"d = {decimal(row['cohens_d'])}, {p_value(row['p_corrected'])})"
    )


def _cell_of_reliability(row: Row) -> str:
    """Reliability of a trait."""
    return (
        f"{row[TRAIT]} ({bounded(row['reliability_1'])} and {bounded(row['reliability_2'])}, "
        f"{p_value(row['p_corrected'])})"
    )


def _cell_of_performance(row: Row) -> str:
    """Performance of a trait."""
    return (
        f"{row[TRAIT]} (r = {bounded(row['r_1'])} and {bounded(row['r_2'])}, {p_value(row['p_corrected'])})"
    )


def _cell_of_regions(row: Row) -> str:
    """Region of a trait."""
    return f"{row[REGION]} for {row[TRAIT]} (g = {decimal(row['hedges_g'])}, {p_value(row['p_corrected'])})"


def _cell_of_pixels(row: Row) -> str:
    """Areas of a trait."""
    return f"{row[TRAIT]} ({count(row['n_pixels'])} pixels of the template, {p_value(row['p_family'])})"


_CELLS: dict[str, tuple[str, str, str, Callable[[Row], str]]] = {
    "means": ("mean ratings", "traits", "cohens_d", _cell_of_means),
    "reliability": ("reliability", "traits", "estimate", _cell_of_reliability),
    "performance": ("performance", "traits", "estimate", _cell_of_performance),
    "regions": ("relevance by region", "pairs of region and trait", "hedges_g", _cell_of_regions),
    "pixels": ("maps", "traits", "n_pixels", _cell_of_pixels),
}
"""By question: what may differ, what was tested, the column that orders, how a cell is written."""


def answer_sentence(answer: Row, significant: pd.DataFrame, alpha: float = 0.05) -> str:
    """Write the answer to a question about the groups.

    Parameters
    ----------
    answer : mapping
        A row of `answers.csv`.
    significant : DataFrame
        Significant rows of the question's table.
    alpha : float, default 0.05
        Level of the tests.

    Returns
    -------
    str
        A sentence or two.
    """
    what, unit, order, write = _CELLS[answer["question"]]
    if significant.empty:
        smallest = answer["p_corrected"]
        told = f" (smallest corrected {p_value(smallest)})" if smallest == smallest else ""
        return f"No difference was found in {what}: 0 of {answer['n_tests']} {unit}{told}."
    if answer["question"] == "pixels":
        significant = significant.groupby(TRAIT, as_index=False).agg({"p_family": "min", "n_pixels": "sum"})
    ranked = significant.loc[significant[order].abs().sort_values(ascending=False).index]
    cells = [write(row) for row in ranked.to_dict("records")]
    shown = "; ".join(cells[:_MOST]) + (f"; and {len(cells) - _MOST} more" if len(cells) > _MOST else "")
    found = f"in {answer['n_significant']} of {answer['n_tests']} {unit}: {shown}."
    if answer["p_all_questions"] <= alpha:
        return f"Yes, {found}"
    corrected = p_value(answer["p_all_questions"])
    return f"Only as a question by itself, {found} Corrected for all questions, {corrected}."
