"""The command that draws a single figure with other options."""

from pathlib import Path
from typing import Annotated, Any

import typer

from traitlens.cli.terminal import answer


def _figures() -> list[str]:
    """Return the names of figures for shell completion."""
    from traitlens.report.figures import FIGURES

    return list(FIGURES)


def _formats() -> list[str]:
    """Return the file formats for shell completion."""
    from traitlens.report.style import FORMATS

    return list(FORMATS)


def figure(
    name: Annotated[
        str, typer.Argument(help="Name of a figure, or `list` to list them.", autocompletion=_figures)
    ],
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="The results folder.")] = Path("results"),
    trait: Annotated[list[str] | None, typer.Option(help="Trait to show; repeat for several.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="Group to show; repeat for several.")] = None,
    image: Annotated[
        list[str] | None, typer.Option(help="For `faces`, `profile`: image to show; repeat for several.")
    ] = None,
    width: Annotated[float, typer.Option(help="Width in mm: 89 is one column of a journal, 183 two.")] = 183,
    opacity: Annotated[float | None, typer.Option(help="Opacity of the face under a map, 0 to 1.")] = None,
    scale: Annotated[float | None, typer.Option(help="End of the colour scale, in its bar's unit.")] = None,
    smoothing: Annotated[
        float | None, typer.Option(help="SD of the Gaussian that smooths maps, in pixels.")
    ] = None,
    format: Annotated[
        list[str] | None,
        typer.Option(
            help="svg, png, pdf, eps or tif; repeat for several. Default: svg and png.",
            autocompletion=_formats,
        ),
    ] = None,
    dpi: Annotated[
        float, typer.Option(min=72, max=2400, help="Dots per inch of png and tif; for line art 600 to 1200.")
    ] = 300,
    out: Annotated[Path | None, typer.Option(help="File name without ending; ./NAME by default.")] = None,
) -> None:
    """Draw a figure of the report with other traits, groups, width, opacity or scale.

    Example: traitlens figure average_maps mystudy/results --trait warm --width 89 --opacity 0.3
    """
    from traitlens.report.figures import FIGURES, draw_figure
    from traitlens.report.style import save_figure

    if name == "list":
        facts = {one: kind.about for one, kind in FIGURES.items()}
        answer({"figures": facts}, *(f"{one:<20}{about}" for one, about in facts.items()))
        return
    options: dict[str, Any] = {"opacity": opacity, "limit": scale, "smoothing": smoothing, "images": image}
    given = {option: value for option, value in options.items() if value not in (None, [])}
    drawn = draw_figure(results, name, groups=group, traits=trait, width=width, **given)
    files = save_figure(drawn, out or Path(name), format or ("svg", "png"), dpi)
    answer({"files": files}, *(f"Figure: {file}" for file in files))
