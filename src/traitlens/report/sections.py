"""The report's sections: tables as text, figures with captions, and why a part is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from traitlens.columns import GROUP, TRAIT
from traitlens.report.answers import tell_plan, tell_quality
from traitlens.report.checks import check_folds, check_ledger, tabulate_ledger
from traitlens.report.colouring import PERCENTILE, SMOOTHING
from traitlens.report.drawings import Drawing
from traitlens.report.findings import not_predicted, say_confusions, say_in_apa_style
from traitlens.report.known_tables import print_tables
from traitlens.report.map_checks import summarise
from traitlens.report.numbers import bounded, count, decimal, interval, is_number, probability, several
from traitlens.report.results import Results
from traitlens.report.tables import Table, leave_out_empty, tabulate_import, tabulate_ratings
from traitlens.report.wording import describe_signs


@dataclass(frozen=True)
class Shown:
    """A figure with its caption.

    Parameters
    ----------
    drawing : Drawing
        The figure.
    caption : str
        What it shows and how to read it.
    alt : str
        What it shows, for those who cannot see it.
    """

    drawing: Drawing
    caption: str
    alt: str


@dataclass
class Section:
    """One part of the report.

    Parameters
    ----------
    key : str
        Its anchor.
    title : str
        Its heading.
    paragraphs, notes : list of str
        Text before its figures; sentences about what is missing.
    figures : list of Shown
        Figures.
    tables : list of Table
        Tables.
    apa : list of str
        Its tests as sentences for a paper.
    """

    key: str
    title: str
    paragraphs: list[str] = field(default_factory=list)
    figures: list[Shown] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    apa: list[str] = field(default_factory=list)


Drawings = Mapping[str, Sequence[Drawing]]


def make_sections(results: Results, drawings: Drawings) -> list[Section]:
    """Put the report's parts together.

    Parameters
    ----------
    results : Results
        The results.
    drawings : mapping
        Drawings by family.

    Returns
    -------
    list of Section
        Ratings, prediction, relevance, comparison, checks.
    """
    sections = [
        _ratings(results, drawings),
        _prediction(results, drawings),
        _relevance(results, drawings),
        _comparison(results, drawings),
        _checks(results, drawings),
    ]
    for section in sections:
        if section.key in STAGES:
            section.notes += explain_missing(results, section.key)
        section.apa = say_in_apa_style(results, section.key)
    return sections


def _show(drawings: Drawings, family: str, caption: str, alt: str) -> list[Shown]:
    """Give all drawings of a family their captions; `{about}` stands for the trait."""
    return [
        Shown(drawing, caption.replace("{about}", drawing.about), alt.replace("{about}", drawing.about))
        for drawing in drawings.get(family, [])
    ]


def _rows(table: pd.DataFrame, results: Results) -> list[dict[Any, Any]]:
    """List a table's rows by trait and group, in the study's order."""
    order = {(t, g): (i, j) for i, t in enumerate(results.traits) for j, g in enumerate(results.groups)}
    rows = table.to_dict("records")
    return sorted(rows, key=lambda row: order.get((row[TRAIT], row[GROUP]), (len(order), 0)))


def _ratings(results: Results, drawings: Drawings) -> Section:
    """How reliable the ratings are, and how the groups' ratings differ."""
    section = Section("ratings", "Ratings")
    table = results.reliability
    if table is None:
        section.notes.append(
            "Reliability and noise ceilings are left out: they need the ratings of single raters, and these "
            "results hold none."
        )
    else:
        section.paragraphs.append(
            "The noise ceiling is the highest correlation that a perfect model could reach, given how far "
            "the raters of a group agree. It is the square root of the split-half reliability "
            "(Spearman–Brown); the reliability itself is the ceiling of R²."
        )
        section.figures += _show(
            drawings,
            "reliability",
            "Noise ceiling of r for each trait and group, with 95% intervals.",
            "Dots with intervals: noise ceiling for each trait and group; the numbers are in the table "
            "below.",
        )
        rows = [
            [
                row[TRAIT], row[GROUP], count(row.get("n_raters")), count(row.get("n_images")),
                bounded(row.get("ceiling_r2")), bounded(row.get("ceiling_r")),
                interval(row.get("ceiling_r_low"), row.get("ceiling_r_high")),
                bounded(row.get("icc_2_1")), bounded(row.get("icc_2_k")), bounded(row.get("alpha")),
            ]
            for row in _rows(table, results)
        ]  # fmt: skip
        columns = ["Trait", "Group", "Raters", "Images", "Reliability (ceiling of R²)", "Ceiling of r",
                   "95% interval", "ICC(2,1)", "ICC(2,k)", "Cronbach’s α"]  # fmt: skip
        section.tables.append(leave_out_empty("Agreement of the raters.", columns, rows))
    if results.targets is None:
        section.notes.append("Mean ratings are left out: the results hold no ratings/targets.csv.")
    else:
        section.tables.append(tabulate_ratings(results.targets, results))
    section.figures += _show(
        drawings,
        "trait_space",
        "Trait space: how the traits’ mean ratings correlate over images in each group. Red: images rated "
        "high on one are rated high on the other; blue: low.",
        "Matrices of correlations between traits, one for each group.",
    )
    section.tables += print_tables(results, "ratings")
    told, tables = tell_quality(results)
    section.paragraphs += told
    section.tables += tables + tabulate_import(results)
    return section


