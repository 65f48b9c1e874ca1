"""Results of tests as phrases: one test for a paper, and what is significant for an answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from traitlens.columns import REGION, TRAIT
from traitlens.comparison.answers import corrected_p
from traitlens.report.numbers import bounded, count, decimal, interval, is_number, p_value, raters_of

Row = Mapping[Any, Any]
_EFFECTS = {"t": ("t", "g"), "F": ("F", "η²"), "slope": ("t", "r")}
"""Symbols of the statistic and the effect size of each test of `comparison.statistics`."""
_MOST = 6


def _ci(row: Row, low: str, high: str, write: Callable[[Any], str]) -> str:
    """Write a confidence interval with its name."""
    return f"95% CI {interval(row[low], row[high], write)}"


def _means(row: Row) -> str:
    """Mean ratings."""
    return (
        f"{row[TRAIT]}, difference {decimal(row['estimate'])}, {_ci(row, 'ci_low', 'ci_high', decimal)}, "
        f"{p_value(row['p_corrected'])} (corrected), d = {decimal(row['cohens_d'])}, "
        f"{_ci(row, 'cohens_d_low', 'cohens_d_high', decimal)}{_crossed(row)}"
    )


def _crossed(row: Row) -> str:
    """Write the interval and p of a mean difference with images as a sample too."""
    if not is_number(row.get("crossed_p")):
        return ""
    told = _ci(row, "crossed_low", "crossed_high", decimal)
    return f" (over raters and images: {told}, {p_value(row['crossed_p'])}, uncorrected)"


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


def _use(row: Row) -> str:
    """Use of a region."""
    return (
        f"{row[REGION]}, {row[TRAIT]}, difference {decimal(row['estimate'])}, "
        f"{_ci(row, 'ci_low', 'ci_high', decimal)}, g = {decimal(row['hedges_g'])}, "
        f"{p_value(row['p_corrected'])} (corrected)"
    )


def _of_trait(row: Row) -> str:
    """Range or noise of a trait's ratings."""
    return (
        f"{row[TRAIT]}, {decimal(row['value_1'])} and {decimal(row['value_2'])} rating points, difference "
        f"{decimal(row['estimate'])}, {_ci(row, 'ci_low', 'ci_high', decimal)}, "
        f"{p_value(row['p_corrected'])} (corrected)"
    )


