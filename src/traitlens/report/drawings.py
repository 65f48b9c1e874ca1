"""Draw all figures of the report at both journal widths, and write them to `figures/`."""

import base64
import gc
import io
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from traitlens.problems import TraitlensError
from traitlens.report.colouring import data_uri
from traitlens.report.figures import FIGURES, draw_figure
from traitlens.report.results import Results
from traitlens.report.style import NARROW, WIDE, save_figure


@dataclass(frozen=True)
class Drawing:
    """One figure of the report.

    Parameters
    ----------
    name : str
        Name of its files, without ending.
    about : str
        Trait that it shows; may be empty.
    wide, narrow : str
        The figure at both widths, as `data:` addresses of SVG images.
    panels : dict
        For scatter plots, the position of each panel in "wide" and "narrow".
    """

    name: str
    about: str
    wide: str
    narrow: str
    panels: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def draw_figures(results: Results, folder: Path) -> dict[str, list[Drawing]]:
    """Draw every figure that the results allow.

    Parameters
    ----------
    results : Results
        The results.
    folder : Path
        Folder of the SVG and PNG files. Figures of an earlier report that are not drawn again are removed,
        so that faces that may no longer be shown do not remain.

    Returns
    -------
    dict
        Drawings by family ("performance", "average_maps", ...); families that cannot be drawn are missing.
    """
    drawn: dict[str, list[Drawing]] = {}
    gc.freeze()  # figures hold reference cycles; freezing older objects makes their collection fast
    for family, kind in FIGURES.items():
        if _is_redundant(family, drawn, results):
            continue
        for about in results.traits if kind.each_trait else [""]:
            name = family if not about else f"{family}_{_slug(about, len(drawn.get(family, [])))}"
            try:
                drawing = _draw(results, family, about, name, folder)
            except TraitlensError:  # the data of this figure are missing
                continue
            drawn.setdefault(family, []).append(drawing)
    gc.unfreeze()
    _remove_stale(folder, {drawing.name for family in drawn.values() for drawing in family})
    return drawn


def _is_redundant(family: str, drawn: dict[str, list[Drawing]], results: Results) -> bool:
    """Return whether a family of figures is omitted because another figure shows the same data."""
    if family == "reliability":  # the figure of performance shows the ceilings
        return results.performance is not None and "ceiling_r" in results.performance
    shown_by = {"extremes": "faces", "average_maps": "overview"}
    return shown_by.get(family) in drawn or (family == "overview" and len(results.traits) < 2)


def _draw(results: Results, family: str, about: str, name: str, folder: Path) -> Drawing:
    """Draw and save one figure at both widths."""
    traits = [about] if about else None
    found, panels = {}, {}
    for key, width, ending in (("wide", WIDE, ""), ("narrow", NARROW, "_89mm")):
        figure = draw_figure(results, family, traits=traits, width=width)
        formats = ("svg", "png") if key == "wide" else ("svg",)
        svg = save_figure(figure, folder / f"{name}{ending}", formats)[0]
        found[key] = _address(svg.read_text(encoding="utf-8"))
        panels[key] = _panels(figure)
    return Drawing(name, about, found["wide"], found["narrow"], panels if panels["wide"] else {})


def _address(svg: str) -> str:
    """Encode a figure as a `data:` address, with its pictures as JPEG to keep the page small."""
    small = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=\s]+", lambda found: _compress(found[0]), svg)
    return "data:image/svg+xml," + quote(small, safe="/+=:;,-_.!*()")


@lru_cache(maxsize=256)
def _compress(picture: str) -> str:
    """Compress an embedded PNG image as JPEG, unless it is partly transparent."""
    with Image.open(io.BytesIO(base64.b64decode(picture.split(",", 1)[1]))) as image:
        colours = np.asarray(image.convert("RGBA"))
    return data_uri(colours[..., :3], quality=80) if (colours[..., 3] == 255).all() else picture


def _panels(figure: Figure) -> list[dict[str, Any]]:
    """Return the box (left, top, width, height, as fractions) and axis limits of each scatter panel."""
    panels = []
    for axes in figure.axes:
        label = str(axes.get_label())
        if label.startswith("["):
            group, trait = json.loads(label)
            box = axes.get_position()
            panels.append(
                {
                    "group": group,
                    "trait": trait,
                    "box": [round(v, 5) for v in (box.x0, 1 - box.y1, box.width, box.height)],
                    "limits": [round(float(v), 5) for v in axes.get_xlim()],
                }
            )
    return panels


def _slug(name: str, number: int) -> str:
    """Return a file name: a running number and the plain letters of a name."""
    letters = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:30]
    return f"{number + 1:02d}" + (f"_{letters}" if letters else "")


def _remove_stale(folder: Path, names: set[str]) -> None:
    """Remove figures of an earlier report that this one does not have."""
    pattern = re.compile(rf"({'|'.join(FIGURES)})(_\d\d[a-z0-9_-]*)?")
    for path in folder.glob("*.*"):
        base = path.stem.removesuffix("_89mm")
        if path.suffix in (".svg", ".png", ".txt") and base not in names and pattern.fullmatch(base):
            path.unlink()
