"""How the gallery of examples finds figures: they are matplotlib's, but unknown to pyplot."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

_shown: set[int] = set()


def save_figures(_block: Any, variables: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Save the figures that a block of an example left in its variables, each once."""
    saved = []
    for value in list(variables["example_globals"].values()):
        if isinstance(value, Figure) and id(value) not in _shown:
            _shown.add(id(value))
            file = next(variables["image_path_iterator"])
            value.savefig(file, dpi=150)
            saved.append(file)
    return figure_rst(saved, settings["src_dir"])


def forget_figures(_settings: Any, _name: str) -> None:
    """Begin an example: its figures are new ones."""
    _shown.clear()
