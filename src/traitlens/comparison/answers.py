"""Summary table: which questions about group differences have significant tests."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from traitlens.columns import TRAIT
from traitlens.comparison.permutation import holm

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
        n_significant (after correction for n_tests), p_corrected (the smallest of the table), p_all_questions
        (the smallest p, also corrected for the number of confirmatory rows; missing for exploratory rows).

    Notes
    -----
    With five tests at a level of 5 %, about one in five reports of groups that do not differ would contain a
    false positive. The smallest corrected p of each question is therefore corrected for the number of
    questions and of pairs of groups (Holm 1979).

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
    columns = ["group_1", "group_2", "question", "kind", "n_tests", "n_significant", "p_corrected"]
    if not tables:
        return pd.DataFrame(columns=[*columns, "p_all_questions"])
    pairs = pd.concat([table[["group_1", "group_2"]] for table in tables.values()]).drop_duplicates()
    rows = []
    for first, second in pairs.sort_values(["group_1", "group_2"]).itertuples(index=False):
        for name, table in tables.items():
            own = table[(table["group_1"] == first) & (table["group_2"] == second)]
            if own.empty and not ((first or second) and name in QUESTIONS):
                continue
            p = own[corrected_p(name)]
            significant = own[p <= ALPHA]
            by_trait = name == "pixels"
            rows.append(
                {"group_1": first, "group_2": second, "question": name}
                | {"kind": "confirmatory" if name in QUESTIONS else "exploratory"}
                | {"n_tests": traits if by_trait else int(p.notna().sum())}
                | {"n_significant": significant[TRAIT].nunique() if by_trait else len(significant)}
                | {"p_corrected": p.min()}
            )
    answers = pd.DataFrame(rows, columns=columns)
    confirmatory = (answers["kind"] == "confirmatory").to_numpy()
    p = np.nan_to_num(answers["p_corrected"].to_numpy(float), nan=1.0)
    answers["p_all_questions"] = np.nan
    answers.loc[confirmatory, "p_all_questions"] = holm(p[confirmatory])
    return answers
