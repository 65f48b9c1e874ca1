"""The command `traitlens figure`, which draws one figure of the report with other options."""

from pathlib import Path
from typing import Annotated, Any

import typer

from traitlens.cli.terminal import print_result


def _figure_names() -> list[str]:
    """Return the names of all figures, for shell completion."""
    from traitlens.report.figures import FIGURES

    return list(FIGURES)


def _figure_formats() -> list[str]:
    """Return the file formats of figures, for shell completion."""
    from traitlens.report.style import FORMATS

    return list(FORMATS)


def figure(
    name: Annotated[
        str, typer.Argument(help="Name of a figure, or `list` to list them.", autocompletion=_figure_names)
    ],
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Results folder.")] = Path("results"),
    trait: Annotated[list[str] | None, typer.Option(help="Trait to show; repeat for several.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="Group to show; repeat for several.")] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(help="Image to show (figures `faces` and `profile`); repeat for several."),
    ] = None,
    width: Annotated[float, typer.Option(help="Width in mm; a journal column is 89, two are 183.")] = 183,
    opacity: Annotated[float | None, typer.Option(help="Opacity of the face under a map, 0 to 1.")] = None,
    scale: Annotated[
        float | None, typer.Option(help="Largest value of the colour scale, in the unit of the colour bar.")
    ] = None,
    smoothing: Annotated[
        float | None,
        typer.Option(help="Standard deviation, in pixels, of the Gaussian filter that smooths maps."),
    ] = None,
    format: Annotated[
        list[str] | None,
        typer.Option(
            help="File format: svg, png, pdf, eps or tif; repeat for several. Default: svg and png.",
            autocompletion=_figure_formats,
        ),
    ] = None,
    dpi: Annotated[
        float, typer.Option(min=72, max=2400, help="Dots per inch of png and tif; for line art 600 to 1200.")
    ] = 300,
    out: Annotated[Path | None, typer.Option(help="File name without extension; ./NAME by default.")] = None,
) -> None:
    """Draw a figure of the report with other traits, groups, width, opacity or scale.

    Example: traitlens figure average_maps mystudy/results --trait warm --width 89 --opacity 0.3
    """
    from traitlens.report.figures import FIGURES, draw_figure
    from traitlens.report.style import save_figure

    if name == "list":
        facts = {one: kind.about for one, kind in FIGURES.items()}
        print_result({"figures": facts}, *(f"{one:<20}{about}" for one, about in facts.items()))
        return
    options: dict[str, Any] = {"opacity": opacity, "limit": scale, "smoothing": smoothing, "images": image}
    given = {option: value for option, value in options.items() if value not in (None, [])}
    drawn = draw_figure(results, name, groups=group, traits=trait, width=width, **given)
    files = save_figure(drawn, out or Path(name), format or ("svg", "png"), dpi)
    print_result({"files": files}, *(f"Figure: {file}" for file in files))
