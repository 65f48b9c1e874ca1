"""What the report and the terminal say first: a sentence with direction for each finding, four numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from traitlens.columns import GROUP, REGION, TRAIT
from traitlens.comparison.answers import ALPHA, QUESTIONS, corrected_p
from traitlens.report.findings import better_than_chance
from traitlens.report.numbers import bounded, count, decimal, interval, is_number, p_value, raters_of, several
from traitlens.report.results import Results

CAUTION = (
    "These are impressions that raters form of pictures, never facts about the persons shown; tests "
    "generalise to other raters of these faces."
)
NO_PLAN = "No plan was frozen before the groups were compared: read every test as exploratory."

OPEN = {
    "means": ("mean ratings", "points", decimal),
    "reliability": ("the reliability of mean ratings", "", bounded),
    "performance": ("how predictable the ratings are", "in Fisher’s z", bounded),
    "use": ("the use of the regions", "points per SD", decimal),
}
"""By question: what may differ, the unit of the difference, and how it is written."""


@dataclass(frozen=True)
class Headline:
    """One sentence of the summary.

    Parameters
    ----------
    text : str
        The sentence.
    kind : {"found", "alone", "not found", "exploratory", "about"}
        Whether a confirmatory test found a difference, also after correction for all questions or only
        within its question, or what else the sentence says.
    """

    text: str
    kind: str


@dataclass(frozen=True)
class Tile:
    """A number of the summary.

    Parameters
    ----------
    number, what, detail : str
        The number, what it counts, and more about it.
    """

    number: str
    what: str
    detail: str = ""


def summarise_study(results: Results) -> list[Headline]:
    """Summarise what was found, with direction, size and p, and what was not found.

    Parameters
    ----------
    results : Results
        The results.

    Returns
    -------
    list of Headline
        Differences between groups in the order of `QUESTIONS`, then what did not differ, exploratory
        findings, and how well ratings are predicted.
    """
    found, open_, exploratory = [], [], []
    for first, second in _pairs(results):
        about = f"{first} and {second}: " if len(_pairs(results)) > 1 else ""
        for name in QUESTIONS:
            table = _own(results, name, first, second)
            if table is None or table.empty:
                continue
            if (table[corrected_p(name)] <= ALPHA).any():
                sentences = SENTENCES[name](table, results) or [_without_sizes(name, table)]
                corrected = _corrected_for_questions(results, name, first, second)
                if corrected <= ALPHA:
                    found += [Headline(about + text, "found") for text in sentences]
                else:
                    alone = f" Not significant after correction for all questions ({p_value(corrected)})."
                    open_ += [Headline(about + text + alone, "alone") for text in sentences]
            elif name in OPEN:
                open_.append(Headline(about + _not_found(name, table), "not found"))
        for name, what in (("range", "Range of the ratings"), ("noise", "Noise of single ratings")):
            table = _own(results, name, first, second)
            if table is not None:
                texts = _compare(table[table["p_corrected"] <= ALPHA], f"{what}: larger in", "points")
                exploratory += [Headline(about + text, "exploratory") for text in texts]
    told = [*found, *open_, *exploratory]
    prediction = _prediction(results)
    return [*told, *([Headline(prediction, "about")] if prediction else [])]


def _pairs(results: Results) -> list[tuple[str, str]]:
    """List the pairs of groups that were compared."""
    answers = results.comparisons.get("answers")
    if answers is None or "group_1" not in answers:
        return []
    return list(dict.fromkeys(zip(answers["group_1"], answers["group_2"], strict=True)))


def _corrected_for_questions(results: Results, name: str, first: str, second: str) -> float:
    """Return the smallest p of a question, corrected for the number of questions."""
    answers = results.comparisons["answers"]
    pair = (answers["group_1"] == first) & (answers["group_2"] == second)
    own = answers.loc[pair & (answers["question"] == name), "p_all_questions"]
    return float(own.iloc[0]) if len(own) else 1.0


def _without_sizes(name: str, table: pd.DataFrame) -> str:
    """Say that a difference was found whose size is not known."""
    called = table[table[corrected_p(name)] <= ALPHA]
    return f"The groups differ in {OPEN[name][0]} for {several(list(map(str, called[TRAIT])))}."


def _own(results: Results, name: str, first: str, second: str) -> pd.DataFrame | None:
    """Select a question's tests of a pair of groups, traits in the study's order."""
    table = results.comparisons.get(name)
    if table is None:
        return None
    order = {trait: place for place, trait in enumerate(results.traits)}
    own = table[(table["group_1"] == first) & (table["group_2"] == second)]
    return own.sort_values(TRAIT, key=lambda traits: traits.map(order), kind="stable")


def _use(table: pd.DataFrame, _results: Results) -> list[str]:
    """Say which group uses which region more; a sentence for each region and direction."""
    called = table[table["p_corrected"] <= ALPHA]
    return [
        text
        for region, own in called.groupby(REGION, sort=False)
        for text in _compare(own, f"{str(region).capitalize()}: used more by", "points per SD")
    ]


def _compare(called: pd.DataFrame, begin: str, unit: str = "") -> list[str]:
    """Say in which group a value is higher, and for which traits; `begin` ends with a preposition."""
    texts = []
    for sign in (1, -1):
        rows = called[called["estimate"] * sign > 0].to_dict("records")
        if rows:
            names = ("group_1", "group_2") if sign > 0 else ("group_2", "group_1")
            first, second = (raters_of(str(rows[0][name])) for name in names)
            cells = [_cell(row, sign, unit if row is rows[0] else "") for row in rows]
            texts.append(f"{begin} {first} than {begin.split()[-1]} {second} for {several(cells)}.")
    return texts


def _cell(row: Any, sign: int, unit: str) -> str:
    """Write a trait with both groups' values, the higher one first, and p."""
    values = [row.get(f"value_{end}") for end in (("1", "2") if sign > 0 else ("2", "1"))]
    size = f"by {decimal(abs(row['estimate']))}"
    if all(map(is_number, values)):
        size = f"{decimal(values[0])} v {decimal(values[1])}"
    return f"{row[TRAIT]} ({size}{f' {unit}' if unit else ''}, {p_value(row['p_corrected'])})"


