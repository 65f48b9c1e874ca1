"""Sentences, tables and a figure on rater models (effects of groups and other variables of raters)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from traitlens.columns import GROUP, REGION, TRAIT
from traitlens.comparison.answers import ALPHA
from traitlens.comparison.rater_outcomes import MEASURES
from traitlens.report.charts import draw_intervals, in_order, name_rows
from traitlens.report.numbers import (
    bounded,
    count,
    decimal,
    interval,
    is_number,
    p_value,
    probability,
    raters_of,
)
from traitlens.report.results import Results
from traitlens.report.style import INK, WIDE, colours_of, inches, markers_of, shorten, styled
from traitlens.report.text_tables import Table, leave_out_empty

MOST_SENTENCES = 12
MOST_ROWS = 400
MOST_PANELS = 12
Row = Mapping[Any, Any]


def describe_rater_models(results: Results) -> list[str]:
    """Describe unbalanced variables, and significant effects with their direction.

    Returns
    -------
    list of str
        Paragraphs; empty where no formula was set.
    """
    table = results.comparisons.get("rater_models")
    if table is None:
        return []
    formula = results.setting("comparison", "formula")
    row = table.iloc[0]
    text = (
        f"Model of the raters: value ~ {formula}, fitted to each rater’s values. Group differences are "
        f"adjusted "
        "for the other variables, at the means of these. Standard errors allow unequal variances; p by "
        "permutation of residuals (Freedman and Lane, 1983), corrected over traits and regions."
    )
    if row["n_missing"]:
        text += f" {count(row['n_missing'])} raters without a value of some variable were left out."
    return [text, *_say_balance(results), *_say_found(table)]


def _say_balance(results: Results) -> list[str]:
    """Describe the variables of the formula in which the groups differ."""
    table = results.comparisons.get("covariates")
    if table is None or not table["unbalanced"].any():
        return []
    cells = []
    for row in table[table["unbalanced"]].to_dict("records"):
        write: Callable[[Any], str] = _percent if row["level"] else decimal
        name = f"{row['variable']} ({row['level']})" if row["level"] else str(row["variable"])
        cells.append(
            f"{name}: {write(row['value_1'])} among {raters_of(row['group_1'])}, {write(row['value_2'])} "
            f"among "
            f"{raters_of(row['group_2'])} (standardised difference {decimal(row['standardised_difference'])})"
        )
    return [
        f"Unbalanced between groups: {'; '.join(cells)}. Comparisons of groups that are not adjusted, such "
        f"as "
        "the table of mean ratings, may show these variables instead of the group. The model removes their "
        "linear effect, as far as the groups overlap in them."
    ]


def _percent(value: Any) -> str:
    """Format a proportion as a percentage."""
    return f"{count(100 * float(value))}%" if is_number(value) else "–"


def _say_found(table: pd.DataFrame) -> list[str]:
    """Describe significant effects, or that there are none."""
    found = table[table["p_corrected"] <= ALPHA].sort_values("effect_size", key=abs, ascending=False)
    if found.empty:
        smallest = p_value(table["p_corrected"].min())
        limits = ""
        if table["equivalence_p"].notna().any():
            known = table[table["equivalence_p"].notna()]
            ruled = int((known["equivalence_p"] <= ALPHA).sum())
            limits = (
                f" Differences of mean ratings of {decimal(known['margin'].iloc[0])} points or more are "
                f"ruled out "
                f"for {ruled} of {len(known)} traits and effects (not corrected)."
            )
        return [f"No effect was significant after correction (smallest corrected {smallest}).{limits}"]
    sentences = [describe_effect_row(row) for row in found.head(MOST_SENTENCES).to_dict("records")]
    more = f" And {len(found) - MOST_SENTENCES} more, in the table." if len(found) > MOST_SENTENCES else ""
    return [f"Significant after correction: {'; '.join(sentences)}.{more}"]


def describe_effect_row(row: Row) -> str:
    """Format one effect with its direction, in APA style."""
    what = MEASURES.get(str(row["measure"]), str(row["measure"]))
    if row["measure"] == "utilisation":
        what = f"use of {row[REGION]}"
    more = float(row["estimate"]) > 0
    kind, own, by = row["kind"], str(row["variable"]), str(row["by"])
    among = f" among {_name(by, row['by_1'])}" if row["by_1"] and not row["by_2"] else ""
    if kind == "difference":
        message = f"{'higher' if more else 'lower'} in {_name(own, row['level_1'])} than in "
        message += f"{_name(own, row['level_2'])}{among}"
    elif kind == "slope":
        message = f"{'rises' if more else 'falls'} with {own}{among}"
    elif kind == "product":
        message = f"slope on {own} {'rises' if more else 'falls'} with {by}"
    else:
        which = f"difference {row['level_1']} − {row['level_2']}" if row["level_1"] else f"slope on {own}"
        message = f"{which} is {'larger' if more else 'smaller'} in {_name(by, row['by_1'])} than in "
        message += _name(by, row["by_2"])
    digits = _digits(row["estimate"])

    def write(value: Any) -> str:
        """Format a number with the decimals of the effect."""
        return decimal(value, digits)

    return (
        f"{row[TRAIT]}, {what}: {message} (b = {write(row['estimate'])}, 95% CI "
        f"{interval(row['ci_low'], row['ci_high'], write)}, t({decimal(row['df'], 1)}) = "
        f"{decimal(row['statistic'])}, {p_value(row['p_corrected'])} corrected, partial r = "
        f"{bounded(row['effect_size'])})"
    )


def _name(variable: str, level: Any) -> str:
    """Return the name of raters with a level of a variable."""
    return raters_of(str(level)) if variable == GROUP else f"{variable} {level}"


def _digits(value: Any) -> int:
    """Return the number of decimals for two significant digits."""
    size = abs(float(value)) if is_number(value) else 1.0
    return min(6, max(2, 1 - math.floor(math.log10(size)))) if size > 1e-7 else 2


def tabulate_rater_models(results: Results) -> list[Table]:
    """Format a table of all effects, and a table of group differences in the variables of the formula."""
    table = results.comparisons.get("rater_models")
    if table is None:
        return []
    rows = [_format_effect(row) for row in table.head(MOST_ROWS).to_dict("records")]
    columns = ["Effect", "Measure", "Trait", "Region", "Estimate", "95% interval", "t", "df", "p",
               "p (corrected)", "Partial r", "Unadjusted", "p of equivalence", "n"]  # fmt: skip
    caption = (
        "Effects in the model of the raters. Differences of groups and levels at the means of the other "
        "variables; slopes per unit of the variable. Mean ratings and spread in rating points, use of "
        "regions in rating points per standard deviation of the cue, all others in Fisher’s z. Corrected "
        "over the traits and regions of an effect and a measure; exploratory, unless a frozen plan names the "
        "formula. "
        f"{count(table['n_permutations'].iloc[0])} permutations; p cannot be below "
        f"{decimal(table['smallest_p'].iloc[0], 4)}."
    )
    if len(table) > MOST_ROWS:
        caption += f" (The first {MOST_ROWS} of {count(len(table))} rows.)"
    made = [replace(leave_out_empty(caption, columns, rows, 4), file="comparisons/rater_models.csv")]
    return made + _tabulate_balance(results)


def _format_effect(row: Row) -> list[str]:
    """Format one effect as the cells of a table row."""
    digits = _digits(row["estimate"])

    def write(value: Any) -> str:
        """Format a number with the decimals of the effect."""
        return decimal(value, digits)

    return [
        str(row["effect"]), MEASURES.get(str(row["measure"]), str(row["measure"])), str(row[TRAIT]),
        str(row[REGION]) or "–", write(row["estimate"]),
        interval(row["ci_low"], row["ci_high"], write), decimal(row["statistic"]), decimal(row["df"], 1),
        probability(row["p"]), probability(row["p_corrected"]), bounded(row["effect_size"]),
        write(row["unadjusted"]),
        probability(row["equivalence_p"]), count(row["n"]),
    ]  # fmt: skip


def _tabulate_balance(results: Results) -> list[Table]:
    """Format the table of group differences in the variables of the formula."""
    table = results.comparisons.get("covariates")
    if table is None:
        return []
    rows = []
    for row in table.to_dict("records"):
        write: Callable[[Any], str] = _percent if row["level"] else decimal
        rows.append(
            [f"{row['group_1']}, {row['group_2']}", str(row["variable"]), str(row["level"]) or "–",
             write(row["value_1"]), write(row["value_2"]), decimal(row["standardised_difference"]),
             "yes" if row["unbalanced"] else "no", count(row["missing_1"]), count(row["missing_2"])]
        )  # fmt: skip
    columns = ["Groups", "Variable", "Level", "First", "Second", "Standardised difference", "Unbalanced",
               "Missing, first", "Missing, second"]  # fmt: skip
    caption = (
        "Variables of the raters by group. Means, or shares of raters; unbalanced: a standardised difference "
        "beyond 0.25 (Stuart, 2010)."
    )
    return [replace(leave_out_empty(caption, columns, rows, 3), file="comparisons/covariates.csv")]


@styled
def plot_rater_models(
    effects: pd.DataFrame, *, traits: Sequence[str] | None = None, width: float = WIDE
) -> Figure:
    """Draw the effects of the variables of a formula as partial correlations.

    Parameters
    ----------
    effects : DataFrame
        `comparisons/rater_models.csv`: effect, measure, trait, effect_size, effect_low, effect_high,
        p_corrected; the use of regions is left out.
    traits : sequence of str, optional
        Traits to draw, in this order; all by default.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        A dot with its 95% interval for each trait and measure, one panel per effect.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"effect": "age", "measure": "level", "trait": ["warm"], "effect_size": 0.2, "effect_low": 0.0,
    ...      "effect_high": 0.4, "p_corrected": 0.04}
    ... )  # fmt: skip
    >>> len(plot_rater_models(table).axes)
    1
    """
    shown = effects[effects["measure"] != "utilisation"]
    traits = in_order(shown, TRAIT, traits)
    names = in_order(shown, "effect", None)[:MOST_PANELS]
    measures = [name for name in MEASURES if name in set(shown["measure"])]
    colours, markers = colours_of(measures), markers_of(measures)
    beside = min(3 if width > 120 else 1, len(names))
    lines = math.ceil(len(names) / beside)
    height = (max(2.6 * len(measures), 5) * len(traits) + 12) * lines + 16
    figure = Figure(figsize=(inches(width), inches(height)), layout="constrained")
    panels = list(figure.subplots(lines, beside, squeeze=False, sharex=True).ravel())
    step = 0.8 / len(measures)
    for place, axes in enumerate(panels):
        if place >= len(names):
            axes.remove()
            continue
        name_rows(axes, traits, 20)
        axes.axvline(0, color=INK, linewidth=0.6)
        axes.set_title(shorten(names[place], 40), loc="left", fontweight="bold")
        axes.tick_params(axis="x", labelbottom=True)
        for turn, measure in enumerate(measures):
            own = shown[(shown["effect"] == names[place]) & (shown["measure"] == measure)]
            own = own[own[TRAIT].isin(traits)]
            y = own[TRAIT].map(traits.index) + (turn - (len(measures) - 1) / 2) * step
            for called, fill in ((True, colours[measure]), (False, "white")):
                chosen = (own["p_corrected"] <= ALPHA) == called
                values = pd.DataFrame(
                    {
                        "y": y,
                        "value": own["effect_size"],
                        "low": own["effect_low"],
                        "high": own["effect_high"],
                    }
                )
                draw_intervals(
                    axes, values[chosen], colours[measure], markers[measure], 3.5, markerfacecolor=fill
                )
    figure.supxlabel("Partial correlation", fontsize=7.5)
    handles = [
        Line2D(
            [],
            [],
            color=colours[one],
            marker=markers[one],
            linestyle="none",
            markersize=4,
            label=MEASURES[one],
        )
        for one in measures
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3 if width > 120 else 1)
    return figure


CAPTION = (
    "Effects in the model of the raters, as partial correlations with 95% intervals. Filled: significant "
    "after correction over traits. Right of zero: higher in the first-named group or level, or rising with "
    "the variable."
)
"""Caption of the figure."""
