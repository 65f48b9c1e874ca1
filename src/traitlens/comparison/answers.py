"""Summary table: which questions about group differences have significant tests."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from traitlens.columns import TRAIT

ALPHA = 0.05

QUESTIONS = {
    "means": "Do the groups differ in their mean ratings?",
    "reliability": "Do the groups differ in how reliable their ratings are?",
    "performance": "Do the groups differ in how predictable their ratings are?",
    "use": "Do the groups use the regions of the face differently?",
    "pixels": "Do the relevance maps of the groups differ?",
}
"""Questions that the confirmatory tables of `comparisons` answer; each table is one family of tests."""

EXPLORATORY = ("range", "noise", "agreement", "taste", "trait_space", "variables", "face_types", "difference")
"""Exploratory tables. Their p values are corrected within each table only."""


def corrected_p(name: str) -> str:
    """Return the name of the column with the family-wise p values of a table.

    Parameters
    ----------
    name : str
        Name of a table in `comparisons`.

    Returns
    -------
    str
        "p_family" for pixels (over pixels and traits), "p_corrected" for all others.
    """
    return "p_family" if name == "pixels" else "p_corrected"


def answer_questions(tables: Mapping[str, pd.DataFrame], traits: int) -> pd.DataFrame:
    """Count the significant tests of each question, and correct for the number of questions.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Tables in `comparisons`, by the names in `QUESTIONS` and `EXPLORATORY`.
    traits : int
        Number of traits.

    Returns
    -------
    DataFrame
        group_1, group_2, question (name of the table), kind ("confirmatory" or "exploratory"), n_tests,
        n_significant (after correction for n_tests), p_corrected (the smallest of the table), and for
        confirmatory rows n_questions (how many of these were tested), n_found (tests that are significant
        after correction for n_questions, too) and p_all_questions (the smallest p after both corrections).

    Notes
    -----
    With five tests at a level of 5 %, about one in five reports of groups that do not differ would contain a
    false positive. Corrected p values are therefore multiplied by the number of questions and of pairs of
    groups (Bonferroni), so that a single false difference is found in at most 5 % of studies, whichever other
    differences there are.

    Examples
    --------
    >>> table = pd.DataFrame({"group_1": ["a"], "group_2": ["b"], "trait": ["warm"], "p_corrected": [0.2]})
    >>> answer_questions({"means": table}, 1)[["question", "n_tests", "n_significant", "p_all_questions"]]
      question  n_tests  n_significant  p_all_questions
    0    means        1              0              0.2
    """
    tables = {
        name: tables[name].assign(**({} if "group_1" in tables[name] else {"group_1": "", "group_2": ""}))
        for name in (*QUESTIONS, *EXPLORATORY)
        if name in tables
    }
    columns = ["group_1", "group_2", "question", "kind", "n_tests", "n_significant", "p_corrected",
               "n_questions", "n_found", "p_all_questions"]  # fmt: skip
    if not tables:
        return pd.DataFrame(columns=columns)
    pairs = pd.concat([table[["group_1", "group_2"]] for table in tables.values()]).drop_duplicates()
    tested = []
    for first, second in pairs.sort_values(["group_1", "group_2"]).itertuples(index=False):
        for name, table in tables.items():
            own = table[(table["group_1"] == first) & (table["group_2"] == second)]
            if len(own) or ((first or second) and name in QUESTIONS):
                number = traits if name == "pixels" else int(own[corrected_p(name)].notna().sum())
                tested.append((first, second, name, own, number))
    questions = sum(name in QUESTIONS and number > 0 for _, _, name, _, number in tested)
    rows = []
    for first, second, name, own, number in tested:
        row = {"group_1": first, "group_2": second, "question": name, "kind": "exploratory"}
        row |= {"n_tests": number, "n_significant": _count_significant(own, name)}
        row |= {"p_corrected": own[corrected_p(name)].min()}
        if name in QUESTIONS:
            p = 1.0 if np.isnan(row["p_corrected"]) else row["p_corrected"]
            row |= {"kind": "confirmatory", "n_questions": questions}
            row |= {"n_found": _count_significant(own, name, questions)}
            row |= {"p_all_questions": min(p * max(questions, 1), 1.0)}
        rows.append(row)
    return pd.DataFrame(rows, columns=columns)


def _count_significant(tests: pd.DataFrame, name: str, questions: int = 1) -> int:
    """Count the significant tests of a table, or for pixels the traits with a significant area."""
    significant = tests[tests[corrected_p(name)] * questions <= ALPHA]
    return int(significant[TRAIT].nunique()) if name == "pixels" else len(significant)