def _prediction(results: Results, drawings: Drawings) -> Section:
    """How well the readouts predict."""
    section = Section("prediction", "Prediction")
    if results.performance is None:
        section.notes.append("This part is left out: the results hold no performance.csv yet.")
        return section
    section.paragraphs.append(
        "Every prediction is out of sample: it was made by a model that saw no image of the same identity. "
        "Where the groups’ raters agree to different degrees, their ceilings differ, and so does what can "
        "be reached."
    )
    section.figures += _show(
        drawings,
        "performance",
        "Correlation of predicted and observed mean ratings (dots) with 95% intervals (lines) and noise "
        "ceilings (bars), for each trait and group.",
        "Dots with intervals and ceilings for each trait and group; the numbers are in the table below.",
    )
    rows = [
        [
            row[TRAIT], row[GROUP], count(row.get("n_images")), count(row.get("n_identities")),
            bounded(row.get("r")), interval(row.get("ci_low"), row.get("ci_high")), probability(row.get("p")),
            probability(row.get("p_corrected")), bounded(row.get("r2")), decimal(row.get("rmse")),
            bounded(row.get("ceiling_r")), _reached(row),
        ]
        for row in _rows(results.performance, results)
    ]  # fmt: skip
    columns = ["Trait", "Group", "Images", "Identities", "r", "95% interval", "p", "p (corrected)", "R²",
               "RMSE", "Ceiling of r", "r / ceiling"]  # fmt: skip
    section.tables.append(
        leave_out_empty(
            f"Out-of-sample performance. RMSE is in rating points. {_say_intervals(results)}", columns, rows
        )
    )
    if "ceiling_r" not in results.performance or results.performance["ceiling_r"].isna().all():
        section.notes.append("Noise ceilings are left out: they need the ratings of single raters.")
    caption = (
        "Observed against predicted mean ratings, one dot per image; on the dashed line both are equal. "
        "Predictions lie closer together than ratings because a model that is unsure stays near the mean."
    )
    section.figures += _show(
        drawings, "scatter", caption, "Scatter plots of observed against predicted ratings."
    )
    section.tables += print_tables(results, "prediction")
    return section


def _say_intervals(results: Results) -> str:
    """Describe what the intervals of r are intervals of."""
    assert results.performance is not None
    kinds = set(results.performance.get("interval", pd.Series(dtype=object)).dropna())
    if kinds == {"new faces"}:
        return "Intervals and p are for new faces with refitted readouts; p is corrected over the table."
    if "these readouts" in kinds:
        return (
            "Intervals are for new faces and these readouts, held fixed, where p is missing: such readouts "
            "cannot be refitted for every permutation."
        )
    return ""


