"""Comparison of planted with found differences, in simulated studies and on a study's own faces."""

import pandas as pd

from traitlens.columns import REGION, TRAIT
from traitlens.comparison.answers import ALPHA
from traitlens.report.numbers import count, decimal, p_value, several
from traitlens.report.results import Results

CONFUSED = 0.1
"""False positive rate of a region above which it is named as mistaken for the planted one."""
MOST_PAIRS = 12
"""Maximum number of pairs of regions that are named."""


def describe_planted(results: Results) -> str:
    """Describe which planted differences of a simulated study were found, and false positives.

    Returns
    -------
    str
        A sentence or two; empty if the truth is not known.
    """
    table = compare_with_planted(results)
    if table is None:
        return ""
    planted = table["planted"] != 0
    called, tested = table["p_corrected"] <= ALPHA, table["p_corrected"].notna()
    right = called & planted & (table["planted"] * table["estimate"] > 0)
    cells = [f"{row[REGION]} for {row[TRAIT]}" for row in table[planted].to_dict("records")]
    if not cells:
        return (
            "The truth of this simulated study is known. Nothing was planted; of "
            f"{count(tested.sum())} pairs of region and trait that were tested, {count(called.sum())} were "
            "called different."
        )
    return (
        f"The truth of this simulated study is known. {len(cells)} differences were planted "
        f"({several(cells)}): {count(right.sum())} of {len(cells)} were found, in the right direction; of "
        f"the other {count((~planted & tested).sum())} pairs of region and trait that were tested, "
        f"{count((called & ~planted).sum())} were called different."
    )


def compare_with_planted(results: Results) -> pd.DataFrame | None:
    """Return the planted differences of a simulated study beside the tests.

    Returns
    -------
    DataFrame or None
        The tests of use of the study's two groups, and `planted`, the difference of the weights of the
        region's part in the truth; None for other studies.
    """
    rows, tests = results.study.get("planted"), results.comparisons.get("use")
    if not rows or tests is None or len(results.groups) != 2:
        return None
    truth = pd.DataFrame(rows)
    truth[REGION] = truth[REGION].str.replace(r"^(left|right) ", "", regex=True)
    truth[REGION] = truth[REGION].replace({"eye": "eyes", "brow": "brows", "cheek": "cheeks"})
    of_cell = truth.groupby([TRAIT, REGION])["difference"].sum().to_dict()
    first = results.groups[0]
    turned = 1 if (tests["group_1"] == first).all() else -1  # the truth is the first group minus the second
    planted = [turned * of_cell.get(cell, 0.0) for cell in zip(tests[TRAIT], tests[REGION], strict=True)]
    return results.in_order(tests.assign(planted=planted))


def describe_within_regions(results: Results) -> list[str]:
    """Describe whether groups use different information of the same region.

    Returns
    -------
    list of str
        A sentence for each pair of groups; nothing where it was not tested.
    """
    table = results.use.get("within_regions")
    if table is None or table.empty:
        return []
    texts = []
    for (first, second), own in table.groupby(["group_1", "group_2"], sort=False):
        begin = f"Within a region, whatever its total use, {first} and {second} raters"
        called = own[own["p_corrected"] <= ALPHA].sort_values("p_corrected").to_dict("records")
        if called:
            cells = [f"{row[REGION]} for {row[TRAIT]} ({p_value(row['p_corrected'])})" for row in called]
            text = f"{begin} use different information of the {several(cells)}."
        else:
            lowest = p_value(own["p_corrected"].min())
            text = f"{begin} were not found to use different information, in {len(own)} tests ({lowest})."
        texts.append(f"{text} Exploratory; for other raters of these faces.")
    return texts


def describe_confusions(results: Results) -> list[str]:
    """Describe how often a wrong region is called on these faces, and which regions are confused.

    Returns
    -------
    list of str
        A paragraph; nothing where no differences were planted.
    """
    table = results.use.get("confusions")
    if table is None or "planted" not in table:
        return []
    tests = results.comparisons.get("use")
    found = [] if tests is None else tests.loc[tests["called"], REGION].unique()
    if table["planted"].isin(found).any():
        table = table[table["planted"].isin(found)]
    wrong = table.groupby("planted")["any_wrong"].first().mean()
    apart = table[(table["planted"] != table[REGION]) & (table["called"] > CONFUSED)]
    text = (
        f"How far regions can be trusted here: differences of {decimal(table['size'].iloc[0])} rating points "
        "were planted on this study’s own faces and raters, in one region after the other "
        f"({several(list(table['planted'].unique()))}). A region other than the planted one was called in "
        f"{100 * wrong:.0f}% of these studies."
    )
    if len(apart):
        rows = apart.sort_values("called", ascending=False).head(MOST_PAIRS).to_dict("records")
        cells = [f"{row['planted']} as {row[REGION]} ({100 * row['called']:.0f}%)" for row in rows]
        text += f" Most often mistaken: {several(cells)}."
    return [text]
