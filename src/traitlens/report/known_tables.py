"""Captions and columns of the report's tables of tests and checks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from traitlens.columns import GROUP, REGION, TRAIT
from traitlens.comparison.answers import ALPHA, EXPLORATORY
from traitlens.comparison.use_test import QUESTIONS as USE_QUESTIONS
from traitlens.report.numbers import bounded, count, decimal, is_number, probability
from traitlens.report.results import Results
from traitlens.report.text_tables import Table, leave_out_empty, tabulate

MOST_ROWS = 400
"""Maximum number of rows of a table in the report."""

INTERVAL, CROSSED, PAIR = "interval", "crossed", "pair"
"""Columns that combine two: the ends of an interval, or the names of two groups."""

HEADINGS = {
    PAIR: "Groups", GROUP: "Group", TRAIT: "Trait", "trait_1": "Trait", "trait_2": "and trait",
    REGION: "Region", "measure": "Measure", "variable": "Variable", "altered": "Altered",
    "readout": "Readout", "null": "Type of null map", "order": "Order", "method": "Method",
    "other": "and method", "fitted_on": "Readout of", "predicting": "Ratings of", "component": "Component",
    "mean_1": "Mean, first", "mean_2": "Mean, second", "value_1": "First", "value_2": "Second",
    "r_1": "r, first", "r_2": "r, second", "n_1": "n, first", "n_2": "n, second",
    "reliability_1": "Reliability, first", "reliability_2": "Reliability, second",
    "estimate": "Difference", INTERVAL: "95% interval (uncorrected)",
    CROSSED: "95% interval, raters and images",
    "crossed_p": "p, raters and images",
    "detectable": "Found with 80% power", "equivalence_p": "p of equivalence", "expected": "Expected from n",
    "draws_low": "Draws from", "draws_high": "to", "raters_compared": "Raters per mean",
    "statistic": "Statistic", "p": "p", "moderator": "Measure of the face",
    "n_images": "Images", "reliability": "Reliability", "reliability_p": "p of reliability",
    "p_corrected": "p (corrected)", "p_family": "p (corrected)", "cohens_d": "d", "hedges_g": "g",
    "cohens_q": "q", "effect_size": "Effect size", "n_pixels": "Cells", "n": "n", "r": "r",
    "r_own": "r, own ratings", "r_original": "r, original faces", "ratings_r": "r of the ratings",
    "ratings_r_corrected": "r, corrected",
    "share_of_ceiling": "r / ceiling", "loading": "Loading", "explained": "Variance",
    "congruence": "Congruence", "congruence_p": "p (permuted traits)",
    "similarity": "r with null maps", "null_low": "r among null maps, from",
    "null_high": "to", "edge_correlation": "r with contours",
    "null_edge_correlation": "r with contours, null maps",
    "gain": "Gain", "standard_error": "Standard error", "correlation": "r", "agreement": "r of predictions",
    "share": "Share of relevance", "association": "Association", "by_chance": "by chance",
}  # fmt: skip
_BOUNDED = {
    "reliability", "r", "r_1", "r_2", "r_own", "r_original", "ratings_r", "ratings_r_corrected",
    "reliability_1", "reliability_2", "explained", "congruence", "loading", "similarity", "null_low",
    "null_high", "edge_correlation", "null_edge_correlation", "correlation", "agreement", "share",
    "association", "by_chance", "share_of_ceiling",
}  # fmt: skip
_TWO_DECIMALS = {
    "mean_1", "mean_2", "statistic", "cohens_d", "hedges_g", "cohens_q", "effect_size",
}  # fmt: skip
_ENDS = {INTERVAL: ("ci_low", "ci_high"), CROSSED: ("crossed_low", "crossed_high")}
_COUNTS = {"n", "n_images", "n_1", "n_2", "n_pixels", "component"}


@dataclass(frozen=True)
class Known:
    """Layout of a table.

    Parameters
    ----------
    section : str
        Key of the section that shows the table.
    caption : str
        Caption.
    names, values : tuple of str
        Columns of names and of numbers, those that exist in the table.
    """

    section: str
    caption: str
    names: tuple[str, ...]
    values: tuple[str, ...]


_TEST = ("estimate", INTERVAL, "p", "p_corrected")
_REFITTED = "Readouts were fitted and explained again under each permutation of raters."
EXPLORATORY_TEXT = (
    " A further test, exploratory: corrected within this table only, and not counted in the summary."
)

COMPARISONS = {
    "missing": Known(
        "ratings",
        "Missing ratings. The share of images that raters left out, and by how much the images that they "
        "rated are rated higher than all images. Where groups differ in this, other differences may come "
        "from it.",
        (PAIR, TRAIT, "measure"), ("mean_1", "mean_2", *_TEST),
    ),
    "means": Known(
        "ratings",
        "Mean ratings of the groups’ raters. p by permutation test of raters, corrected over traits: for "
        "other raters of these images. The interval and p over raters and images are for other images of "
        "this kind, too.",
        (PAIR, TRAIT),
        ("mean_1", "mean_2", *_TEST, "detectable", "equivalence_p", "cohens_d", CROSSED, "crossed_p"),
    ),
    "reliability": Known(
        "ratings",
        "Reliability of the groups’ mean ratings of equally many raters. p by permutation test of raters, "
        "corrected over traits. Found with 80% power: the ratio of the noise shares of means.",
        (PAIR, TRAIT), ("raters_compared", "reliability_1", "reliability_2", *_TEST, "detectable"),
    ),
    "agreement": Known(
        "ratings",
        "Agreement and spread of single raters. How far pairs of raters agree (agreement, mean correlation) "
        "and how far raters differentiate between faces (spread, rating points); p by permutation test of "
        "raters, "
        "corrected over traits.",
        (PAIR, TRAIT, "measure"), ("mean_1", "mean_2", *_TEST),
    ),
    "taste": Known(
        "ratings",
        "Private taste and specificity. Beholder index: the share of private taste in private and shared "
        "taste (0: all raters agree but for noise; 1: each has a taste of their own), of traits that both "
        "groups rated twice. Specificity: the share of a trait’s shared variance that the group’s other "
        "traits do not explain. Both are free of noise; differences beyond what the numbers of raters make, "
        "p by permutation of raters, of differences divided by their standard error, corrected over traits.",
        (PAIR, TRAIT, "measure"), ("value_1", "value_2", "expected", *_TEST),
    ),
    "trait_space": Known(
        "ratings",
        "Correlations between traits in the groups. Differences of Fisher’s z, corrected for the numbers "
        "of raters; p by permutation of raters.",
        (PAIR, "trait_1", "trait_2"), ("r_1", "r_2", "expected", *_TEST),
    ),
    "performance": Known(
        "prediction",
        "How well the groups’ ratings are predicted. r as in the table above; difference of Fisher’s z, "
        "corrected for the numbers of raters. " + _REFITTED + " The test needs one penalty for both groups, "
        "so the difference is not exactly that of the two r (the file’s r_1 and r_2 have that penalty).",
        (PAIR, TRAIT), ("r_1", "r_2", "expected", *_TEST, "detectable"),
    ),
    "performance_matched": Known(
        "prediction",
        "The same at equal reliability. Raters of the better group were drawn until both groups are equally "
        "reliable, with the range of 95% of the draws; no test.",
        (PAIR, TRAIT), ("r_1", "r_2", "n_1", "n_2", "estimate", "draws_low", "draws_high"),
    ),
    "transfer_groups": Known(
        "comparison",
        "Transfer between groups. How well the readout of one group predicts the ratings of the other, "
        "beside its own. The correlation of the two mean ratings bounds it; corrected for attenuation and "
        "near 1, the loss is due to unreliability, not to content.",
        (TRAIT, "fitted_on", "predicting"),
        ("r", "r_own", "share_of_ceiling", "ratings_r", "ratings_r_corrected", "n"),
    ),
    "use": Known(
        "comparison",
        "Use of each region beyond range and noise. In rating points per standard deviation of the cue, both "
        "groups at their mean range. Interval and p over raters and faces, by a bootstrap of both; corrected "
        "over regions and traits. Rows without p were not tested: the region adds less than 1% to the "
        "prediction of that trait.",
        (PAIR, TRAIT, REGION), ("value_1", "value_2", *_TEST, "detectable", "hedges_g"),
    ),
    "range": Known(
        "comparison",
        "Range of the scale: standard deviation, in rating points, of the ratings that the use of the face "
        "that both groups share predicts. Interval and p over raters and faces; p corrected over traits.",
        (PAIR, TRAIT), ("value_1", "value_2", *_TEST, "detectable", "hedges_g"),
    ),
    "noise": Known(
        "comparison",
        "Noise of single ratings: their standard deviation, in rating points, around what the rater’s own "
        "use of the face and the residuals shared by the group predict. Interval and p over raters and "
        "faces; p corrected over traits.",
        (PAIR, TRAIT), ("value_1", "value_2", *_TEST, "detectable", "hedges_g"),
    ),
    "pixels": Known(
        "comparison",
        "Significant areas of the maps on the template. For these faces and other raters. The test shows "
        "that maps differ; it does not locate borders or peaks.",
        (PAIR, TRAIT), ("n_pixels", "estimate", "statistic", "p_family", "effect_size", "n"),
    ),
    "face_types": Known(
        "comparison",
        "Slopes of the difference on measures of the faces. Mean slopes of the groups’ raters on a measure, "
        "rating points per standard deviation; their difference is the slope of the difference. p by "
        "permutation test of raters, corrected over traits and measures: for other raters of these faces. "
        "The interval and p over raters and faces are for other faces of this kind, too; somewhat wide.",
        (PAIR, TRAIT, "moderator"), ("value_1", "value_2", *_TEST, CROSSED, "crossed_p", "n_images"),
    ),
    "difference": Known(
        "comparison",
        "Prediction of the difference of the groups’ mean ratings of a face from its features, out of fold. "
        "Reliability of the difference: the ceiling of R²; its p and that of r by permutation of raters, "
        "one-sided. The interval is for new faces and these raters.",
        (PAIR, TRAIT), ("reliability", "reliability_p", "r", INTERVAL, "p", "p_corrected", "n_images"),
    ),
    "variables": Known(
        "comparison",
        "Associations with other variables of the raters, of mean ratings and of the use of each region "
        "(cue utilisation): change per unit of the variable; p by permutation, corrected over the rows of "
        "each of the two.",
        ("variable", TRAIT, REGION),
        ("estimate", INTERVAL, "statistic", "p", "p_corrected", "effect_size", "n"),
    ),
}  # fmt: skip
"""Tables of `comparisons/`, in the order of the report."""

COMPONENTS = Known(
    "ratings",
    "Components of the traits in each group. Rotated (Procrustes) to those of the first group in the "
    "alphabet; one for every three traits. Tucker’s congruence above .95 shows that a component is the "
    "same only if it is rare when the traits of one group are permuted (p).",
    (TRAIT, GROUP, "component"),
    ("loading", "explained", "congruence", "congruence_p"),
)
"""`ratings/trait_components.csv`."""

CHECKS = {
    "null_maps": Known(
        "checks",
        "Correlation of maps with null maps, of readouts and networks without information about the "
        "ratings. A correlation within or above the band of null maps among each other means that a map "
        "shows the faces and the network more than the ratings. If its correlation with contours is nearly "
        "that of null maps, the map shows contours.",
        (TRAIT, GROUP, "null"),
        ("similarity", "null_low", "null_high", "edge_correlation", "null_edge_correlation"),
    ),
    "flipping": Known(
        "checks",
        "Patches replaced in the order of relevance, at random and from the centre: change of the "
        "prediction, in rating points. If relevance marks what the model uses, its order changes "
        "predictions most.",
        (TRAIT, GROUP, "order"), ("gain", "standard_error"),
    ),
    "methods": Known(
        "checks", "Correlation of the maps of several methods.", ("method", "other"), ("correlation",)
    ),
    "association": Known(
        "checks",
        "Relevance of each region beside its association with the ratings: a region with a strong "
        "association and little relevance may be redundant with another one.",
        (TRAIT, GROUP, REGION), ("share", "association", "by_chance"),
    ),
    "cues": Known(
        "checks",
        "Superficial cues: predictions of altered faces, by the original readouts (same) and by readouts "
        "fitted to altered faces (refitted).",
        ("altered", "readout", TRAIT, GROUP), ("r_original", "r", "estimate", INTERVAL, "agreement"),
    ),
}  # fmt: skip
"""Tables of `checks/`, in the order of the report."""

NOT_PRINTED = ("answers", "transfer_traits", "conservation", "rater_models", "covariates")
"""Tables that are shown in another form, or not at all because they list single raters or images."""


def print_tables(results: Results, names: Sequence[str]) -> list[Table]:
    """Format tables of tests and checks by name.

    Parameters
    ----------
    results : Results
        The results.
    names : sequence of str
        Names of tables; tables that do not exist are skipped.

    Returns
    -------
    list of Table
        The tables, in this order.
    """
    printed = []
    for name in names:
        if name == "components" and results.components is not None:
            made = print_table(results.components, COMPONENTS, results)
            printed.append(replace(made, file="ratings/trait_components.csv"))
        elif name in CHECKS and name in results.checks:
            made = print_table(results.checks[name], CHECKS[name], results)
            printed.append(replace(made, file=f"checks/{name}.csv"))
        elif name in COMPARISONS and name in results.comparisons:
            begin, how = EXPLORATORY_TEXT * (name in EXPLORATORY), COMPARISONS[name]
            table = results.comparisons[name]
            if name == "pixels":
                table = table[table["p_family"] <= ALPHA]
            if name == "performance":
                table = results.with_own_r(table)
            if len(table):
                made = print_table(table, replace(how, caption=how.caption + begin), results)
                file = "cues/tests.csv" if name in USE_QUESTIONS else f"comparisons/{name}.csv"
                printed.append(replace(made, file=file))
    return printed


def print_unknown_tables(results: Results, part: str) -> list[Table]:
    """Format the tables of a section that have no layout."""
    tables, known = {
        "comparison": (results.comparisons, COMPARISONS),
        "checks": (results.checks, CHECKS),
    }[part]
    others = [name for name in tables if name not in known and name not in NOT_PRINTED]
    return [tabulate(name, tables[name]) for name in others]


def print_table(table: pd.DataFrame, how: Known, results: Results) -> Table:
    """Format one table.

    Parameters
    ----------
    table : DataFrame
        The table.
    how : Known
        Its layout.
    results : Results
        The results, for the order of traits and the number of groups.
    """
    names = [name for name in how.names if name in table or (name == PAIR and len(results.groups) > 2)]
    values = [name for name in how.values if name in table or (name in _ENDS and _ENDS[name][0] in table)]
    table = results.in_order(table)
    digits = {name: _decimals(table, name) for name in (*names, *values)}
    rows = [
        [_write(name, row, digits[name]) for name in digits]
        for row in table.head(MOST_ROWS).to_dict("records")
    ]
    caption = how.caption
    caption += _say_permutations(table)
    if len(table) > MOST_ROWS:
        caption += f" (The first {MOST_ROWS} of {count(len(table))} rows.)"
    headings = [HEADINGS[name] for name in (*names, *values)]
    if PAIR not in names and "group_1" in table and len(table):
        headings = [_name_groups(heading, table.iloc[0]) for heading in headings]
    return leave_out_empty(caption, headings, rows, len(names))


def _name_groups(heading: str, row: Any) -> str:
    """Replace "first" and "second" in a heading by the groups' names."""
    for place, column in (("first", "group_1"), ("second", "group_2")):
        if heading.lower() == place:
            return str(row[column])
        heading = heading.replace(f", {place}", f", {row[column]}")
    return f"{heading} ({row['group_1']} − {row['group_2']})" if heading == "Difference" else heading


