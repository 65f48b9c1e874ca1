"""What the results say, in sentences: answers for the head of the report, tests for a paper."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from traitlens.columns import GROUP, REGION, SHARE, TRAIT
from traitlens.comparison.answers import ALPHA, QUESTIONS, corrected_p
from traitlens.report.numbers import bounded, count, decimal, interval, is_number, p_value, raters_of, several
from traitlens.report.results import Results
from traitlens.report.sentences import TESTS, answer_sentence

CONFUSED = 0.1
"""Share of planted differences from which a region counts as mistaken for another one."""

NOT_TESTED = {
    "performance": "This was not tested. regions = true below [comparison] in study.toml adds the test, "
    "which takes up to three times as long as the maps.",
    "pixels": "This was not tested. regions = true below [comparison] in study.toml, with pixels above 0, "
    "adds the test, which takes several times as long as the maps.",
}
"""What is said where a question was not asked, and how it is."""

MOST_PARTS = 2
"""Regions that are named for each trait."""
MOST_SENTENCES = 12
"""Tests that a paragraph for a paper lists one by one; of more, those that are significant."""

APA = {
    "means": ("ratings", "Mean ratings ({groups})"),
    "reliability": ("ratings", "Reliability of mean ratings ({groups})"),
    "performance": ("prediction", "Performance of the readouts ({groups})"),
    "use": ("comparison", "Use of regions beyond range and noise ({groups})"),
    "range": ("comparison", "Range of the predicted ratings ({groups})"),
    "noise": ("comparison", "Noise of single ratings ({groups})"),
    "pixels": ("comparison", "Maps on the template ({groups})"),
    "variables": ("comparison", "Variables of the raters"),
}
"""By table of `comparisons/`: the part of the report that its sentences belong to, and how they begin."""


@dataclass(frozen=True)
class Finding:
    """A question that the study was made for, and its answer.

    Parameters
    ----------
    question, answer : str
        Sentences.
    key : str
        Name of the question: "prediction", "shares" or one of `QUESTIONS`.
    """

    question: str
    answer: str
    key: str = ""


def list_findings(results: Results) -> list[Finding]:
    """Answer what the study was made for, as far as the results do.

    Parameters
    ----------
    results : Results
        The results.

    Returns
    -------
    list of Finding
        How well ratings are predicted, which parts of the face carried that, and how the groups differ.
    """
    findings = []
    if results.performance is not None:
        answer = "\n".join(_performance_of(group, results) for group in results.groups)
        question = "How well are the ratings predicted from the pictures?"
        findings.append(Finding(question, answer.strip(), "prediction"))
    if "shares" in results.use:
        question = "Which parts of the face do the ratings rest on?"
        findings.append(Finding(question, _parts_of_face(results), "shares"))
    return [finding for finding in findings if finding.answer] + _differences(results)


def _performance_of(group: str, results: Results) -> str:
    """Say between which correlations the predictions of a group's ratings lie."""
    assert results.performance is not None
    name = f"Among {raters_of(group)}"
    known = results.performance[results.performance[GROUP] == group].dropna(subset=["r"]).sort_values("r")
    better = better_than_chance(known)
    own, others = known[better], known[~better]
    missed = ""
    if len(others):
        cells = [f"{row[TRAIT]} (r = {bounded(row['r'])})" for row in others.to_dict("records")]
        missed = f" Not better than chance: {several(cells)}."
    if own.empty:
        return f"{name}: no trait was predicted better than chance.{missed}" if missed else ""
    low, high = own.iloc[0], own.iloc[-1]
    if len(own) == 1:
        text = f"{name}: r = {bounded(low['r'])}"
    else:
        text = f"{name}: r from {bounded(low['r'])} ({low[TRAIT]}) to {bounded(high['r'])} ({high[TRAIT]})"
    if "ceiling_r" in own and own["ceiling_r"].notna().all() and (own["ceiling_r"] > 0).all():
        share = (100 * own["r"] / own["ceiling_r"]).round().astype(int)
        between = f"{share.min()}%" if share.min() == share.max() else f"{share.min()} to {share.max()}%"
        text += f", which is {between} of what the raters’ agreement allows"
    return f"{text}.{missed}"


