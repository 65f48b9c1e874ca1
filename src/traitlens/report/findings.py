"""Answers to the questions of a study, in words, for the report and the terminal."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from traitlens.columns import GROUP, REGION, SHARE, TRAIT
from traitlens.comparison.answers import ALPHA, QUESTIONS, corrected_p
from traitlens.report.numbers import bounded, count, decimal, interval, is_number, p_value, raters_of, several
from traitlens.report.results import Results

KINDS = ("found", "alone", "not found", "exploratory", "about", "not tested")
"""Kinds of findings in the order of the summary; the last kind is not shown there."""

POINTS_PER_SD = (
    "Points per SD: how many rating points a group’s ratings rise where this region looks one standard "
    "deviation more like the trait, as raters of all groups judge it."
)
"""Explanation of the unit of use."""

MOST_PARTS = 2
"""Regions that are named for each trait."""
MOST_GROUPS = 12
"""Pairs of groups whose agreement is written out."""

STAGES = {
    "means": "compare_ratings", "reliability": "compare_ratings", "performance": "compare_performance",
    "use": "compare_use", "pixels": "compare_pixels",
}  # fmt: skip
"""Stage of each question."""


@dataclass(frozen=True)
class Finding:
    """A question of the study and its answer.

    Parameters
    ----------
    key, question : str
        Name of the question ("prediction", "shares", "range", "noise" or one of `QUESTIONS`) and its text.
    kind : {"found", "alone", "not found", "exploratory", "about", "not tested"}
        Result of a main test ("alone": significant only before correction for the number of questions);
        "exploratory" for a further test, "about" for a description of single groups.
    sentences : tuple of str
        Sentences on the finding.
    verdict, detail : str
        Text before and after these sentences in a section of the report.
    caveat : str
        Text that the summary adds to each sentence.
    unit : str
        Explanation of the unit of the sentences, where it needs one.
    pair : str
        Names of the two groups, if several pairs were compared.
    """

    key: str
    question: str
    kind: str
    sentences: tuple[str, ...] = ()
    verdict: str = ""
    detail: str = ""
    caveat: str = ""
    unit: str = ""
    pair: str = ""

    @property
    def headlines(self) -> list[str]:
        """Sentences for the summary and the terminal."""
        return [f"{self.pair}{text}{self.caveat}" for text in self.sentences]

    @property
    def answer(self) -> str:
        """Answer for a section of the report."""
        return self.pair + "\n".join(filter(None, [self.verdict, *self.sentences, self.unit, self.detail]))


def list_findings(results: Results) -> list[Finding]:
    """Return the findings of a study.

    Returns
    -------
    list of Finding
        Differences between each pair of groups, prediction, and parts of the face, in the order of `KINDS`.
    """
    findings = [*_differences(results), *_prediction(results), *_parts_of_face(results)]
    return sorted(findings, key=lambda finding: KINDS.index(finding.kind))


@dataclass(frozen=True)
class _Comparison:
    """Words that describe one kind of difference between two groups.

    Parameters
    ----------
    what, tests : str
        Compared quantity, and what the tests are counted in.
    more : str
        Beginning of the sentence that names the group with the higher value.
    unit : str
        Unit of the difference.
    values : tuple of str
        Columns of the two groups' values.
    write : callable
        Function that writes a value.
    detectable : str
        Template for the size of a difference that would have been found.
    """

    what: str
    tests: str
    more: str
    unit: str
    values: tuple[str, str] = ("value_1", "value_2")
    write: Callable[[Any], str] = decimal
    detectable: str = "a difference of {} points"


COMPARISONS = {
    "means": _Comparison(
        "mean ratings", "traits", "Mean ratings: higher in", "points", ("mean_1", "mean_2")
    ),
    "reliability": _Comparison(
        "the reliability of mean ratings", "traits", "Reliability of mean ratings: higher in", "",
        ("reliability_1", "reliability_2"), partial(bounded, digits=3),
        "a ratio of {} between the groups’ noise",
    ),
    "performance": _Comparison(
        "how predictable the ratings are", "traits", "Prediction by the model (r): better for", "",
        ("r_1", "r_2"), bounded, "a difference of {} in Fisher’s z",
    ),
    "use": _Comparison(
        "the use of the regions", "pairs of region and trait", "used more by", "points per SD",
        detectable="a difference of {} points per SD",
    ),
    "pixels": _Comparison("the relevance maps", "traits", "", ""),
    "range": _Comparison("range", "traits", "Range of the scale (SD over faces): larger in", "points"),
    "noise": _Comparison("noise", "traits", "Noise of single ratings (SD): larger in", "points"),
}  # fmt: skip
"""Words for each table of `comparisons`."""


def _differences(results: Results) -> list[Finding]:
    """Return the findings for each pair of groups, also for questions that were not tested."""
    answers = results.comparisons.get("answers")
    if answers is None or "group_1" not in answers:
        return []
    named = answers[(answers["group_1"] != "") & (answers["group_2"] != "")]  # variables have no groups
    pairs = list(dict.fromkeys(zip(named["group_1"], named["group_2"], strict=True)))
    findings = []
    for first, second in pairs:
        pair = f"{first} and {second}: " if len(pairs) > 1 else ""
        own = answers[(answers["group_1"] == first) & (answers["group_2"] == second)]
        rows = {row["question"]: row for row in own.to_dict("records")}
        for name, question in QUESTIONS.items():
            if name in rows:
                table = _tests_of_pair(results, name, first, second)
                findings += _make_findings(name, question, rows[name], table, pair)
            else:
                findings.append(
                    Finding(name, question, "not tested", verdict=_not_tested(name, results), pair=pair)
                )
        for name in ("range", "noise"):
            table = _tests_of_pair(results, name, first, second)
            called = table[table[corrected_p(name)] <= ALPHA]
            if texts := _who_has_more(called, COMPARISONS[name]):
                asked = f"Do the groups differ in {name}?"
                findings.append(Finding(name, asked, "exploratory", tuple(texts), pair=pair))
    return findings


def _not_tested(name: str, results: Results) -> str:
    """Return why a question was not tested."""
    predictability = results.use.get("predictability")
    if name == "use" and predictability is not None and not (predictability["p"] <= ALPHA).any():
        return "This was not tested: no trait was predicted better than chance."
    reasons = {row["stage"]: row["reason"] for row in results.study.get("left_out", [])}
    reason = reasons.get(STAGES[name])
    return f"This was not tested, because {reason}." if reason else "This was not tested."


def _tests_of_pair(results: Results, name: str, first: str, second: str) -> pd.DataFrame:
    """Select a question's tests of a pair of groups, traits in the study's order."""
    table = results.comparisons.get(name)
    if table is None or "group_1" not in table:
        return pd.DataFrame({corrected_p(name): []})
    if name == "performance":
        table = results.with_own_r(table)
    return results.in_order(table[(table["group_1"] == first) & (table["group_2"] == second)])


def _make_findings(
    name: str, question: str, row: dict[Any, Any], table: pd.DataFrame, pair: str
) -> list[Finding]:
    """Return the findings of one question on two groups: what was found, and what is uncertain."""
    p, tests = table[corrected_p(name)], COMPARISONS[name].tests
    unit = POINTS_PER_SD if name == "use" else ""
    if not (p <= ALPHA).any():
        text = _say_not_found(name, row, table)
        detail = _say_equivalence(table)
        return [Finding(name, question, "not found", (text,), detail=detail, unit=unit, pair=pair)]
    is_found = p * row["n_questions"] <= ALPHA
    findings = []
    if is_found.any():
        texts = _say_found(name, table[is_found])
        verdict = f"Yes, in {count(row['n_found'])} of {row['n_tests']} {tests}."
        findings.append(Finding(name, question, "found", tuple(texts), verdict, unit=unit, pair=pair))
    called = table[(p <= ALPHA) & ~is_found]
    if len(called):
        texts = _say_found(name, called)
        number = called[TRAIT].nunique() if name == "pixels" else len(called)
        limit = bounded(ALPHA / row["n_questions"], 3)
        caveat = f"Not significant for {count(row['n_questions'])} questions, which needs p ≤ {limit}."
        verdict = f"Uncertain in {number} of {row['n_tests']} {tests}. {caveat}"
        unit = "" if findings else unit
        findings.append(
            Finding(name, question, "alone", tuple(texts), verdict, caveat=f" {caveat}", unit=unit, pair=pair)
        )
    return findings


def _say_found(name: str, called: pd.DataFrame) -> list[str]:
    """Return sentences on the significant differences of one question."""
    comparison = COMPARISONS[name]
    if name == "use":
        return [
            text
            for region, own in called.groupby(REGION, sort=False)
            for text in _who_has_more(own, comparison, f"{str(region).capitalize()}: ")
        ]
    if name == "pixels":
        smallest = called.groupby(TRAIT, sort=False)[corrected_p(name)].min()
        cells = [f"{trait} ({p_value(p)})" for trait, p in smallest.items()]
        return [
            f"Relevance maps of the models differ for {several(cells)}; this test does not say where, and "
            "groups that differ only in the range of their ratings have different maps, too."
        ]
    return _who_has_more(called, comparison) or [
        f"The groups differ in {comparison.what} for {several(list(map(str, called[TRAIT])))}."
    ]


def _who_has_more(called: pd.DataFrame, comparison: _Comparison, begin: str = "") -> list[str]:
    """Return a sentence for each group that has higher values than the other."""
    texts = []
    preposition = comparison.more.split()[-1]
    for sign in (1, -1):
        rows = called[called["estimate"] * sign > 0].to_dict("records") if len(called) else []
        if rows:
            names = ("group_1", "group_2") if sign > 0 else ("group_2", "group_1")
            first, second = (raters_of(str(rows[0][name])) for name in names)
            cells = [_trait_with_values(row, comparison, row is rows[0]) for row in rows]
            texts.append(
                f"{begin}{comparison.more} {first} than {preposition} {second} for {several(cells)}."
            )
    return texts


def _trait_with_values(row: dict[Any, Any], comparison: _Comparison, with_unit: bool) -> str:
    """Format a trait with both groups' values, the higher one first, and p."""
    write = comparison.write
    values = [row.get(column) for column in comparison.values[:: 1 if row["estimate"] > 0 else -1]]
    size = f"by {write(abs(row['estimate']))}"
    if all(map(is_number, values)):
        size = f"{write(values[0])} v {write(values[1])}"
    unit = f" {comparison.unit}" if comparison.unit and with_unit else ""
    return f"{row[TRAIT]} ({size}{unit}, {p_value(row['p_corrected'])})"


