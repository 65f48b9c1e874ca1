"""The report as one self-contained page."""

import base64
import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from traitlens.report.drawings import draw_figures
from traitlens.report.findings import explain_findings, list_findings
from traitlens.report.picker import make_picker
from traitlens.report.picture_rows import UNIT
from traitlens.report.results import Results, read_results
from traitlens.report.sections import make_sections
from traitlens.report.wording import describe_design, describe_limits, describe_methods
from traitlens.storage import atomic_write

MOST_ROWS = 10
"""Longer tables are folded up until they are opened, or printed."""


def write_report(results: Path, out: Path | None = None) -> Path:
    """Write the report of a results folder, and its figures.

    Everything is read from the folder, so a report can be made again at any time.

    Parameters
    ----------
    results : Path
        A folder that a run has written. Figures are written to its `figures` folder as SVG and PNG.
    out : Path or None
        The page; `report.html` in the results folder by default.

    Returns
    -------
    Path
        The page: one HTML file that needs no network.

    Raises
    ------
    TraitlensError
        If the folder holds no results or a file in it cannot be read.

    Examples
    --------
    >>> write_report(Path("results"))  # doctest: +SKIP
    PosixPath('results/report.html')
    """
    read = read_results(Path(results))
    out = read.folder / "report.html" if out is None else Path(out)
    drawings = draw_figures(read, read.folder / "figures")
    html = _render(read, drawings, _link(read.folder / "figures", out.parent))
    with atomic_write(out) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return out


def _render(results: Results, drawings: dict[str, Any], figures: str) -> str:
    """Fill the template."""
    style, script = _asset("style.css"), _asset("page.js")
    picker = make_picker(results)
    scatter = drawings["scatter"][0].panels if "scatter" in drawings else {}
    return _environment().get_template("report.html.j2").render(
        study=results.study,
        name=results.study.get("name") or results.folder.resolve().name,
        design=describe_design(results),
        findings=list_findings(results),
        how_to_read=explain_findings(results),
        limits=describe_limits(results),
        sections=make_sections(results, drawings),
        methods=describe_methods(results),
        provenance=_flat(results.provenance),
        settings=[(key, text) for key, text in _flat(results.study.get("settings", {})) if text != "–"],
        picker=picker,
        data={"picker": picker, "scatter": scatter} if picker else {},
        unit=UNIT,
        figures=figures,
        most_rows=MOST_ROWS,
        # The page's own text; nothing from the study is in it.
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'",
    )  # fmt: skip


@cache
def _environment() -> Environment:
    """Set up jinja2: everything is escaped, and a missing value is an error."""
    return Environment(
        loader=PackageLoader("traitlens.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _asset(name: str) -> str:
    """Read a file beside the template."""
    text = (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
    return "\n" + text


def _digest(text: str) -> str:
    """Digest inline text as a Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _link(target: Path, start: Path) -> str:
    """Write the address of a folder relative to the page's."""
    try:
        relative = os.path.relpath(target.resolve(), start.resolve())
    except ValueError:  # on another drive
        return target.resolve().as_uri()
    return quote(Path(relative).as_posix())


def _flat(values: Any, before: str = "") -> list[tuple[str, str]]:
    """List nested settings as dotted names and text."""
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