def better_than_chance(performance: pd.DataFrame) -> pd.Series:
    """Select the readouts that predict better than chance.

    Parameters
    ----------
    performance : DataFrame
        Rows of `performance.csv`.

    Returns
    -------
    Series of bool
        p of r at most .05, corrected for the number of readouts; where readouts cannot be refitted, and p is
        missing, an interval of r above 0.
    """
    nothing = pd.Series(float("nan"), performance.index)
    p = performance.get("p_corrected", performance.get("p", nothing))
    found: pd.Series = (p <= ALPHA).where(p.notna(), performance.get("ci_low", nothing) > 0)
    return found.astype(bool)


def not_predicted(results: Results) -> list[str]:
    """List the readouts that predict no better than chance.

    Parameters
    ----------
    results : Results
        The results.

    Returns
    -------
    list of str
        "trait (group)" of each.
    """
    if results.performance is None:
        return []
    own = results.performance[~better_than_chance(results.performance)]
    return [f"{trait} ({group})" for trait, group in zip(own[TRAIT], own[GROUP], strict=True)]


def _parts_of_face(results: Results) -> str:
    """Describe which regions account for most of what each group's ratings share, trait by trait."""
    shares = results.use["shares"].dropna(subset=[SHARE])
    told = []
    for group in results.groups:
        cells = []
        for trait in results.traits:
            own = shares[(shares[GROUP] == group) & (shares[TRAIT] == trait)]
            first = own.sort_values(SHARE, ascending=False).head(MOST_PARTS).to_dict("records")
            if first:
                cells.append(
                    f"{trait}: {several([f'{row[REGION]} ({100 * row[SHARE]:.0f}%)' for row in first])}"
                )
        if cells:
            told.append(f"Among {raters_of(group)}, {'; '.join(cells)}.")
    if not told:
        return "No trait was predicted better than chance, so that no part of the face is named."
    lines = "\n".join(told)
    return f"Largest shares of the variance that all regions explain:\n{lines}"


