"""Results of tests as sentences in APA style, for a paper."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from traitlens.columns import GROUP, REGION, TRAIT
from traitlens.comparison.answers import ALPHA, corrected_p
from traitlens.report.numbers import bounded, count, decimal, interval, is_number, p_value
from traitlens.report.results import Results

Row = Mapping[Any, Any]
MOST_SENTENCES = 12
"""Maximum number of tests that are listed in full; of more tests, only significant ones are listed."""

APA = {
    "means": ("ratings", "Mean ratings ({groups})"),
    "reliability": ("ratings", "Reliability of mean ratings ({groups})"),
    "performance": (
        "prediction",
        "Performance of readouts; q is the difference of Fisher’s z at a common penalty ({groups})",
    ),
    "use": ("comparison", "Use of regions beyond range and noise ({groups})"),
    "range": ("comparison", "Range of the predicted ratings ({groups})"),
    "noise": ("comparison", "Noise of single ratings ({groups})"),
    "pixels": ("comparison", "Maps on the template ({groups})"),
    "variables": ("comparison", "Variables of the raters"),
}
"""Section of the report and beginning of the paragraph, by table of `comparisons/`."""


def write_tests(results: Results, section: str) -> list[str]:
    """Write the tests of a section as sentences for a paper.

    Returns
    -------
    list of str
        A paragraph for each kind of test.
    """
    paragraphs = []
    if section == "prediction" and results.performance is not None:
        paragraphs += [_write_performance(group, results) for group in results.groups]
    for name, (part, begin) in APA.items():
        table = results.comparisons.get(name)
        if part != section or table is None:
            continue
        table = results.in_order(results.with_own_r(table) if name == "performance" else table)
        if "group_1" not in table:
            paragraphs.append(_write_table(begin, table, name))
            continue
        for (first, second), own in table.groupby(["group_1", "group_2"], sort=False):
            paragraphs.append(_write_table(begin.format(groups=f"{first}, {second}"), own, name))
    return [paragraph for paragraph in paragraphs if paragraph]


def _write_performance(group: str, results: Results) -> str:
    """Format the performance for each trait of a group."""
    assert results.performance is not None
    own = results.in_order(results.performance[results.performance[GROUP] == group]).to_dict("records")
    cells = [
        f"{row[TRAIT]}, r = {bounded(row['r'])}, 95% CI {interval(row['ci_low'], row['ci_high'])}, "
        f"{p_value(row['p'])}{_count_identities(row)}"
        for row in own
    ]
    return _as_lines(f"Out-of-sample prediction of ratings ({group})", cells)


def _count_identities(row: Mapping[Any, Any]) -> str:
    """Format the number of identities behind an interval of r."""
    return f", k = {count(row['n_identities'])} identities" if is_number(row.get("n_identities")) else ""


def _as_lines(begin: str, cells: list[str]) -> str:
    """Join a heading and the texts of tests, one line each."""
    return ":\n".join([begin, ";\n".join(cells) + "."]) if cells else ""


def _write_table(begin: str, table: pd.DataFrame, name: str) -> str:
    """Format the tests of a table; if there are many, the significant ones and the smallest p of the rest."""
    p = table[corrected_p(name)]
    listed = table if len(table) <= MOST_SENTENCES else table[p <= ALPHA]
    cells = [TESTS[name](row) for row in listed.head(MOST_SENTENCES).to_dict("records")]
    if len(listed) > MOST_SENTENCES:
        cells.append(f"and {len(listed) - MOST_SENTENCES} more")
    rest = p.drop(listed.index)
    if len(rest):
        others = "all others" if cells else f"none of {len(table)} tests was significant"
        cells.append(f"{others}, corrected {p_value(rest.min(), '≥')}")
    return _as_lines(begin, cells)


_EFFECTS = {"t": ("t", "g"), "F": ("F", "η²"), "slope": ("t", "r")}
"""Symbols of statistic and effect size, by test of `comparison.statistics`."""


def _ci(row: Row, low: str, high: str, write: Callable[[Any], str]) -> str:
    """Format a confidence interval with its name."""
    return f"95% CI {interval(row[low], row[high], write)}"


def _means(row: Row) -> str:
    """Format the result of one test of a difference in mean ratings."""
    return (
        f"{row[TRAIT]}, difference {decimal(row['estimate'])}, {_ci(row, 'ci_low', 'ci_high', decimal)}, "
        f"{p_value(row['p_corrected'])} (corrected), d = {decimal(row['cohens_d'])}, "
        f"{_ci(row, 'cohens_d_low', 'cohens_d_high', decimal)}{_crossed(row)}"
    )


def _crossed(row: Row) -> str:
    """Format the interval and p of a mean difference over raters and images."""
    if not is_number(row.get("crossed_p")):
        return ""
    ci = _ci(row, "crossed_low", "crossed_high", decimal)
    return f" (over raters and images: {ci}, {p_value(row['crossed_p'])}, uncorrected)"


def _reliability(row: Row) -> str:
    """Format the result of one test of a difference in reliability."""
    return (
        f"{row[TRAIT]}, {bounded(row['reliability_1'])} and {bounded(row['reliability_2'])}, difference "
        f"{bounded(row['estimate'])}, {_ci(row, 'ci_low', 'ci_high', bounded)}, "
        f"{p_value(row['p_corrected'])} (corrected)"
    )


def _performance(row: Row) -> str:
    """Format the result of one test of a difference in prediction performance."""
    return (
        f"{row[TRAIT]}, r = {bounded(row['r_1'])} and {bounded(row['r_2'])}, q = {bounded(row['estimate'])}, "
        f"{_ci(row, 'ci_low', 'ci_high', bounded)}, {p_value(row['p_corrected'])} (corrected)"
    )


def _use(row: Row) -> str:
    """Format the result of one test of a difference in the use of a region."""
    return (
        f"{row[REGION]}, {row[TRAIT]}, difference {decimal(row['estimate'])}, "
        f"{_ci(row, 'ci_low', 'ci_high', decimal)}, g = {decimal(row['hedges_g'])}, "
        f"{p_value(row['p_corrected'])} (corrected)"
    )


def _of_trait(row: Row) -> str:
    """Format the result of one test of a difference in range or noise."""
    return (
        f"{row[TRAIT]}, {decimal(row['value_1'])} and {decimal(row['value_2'])} rating points, difference "
        f"{decimal(row['estimate'])}, {_ci(row, 'ci_low', 'ci_high', decimal)}, "
        f"{p_value(row['p_corrected'])} (corrected)"
    )


def _pixels(row: Row) -> str:
    """Format one significant area of the pixel-wise test."""
    symbol = _EFFECTS[row.get("test", "t")][0]
    return (
        f"{row[TRAIT]}, an area of {count(row['n_pixels'])} cells, largest {symbol} = "
        f"{decimal(row['statistic'])}, {p_value(row['p_family'])} (corrected)"
    )


def _variables(row: Row) -> str:
    """Format the result of one test of the association with a variable of the raters."""
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
"""Functions that write a row of each table of `comparisons`."""
