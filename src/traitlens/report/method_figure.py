"""Figure of the steps of the analysis, from faces and ratings to maps and tests."""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from traitlens.columns import GROUP, OBSERVED, PREDICTED, TRAIT
from traitlens.report.colouring import OPACITY, SMOOTHING, colour, lay_over, smooth, symmetric_limit
from traitlens.report.numbers import count
from traitlens.report.results import Results
from traitlens.report.style import FAINT, INK, WIDE, colours_of, inches, styled

# In millimetres: gap between cells, margin, height of titles, height of texts.
_GAP, _EDGE, _TITLE, _TEXT = 5.0, 1.0, 6.0, 17.0

Box = tuple[float, float, float]
"""Left, top and side of a cell, in millimetres."""


@dataclass(frozen=True)
class Step:
    """A step of the method.

    Parameters
    ----------
    title, text : str
        Text above and below the picture.
    draw : callable
        Function that draws the picture into a box of the page.
    """

    title: str
    text: str
    draw: Callable[[Axes, Box], None]


@styled
def plot_method(results: Results, *, width: float = WIDE) -> Figure:
    """Draw the steps of a study's analysis, with its settings.

    Parameters
    ----------
    results : Results
        The results. A single face is shown only where it may be published, otherwise the average face.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        Six cells: faces, ratings, network, readout, map, test.
    """
    steps = _list_steps(results)
    per_line = 6 if width > 120 else 3
    lines = -(-len(steps) // per_line)
    side = (width - 2 * _EDGE - (per_line - 1) * _GAP) / per_line
    height = lines * (_TITLE + side + _TEXT)
    figure = Figure(figsize=(inches(width), inches(height)))
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    page.set_axis_off()
    for place, step in enumerate(steps):
        left = _EDGE + place % per_line * (side + _GAP)
        top = place // per_line * (_TITLE + side + _TEXT) + _TITLE
        page.text(left, top - 1.5, f"{chr(ord('A') + place)}   {step.title}", fontweight="bold")
        step.draw(page, (left, top, side))
        text = textwrap.fill(step.text, max(12, int(side / 1.4)))
        page.text(left, top + side + 1.5, text, va="top", fontsize=7, linespacing=1.15)
        if (place + 1) % per_line and place + 1 < len(steps):
            page.annotate(
                "", (left + side + _GAP - 0.8, top + side / 2), (left + side + 0.8, top + side / 2),
                arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 0.8},
            )  # fmt: skip
    return figure


def _list_steps(results: Results) -> list[Step]:
    """Return the steps of the analysis with titles, texts and functions that draw them."""
    study, groups = results.study, results.groups
    readout, folds = results.setting("readout") or {}, results.setting("folds", "number")
    grid = readout.get("grid")
    places = f", averaged to {grid} × {grid} places" if isinstance(grid, int) and grid > 1 else ""
    raters = f"{count(study['n_raters'])} raters" if study.get("n_raters") else "Raters"
    method = str(results.setting("relevance", "method") or "").removeprefix("lrp.").replace("_", " ")
    return [
        Step(
            "Faces",
            f"{count(study.get('n_images'))} images of {count(study.get('n_identities'))} persons",
            lambda page, box: _draw_picture(page, box, _choose_face(results)),
        ),
        Step(
            "Ratings",
            f"{raters} in {len(groups)} {'group' if len(groups) == 1 else 'groups'}, {len(results.traits)} "
            f"{'trait' if len(results.traits) == 1 else 'traits'}",
            lambda page, box: _draw_ratings(page, box, results),
        ),
        Step(
            "Network",
            f"{str(readout.get('backbone') or 'vgg16').upper()}, {readout.get('tap') or 'one layer'}{places}",
            _draw_network,
        ),
        Step(
            "Readout",
            f"{readout.get('method') or 'regression'}, one for each group and trait; "
            f"{folds or 'several'} folds by person",
            lambda page, box: _draw_scatter(page, box, results),
        ),
        Step(
            "Map",
            f"relevance of each pixel ({method})" if method else "relevance of each pixel",
            lambda page, box: _draw_picture(page, box, _choose_map(results)),
        ),
        Step("Test", "groups compared, with raters as a random factor", _draw_test),
    ]


def _choose_face(results: Results) -> np.ndarray:
    """Return a face that may be shown, or the average face."""
    if results.pixels is not None and results.publishable:
        return np.asarray(results.pixels.sel(image=results.publishable[0]).values)
    if results.averages is not None and "face" in results.averages:
        return np.asarray(results.averages["face"].values)
    return np.full((8, 8, 3), 235, np.uint8)