def say_confusions(results: Results) -> list[str]:
    """Describe how often a wrong region is called on these faces, and which regions go together.

    Parameters
    ----------
    results : Results
        The results.

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
        f"How far places can be trusted here: differences of {decimal(table['size'].iloc[0])} rating points "
        "were planted on this study’s own faces and raters, in one region after the other "
        f"({several(list(table['planted'].unique()))}). A region other than the planted one was called in "
        f"{100 * wrong:.0f}% of these studies."
    )
    if len(apart):
        rows = apart.sort_values("called", ascending=False).head(MOST_SENTENCES).to_dict("records")
        cells = [f"{row['planted']} as {row[REGION]} ({100 * row['called']:.0f}%)" for row in rows]
        text += f" Most often mistaken: {several(cells)}."
    return [text]


def say_achievement(results: Results) -> list[str]:
    """Describe how single raters agree with the other group's mean ratings (lens-model equation).

    Parameters
    ----------
    results : Results
        The results.

    Returns
    -------
    list of str
        A sentence; nothing where there is one group.
    """
    table = results.use.get("achievement")
    if table is None or table.empty:
        return []
    means = table.groupby(["group", "criterion"], sort=False).mean(numeric_only=True).reset_index()
    cells = [
        f"of {row['group']} with {row['criterion']} r = {bounded(row['achievement'])} (weights of cues match "
        f"at {bounded(row['matching'])}; cues predict the single rater at {bounded(row['consistency'])} and "
        f"the group at {bounded(row['predictability'])})"
        for row in means.head(MOST_SENTENCES).to_dict("records")
    ]
    return [
        "Agreement of a single rater with the mean ratings of another group, over traits (lens-model "
        f"equation; cues/achievement.csv): {several(cells)}."
    ]


def _nothing_predicted(results: Results) -> bool:
    """Return whether regions were read, and no trait was predicted by them better than chance."""
    table = results.use.get("predictability")
    return table is not None and not (table["p"] <= ALPHA).any()


def _differences(results: Results) -> list[Finding]:
    """Answer how each pair of groups differs; a question that was not tested says so."""
    answers = results.comparisons.get("answers")
    if answers is None:
        return []
    findings = []
    if "kind" in answers:
        answers = answers[answers["kind"] == "confirmatory"]
    pairs = answers.groupby(["group_1", "group_2"], sort=False)
    for (first, second), own in pairs:
        given = {row["question"]: row for row in own.to_dict("records")}
        about = f"{first} and {second}: " if len(pairs) > 1 else ""
        for name, question in QUESTIONS.items():
            asked = f"{about}{question[0].lower()}{question[1:]}" if about else question
            answer = NOT_TESTED.get(name, "This was not tested.")
            if name == "use" and name not in given and _nothing_predicted(results):
                answer = "This was not asked: no trait was predicted better than chance."
            if name in given:
                answer = answer_sentence(given[name], _rows_of_pair(results, name, first, second), ALPHA)
            findings.append(Finding(asked, answer, name))
    return findings


def _rows_of_pair(results: Results, name: str, first: str, second: str) -> pd.DataFrame:
    """Select the rows of one table for a pair of groups."""
    table = results.comparisons.get(name)
    if table is None:
        return pd.DataFrame({corrected_p(name): []})
    return table[(table["group_1"] == first) & (table["group_2"] == second)]


def explain_findings(results: Results) -> str:
    """Describe how the numbers of the findings are to be read.

    Parameters
    ----------
    results : Results
        The results.

    Returns
    -------
    str
        A sentence or two; empty where groups were not compared.
    """
    if "answers" not in results.comparisons:
        return ""
    return (
        "Points per SD: how many rating points a group’s ratings move when what a region says about the "
        "trait, to raters of all groups, rises by one standard deviation. Tests take raters as a random "
        "factor. p values are corrected for all tests of a question; below, yes is said where a difference "
        "remains significant with the number of questions corrected for, too. All other tests of this "
        "report are exploratory."
    )


def say_in_apa_style(results: Results, section: str) -> list[str]:
    """Write the tests of a part of the report as sentences for a paper.

    Parameters
    ----------
    results : Results
        The results.
    section : str
        Key of the part.

    Returns
    -------
    list of str
        A paragraph for each kind of test.
    """
    paragraphs = []
    if section == "prediction" and results.performance is not None:
        paragraphs += [_say_performance(group, results) for group in results.groups]
    for name, (part, begin) in APA.items():
        table = results.comparisons.get(name)
        if part != section or table is None:
            continue
        if TRAIT in table:
            order = {trait: place for place, trait in enumerate(results.traits)}
            table = table.sort_values(TRAIT, key=lambda one: one.map(order), kind="stable")
        if "group_1" not in table:
            paragraphs.append(_say_tests(begin, table, name))
            continue
        for (first, second), own in table.groupby(["group_1", "group_2"], sort=False):
            paragraphs.append(_say_tests(begin.format(groups=f"{first}, {second}"), own, name))
    return [paragraph for paragraph in paragraphs if paragraph]


def _say_performance(group: str, results: Results) -> str:
    """Write how well each trait's ratings by a group were predicted."""
    assert results.performance is not None
    order = {trait: place for place, trait in enumerate(results.traits)}
    own = results.performance[results.performance[GROUP] == group]
    own = own.sort_values(TRAIT, key=lambda one: one.map(order), kind="stable").to_dict("records")
    cells = [
        f"{row[TRAIT]}, r = {bounded(row['r'])}, 95% CI {interval(row['ci_low'], row['ci_high'])}, "
        f"{p_value(row['p'])}{_count_identities(row)}"
        for row in own
    ]
    return _as_lines(f"Out-of-sample prediction of ratings ({group})", cells)


def _count_identities(row: Mapping[Any, Any]) -> str:
    """Write the number of persons that an interval of r rests on."""
    return f", k = {count(row['n_identities'])} identities" if is_number(row.get("n_identities")) else ""


def _as_lines(begin: str, cells: list[str]) -> str:
    """Write tests one below the other."""
    return ":\n".join([begin, ";\n".join(cells) + "."]) if cells else ""


def _say_tests(begin: str, table: pd.DataFrame, name: str) -> str:
    """List tests; where there are many, those that are significant, and the smallest p of the others."""
    p = table[corrected_p(name)]
    told = table if len(table) <= MOST_SENTENCES else table[p <= ALPHA]
    cells = [TESTS[name](row) for row in told.head(MOST_SENTENCES).to_dict("records")]
    if len(told) > MOST_SENTENCES:
        cells.append(f"and {len(told) - MOST_SENTENCES} more")
    rest = p.drop(told.index)
    if len(rest):
        others = "all others" if cells else f"none of {len(table)} tests was significant"
        cells.append(f"{others}, corrected {p_value(rest.min(), '≥')}")
    return _as_lines(begin, cells)
