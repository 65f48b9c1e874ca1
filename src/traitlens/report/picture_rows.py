"""Rows of pictures with colour bars: the layout of all figures of maps."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from traitlens.report.style import MAP_COLOURS, inches, shorten, styled

UNIT = "rating points per 1% of the picture"
"""Unit of all maps; see :func:`per_percent`."""
SIGNS = ("lowers the rating", "raises the rating")
"""Labels of the ends of a map's scale."""

# In millimetres: gap between pictures, margin, height of a colour bar, of the labels at the ends of the bar,
# largest width of a picture, largest length of a bar.
_GAP, _EDGE, _BAR, _ENDS, _LARGEST, _LONGEST = 2.0, 1.0, 12.0, 3.2, 46.0, 70.0


def per_percent(maps: np.ndarray) -> np.ndarray:
    """Convert maps to rating points per 1% of the picture, which does not depend on resolution.

    Parameters
    ----------
    maps : array (..., y, x)
        Maps in rating points per pixel.

    Returns
    -------
    array (..., y, x)
        Values times the number of pixels in 1% of the picture.

    Examples
    --------
    >>> float(per_percent(np.full((10, 20), 0.5))[0, 0])
    1.0
    """
    height, width = maps.shape[-2:]
    return np.asarray(maps * (height * width / 100))


@dataclass(frozen=True)
class Picture:
    """One picture of a row.

    Parameters
    ----------
    pixels : uint8 array (y, x, 3)
        RGB colours.
    above, below : str
        Text above and below the picture.
    outline : bool array (y, x) or None
        Area that is outlined.
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
    panels : sequence of Picture
        The pictures.
    limit : float or None
        End of the scale below the row, in `unit`; None for no scale.
    label : str
        The row's heading.
    unit : str
        Unit of the scale.
    ends : (str, str)
        Labels of the low and the high end of the scale.
    """

    panels: Sequence[Picture]
    limit: float | None
    label: str = ""
    unit: str = UNIT
    ends: tuple[str, str] = SIGNS


@styled
def draw_rows(rows: Sequence[Row], width: float, clipped: bool, letters: bool = False) -> Figure:
    """Draw rows of pictures, with a colour bar below each row that has a scale.

    Parameters
    ----------
    rows : sequence of Row
        Rows from the top; all pictures have the same shape.
    width : float
        Width of the figure in millimetres.
    clipped : bool
        Whether the bars show that larger values have the colours of their ends.
    letters : bool, default False
        Whether rows with a heading have letters A, B, C ...

    Returns
    -------
    Figure
        The figure. Its first axes cover it, with millimetres from the upper left corner as coordinates.
    """
    widest = max(len(row.panels) for row in rows)
    tall, broad = rows[0].panels[0].pixels.shape[:2]
    panel = min((width - 2 * _EDGE - (widest - 1) * _GAP) / widest, _LARGEST)
    picture = panel * tall / broad
    most = max(8, int(panel / 1.45))
    heights = [_heights(row, picture, most) for row in rows]
    whole = sum(height for _, _, height in heights) + _EDGE
    figure = Figure(figsize=(inches(width), inches(whole)))
    # All pictures share one pair of axes, which is faster to draw.
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(whole, 0))
    page.set_axis_off()
    block = widest * panel + (widest - 1) * _GAP
    left, top = (width - block) / 2, 0.0
    lettered = 0
    for row, (above, below, height) in zip(rows, heights, strict=True):
        if row.label:
            name = shorten(row.label, int((width - left) / 1.8))
            letter = f"{chr(ord('A') + lettered)}   " if letters else ""
            page.text(left, top + 4.2, f"{letter}{name}", fontsize=8, fontweight="bold")
            lettered += 1
        y = top + above
        for place, shown in enumerate(row.panels):
            x = left + place * (panel + _GAP)
            page.imshow(
                shown.pixels, interpolation="none", aspect="auto", extent=(x, x + panel, y + picture, y)
            )
            if shown.outline is not None and shown.outline.any():
                _draw_outline(page, shown.outline, (x, y, panel, picture))
            page.text(x + panel / 2, y - 0.8, _wrap(shown.above, most), ha="center", va="bottom")
            page.text(x + panel / 2, y + picture + 0.8, _wrap(shown.below, most), ha="center", va="top")
        if row.limit is not None:
            length = min(width - 8, _LONGEST)
            _draw_bar(figure, row, (width - length) / 2, y + picture + below + 1, length, clipped)
        top += height
    return figure


def _heights(row: Row, picture: float, letters: int) -> tuple[float, float, float]:
    """Return the height above a row's pictures, below them, and in total, in millimetres."""
    label = 5.0 if row.label else 0.0
    lines = max(_wrap(panel.above, letters).count("\n") + bool(panel.above) for panel in row.panels)
    above = label + 3.4 * lines + 1.0
    below = 4.5 if any(panel.below for panel in row.panels) else 1.0
    bar = 0.0 if row.limit is None else _BAR + _ENDS * any(row.ends)
    return above, below, above + picture + below + bar


def _draw_outline(page: Axes, area: np.ndarray, box: tuple[float, float, float, float]) -> None:
    """Draw the border of an area in black and white, visible on every colour."""
    left, top, broad, tall = box
    height, width = area.shape
    values = np.pad(area.astype(float), 1)  # closes borders at the picture's edge
    x = left + (np.arange(-1, width + 1) + 0.5) * broad / width
    y = top + (np.arange(-1, height + 1) + 0.5) * tall / height
    for colour, thickness in (("white", 1.8), ("black", 0.8)):
        page.contour(x, y, values, levels=[0.5], colors=colour, linewidths=thickness)


def _draw_bar(figure: Figure, row: Row, left: float, top: float, length: float, clipped: bool) -> None:
    """Draw a colour bar with the labels of its ends and its unit."""
    assert row.limit is not None
    width, height = figure.get_size_inches() * 25.4
    axes = figure.add_axes((left / width, 1 - (top + 2.2) / height, length / width, 2.2 / height))
    exponent = _exponent(row.limit)
    end = row.limit / 10.0**exponent
    bar = figure.colorbar(
        ScalarMappable(Normalize(-end, end), MAP_COLOURS),
        cax=axes,
        orientation="horizontal",
        extend="both" if clipped else "neither",
        extendfrac=0.03,
    )
    digits = max(0, 1 - math.floor(math.log10(end)))
    bar.set_ticks([-end, 0, end], labels=[f"−{end:.{digits}f}", "0", f"+{end:.{digits}f}"])
    bar.outline.set_linewidth(0.5)
    axes.tick_params(length=2, pad=1.5)
    axes.set_xlabel(f"{_power(exponent)}{row.unit}", labelpad=10 if any(row.ends) else 1)
    for x, text, side in ((left, row.ends[0], "left"), (left + length, row.ends[1], "right")):
        figure.axes[0].text(x, top + 8.6, shorten(text, int(length / 2.6)), ha=side)


def _exponent(limit: float) -> int:
    """Return the power of ten (a multiple of three) for the numbers of a scale; 0 if possible."""
    return 0 if 0.01 <= limit < 1000 else 3 * math.floor(math.log10(limit) / 3)


def _power(exponent: int) -> str:
    """Return a unit with a power of ten in front."""
    digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{digits} " if exponent else ""


def _wrap(text: str, letters: int) -> str:
    """Break lines at words to fit a picture's width, and shorten longer words."""
    lines = [
        part for line in text.splitlines() for part in textwrap.wrap(line, letters, break_long_words=False)
    ]
    return "\n".join(shorten(line, letters) for line in lines)