def _pixels(row: Row) -> str:
    """Area of a map."""
    symbol = _EFFECTS[row.get("test", "t")][0]
    return (
        f"{row[TRAIT]}, an area of {count(row['n_pixels'])} cells, largest {symbol} = "
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
    "use": _use,
    "range": _of_trait,
    "noise": _of_trait,
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


def _cell_of_use(row: Row) -> str:
    """Region of a trait, and which group uses it more."""
    first, second = ("1", "2") if row["estimate"] > 0 else ("2", "1")
    values = [row.get(f"value_{end}") for end in (first, second)]
    size = f"by {decimal(abs(row['estimate']))}"
    if all(map(is_number, values)):
        size = f"{decimal(values[0])} v {decimal(values[1])}"
    return (
        f"{row[REGION]}, {row[TRAIT]}: more by {raters_of(row[f'group_{first}'])} ({size} points per SD, "
        f"{p_value(row['p_corrected'])})"
    )


def _cell_of_pixels(row: Row) -> str:
    """Areas of a trait."""
    return f"{row[TRAIT]} ({count(row['n_pixels'])} cells of the template, {p_value(row['p_family'])})"


def _points(value: Any) -> str:
    """Write a difference of mean ratings."""
    return f"{decimal(value)} rating points"


def _noise(value: Any) -> str:
    """Write a ratio of noise."""
    return f"a noise ratio of {decimal(value)}"


def _z(value: Any) -> str:
    """Write a difference of correlations."""
    return f"{bounded(value)} in Fisher’s z"


@dataclass(frozen=True)
class Question:
    """How the answer to a question is written.

    Parameters
    ----------
    what, unit : str
        What may differ, and what was tested.
    order : str
        Column by whose size significant cells are ordered.
    write : callable
        Writes a significant row.
    size : callable
        Writes the smallest difference that would have been found.
    """

    what: str
    unit: str
    order: str
    write: Callable[[Row], str]
    size: Callable[[Any], str] = decimal


ANSWERS = {
    "means": Question("mean ratings", "traits", "cohens_d", _cell_of_means, _points),
    "reliability": Question("reliability", "traits", "estimate", _cell_of_reliability, _noise),
    "performance": Question("performance", "traits", "estimate", _cell_of_performance, _z),
    "use": Question("the use of the face", "pairs of region and trait", "estimate", _cell_of_use, _points),
    "pixels": Question("maps", "traits", "n_pixels", _cell_of_pixels),
}
"""By question: the name of a confirmatory table."""


def answer_sentence(answer: Row, table: pd.DataFrame, alpha: float = 0.05) -> str:
    """Write the answer to a question about the groups.

    Parameters
    ----------
    answer : mapping
        A row of `answers.csv`.
    table : DataFrame
        The question's table, rows of the two groups.
    alpha : float, default 0.05
        Level of the tests.

    Returns
    -------
    str
        One sentence or several. Where no difference was found: the estimates, their intervals and the
        smallest difference that would have been found.
    """
    question = ANSWERS[answer["question"]]
    significant = table[table[corrected_p(answer["question"])] <= alpha]
    if significant.empty:
        smallest = answer["p_corrected"]
        told = f" (smallest corrected {p_value(smallest)})" if smallest == smallest else ""
        begin = f"No difference was found in {question.what}: 0 of {answer['n_tests']} {question.unit}{told}."
        return f"{begin}{_say_limits(table, question, alpha)}"
    if answer["question"] == "pixels":
        significant = significant.groupby(TRAIT, as_index=False).agg({"p_family": "min", "n_pixels": "sum"})
    ranked = significant.loc[significant[question.order].abs().sort_values(ascending=False).index]
    cells = [question.write(row) for row in ranked.to_dict("records")]
    shown = "; ".join(cells[:_MOST]) + (f"; and {len(cells) - _MOST} more" if len(cells) > _MOST else "")
    found = f"in {answer['n_significant']} of {answer['n_tests']} {question.unit}: {shown}."
    if answer["p_all_questions"] <= alpha:
        return f"Yes, {found}"
    corrected = p_value(answer["p_all_questions"])
    return f"Significant alone, but not after correction for all questions ({corrected}), {found}"


def _say_limits(table: pd.DataFrame, question: Question, alpha: float) -> str:
    """Describe how large differences may be that were not found."""
    text = ""
    if "smallest_p" in table and len(table) and table["smallest_p"].min() > alpha:
        return (
            f" None can be found with so few raters: p cannot fall below "
            f"{bounded(table['smallest_p'].min(), 3)}."
        )
    if {"estimate", "ci_low", "ci_high"} <= set(table) and len(table):
        low, high = table["ci_low"].min(), table["ci_high"].max()
        text += (
            f" Estimates from {decimal(table['estimate'].min())} to {decimal(table['estimate'].max())}, "
            f"95% intervals within {interval(low, high, decimal)}."
        )
    if "detectable" in table and table["detectable"].notna().any():
        sizes = [question.size(value) for value in (table["detectable"].min(), table["detectable"].max())]
        between = sizes[0] if sizes[0] == sizes[1] else f"{sizes[0]} to {sizes[1]} (depending on the trait)"
        text += f" With 80% power, {between} would have been found."
    if "equivalence_p" in table and table["equivalence_p"].notna().any():
        within = int((table["equivalence_p"] <= alpha).sum())
        largest = p_value(table["equivalence_p"].max())
        text += (
            f" Differences of {decimal(table['margin'].iloc[0])} points or more are ruled out for {within} "
            f"of {len(table)} {question.unit} (largest {largest}, not corrected)."
        )
    return text
