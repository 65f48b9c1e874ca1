"""The questions of a comparison of groups, answered in sentences with their numbers."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from traitlens.comparison.exchange import holm
from traitlens.ratings.apa import bounded, number, p_value
from traitlens.words import REGION, TRAIT

ALPHA = 0.05

QUESTIONS = {
    "means": "Do they differ in what they rate?",
    "reliability": "Do they differ in how reliable their ratings are?",
    "performance": "Do they differ in how predictable they are?",
    "regions": "Do the readouts of their ratings use the face differently?",
    "pixels": "Do their maps of the face differ?",
}
"""What each table of `comparisons` answers."""


def answer_questions(tables: Mapping[str, pd.DataFrame], traits: int) -> pd.DataFrame:
    """Answer what a comparison of groups was made for.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Some of means, reliability, performance, regions and pixels, as `comparisons` holds them.
    traits : int
        Number of traits.

    Returns
    -------
    DataFrame
        group_1, group_2, question, answer (a sentence or two), n_tests, n_significant (corrected for all of
        them), p_corrected (the smallest), p_all_questions (the same, corrected for the number of rows).

    Notes
    -----
    A report gives all answers at once: with five tests that each err in 5 %, one in five reports of groups
    that do not differ would hold a wrong "yes". The smallest corrected p of each question is therefore
    corrected for the number of questions and of pairs of groups (Holm 1979); "yes" is said where this is
    significant.

    Examples
    --------
    >>> table = pd.DataFrame({"group_1": ["a"], "group_2": ["b"], "trait": ["warm"], "p_corrected": [0.2],
    ...     "mean_1": [3.0], "mean_2": [3.5], "estimate": [-0.5], "cohens_d": [-0.3]})
    >>> answer_questions({"means": table}, 1)["answer"][0]
    'No difference was found in mean ratings: 0 of 1 traits (smallest corrected p = .200).'
    """
    pairs = pd.concat([table[["group_1", "group_2"]] for table in tables.values()]).drop_duplicates()
    rows = []
    for first, second in pairs.sort_values(["group_1", "group_2"]).itertuples(index=False):
        for name, question in QUESTIONS.items():
            if name not in tables:
                continue
            table = tables[name]
            own = table[(table["group_1"] == first) & (table["group_2"] == second)]
            p = own["p_family" if name == "pixels" else "p_corrected"]
            tests = traits if name == "pixels" else len(own)
            significant = own[p <= ALPHA]
            rows.append(
                {"group_1": first, "group_2": second, "question": question}
                | {"answer": _ANSWERS[name](significant, tests, p)}
                | {"n_tests": tests, "n_significant": _count(name, significant)}
                | {"p_corrected": p.min()}
            )
    columns = ["group_1", "group_2", "question", "answer", "n_tests", "n_significant", "p_corrected"]
    answers = pd.DataFrame(rows, columns=columns)
    answers["p_all_questions"] = holm(answers["p_corrected"].fillna(1).to_numpy(float))
    doubtful = (answers["p_corrected"] <= ALPHA) & (answers["p_all_questions"] > ALPHA)
    for row in np.flatnonzero(doubtful):
        by_itself = answers.loc[row, "answer"].replace("Yes, in", "Only as a question by itself, in", 1)
        corrected = p_value(float(answers.loc[row, "p_all_questions"]))
        answers.loc[row, "answer"] = f"{by_itself} Corrected for all questions, {corrected}."
    return answers


def _count(name: str, significant: pd.DataFrame) -> int:
    """Count what is significant: traits for pixels, rows for all else."""
    return int(significant[TRAIT].nunique()) if name == "pixels" else len(significant)


def _sentence(
    what: str, unit: str, significant: pd.DataFrame, tests: int, p: pd.Series, cells: list[str]
) -> str:
    """Say how many tests were significant, and which."""
    if significant.empty:
        smallest = f" (smallest corrected {p_value(float(p.min()))})" if len(p) else ""
        return f"No difference was found in {what}: 0 of {tests} {unit}{smallest}."
    shown = "; ".join(cells[:_MOST]) + (f"; and {len(cells) - _MOST} more" if len(cells) > _MOST else "")
    return f"Yes, in {len(cells)} of {tests} {unit}: {shown}."


_MOST = 6


def _means(significant: pd.DataFrame, tests: int, p: pd.Series) -> str:
    """Mean ratings."""
    cells = [
        f"{row[TRAIT]} ({number(row['mean_1'])} and {number(row['mean_2'])}, d = {number(row['cohens_d'])}, "
        f"{p_value(row['p_corrected'])})"
        for row in _largest_first(significant, "cohens_d")
    ]
    return _sentence("mean ratings", "traits", significant, tests, p, cells)


def _reliability(significant: pd.DataFrame, tests: int, p: pd.Series) -> str:
    """Reliability."""
    cells = [
        f"{row[TRAIT]} ({bounded(row['reliability_1'])} and {bounded(row['reliability_2'])}, "
        f"{p_value(row['p_corrected'])})"
        for row in _largest_first(significant, "estimate")
    ]
    return _sentence("reliability", "traits", significant, tests, p, cells)


def _performance(significant: pd.DataFrame, tests: int, p: pd.Series) -> str:
    """Performance."""
    cells = [
        f"{row[TRAIT]} (r = {bounded(row['r_1'])} and {bounded(row['r_2'])}, {p_value(row['p_corrected'])})"
        for row in _largest_first(significant, "estimate")
    ]
    return _sentence("performance", "traits", significant, tests, p, cells)


def _regions(significant: pd.DataFrame, tests: int, p: pd.Series) -> str:
    """Relevance by region."""
    cells = [
        f"{row[REGION]} for {row[TRAIT]} (g = {number(row['hedges_g'])}, {p_value(row['p_corrected'])})"
        for row in _largest_first(significant, "hedges_g")
    ]
    unit = "pairs of region and trait"
    return _sentence("relevance by region", unit, significant, tests, p, cells)


def _pixels(significant: pd.DataFrame, tests: int, p: pd.Series) -> str:
    """Maps."""
    by_trait = significant.groupby(TRAIT, sort=True).agg({"p_family": "min", "n_pixels": "sum"})
    cells = [
        f"{trait} ({row['n_pixels']:.0f} pixels of the template, {p_value(row['p_family'])})"
        for trait, row in by_trait.iterrows()
    ]
    return _sentence("maps", "traits", significant, tests, p, cells)


def _largest_first(table: pd.DataFrame, effect: str) -> list[dict[str, float]]:
    """Rows, the largest effect first."""
    return table.loc[table[effect].abs().sort_values(ascending=False).index].to_dict("records")


_ANSWERS = {
    "means": _means,
    "reliability": _reliability,
    "performance": _performance,
    "regions": _regions,
    "pixels": _pixels,
}