def _means(table: pd.DataFrame, _results: Results) -> list[str]:
    """Say which group rates higher."""
    called = table[table["p_corrected"] <= ALPHA]
    named = called.rename(columns={"mean_1": "value_1", "mean_2": "value_2"})
    return _compare(named, "Mean ratings: higher in", "points")


def _reliability(table: pd.DataFrame, _results: Results) -> list[str]:
    """Say whose ratings are more reliable."""
    called = table[table["p_corrected"] <= ALPHA]
    named = called.rename(columns={"reliability_1": "value_1", "reliability_2": "value_2"})
    return _compare(named, "Reliability of mean ratings: higher in")


def _performance(table: pd.DataFrame, results: Results) -> list[str]:
    """Say whose ratings are predicted better, with the correlations of the table of performance."""
    called = table[table["p_corrected"] <= ALPHA]
    if results.performance is not None:
        r = results.performance.set_index([GROUP, TRAIT])["r"].to_dict()
        called = called.assign(
            value_1=[r.get(key) for key in zip(called["group_1"], called[TRAIT], strict=True)],
            value_2=[r.get(key) for key in zip(called["group_2"], called[TRAIT], strict=True)],
        )
    return _compare(called, "Predictability (r): better in")


def _pixels(table: pd.DataFrame, _results: Results) -> list[str]:
    """Say for which traits the maps differ."""
    found = table[table[corrected_p("pixels")] <= ALPHA]
    if found.empty:
        return []
    smallest = found.groupby(TRAIT, sort=False)[corrected_p("pixels")].min()
    cells = [f"{trait} ({p_value(p)})" for trait, p in smallest.items()]
    return [f"Maps of the face differ for {several(cells)}; where is for the test of regions to say."]


SENTENCES: dict[str, Callable[[pd.DataFrame, Results], list[str]]] = {
    "means": _means,
    "reliability": _reliability,
    "performance": _performance,
    "use": _use,
    "pixels": _pixels,
}
"""By question: how significant differences are said."""


