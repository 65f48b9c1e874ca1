"""Every figure of the report, drawn at both journal widths and written to `figures/`."""

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from traitlens.problems import TraitlensError
from traitlens.report.charts import plot_performance, plot_reliability, plot_scatter
from traitlens.report.colouring import data_uri
from traitlens.report.map_figures import plot_average_maps, plot_extreme_averages, plot_faces
from traitlens.report.region_charts import mean_shares, plot_region_differences, plot_region_shares
from traitlens.report.results import Results
from traitlens.report.style import NARROW, WIDE, save_figure
from traitlens.words import GROUP, IMAGE, TRAIT

FAMILIES = (
    "performance", "scatter", "reliability", "average_maps", "faces", "extremes",
    "region_shares", "region_differences",
)  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """One figure of the report.

    Parameters
    ----------
    name : str
        Name of its files, without ending.
    about : str
        The trait or part it is about; may be empty.
    wide, narrow : str
        Both widths as `data:` addresses of SVG images.
    panels : dict
        For scatter plots: where each panel lies in "wide" and "narrow".
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
        Where SVG and PNG files are written; earlier figures of the report that are not drawn any more
        are removed, so that no face stays that may no longer be shown.

    Returns
    -------
    dict
        Drawings by family ("performance", "average_maps", ...); a family that could not be drawn is missing.
    """
    drawn: dict[str, list[Drawing]] = {}

    def add(family: str, about: str, draw: Callable[[float], Figure]) -> None:
        """Draw one figure at both widths."""
        name = family if not about else f"{family}_{_slug(about, len(drawn.get(family, [])))}"
        try:
            drawn.setdefault(family, []).append(_draw(name, about, draw, folder))
        except TraitlensError:
            if not drawn[family]:
                del drawn[family]

    order: dict[str, Any] = {"groups": results.groups, "traits": results.traits}
    if results.reliability is not None and results.reliability.get("ceiling_r") is not None:
        reliability = results.reliability
        add("reliability", "", lambda width: plot_reliability(reliability, width=width, **order))
    if results.performance is not None:
        performance = results.performance
        add("performance", "", lambda width: plot_performance(performance, width=width, **order))
    if results.predictions is not None:
        predictions = results.predictions
        add("scatter", "", lambda width: plot_scatter(predictions, width=width, **order))
    if results.averages is not None:
        _draw_average_maps(results, add)
    if results.maps is not None and results.pixels is not None:
        _draw_faces(results, add)
    if results.regions is not None:
        shares = mean_shares(results.regions, results.study.get("identity", {}))
        add("region_shares", "", lambda width: plot_region_shares(shares, width=width, **order))
    differences = results.comparisons.get("regions")
    if differences is not None and {"trait", "region", "estimate"} <= set(differences.columns):
        add(
            "region_differences", "", lambda width: plot_region_differences(differences, width=width, **order)
        )
    _remove_stale(folder, {drawing.name for family in drawn.values() for drawing in family})
    return drawn


def _draw_average_maps(results: Results, add: Callable) -> None:
    """Draw one figure of average maps for each trait."""
    averages = results.averages
    assert averages is not None
    groups = [group for group in results.groups if group in averages[GROUP].values]
    for trait in results.traits:
        if trait in averages[TRAIT].values:
            add(
                "average_maps",
                trait,
                lambda width, trait=trait: plot_average_maps(
                    averages, groups=groups, traits=[trait], width=width
                ),
            )


def _draw_faces(results: Results, add: Callable) -> None:
    """Draw, for each trait, the faces of the extremes, or their averages where no face may be shown."""
    maps, pixels = results.maps, results.pixels
    assert maps is not None
    assert pixels is not None
    publishable = set(results.publishable)
    names = [image for image in maps[IMAGE].values if image in publishable]
    for trait in results.traits:
        if trait not in maps[TRAIT].values:
            continue
        if len(names) < 2:
            add(
                "extremes",
                trait,
                lambda width, trait=trait: plot_extreme_averages(pixels, maps, trait=trait, width=width),
            )
            continue
        mean = maps["prediction"].sel({TRAIT: trait, IMAGE: names}).mean(GROUP)
        rated = [
            (float(value), name) for value, name in zip(mean.values, names, strict=True) if value == value
        ]
        by_prediction = [name for _, name in sorted(rated)]

        def draw(width: float, trait: str = trait, faces: list[str] = by_prediction) -> Figure:
            """Draw the lowest, then the highest."""
            # Many traits make many figures: fewer faces in each keep the page small.
            most = 3 if len(results.traits) <= 8 else 2 if len(results.traits) <= 16 else 1
            half = min(most, 3 if width > 120 else 2, len(faces) // 2)
            chosen = [*faces[:half], *faces[-half:]]
            return plot_faces(
                pixels,
                maps,
                chosen,
                results.study["may_publish"],
                trait=trait,
                groups=results.groups,
                width=width,
            )

        add("faces", trait, draw)


def _draw(name: str, about: str, draw: Callable[[float], Figure], folder: Path) -> Drawing:
    """Draw and save one figure at both widths."""
    found, panels = {}, {}
    for key, width, ending in (("wide", WIDE, ""), ("narrow", NARROW, "_89mm")):
        figure = draw(width)
        svg = save_figure(figure, folder / f"{name}{ending}")[0]
        found[key] = _address(svg.read_text(encoding="utf-8"))
        panels[key] = _panels(figure)
    return Drawing(name, about, found["wide"], found["narrow"], panels if panels["wide"] else {})


def _address(svg: str) -> str:
    """Put a figure into a `data:` address, its pictures as JPEG so that the page stays small."""

    def compress(picture: re.Match[str]) -> str:
        """Compress one picture, unless it is partly transparent."""
        with Image.open(io.BytesIO(base64.b64decode(picture[1]))) as image:
            colours = np.asarray(image.convert("RGBA"))
        return data_uri(colours[..., :3], quality=85) if (colours[..., 3] == 255).all() else picture[0]

    small = re.sub(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)", compress, svg)
    return "data:image/svg+xml," + quote(small, safe="/+=:;,-_.!*()")


def _panels(figure: Figure) -> list[dict[str, Any]]:
    """Tell where scatter panels lie: box (left, top, width, height, as shares) and limits of both axes."""
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
    """Make a file name of any name: a running number and its plain letters."""
    letters = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:30]
    return f"{number + 1:02d}" + (f"_{letters}" if letters else "")


def _remove_stale(folder: Path, names: set[str]) -> None:
    """Remove figures of an earlier report that this one does not have."""
    pattern = re.compile(rf"({'|'.join(FAMILIES)})(_\d\d[a-z0-9_-]*)?")
    for path in folder.glob("*.*"):
        base = path.stem.removesuffix("_89mm")
        if path.suffix in (".svg", ".png") and base not in names and pattern.fullmatch(base):
            path.unlink()
