"""The report's summary: four numbers, a caution, and a note on how to read it."""

from dataclasses import dataclass

import pandas as pd

from traitlens.columns import GROUP
from traitlens.comparison.answers import ALPHA
from traitlens.report.numbers import bounded, count, several
from traitlens.report.results import Results

CAUTION = (
    "These are impressions that raters form of pictures, never facts about the persons shown. All "
    "tests generalise to other raters; only those of the use of regions also generalise to other faces."
)
SIMULATED = "The ratings of this study were simulated: no person gave them."
NO_PLAN = "No plan was frozen before the groups were compared: read every test as exploratory."


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


def explain_findings(results: Results) -> str:
    """Describe how to read the findings.

    Returns
    -------
    str
        A sentence or two; empty where groups were not compared.
    """
    if "answers" not in results.comparisons:
        return ""
    return (
        "Points per SD: by how many rating points a group’s ratings rise when the cue of a region (the "
        "rating that raters of all groups would give from that region) rises by one standard deviation. "
        "Tests take raters as a random "
        "factor. p values are corrected for all tests of a question; “yes” below means that a difference "
        "is also significant after correction for the number of questions. All other tests of this report "
        "are exploratory."
    )