def _not_found(name: str, table: pd.DataFrame) -> str:
    """Write that nothing was found: the largest estimate, its interval, and what could have been found."""
    what, unit, write = OPEN[name]
    text = f"No difference was found in {what}"
    if "smallest_p" in table and table["smallest_p"].min() > ALPHA:
        return f"{text}; with so few raters none can be found."
    if {"estimate", "ci_low", "ci_high"} <= set(table) and table["estimate"].notna().any():
        row = table.loc[table["estimate"].abs().idxmax()]
        of = f"{row[REGION]}, {row[TRAIT]}" if name == "use" else row[TRAIT]
        text += (
            f": the largest is {write(row['estimate'])}{f' {unit}' if unit else ''} ({of}, 95% CI "
            f"{interval(row['ci_low'], row['ci_high'], write)}, {p_value(row['p_corrected'])})"
        )
    if name == "means" and "detectable" in table and table["detectable"].notna().any():
        text += f"; {decimal(table['detectable'].max())} points would have been found with 80% power"
    return f"{text}."


def _prediction(results: Results) -> str:
    """Say how well the ratings of new faces were predicted."""
    if results.performance is None:
        return ""
    known = results.performance.dropna(subset=["r"])
    better = better_than_chance(known)
    own, missed = known[better], int((~better).sum())
    if own.empty:
        return "No ratings were predicted better than chance: nothing about the face follows."
    text = f"Ratings of faces that the model had not seen are predicted with {_range_of_r(own)}"
    if "ceiling_r" in own and (own["ceiling_r"] > 0).all():
        share = (100 * own["r"] / own["ceiling_r"]).round().astype(int)
        between = f"{share.min()}%" if share.min() == share.max() else f"{share.min()} to {share.max()}%"
        text += f", {between} of the noise ceiling"
    rest = f"; {missed} of {len(known)} models predict no better than chance" if missed else ""
    return f"{text}{rest}."


def _range_of_r(table: pd.DataFrame) -> str:
    """Write the smallest and the largest r."""
    low, high = bounded(table["r"].min()), bounded(table["r"].max())
    return f"r = {low}" if low == high else f"r = {low} to {high}"


def count_results(results: Results) -> list[Tile]:
    """Give the four numbers of the summary.

    Parameters
    ----------
    results : Results
        The results.

    Returns
    -------
    list of Tile
        Raters, images, r beside its ceiling and differences found, as far as they are known.
    """
    study, tiles = results.study, []
    if study.get("n_raters"):
        detail = several(results.groups)
        if results.reliability is not None and "n_raters" in results.reliability:
            numbers = results.reliability.groupby(GROUP)["n_raters"].max()
            detail = ", ".join(f"{count(numbers[g])} {g}" for g in results.groups if g in numbers)
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
        tests = f"in {count(own['n_tests'].sum())} tests of {len(own)} questions, corrected for both"
        number = own.loc[own["p_all_questions"] <= ALPHA, "n_significant"].sum()
        tiles.append(Tile(count(number), "differences between groups", tests))
    return tiles


def say_planted(results: Results) -> str:
    """Say for a simulated study which planted differences were found, and what else was called.

    Parameters
    ----------
    results : Results
        The results.

    Returns
    -------
    str
        A sentence or two; empty where nothing is known of the truth.
    """
    table = compare_with_planted(results)
    if table is None:
        return ""
    planted = table["planted"] != 0
    called = table["p_corrected"] <= ALPHA
    right = called & planted & (table["planted"] * table["estimate"] > 0)
    cells = [f"{row[REGION]} for {row[TRAIT]}" for row in table[planted].to_dict("records")]
    if not cells:
        return (
            "The truth of this simulated study is known. Nothing was planted; of "
            f"{len(table)} pairs of region and trait, {count(called.sum())} were called different."
        )
    return (
        f"The truth of this simulated study is known. Planted were {len(cells)} differences "
        f"({several(cells)}): {count(right.sum())} of {len(cells)} were found, in the right direction; of "
        f"the other {count((~planted).sum())} pairs of region and trait, {count((called & ~planted).sum())} "
        "were called different."
    )


def compare_with_planted(results: Results) -> pd.DataFrame | None:
    """Put what was planted in a simulated study beside what was found.

    Parameters
    ----------
    results : Results
        The results.

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
    turned = 1 if (tests["group_1"] == first).all() else -1  # the truth is that of the study's first group
    planted = [turned * of_cell.get(cell, 0.0) for cell in zip(tests[TRAIT], tests[REGION], strict=True)]
    order = {trait: place for place, trait in enumerate(results.traits)}
    return tests.assign(planted=planted).sort_values(TRAIT, key=lambda one: one.map(order), kind="stable")