def _say_not_found(name: str, answer: dict[Any, Any], table: pd.DataFrame) -> str:
    """Return a sentence that no difference was found, with the largest estimate and the detectable size."""
    comparison, write = COMPARISONS[name], COMPARISONS[name].write
    table = table[table[corrected_p(name)].notna()]  # regions that were not tested
    text = f"No difference was found in {comparison.what}"
    if "smallest_p" in table and len(table) and table["smallest_p"].min() > ALPHA:
        lowest = bounded(table["smallest_p"].min(), 3)
        return f"{text}; with so few raters none can be found: p cannot fall below {lowest}."
    if {"estimate", "ci_low", "ci_high"} <= set(table) and table["estimate"].notna().any():
        row = table.loc[table["estimate"].abs().idxmax()]
        of = f"{row[REGION]}, {row[TRAIT]}" if name == "use" else row[TRAIT]
        unit = " in Fisher’s z" if name == "performance" else f" {comparison.unit}".rstrip()
        text += (
            f": the largest of {answer['n_tests']} is {write(row['estimate'])}{unit} ({of}, 95% CI "
            f"{interval(row['ci_low'], row['ci_high'], write)}; corrected {p_value(row[corrected_p(name)])})"
        )
    elif is_number(answer["p_corrected"]):
        text += f" (smallest corrected {p_value(answer['p_corrected'])})"
    if "detectable" in table and table["detectable"].notna().any():
        sizes = dict.fromkeys([decimal(table["detectable"].min()), decimal(table["detectable"].max())])
        text += f"; {comparison.detectable.format(' to '.join(sizes))} would have been found with 80% power"
    return f"{text}."