def _reached(row: Mapping[Any, Any]) -> str:
    """Write r as a share of its ceiling."""
    r, ceiling = row.get("r"), row.get("ceiling_r")
    if not (is_number(r) and is_number(ceiling)) or not (float(ceiling or 0) > 0 and float(r or 0) > 0):
        return "–"
    return f"{100 * float(r or 0) / float(ceiling or 1):.0f}%".replace("-", "−")


_SCALE = (
    f"All maps of one figure share one scale, symmetric around zero; it ends at the {PERCENTILE:g}th "
    "percentile of their absolute values, and what lies beyond has the end’s colour. Maps were smoothed "
    f"(Gaussian, SD = {SMOOTHING:g} pixels). Colours of different figures must not be compared: read the "
    "numbers at their bars."
)


def _relevance(results: Results, drawings: Drawings) -> Section:
    """Which pixels carried the predictions."""
    section = Section("relevance", "Relevance")
    if results.averages is None and results.maps is None:
        section.notes.append("This part is left out: the results hold no relevance maps.")
        return section
    section.paragraphs += [describe_signs(results), _SCALE]
    missed = not_predicted(results)
    if missed:
        section.notes.append(
            f"Maps of {several(missed)} show readouts that predict no better than chance: nothing about "
            "the face follows from them."
        )
    if "average_maps" in drawings:
        section.paragraphs.append(
            "In average maps relevance runs along the prediction: red pixels raised the prediction where "
            "it was high and lowered it where it was low; blue pixels did the opposite. A group’s average "
            "map sums to about the standard deviation of its predictions."
        )
    section.figures += _show(
        drawings,
        "overview",
        "All average maps on one scale: a column for each trait, a row for each group"
        f"{', and their difference' * (len(results.groups) == 2)}, as Cao et al. (2023) arrange them.",
        "Average relevance maps of all traits and groups over the average face.",
    )
    section.figures += _show(
        drawings,
        "average_maps",
        f"{{about}}: average maps over the average "
        f"face{', and their difference' * (len(results.groups) == 2)}.",
        "Average relevance maps of {about} over the average face.",
    )
    if results.averages is None:
        section.notes.append("Average maps are left out: the results hold no average_maps.zarr.")
    if results.maps is None:
        section.notes.append("Maps of single images are left out: they were not kept in these results.")
        return section
    faces = _show(
        drawings,
        "faces",
        "{about}: the faces with the lowest (left) and the highest (right) predicted ratings, averaged "
        "over groups, and each group’s maps.",
        "Faces with the lowest and highest predictions of {about}, and their relevance maps.",
    )
    averages = _show(
        drawings,
        "extremes",
        "{about}: averages over the images with the lowest and with the highest predicted ratings, and "
        "over their maps.",
        "Averages of the images with the lowest and highest predictions of {about}, with average maps.",
    )
    section.figures += faces + averages
    if not results.publishable:
        section.notes.append(
            "Single faces are left out: no image of this study is marked as may_publish. Only averages "
            "over several images are shown."
        )
    return section


