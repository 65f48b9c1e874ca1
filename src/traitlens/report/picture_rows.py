"""Rows of pictures with one colour bar for each scale: the layout of every figure of maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from traitlens.report.style import MAP_COLOURS, inches, shorten, styled

UNIT = "rating points per pixel"
# Millimetres between pictures, at the edge, for the bar with its numbers and unit; a picture's largest width.
_GAP, _EDGE, _BAR, _LARGEST = 2.0, 1.0, 12.0, 46.0


@dataclass(frozen=True)
class Panel:
    """One picture of a row.

    Parameters
    ----------
    pixels : uint8 array (y, x, 3)
        Its colours.
    above, below : str
        What is written above and below it.
    outline : bool array (y, x) or None
        An area whose border is drawn.
    """

    pixels: np.ndarray
    above: str = ""
    below: str = ""
    outline: np.ndarray | None = None


@dataclass(frozen=True)
class Row:
    """Pictures that share one scale.

    Parameters
    ----------
    panels : sequence of Panel
        The pictures.
    limit : float or None
        End of the scale that is drawn below the row; None draws none.
    label : str
        The row's heading.
    unit : str
        Unit of the scale.
    """

    panels: Sequence[Panel]
    limit: float | None
    label: str = ""
    unit: str = UNIT


def _place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes at a place counted in millimetres from the figure's upper left corner."""
    whole_width, whole_height = figure.get_size_inches() * 25.4
    return figure.add_axes(
        (left / whole_width, 1 - (top + height) / whole_height, width / whole_width, height / whole_height)
    )


def _power(limit: float) -> tuple[float, str]:
    """Choose the factor that lets the scale's numbers be read, and how the unit says it."""
    exponent = 3 * math.floor(math.log10(limit) / 3) if limit > 0 else 0
    digits = str(abs(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return 10.0**exponent, "" if exponent == 0 else f"10{'⁻' if exponent < 0 else ''}{digits} "


def _bar(figure: Figure, row: Row, left: float, top: float, width: float, clipped: bool) -> None:
    """Draw the row's colour bar below it, zero in the middle, the unit beneath."""
    assert row.limit is not None
    factor, written = _power(row.limit)
    axes = _place(figure, left, top, width, 2.2)
    scale = ScalarMappable(Normalize(-row.limit / factor, row.limit / factor), MAP_COLOURS)
    bar = figure.colorbar(
        scale, cax=axes, orientation="horizontal", extend="both" if clipped else "neither", extendfrac=0.03
    )
    end = row.limit / factor
    digits = max(0, 2 - math.floor(math.log10(end)) - 1) if end else 1
    bar.set_ticks([-end, 0, end], labels=[f"−{end:.{digits}f}", "0", f"+{end:.{digits}f}"])
    bar.outline.set_linewidth(0.5)
    axes.tick_params(length=2, pad=1.5)
    axes.set_xlabel(f"{written}{row.unit}", labelpad=1)


def _heights(row: Row, picture: float) -> tuple[float, float, float]:
    """Millimetres above a row's pictures, below them, and in all."""
    label = 5.0 if row.label else 0.0
    lines = max(panel.above.count("\n") + 1 if panel.above else 0 for panel in row.panels)
    above = label + 3.4 * lines + 1.0
    below = 4.5 if any(panel.below for panel in row.panels) else 1.0
    return above, below, above + picture + below + (_BAR if row.limit is not None else 0.0)


@styled
def draw_rows(rows: Sequence[Row], width: float, clipped: bool) -> Figure:
    """Lay out rows of pictures with a bar below each row that has a scale of its own.

    Parameters
    ----------
    rows : sequence of Row
        The rows, from the top; all pictures of one shape.
    width : float
        Width of the figure in millimetres.
    clipped : bool
        Whether values beyond the ends of the scales have the ends' colours, which the bars then show.

    Returns
    -------
    Figure
        The figure.
    """
    widest = max(len(row.panels) for row in rows)
    tall, broad = rows[0].panels[0].pixels.shape[:2]
    panel = min((width - 2 * _EDGE - (widest - 1) * _GAP) / widest, _LARGEST)
    picture = panel * tall / broad
    heights = [_heights(row, picture) for row in rows]
    whole = sum(height for _, _, height in heights) + _EDGE
    figure = Figure(figsize=(inches(width), inches(whole)))
    block = widest * panel + (widest - 1) * _GAP
    left, top = (width - block) / 2, 0.0
    letters = max(8, int(panel / 1.45))
    for row, (above, below, height) in zip(rows, heights, strict=True):
        if row.label:
            y = 1 - (top + 4.2) / whole
            figure.text(left / width, y, shorten(row.label, int(block / 1.6)), fontsize=8, fontweight="bold")
        for place, shown in enumerate(row.panels):
            axes = _place(figure, left + place * (panel + _GAP), top + above, panel, picture)
            axes.imshow(shown.pixels, interpolation="none")
            axes.set_axis_off()
            if shown.outline is not None and shown.outline.any():
                _outline(axes, shown.outline)
            for text, y, side in ((shown.above, 1.02, "bottom"), (shown.below, -0.02, "top")):
                axes.text(0.5, y, _wrap(text, letters), transform=axes.transAxes, ha="center", va=side)
        if row.limit is not None:
            length = min(block, 70.0)
            _bar(figure, row, (width - length) / 2, top + above + picture + below + 1, length, clipped)
        top += height
    return figure


def _outline(axes: Axes, area: np.ndarray) -> None:
    """Draw the border of an area: black with a white seam, so that it shows on every colour."""
    # A rim of zeros closes borders that run along the picture's edge.
    height, width = area.shape
    values = np.pad(area.astype(float), 1)
    x, y = np.arange(-1, width + 1), np.arange(-1, height + 1)
    for colour, thickness in (("white", 1.8), ("black", 0.8)):
        axes.contour(x, y, values, levels=[0.5], colors=colour, linewidths=thickness)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)


def _wrap(text: str, letters: int) -> str:
    """Shorten each line to a picture's width."""
    return "\n".join(shorten(line, letters) for line in text.splitlines())