def _say_equivalence(table: pd.DataFrame) -> str:
    """Return a sentence on the traits for which a difference of the study's margin is ruled out."""
    if "equivalence_p" not in table or table["equivalence_p"].isna().all():
        return ""
    within = int((table["equivalence_p"] <= ALPHA).sum())
    return (
        f"Differences of {decimal(table['margin'].iloc[0])} points or more are ruled out for {within} of "
        f"{len(table)} traits (largest {p_value(table['equivalence_p'].max())}, not corrected)."
    )


def _prediction(results: Results) -> list[Finding]:
    """Return the finding on prediction performance, overall and by group."""
    if results.performance is None:
        return []
    known = results.performance.dropna(subset=["r"])
    own = known[better_than_chance(known)]
    if own.empty:
        text = "No ratings were predicted better than chance: nothing about the face follows."
    else:
        text = f"Ratings of faces that the model had not seen are predicted with {_range_of_r(own)}"
        if percent := _percent_of_ceiling(own):
            text += f", {percent} of the noise ceiling"
        missed = len(known) - len(own)
        text += f"; {missed} of {len(known)} models predict no better than chance." if missed else "."
    by_group = "\n".join(filter(None, (_prediction_of(group, known) for group in results.groups)))
    question = "How well are the ratings predicted from the pictures?"
    return [Finding("prediction", question, "about", (text,), detail=by_group)]


def _range_of_r(table: pd.DataFrame) -> str:
    """Format the smallest and the largest r."""
    low, high = bounded(table["r"].min()), bounded(table["r"].max())
    return f"r = {low}" if low == high else f"r = {low} to {high}"