def _choose_map(results: Results) -> np.ndarray:
    """Colour the average map of the first group and trait."""
    if results.averages is None:
        return np.full((8, 8, 3), 235, np.uint8)
    averages = results.averages
    one = smooth(averages["aligned"].isel({GROUP: 0, TRAIT: 0}).values, SMOOTHING)
    colours = colour(one, symmetric_limit(one))
    return lay_over(averages["face"].values, colours, OPACITY) if "face" in averages else colours


def _draw_picture(page: Axes, box: Box, pixels: np.ndarray) -> None:
    """Draw a picture into a cell."""
    left, top, side = box
    page.imshow(pixels, interpolation="none", aspect="auto", extent=(left, left + side, top + side, top))


def _frame(page: Axes, box: Box) -> None:
    """Draw the two axes of a small chart."""
    left, top, side = box
    page.plot(
        [left + 2, left + 2, left + side], [top, top + side - 2, top + side - 2], color=INK, linewidth=0.6
    )


def _draw_ratings(page: Axes, box: Box, results: Results) -> None:
    """Draw the distribution of each group's mean ratings of the first trait."""
    left, top, side = box
    _frame(page, box)
    table = results.targets
    if table is None or results.traits[0] not in set(table[TRAIT]):
        return
    of_trait = table[table[TRAIT] == results.traits[0]].dropna(subset=["rating"])
    edges = np.linspace(of_trait["rating"].min(), of_trait["rating"].max() + 1e-9, 11)
    x = left + 3 + (side - 4) * (np.arange(10) + 0.5) / 10
    for group, colour_of_group in colours_of(results.groups).items():
        numbers = np.histogram(of_trait.loc[of_trait[GROUP] == group, "rating"], edges)[0]
        y = top + side - 2.5 - (side - 6) * numbers / max(1, numbers.max())
        page.plot(x, y, color=colour_of_group, linewidth=1)


def _draw_network(page: Axes, box: Box) -> None:
    """Draw the layers of the network."""
    left, top, side = box
    # Left edge, height and width of each layer, as shares of the side.
    layers = (
        (0.02, 0.95, 0.06),
        (0.13, 0.75, 0.1),
        (0.28, 0.52, 0.15),
        (0.47, 0.3, 0.22),
        (0.73, 0.16, 0.26),
    )
    for start, tall, broad in layers:
        x = left + side * start
        page.fill(
            [x, x + side * broad, x + side * broad, x],
            [top + side * (0.5 - tall / 2)] * 2 + [top + side * (0.5 + tall / 2)] * 2,
            facecolor="#d9e2ea", edgecolor=INK, linewidth=0.6,
        )  # fmt: skip


def _draw_scatter(page: Axes, box: Box, results: Results) -> None:
    """Draw predicted against observed ratings of the first trait and group."""
    left, top, side = box
    _frame(page, box)
    table = results.predictions
    if table is None or not results.groups:
        return
    own = table[(table[GROUP] == results.groups[0]) & (table[TRAIT] == results.traits[0])]
    both = own[[PREDICTED, OBSERVED]].dropna().to_numpy(float)[:200]
    if len(both) < 2 or not np.ptp(both):
        return
    shares = (both - both.min()) / np.ptp(both)
    x, y = left + 3 + (side - 4) * shares[:, 0], top + side - 3 - (side - 4) * shares[:, 1]
    page.plot(
        x,
        y,
        linestyle="none",
        marker="o",
        markersize=1.2,
        color=colours_of(results.groups)[results.groups[0]],
    )


def _draw_test(page: Axes, box: Box) -> None:
    """Draw a schematic test: two intervals, one of which excludes zero."""
    left, top, side = box
    zero = left + side * 0.4
    page.plot([zero, zero], [top + 1, top + side - 2], color=FAINT, linewidth=0.6, linestyle=(0, (3, 2)))
    for place, (value, half) in enumerate(((0.5, 0.12), (0.02, 0.16), (-0.06, 0.18), (0.05, 0.14))):
        y, x = top + side * (0.17 + 0.2 * place), zero + side * value * 0.8
        page.plot([x - side * half, x + side * half], [y, y], color=INK, linewidth=1)
        page.plot(x, y, marker="o", markersize=3.5, color=INK, markerfacecolor="white" if place else INK)
