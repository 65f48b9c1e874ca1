"""Sections of the report: questions with answers, figures, tables, and reasons for missing parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from traitlens.columns import GROUP, TRAIT
from traitlens.report import variance_sources
from traitlens.report.checks import check_conservation, check_folds, tabulate_conservation
from traitlens.report.colouring import PERCENTILE, SMOOTHING
from traitlens.report.drawings import Drawing
from traitlens.report.experiment_results import (
    EXPERIMENT_ALT,
    EXPERIMENT_CAPTION,
    describe_experiment,
    tabulate_experiment,
)
from traitlens.report.face_types import caption_for, describe_face_types
from traitlens.report.findings import Finding, describe_achievement, not_predicted
from traitlens.report.known_tables import CHECKS, print_tables, print_unknown_tables
from traitlens.report.map_check_results import summarise
from traitlens.report.numbers import bounded, count, decimal, interval, is_number, probability, several
from traitlens.report.paper_sentences import write_tests
from traitlens.report.planted import describe_confusions, describe_planted, describe_within_regions
from traitlens.report.rater_models import CAPTION, describe_rater_models, tabulate_rater_models
from traitlens.report.rating_quality import describe_plan, describe_quality
from traitlens.report.results import Results
from traitlens.report.text_tables import Table, leave_out_empty, tabulate_import, tabulate_ratings
from traitlens.report.trait_components import describe_components, tabulate_loadings
from traitlens.report.variance_sources import describe_variances, tabulate_variance_sources
from traitlens.report.wording import describe_signs


@dataclass(frozen=True)
class Shown:
    """A figure with its caption.

    Parameters
    ----------
    drawing : Drawing
        The figure.
    caption : str
        Caption.
    alt : str
        Alternative text for screen readers.
    number : int
        Number of the figure on the page.
    """

    drawing: Drawing
    caption: str
    alt: str
    number: int = 0


@dataclass
class Block:
    """A question of a section, with its answer, figures and tables.

    Parameters
    ----------
    key, heading : str
        Anchor and heading.
    paragraphs, notes : list of str
        The answer; notes on missing parts.
    figures : list of Shown
        Figures.
    tables : list of Table
        Tables, which are folded.
    """

    key: str
    heading: str
    paragraphs: list[str] = field(default_factory=list)
    figures: list[Shown] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def is_empty(self) -> bool:
        """Return whether the block has no content."""
        return not (self.paragraphs or self.figures or self.tables or self.notes)


@dataclass
class Section:
    """A section of the report.

    Parameters
    ----------
    key, title : str
        Anchor and heading.
    blocks : list of Block
        Questions, in order.
    notes : list of str
        Notes on missing parts.
    apa : list of str
        Tests as sentences for a paper.
    """

    key: str
    title: str
    blocks: list[Block] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    apa: list[str] = field(default_factory=list)


Drawings = Mapping[str, Sequence[Drawing]]


def make_sections(results: Results, drawings: Drawings, findings: Sequence[Finding]) -> list[Section]:
    """Return the sections of the report.

    Returns
    -------
    list of Section
        Sections in the order of the page, with figures numbered from 1.
    """
    sections = [
        _ratings(results, drawings, findings),
        _prediction(results, drawings, findings),
        _comparison(results, drawings, findings),
        _relevance(results, drawings),
        *_experiment(results, drawings),
        _checks(results, drawings),
    ]
    number = 0
    for section in sections:
        section.blocks = [block for block in section.blocks if not block.is_empty()]
        if section.key in STAGES:
            section.notes += explain_missing(results, section.key)
        section.apa = write_tests(results, section.key)
        for block in section.blocks:
            block.figures = [replace(shown, number=number + i) for i, shown in enumerate(block.figures, 1)]
            number += len(block.figures)
    return sections


def _ask(findings: Sequence[Finding], key: str, heading: str = "") -> Block:
    """Return a block with the answer to a question."""
    own = [finding for finding in findings if finding.key == key]
    question = own[0].question if own else heading
    return Block(f"question-{key}", question, [finding.answer for finding in own])


def _show(drawings: Drawings, family: str, caption: str, alt: str) -> list[Shown]:
    """Return the figures of a family with captions, in which `{about}` stands for the trait."""
    return [
        Shown(drawing, caption.replace("{about}", drawing.about), alt.replace("{about}", drawing.about))
        for drawing in drawings.get(family, [])
    ]


def _rows(table: pd.DataFrame, results: Results) -> list[dict[Any, Any]]:
    """Return a table's rows by trait and group, in the study's order."""
    order = {(t, g): (i, j) for i, t in enumerate(results.traits) for j, g in enumerate(results.groups)}
    rows = table.to_dict("records")
    return sorted(rows, key=lambda row: order.get((row[TRAIT], row[GROUP]), (len(order), 0)))


def _ratings(results: Results, drawings: Drawings, findings: Sequence[Finding]) -> Section:
    """Return the section on ratings and their reliability."""
    section = Section("ratings", "Ratings")
    method = Block("method", "What was done")
    agreement = Block("agreement", "How far do the raters agree?")
    variances = Block("variances", "How much of the variance of ratings do raters share?")
    means = _ask(findings, "means", "Do the groups differ in their mean ratings?")
    reliability = _ask(findings, "reliability", "Do the groups differ in how reliable their ratings are?")
    space = Block("trait-space", "How do the traits correlate?")
    quality = Block("quality", "How good are the ratings?")
    section.blocks = [method, agreement, variances, means, reliability, space, quality]
    method.figures += _show(
        drawings,
        "method",
        "The method. Faces are rated by each group (B: distribution of the mean ratings of the first trait). "
        "A network that was trained on photographs turns each face into numbers; a regression for each group "
        "and trait predicts the ratings of persons that it has not seen (D). Relevance is propagated back to "
        "the pixels (E). Groups are compared with raters as a random factor (F: schema).",
        "Six steps from faces and ratings to maps and tests.",
    )
    if results.reliability is None:
        section.notes.append(
            "Reliability and noise ceilings are left out: they need the ratings of single raters, and these "
            "results contain none."
        )
    else:
        agreement.paragraphs.append(
            "The noise ceiling is the highest correlation that a perfect model could reach, given how far "
            "the raters of a group agree. It is the square root of the split-half reliability "
            "(Spearman–Brown); the reliability itself is the ceiling of R²."
        )
        agreement.tables.append(_tabulate_agreement(results.reliability, results))
    agreement.figures += _show(
        drawings,
        "reliability",
        "Noise ceiling of r for each trait and group, with 95% intervals.",
        "Dots with intervals: noise ceiling for each trait and group; the numbers are in the table below.",
    )
    if results.targets is None:
        section.notes.append("Mean ratings are left out: the results contain no ratings/targets.csv.")
    else:
        means.tables.append(tabulate_ratings(results.targets, results))
    variances.paragraphs += describe_variances(results)
    variances.figures += _show(
        drawings, "variances", variance_sources.CAPTION, "Bars of shares; the numbers are in the table below."
    )
    variances.tables += tabulate_variance_sources(results) + print_tables(results, ("taste",))
    means.tables += print_tables(results, ("means", "missing"))
    reliability.tables += print_tables(results, ("reliability", "agreement"))
    space.figures += _show(
        drawings,
        "trait_space",
        "Trait space: how the traits’ mean ratings correlate over images in each group. Red: images rated "
        "high on one are rated high on the other; blue: low.",
        "Matrices of correlations between traits, one for each group.",
    )
    space.paragraphs += describe_components(results)
    space.tables += tabulate_loadings(results) + print_tables(results, ("trait_space", "components"))
    quality.paragraphs, quality.tables = describe_quality(results)
    quality.tables += tabulate_import(results)
    return section


def _tabulate_agreement(table: pd.DataFrame, results: Results) -> Table:
    """Tabulate the reliability of each trait and group."""
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
    made = leave_out_empty("Agreement of the raters.", columns, rows)
    return replace(made, file="ratings/reliability.csv")


def _prediction(results: Results, drawings: Drawings, findings: Sequence[Finding]) -> Section:
    """Return the section on prediction."""
    section = Section("prediction", "Prediction")
    if results.performance is None:
        section.notes.append("This part is left out: the results contain no performance.csv yet.")
        return section
    how_well = _ask(findings, "prediction", "How well are the ratings predicted from the pictures?")
    compared = _ask(findings, "performance", "Do the groups differ in how predictable their ratings are?")
    section.blocks = [how_well, compared]
    how_well.paragraphs.append(
        "Every prediction is out of sample: it was made by a model that saw no image of the same identity. "
        "Where the groups’ raters agree to different degrees, their ceilings differ, and so does what can "
        "be reached."
    )
    how_well.figures += _show(
        drawings,
        "performance",
        "Correlation of predicted and observed mean ratings (dots) and noise ceilings (bars), for each trait "
        "and group. The nearer a dot is to its bar, the less is left to explain. Lines: 95% intervals for "
        "other persons shown and the same raters. They do not test whether groups differ: that test, below, "
        "takes the raters as its sample, and the groups rated the same faces.",
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
    caption = f"Out-of-sample performance. RMSE is in rating points. {_say_intervals(results)}"
    how_well.tables.append(replace(leave_out_empty(caption, columns, rows), file="performance.csv"))
    if "ceiling_r" not in results.performance or results.performance["ceiling_r"].isna().all():
        section.notes.append("Noise ceilings are left out: they need the ratings of single raters.")
    how_well.figures += _show(
        drawings,
        "scatter",
        "Observed against predicted mean ratings, one dot per image; on the dashed line both are equal. "
        "Predictions vary less than ratings because a model that is unsure predicts values near the mean.",
        "Scatter plots of observed against predicted ratings.",
    )
    how_well.figures += _show(
        drawings,
        "learning_curves",
        "Training error by epoch of the networks of Cao et al. (2023): mean squared error over images, means "
        "(lines) and ranges (areas) over folds. The published scripts stop at epoch 450. Low training errors "
        "do not imply good predictions of new faces.",
        "Curves of the training error by epoch for each trait and group.",
    )
    compared.tables += print_tables(results, ("performance", "performance_matched"))
    return section


def _say_intervals(results: Results) -> str:
    """Describe what the intervals of r refer to."""
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
    """Format r divided by its ceiling."""
    r, ceiling = row.get("r"), row.get("ceiling_r")
    if not (is_number(r) and is_number(ceiling)) or not (float(ceiling or 0) > 0 and float(r or 0) > 0):
        return "–"
    return bounded(float(r or 0) / float(ceiling or 1))


_SCALE = (
    f"The scale of a figure is symmetric around zero and ends at the {PERCENTILE:g}th percentile of the "
    "absolute values; larger values have the colour of the end. Maps were smoothed (Gaussian, SD = "
    f"{SMOOTHING:g} pixels). Compare numbers between figures, not colours."
)


def _relevance(results: Results, drawings: Drawings) -> Section:
    """Return the section on relevance maps."""
    section = Section("relevance", "Relevance maps")
    if results.averages is None and results.maps is None:
        section.notes.append("This part is left out: the results contain no relevance maps.")
        return section
    average = Block("average-maps", "Where in the picture do the predictions come from?")
    single = Block("single-faces", "Single faces")
    section.blocks = [average, single]
    average.paragraphs += [describe_signs(results), _SCALE]
    missed = not_predicted(results)
    if missed:
        average.notes.append(
            f"Maps of {several(missed)} show readouts that predict no better than chance: nothing about "
            "the face follows from them."
        )
    difference = ""
    if len(results.groups) == 2:
        first, second = results.groups
        difference = (
            f" In the difference, red means more in the group {first}, blue more in the group {second}; "
            "only the tests say whether groups differ."
        )
    average.figures += _show(
        drawings,
        "overview",
        "Average maps of all traits on one scale: a column for each trait, a row for each group, as Cao et "
        "al. (2023) arrange them. Red pixels raised the prediction where it was high and lowered it where "
        "it was low; blue pixels did the opposite. A group’s average map sums to about the standard "
        f"deviation of its predictions.{difference}",
        "Average relevance maps of all traits and groups over the average face.",
    )
    average.figures += _show(
        drawings,
        "average_maps",
        "{about}: average maps over the average face. Red pixels raised the prediction where it was high "
        f"and lowered it where it was low; blue pixels did the opposite.{difference}",
        "Average relevance maps of {about} over the average face.",
    )
    if results.averages is None:
        section.notes.append("Average maps are left out: the results contain no average_maps.zarr.")
    if results.maps is None:
        section.notes.append("Maps of single images are left out: they are not stored in these results.")
        return section
    single.figures += _show(
        drawings,
        "faces",
        "{about}: the faces with the lowest (left) and the highest (right) predicted ratings, averaged "
        "over groups, and each group’s maps. Red pixels raised, blue pixels lowered the rating predicted "
        "for this face.",
        "Faces with the lowest and highest predictions of {about}, and their relevance maps.",
    )
    single.figures += _show(
        drawings,
        "profile",
        "Profile of the face with the highest predicted rating of the first trait: rating points that each "
        "region adds to each group’s predicted ratings, relative to the mean of the training images (cues, "
        "from regional readouts of each group).",
        "A face, and bars of the contribution of each region to each group’s predicted ratings.",
    )
    single.figures += _show(
        drawings,
        "extremes",
        "{about}: averages over the images with the lowest and with the highest predicted ratings, and "
        "over their maps. Red pixels raised, blue pixels lowered the predicted ratings.",
        "Averages of the images with the lowest and highest predictions of {about}, with average maps.",
    )
    if not results.publishable:
        section.notes.append(
            "Single faces are left out: no image of this study is marked as may_publish. Only averages "
            "over several images are shown."
        )
    return section


def _comparison(results: Results, drawings: Drawings, findings: Sequence[Finding]) -> Section:
    """Return the section on the use of the face."""
    section = Section("comparison", "Use of the face")
    plan = Block("plan", "What was planned")
    shares = _ask(findings, "shares", "Which parts of the face do the ratings rest on?")
    use = _ask(findings, "use", "Do the groups use the regions of the face differently?")
    planted = Block("planted", "What was planted, and what was found")
    strength = Block("range-and-noise", "Do the groups differ in range and noise?")
    pixels = _ask(findings, "pixels", "Do the relevance maps of the groups differ?")
    types = Block("face-types", "Which faces drive the difference?")
    models = Block("rater-models", "What goes with groups and other variables of the raters?")
    transfer = Block("transfer", "Do models of one group or trait predict another?")
    others = Block("other-tests", "Other tests")
    section.blocks = [shares, use, planted, strength, pixels, types, models, transfer, others, plan]
    if results.comparisons:
        plan.paragraphs, plan.tables = describe_plan(results)
    if "shares" not in results.use:
        section.notes.append(
            "The use of regions is left out: it needs single raters, and landmarks of every face."
        )
    shares.figures += _show(
        drawings,
        "region_shares",
        "Share of each region in the variance of a group’s mean ratings that all regions explain (product "
        "measure), with 95% intervals for other persons shown; grey lines: the region’s area. A "
        "bar beyond its line means that the region counts for more than its area. Traits that are not "
        "predicted better than chance are left out.",
        "Bars with intervals: share of the explained variance by region, trait and group.",
    )
    first, second = [*results.compared, "first group", "second group"][:2]
    use.figures += _show(
        drawings,
        "region_differences",
        f"Difference between the groups ({first} − {second}) in the use of each region at the same range of "
        f"ratings, with 95% intervals over raters and faces; right of zero: used more by {first}; left: by "
        f"{second}. Filled dots are significant after correction for all regions and traits; the intervals "
        "are not corrected, so one may exclude zero beside an open dot. Regions are in the order of their "
        "largest difference, here and in all figures and tables.",
        "Dots with intervals: group difference by region and trait; the numbers are in the table below.",
    )
    use.figures += _show(
        drawings,
        "utilisation",
        "Cue utilisation: how many rating points each group’s ratings rise where a region looks one standard "
        "deviation more like the trait to all raters, with 95% intervals over raters. Shaded: the groups "
        "use the region differently, beyond range and noise. Unlike in the summary, the figure before and "
        "the table, values are not adjusted to the same range of ratings, and so are a little different.",
        "Dots with intervals: utilisation by region, trait and group; the numbers are in cues/groups.csv.",
    )
    use.tables += print_tables(results, ("use",))
    use.paragraphs += [
        *describe_within_regions(results),
        *describe_confusions(results),
        *describe_achievement(results),
    ]
    message = describe_planted(results)
    planted.paragraphs += [message] if message else []
    planted.figures += _show(
        drawings,
        "planted",
        "What was planted in this simulated study (left: difference of the groups’ weights) beside what was "
        "found (right: difference in use, with 95% intervals over raters and faces). Filled: significant "
        "after correction. Signs should agree; units differ.",
        "Bars of planted differences beside dots of found differences, for each pair of region and trait.",
    )
    strength.paragraphs += [finding.answer for finding in findings if finding.key in ("range", "noise")]
    strength.tables += print_tables(results, ("range", "noise"))
    if strength.tables:
        strength.paragraphs.append(
            "Further tests, exploratory. If range and noise were not accounted for, raters who use more of "
            "the scale, or whose ratings are noisier, would seem to use every region differently."
        )
    pixels.figures += _show(
        drawings,
        "pixel_differences",
        f"Differences between the groups’ maps on the template face; red: more in the group {first}, blue: "
        f"more in the group {second}. Outlined: significant areas (p ≤ .05, permutation test of raters, "
        "corrected over pixels and traits). The test shows that maps differ; it does not locate borders or "
        "peaks. Hair and background were not tested.",
        "Maps of differences by trait, with outlines round significant areas.",
    )
    pixels.tables += print_tables(results, ("pixels",))
    types.paragraphs += describe_face_types(results)
    types.figures += _show(
        drawings, "face_types", caption_for(results), "Dots with intervals; numbers in the table below."
    )
    types.tables += print_tables(results, ("difference", "face_types"))
    models.paragraphs += describe_rater_models(results)
    models.figures += _show(
        drawings,
        "rater_models",
        CAPTION,
        "Dots with intervals: effects by trait; numbers in the table below.",
    )
    models.tables += tabulate_rater_models(results)
    transfer.figures += _show(
        drawings,
        "transfer",
        "Transfer between traits: how well the readout of one trait (rows) predicts the ratings of another "
        "(columns), out of fold; on the diagonal, its own.",
        "Matrices of correlations of readouts with the ratings of other traits, one for each group.",
    )
    transfer.tables += print_tables(results, ("transfer_groups",))
    others.tables += print_tables(results, ("variables",)) + print_unknown_tables(results, "comparison")
    return section


STAGES = {
    "ratings": (
        "reliability",
        "variances",
        "compare_taste",
        "quality",
        "agreement",
        "trait_space",
        "compare_trait_space",
    ),
    "relevance": ("region_labels", "maps"),
    "comparison": (
        "compare_ratings",
        "transfer_groups",
        "common_penalties",
        "utilisation",
        "compare_use",
        "compare_performance",
        "compare_variables",
        "compare_face_types",
        "compare_difference",
        "rater_models",
        "compare_pixels",
        "answers",
    ),
    "checks": ("altered_faces", "check_association"),
}
"""Stages whose results a section shows, to report those that were left out."""


def explain_missing(results: Results, part: str) -> list[str]:
    """Return sentences on which analyses of a section were left out, and why."""
    labels: dict[str, list[str]] = {}
    for row in results.study.get("left_out", []):
        if row["stage"] in STAGES[part]:
            labels.setdefault(str(row["reason"]), []).append(f"“{row['label']}”")
    return [f"Left out: {several(names)}, because {reason}." for reason, names in labels.items()]


def _experiment(results: Results, drawings: Drawings) -> list[Section]:
    """Return the section on the experiment with altered faces, if there was one."""
    if not {"effects", "agreement"} <= set(results.experiment):
        return []
    texts, tables = describe_experiment(results), tabulate_experiment(results)
    shown = _show(drawings, "experiment", EXPERIMENT_CAPTION, EXPERIMENT_ALT)
    heading = "Does altering a region change ratings as predicted?"
    return [Section("experiment", "Experiment", [Block("experiment-effects", heading, texts, shown, tables)])]


def _checks(results: Results, drawings: Drawings) -> Section:
    """Return the section on checks."""
    section = Section("checks", "Checks")
    sums = Block("sums", "Are folds and maps consistent?")
    maps = Block("map-checks", "Do the maps show the ratings, and not only the faces?")
    reading = Block("reading", "Notes from reading the study")
    section.blocks = [sums, maps, reading]
    if results.predictions is not None:
        sums.paragraphs.append(check_folds(results.predictions))
    conservation = check_conservation(results.maps, results.traits, results.groups)
    if conservation is None:
        section.notes.append("Conservation is left out: no maps of single images are stored.")
    else:
        sums.paragraphs.append(
            "Conservation: the prediction’s deviation from the mean rating of the training images is the "
            "sum of the pixels plus a part that the network’s biases absorb. The smaller that part, the "
            "more completely the maps explain the predictions."
        )
        sums.tables.append(tabulate_conservation(conservation))
    if "null_maps" in results.checks:
        maps.paragraphs += summarise(results.checks)
        maps.figures += _show(
            drawings,
            "map_checks",
            "Left: correlation of the maps with maps of the same faces by readouts fitted to permuted "
            "ratings, shuffled readouts and a shuffled network; near 1, a map shows the face, not the "
            "ratings. Right: how much more the prediction changes when patches are replaced in the order "
            "of the map "
            "(dots, with standard errors over images) than in random order or from the middle outwards.",
            "Dots: similarity to null maps, and how much more the prediction changes when patches are "
            "replaced in the order of the map, for each trait and group; the numbers are in the tables "
            "below.",
        )
    elif results.maps is not None:
        section.notes.append(
            "Null maps, flipping of patches and other methods are left out; “traitlens sanity” adds them."
        )
    maps.tables += print_tables(results, tuple(CHECKS)) + print_unknown_tables(results, "checks")
    reading.paragraphs += [str(notice) for notice in results.study.get("notices", [])]
    return section