def _percent_of_ceiling(table: pd.DataFrame) -> str:
    """Format r as a percentage of its noise ceiling; nothing where a ceiling is not known."""
    if "ceiling_r" not in table or not (table["ceiling_r"] > 0).all():
        return ""
    share = (100 * table["r"] / table["ceiling_r"]).round().astype(int)
    return f"{share.min()}%" if share.min() == share.max() else f"{share.min()} to {share.max()}%"


def _prediction_of(group: str, known: pd.DataFrame) -> str:
    """Return a sentence with the smallest and largest r of the models of a group."""
    table = known[known[GROUP] == group].sort_values("r")
    if table.empty:
        return ""
    better = better_than_chance(table)
    own, others = table[better], table[~better]
    text = f"Among {raters_of(group)}: "
    if own.empty:
        text += "no trait was predicted better than chance"
    elif len(own) == 1:
        text += f"r = {bounded(own['r'].iloc[0])} ({own[TRAIT].iloc[0]})"
    else:
        low, high = own.iloc[0], own.iloc[-1]
        text += f"r from {bounded(low['r'])} ({low[TRAIT]}) to {bounded(high['r'])} ({high[TRAIT]})"
    if len(own) and (percent := _percent_of_ceiling(own)):
        text += f", {percent} of the noise ceiling"
    if len(others):
        cells = [f"{row[TRAIT]} (r = {bounded(row['r'])})" for row in others.to_dict("records")]
        text += f". Not better than chance: {several(cells)}"
    return f"{text}."


def better_than_chance(performance: pd.DataFrame) -> pd.Series:
    """Test which readouts predict better than chance.

    Returns
    -------
    Series of bool
        True if p of r, corrected for the number of readouts, is at most .05; without p, if the interval of r
        is above 0.
    """
    nothing = pd.Series(float("nan"), performance.index)
    p = performance.get("p_corrected", performance.get("p", nothing))
    found: pd.Series = (p <= ALPHA).where(p.notna(), performance.get("ci_low", nothing) > 0)
    return found.astype(bool)


def not_predicted(results: Results) -> list[str]:
    """List the readouts that predict no better than chance.

    Returns
    -------
    list of str
        "trait (group)" of each.
    """
    if results.performance is None:
        return []
    own = results.performance[~better_than_chance(results.performance)]
    return [f"{trait} ({group})" for trait, group in zip(own[TRAIT], own[GROUP], strict=True)]


def _parts_of_face(results: Results) -> list[Finding]:
    """Name the regions with the largest shares of the explained variance of each group and trait."""
    if "shares" not in results.use:
        return []
    shares = results.use["shares"].dropna(subset=[SHARE])
    lines = []
    for group in results.groups:
        cells = []
        for trait in results.traits:
            own = shares[(shares[GROUP] == group) & (shares[TRAIT] == trait)]
            first = own.sort_values(SHARE, ascending=False).head(MOST_PARTS).to_dict("records")
            if first:
                parts = several([f"{row[REGION]} ({100 * row[SHARE]:.0f}%)" for row in first])
                cells.append(f"{trait}: {parts}")
        if cells:
            lines.append(f"Among {raters_of(group)}, {'; '.join(cells)}.")
    question = "Which parts of the face do the ratings rest on?"
    if not lines:
        nothing = "No trait was predicted better than chance, so no part of the face is named."
        return [Finding("shares", question, "about", verdict=nothing)]
    texts = tuple(filter(None, (_largest_part(group, shares, results) for group in results.groups)))
    detail = "\n".join(["Largest shares of the variance that all regions explain:", *lines])
    return [Finding("shares", question, "about", texts, detail=detail)]


def _largest_part(group: str, shares: pd.DataFrame, results: Results) -> str:
    """Say on which part of the face a group's ratings of each trait rest most."""
    own = results.in_order(shares[shares[GROUP] == group]).reset_index(drop=True)
    if own.empty:
        return ""
    first = own.loc[own.groupby(TRAIT, sort=False)[SHARE].idxmax()]
    parts = [
        f"the {region} for {several(list(map(str, traits)))}"
        for region, traits in first.groupby(REGION, sort=False)[TRAIT].agg(list).items()
    ]
    return f"The ratings of {raters_of(group)} rest most on {', '.join(parts)}."


def describe_achievement(results: Results) -> list[str]:
    """Describe how single raters agree with the other group's mean ratings (lens-model equation).

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
        for row in means.head(MOST_GROUPS).to_dict("records")
    ]
    return [
        "Agreement of a single rater with the mean ratings of another group, over traits (lens-model "
        f"equation; cues/achievement.csv): {several(cells)}."
    ]
