"""The report as one self-contained page."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from traitlens.report.drawings import draw_figures
from traitlens.report.findings import Finding, list_findings
from traitlens.report.picker import make_picker
from traitlens.report.planted import describe_planted
from traitlens.report.results import Results, read_results
from traitlens.report.sections import Section, Shown, make_sections
from traitlens.report.summary import (
    CAUTION,
    SIMULATED,
    answer_question,
    count_results,
    describe_main_tests,
    explain_findings,
)
from traitlens.report.wording import describe_design, describe_limits, describe_methods
from traitlens.storage import atomic_write


def write_report(results: Path, out: Path | None = None) -> Path:
    """Write the report of a results folder, and its figures.

    All content is read from the folder, so a report can be made again at any time.

    Parameters
    ----------
    results : Path
        A folder that a run has written. Figures are written to its `figures` folder as SVG and PNG, each
        with its caption as text.
    out : Path or None
        The page; `report.html` in the results folder by default.

    Returns
    -------
    Path
        The page: one HTML file that needs no network.

    Raises
    ------
    TraitlensError
        If the folder is not a results folder, or a file in it cannot be read.

    Examples
    --------
    >>> write_report(Path("results"))  # doctest: +SKIP
    PosixPath('results/report.html')
    """
    read = read_results(Path(results))
    out = read.folder / "report.html" if out is None else Path(out)
    drawings = draw_figures(read, read.folder / "figures")
    findings = list_findings(read)
    sections = make_sections(read, drawings, findings)
    _write_captions(sections, read.folder / "figures")
    html = _render(read, drawings, findings, sections)
    with atomic_write(out) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return out


def _write_captions(sections: list[Section], folder: Path) -> None:
    """Write each figure's caption beside it."""
    for shown in (shown for section in sections for block in section.blocks for shown in block.figures):
        with atomic_write(folder / f"{shown.drawing.name}.txt") as temporary:
            temporary.write_text(f"Figure {shown.number}. {shown.caption}\n", encoding="utf-8")


def _render(
    results: Results, drawings: dict[str, Any], findings: list[Finding], sections: list[Section]
) -> str:
    """Render the template."""
    style = read_template("faces.css") + read_template("style.css")
    script = read_template("faces.js") + read_template("page.js")
    picker = make_picker(results)
    scatter = drawings["scatter"][0].panels if "scatter" in drawings else {}
    described = describe_planted(results)
    return _environment().get_template("report.html.j2").render(
        study=results.study,
        name=results.study.get("name") or results.folder.resolve().name,
        date=str(results.provenance.get("date", ""))[:10],
        answers=answer_question(results, simulated=described != ""),
        lists=_list_headlines(results, findings),
        tiles=count_results(results),
        caution=" ".join([SIMULATED] * (described != "") + [CAUTION]),
        cover=_choose_cover(sections),
        cover_about=_describe_cover(results),
        planted=described,
        design=describe_design(results),
        how_to_read=explain_findings(results),
        limits=describe_limits(results),
        sections=sections,
        methods=describe_methods(results),
        origin=_describe_origin(results.provenance),
        provenance=_flat(results.provenance),
        settings=[(key, text) for key, text in _flat(results.study.get("settings", {})) if text != "–"],
        picker=picker,
        data={"picker": picker, "scatter": scatter} if picker else {},
        # Style, script and the picker contain nothing from the study.
        faces=Markup(read_template("faces.html")),
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'",
    )  # fmt: skip


def _list_headlines(results: Results, findings: list[Finding]) -> list[tuple[str, str, list[Finding]]]:
    """Return the lists of the summary: heading, remark and findings of each."""
    kinds = {
        "Main tests of group differences": (("found", "alone", "not found"), describe_main_tests(results)),
        "Further tests": (("exploratory",), "exploratory"),
        "Each group by itself": (("about",), "a description: whether groups differ, only the tests say"),
    }
    lists = [
        (heading, remark, [one for one in findings if one.headlines and one.kind in own])
        for heading, (own, remark) in kinds.items()
    ]
    return [one for one in lists if one[2]]


def _choose_cover(sections: list[Section]) -> Shown | None:
    """Choose the figure that the summary shows: maps of all traits, or the next best that exists."""
    shown = [shown for section in sections for block in section.blocks for shown in block.figures]
    for begin in ("overview", "average_maps", "region_differences", "utilisation", "performance"):
        for one in shown:
            if one.drawing.name.startswith(begin):
                return one
    return None


def _describe_cover(results: Results) -> str:
    """Return the caption of the figure of the summary."""
    if results.averages is None:
        return "See"
    if len(results.groups) != 2:
        return "Where in the picture the predictions come from: red raised, blue lowered them."
    first, second = results.groups
    return (
        "Where in the picture the predictions come from. Where two groups are subtracted, red means more "
        f"in the group {first}, blue more in the group {second}. Only the tests say whether groups differ."
    )


def _describe_origin(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rows on the run: date, versions, command, seed, inputs and time."""
    inputs = provenance.get("sha256", {})
    together = hashlib.sha256("".join(f"{key}{inputs[key]}" for key in sorted(inputs)).encode()).hexdigest()
    seconds = sum(float(value) for value in (provenance.get("seconds") or {}).values())
    return [
        ("Made on", str(provenance.get("date", "not recorded"))),
        ("Version", f"traitlens {provenance.get('traitlens', '?')}, Python {provenance.get('python', '?')}"),
        ("Command", "traitlens run STUDY; the same inputs, settings and seed give the same numbers"),
        ("Seed", str(provenance.get("seed", "–"))),
        ("Inputs", f"{len(inputs)} files, digest {together[:16]}" if inputs else "not recorded"),
        ("Time", f"{seconds / 60:.0f} minutes of computing" if seconds >= 90 else f"{seconds:.0f} seconds"),
    ]


def _italicise(text: str) -> Markup:
    """Set symbols of statistics in italics, with non-breaking spaces up to their numbers."""
    escaped = str(escape(text))
    pieces = re.sub(r"(?<![\w&])([prdtgqFk]|R²)( )(=|&lt;|&gt;|≥|≤)( )", "<i>\\1</i>\u00a0\\3\u00a0", escaped)
    return Markup(pieces)  # all other text is escaped


@cache
def _environment() -> Environment:
    """Return a jinja2 environment that escapes all values and raises errors for missing ones."""
    environment = Environment(
        loader=PackageLoader("traitlens.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["apa"] = _italicise
    return environment


@cache
def read_template(name: str) -> str:
    """Read a file beside the template."""
    text = (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
    return "\n" + text


def _digest(text: str) -> str:
    """Return the digest of inline text in the form of a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _flat(values: Any, before: str = "") -> list[tuple[str, str]]:
    """Flatten nested settings to pairs of dotted name and text."""
    if isinstance(values, dict) and values:
        return [
            line
            for key, value in values.items()
            for line in _flat(value, f"{before}.{key}" if before else str(key))
        ]
    if isinstance(values, float):
        values = f"{values:.6g}"
    if isinstance(values, list | tuple):
        values = ", ".join(map(str, values))
    return [(before, "–" if values in (None, "", {}) else str(values))]
