"""Style of all figures: widths of journal columns, font sizes, and colours for colour-blind readers."""

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.figure import Figure

from traitlens.problems import unknown_choice
from traitlens.storage import atomic_write

NARROW: Final = 89.0
"""Width of a figure in one journal column, in millimetres."""
WIDE: Final = 183.0
"""Width of a figure across two journal columns, in millimetres."""

FORMATS: Final = ("svg", "png", "pdf", "eps", "tif")
"""File formats of figures."""

INK: Final = "#1a1a1a"
FAINT: Final = "#767676"
GROUP_COLOURS: Final = ("#1B7F5C", "#7B3F9E", "#B07A00", "#000000", "#7A4B2A", "#7F7F7F")
"""Green, purple and ochre first, since maps are red and blue; contrast with white of at least 3:1."""
GROUP_MARKERS: Final = ("o", "s", "^", "D", "v", "P")
MAP_COLOURS: Final = "RdBu_r"
"""Red: positive; blue: negative; white: zero."""

_SETTINGS: Final = {
    # DejaVu Sans is installed with matplotlib, so figures look the same everywhere; the other fonts are for
    # programs that open an SVG file where DejaVu Sans is missing.
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "Liberation Sans"],
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.titley": 1.0,  # otherwise the position is searched again at each drawing
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # A dollar sign in a name does not start a formula.
    "text.parse_math": False,
    "text.usetex": False,
    "image.composite_image": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "traitlens",
    "pdf.fonttype": 42,
}

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


def styled(draw: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """Decorate a function to draw in the style of the report, whatever the user's settings.

    Parameters
    ----------
    draw : callable
        A function that draws or saves a figure.

    Returns
    -------
    callable
        The function, run under the report's settings.
    """

    @functools.wraps(draw)
    def draw_in_style(*args: _Given.args, **kwargs: _Given.kwargs) -> _Made:
        with mpl.rc_context():
            mpl.rcParams.update(mpl.rcParamsDefault)
            mpl.rcParams.update(_SETTINGS)
            return draw(*args, **kwargs)

    return draw_in_style


def inches(millimetres: float) -> float:
    """Convert millimetres to inches.

    Parameters
    ----------
    millimetres : float
        A length.

    Returns
    -------
    float
        The same length in inches.

    Examples
    --------
    >>> inches(25.4)
    1.0
    """
    return millimetres / 25.4


def shorten(name: str, limit: int = 24) -> str:
    """Shorten a name, with line breaks replaced by spaces.

    Parameters
    ----------
    name : str
        The name.
    limit : int, default 24
        Maximum number of characters.

    Returns
    -------
    str
        The name, or its beginning with an ellipsis.

    Examples
    --------
    >>> shorten("warm"), shorten("a very long name of a trait", 10)
    ('warm', 'a very lo…')
    """
    name = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return name if len(name) <= limit else name[: limit - 1].rstrip() + "…"


def colours_of(groups: Iterable[str]) -> dict[str, str]:
    """Return the colour of each group, by its position in the study.

    Parameters
    ----------
    groups : iterable of str
        The groups in the study's order.

    Returns
    -------
    dict
        Colour (hexadecimal) by group.
    """
    return {group: GROUP_COLOURS[i % len(GROUP_COLOURS)] for i, group in enumerate(groups)}


def markers_of(groups: Iterable[str]) -> dict[str, str]:
    """Return the marker of each group, by its position in the study.

    Parameters
    ----------
    groups : iterable of str
        The groups in the study's order.
    """
    return {group: GROUP_MARKERS[i % len(GROUP_MARKERS)] for i, group in enumerate(groups)}


@styled
def save_figure(
    figure: Figure, path: Path, formats: Sequence[str] = ("svg", "png"), dpi: float = 300
) -> list[Path]:
    """Save a figure for a paper; text stays text in SVG and PDF.

    Parameters
    ----------
    figure : Figure
        The figure.
    path : Path
        Its file without an ending.
    formats : sequence of str, default ("svg", "png")
        Endings, of :data:`FORMATS`.
    dpi : float, default 300
        Dots per inch of PNG and TIFF, and of pictures in other formats.

    Returns
    -------
    list of Path
        The files, in the order of `formats`.

    Raises
    ------
    TraitlensError
        If a format is none of these.
    """
    for ending in formats:
        if ending not in FORMATS:
            raise unknown_choice("format", ending, FORMATS)
    engine = figure.get_layout_engine()
    if engine is not None:
        # The layout is computed once for all formats.
        engine.execute(figure)
        figure.set_layout_engine(None)
    files = []
    for ending in formats:
        file = path.with_name(f"{path.name}.{ending}")
        # Without the date, equal results give equal files.
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(ending)
        # A higher compression level is slow and saves only a few per cent.
        packed: dict[str, Any] = {"pil_kwargs": {"compress_level": 1}} if ending == "png" else {}
        with atomic_write(file) as temporary:
            figure.savefig(temporary, format=ending, dpi=dpi, metadata=metadata, **packed)
        files.append(file)
    return files
