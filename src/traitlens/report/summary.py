"""The report's summary: answer, four numbers, a caution, and notes on how to read the findings."""

from dataclasses import dataclass

import pandas as pd

from traitlens.columns import GROUP, RATER
from traitlens.comparison.answers import ALPHA
from traitlens.report.findings import COMPARISONS
from traitlens.report.numbers import bounded, count, raters_of, several
from traitlens.report.results import Results

CAUTION = (
    "Nothing may be concluded about the persons shown (these are impressions that raters form of pictures), "
    "about a single rater (groups are averages), or about where raters looked (maps and regions show what a "
    "model used). All tests generalise to other raters; only those of the use of regions also "
    "generalise to other faces."
)
SIMULATED = "The ratings of this study were simulated: no person gave them."

MOST_PAIRS = 3
"""Maximum number of pairs of groups with a sentence each."""


@dataclass(frozen=True)
class Tile:
    """A number in the summary.

    Parameters
    ----------
    number, what, detail : str
        The number, its label, and details.
    """

    number: str
    what: str
    detail: str = ""


def count_results(results: Results) -> list[Tile]:
    """Return the four numbers of the summary.

    Returns
    -------
    list of Tile
        Raters, images, r with its ceiling, and differences found, as far as they are known.
    """
    study, tiles = results.study, []
    if study.get("n_raters"):
        detail = several(results.groups)
        if results.reliability is not None and "n_raters" in results.reliability:
            detail = _count_raters(results, results.reliability)
        tiles.append(Tile(count(study["n_raters"]), "raters", detail))
    if study.get("n_images"):
        persons = f"of {count(study.get('n_identities'))} persons"
        tiles.append(Tile(count(study["n_images"]), "images", persons))
    if results.performance is not None and results.performance["r"].notna().any():
        table = results.performance
        ceiling = table["ceiling_r"].dropna() if "ceiling_r" in table else pd.Series(dtype=float)
        against = f"ceiling {bounded(ceiling.min())} to {bounded(ceiling.max())}" if len(ceiling) else ""
        numbers = [bounded(table["r"].min()), bounded(table["r"].max())]
        number = " to ".join(dict.fromkeys(numbers))
        tiles.append(Tile(number, "r of predicted and observed ratings", against))
    answers = results.comparisons.get("answers")
    if answers is not None and "kind" in answers:
        own = answers[answers["kind"] == "confirmatory"]
        number = own["n_found"].sum()
        detail = f"significant of {count(own['n_tests'].sum())} main tests"
        tiles.append(Tile(count(number), "differences between groups", detail))
    return tiles


def _count_raters(results: Results, reliability: pd.DataFrame) -> str:
    """Format the number of raters of each group, and of each trait where raters rated some traits only."""
    per_trait = reliability.groupby(GROUP)["n_raters"].max().to_dict()
    quality = results.quality
    total = per_trait if quality is None else quality.groupby(GROUP)[RATER].nunique().to_dict()
    known = [group for group in results.groups if group in per_trait and group in total]
    text = ", ".join(f"{count(total[group])} {group}" for group in known)
    if any(per_trait[group] < total[group] for group in known):
        text += f"; for any one trait at most {' and '.join(count(per_trait[group]) for group in known)}"
    return text


def answer_question(results: Results, simulated: bool = False) -> list[str]:
    """Answer in a sentence whether the groups differ, with the number of tests of each question.

    Parameters
    ----------
    simulated : bool, default False
        Whether the ratings were simulated, which the sentence then says.

    Returns
    -------
    list of str
        A text for each pair of groups; nothing where groups were not compared, or for more than
        `MOST_PAIRS` pairs.
    """
    answers = results.comparisons.get("answers")
    if answers is None or "group_1" not in answers:
        return []
    own = answers[(answers["kind"] == "confirmatory") & (answers["group_1"] != "") & (answers["n_tests"] > 0)]
    pairs = own.groupby(["group_1", "group_2"], sort=False)
    if len(pairs) > MOST_PAIRS:
        return []
    kind = "simulated " if simulated else ""
    return [_answer_pair(kind, first, second, rows) for (first, second), rows in pairs]


def _answer_pair(kind: str, first: str, second: str, rows: pd.DataFrame) -> str:
    """Return sentences on where two groups differ, and where no difference was found."""
    found, uncertain, not_found = [], [], []
    for row in rows.to_dict("records"):
        comparison = COMPARISONS[row["question"]]
        if not row["n_significant"]:
            not_found.append(f"in {comparison.what}")
        elif row["n_found"]:
            found.append(
                f"in {comparison.what} ({row['n_found']:.0f} of {row['n_tests']} {comparison.tests})"
            )
        else:
            uncertain.append(f"in {comparison.what}")
    who = f"{kind}{raters_of(first)} and {kind}{raters_of(second)}"
    texts = [f"The {who} of this study differ {several(found)}."] if found else []
    if not_found:
        between = "" if found else f" between {who}"
        texts.append(f"No difference{between} was found {several(not_found)}.")
    if uncertain:
        texts.append(f"Whether they differ {several(uncertain)} is uncertain.")
    return " ".join(texts)


def describe_main_tests(results: Results) -> str:
    """Describe whether the main tests were planned and when they count, for the heading of their list."""
    answers = results.comparisons.get("answers")
    if answers is None or answers["n_questions"].isna().all():
        return ""
    if results.plan is None or results.planned is None:
        kind = "exploratory, because no plan was frozen before the groups were compared"
    else:
        kind = f"confirmatory, as planned on {str(results.plan['frozen'])[:10]}"
        if (results.planned["mark"] != "planned").any():
            kind = kind.replace("confirmatory, as ", "") + ", with deviations listed under “What was planned”"
    return f"{kind}; with {_say_limit(results)}"


def _say_limit(results: Results) -> str:
    """Format the number of questions that were tested, and the limit of p for each test."""
    questions = results.comparisons["answers"]["n_questions"].max()
    return f"{count(questions)} questions, a difference is found if p ≤ {bounded(ALPHA / questions, 3)}"


def explain_findings(results: Results) -> list[str]:
    """Describe how to read the findings.

    Returns
    -------
    list of str
        Notes; empty where groups were not compared.
    """
    if "answers" not in results.comparisons or results.comparisons["answers"]["n_questions"].isna().all():
        return []
    return [
        "Main tests: one for each trait (for the use of regions: for each pair of region and trait). A "
        "difference is called found if its p, corrected for all tests of its question, is at most .05 "
        "divided by the number of questions, and uncertain if it is at most .05. "
        "Further tests are corrected within their own table only; they are always exploratory.",
        "p and intervals: p values in this summary are those within a question, 95% intervals are not "
        "corrected. An interval of one "
        "test can therefore exclude zero although the difference is not significant: p decides. Raters "
        "are a random factor of all tests.",
    ]