def _say_permutations(table: pd.DataFrame) -> str:
    """Describe the number of permutations of a table and its smallest possible p."""
    if "n_permutations" not in table or "smallest_p" not in table or table.empty:
        return ""
    row = table.iloc[0]
    text = f" {count(row['n_permutations'])} permutations; p cannot be below {decimal(row['smallest_p'], 4)}."
    if row["smallest_p"] > 0.05:
        text += " With so few raters no test can be significant."
    return text


def _decimals(table: pd.DataFrame, name: str) -> int:
    """Return the number of decimals of a column: two or three, more if all of its numbers are small."""
    column = table.get("estimate" if name in _ENDS else name)
    if name in _TWO_DECIMALS or column is None or not pd.api.types.is_numeric_dtype(column):
        return 2 if name in _TWO_DECIMALS else 3
    largest = float(column.abs().max())
    # Numbers below a millionth are rounding errors.
    return min(6, max(3, 1 - math.floor(math.log10(largest)))) if 1e-6 < largest < math.inf else 3


def _write(name: str, row: Mapping[Any, Any], digits: int) -> str:
    """Format a cell according to the name of its column."""
    if name in _ENDS:
        low, high = (row.get(end) for end in _ENDS[name])
        both = is_number(low) and is_number(high)
        return f"[{decimal(low, digits)}, {decimal(high, digits)}]" if both else "–"
    if name == PAIR:
        return f"{row.get('group_1')} − {row.get('group_2')}"
    value = row.get(name)
    if name == REGION and (pd.isna(value) or not value):
        return "mean rating"  # variables are tested against these as well
    if name.startswith("p_") or name in ("p", "reliability_p", "crossed_p", "congruence_p"):
        return probability(value)
    if name in _COUNTS:
        return count(value)
    if name in _BOUNDED:
        return bounded(value)
    if isinstance(value, str):
        return value or "–"
    return decimal(value, digits)