def _comparison(results: Results, drawings: Drawings) -> Section:
    """Whether the groups use faces differently."""
    section = Section("comparison", "Comparison of groups")
    if results.comparisons:
        told, tables = tell_plan(results)
        section.paragraphs += told
        section.tables += tables
    if "shares" not in results.use:
        section.notes.append(
            "The use of regions is left out: it needs single raters, and landmarks of every face."
        )
    section.paragraphs += say_confusions(results)
    section.figures += _show(
        drawings,
        "utilisation",
        "Cue utilisation: how many rating points each group’s ratings move with one standard deviation of "
        "what a region says about the trait to all raters, with 95% intervals over raters. Shaded: the "
        "groups use the region differently, beyond range and noise.",
        "Dots with intervals: utilisation by region, trait and group; the numbers are in cues/groups.csv.",
    )
    section.figures += _show(
        drawings,
        "region_shares",
        "Share of each region in the variance of a group’s mean ratings that all regions explain (product "
        "measure), with 95% intervals over identities; lines: the region’s area. Traits that are not "
        "predicted better than chance are left out.",
        "Bars with intervals: share of the explained variance by region, trait and group.",
    )
    section.figures += _show(
        drawings,
        "region_differences",
        f"Difference between the groups ({' − '.join(results.compared)}) in the use of each region at the "
        "same range of ratings, with 95% intervals over raters and faces; filled dots are significant "
        "after correction.",
        "Dots with intervals: group difference by region and trait; the numbers are in the table below.",
    )
    section.figures += _show(
        drawings,
        "pixel_differences",
        "Differences between the groups’ maps on the template face. Outlined: significant areas (p ≤ .05, "
        "corrected over pixels) where raters were exchanged between groups. The test tells that the maps "
        "differ; it locates neither border nor peak. Hair and background were not tested.",
        "Maps of differences by trait, with outlines round significant areas.",
    )
    section.figures += _show(
        drawings,
        "transfer",
        "Transfer between traits: how well the readout of one trait (rows) predicts the ratings of another "
        "(columns), out of fold; on the diagonal, its own.",
        "Matrices of correlations of readouts with the ratings of other traits, one for each group.",
    )
    section.tables += print_tables(results, "comparison")
    return section


STAGES = {
    "ratings": ("reliability", "quality", "agreement", "trait_space", "compare_trait_space"),
    "relevance": ("region_labels", "maps"),
    "comparison": (
        "compare_ratings",
        "transfer_groups",
        "rater_regions",
        "utilisation",
        "compare_use",
        "compare_performance",
        "compare_variables",
        "compare_pixels",
        "answers",
    ),
    "checks": ("altered_faces", "check_association"),
}
"""The analyses of each part of the report, by the names of their stages."""


def explain_missing(results: Results, part: str) -> list[str]:
    """Write which analyses of a part were left out, and why.

    Parameters
    ----------
    results : Results
        The results.
    part : str
        Key of a section.

    Returns
    -------
    list of str
        A sentence for each reason.
    """
    labels: dict[str, list[str]] = {}
    for row in results.study.get("left_out", []):
        if row["stage"] in STAGES[part]:
            labels.setdefault(str(row["reason"]), []).append(f"“{row['label']}”")
    return [f"Left out: {several(names)}, because {reason}." for reason, names in labels.items()]


def _checks(results: Results, drawings: Drawings) -> Section:
    """Whether the results add up."""
    section = Section("checks", "Checks")
    if results.predictions is not None:
        section.paragraphs.append(check_folds(results.predictions))
    ledger = check_ledger(results.maps, results.traits, results.groups)
    if ledger is None:
        section.notes.append("The ledger of the maps is left out: no maps of single images were kept.")
    else:
        section.paragraphs.append(
            "Ledger of the maps: the prediction’s deviation from the mean rating of the training images is "
            "what the pixels carry plus what leaks into the network’s biases. The nearer the leak is to "
            "nothing, the more fully the maps account for the predictions."
        )
        section.tables.append(tabulate_ledger(ledger))
    if "null_maps" in results.checks:
        section.paragraphs += summarise(results.checks)
        section.figures += _show(
            drawings,
            "map_checks",
            "Left: how alike the maps are to maps of the same faces by readouts fitted on permuted ratings, "
            "by shuffled readouts and by a shuffled network; near 1, a map shows the face, not the ratings. "
            "Right: how much further the prediction moves when patches are replaced in the order of the map "
            "(dots, with standard errors over images) than in random order or from the middle outwards.",
            "Dots: similarity with null maps and gain of replacing patches, for each trait and group; the "
            "numbers are in the tables below.",
        )
    elif results.maps is not None:
        section.notes.append(
            "Null maps, flipping of patches and other methods are left out; “traitlens sanity” adds them."
        )
    section.tables += print_tables(results, "checks")
    notices = [str(notice) for notice in results.study.get("notices", [])]
    if notices:
        section.paragraphs.append(f"When the study was read: {several(notices)}.")
    return section
