"""Figures of correlation matrices: between traits, and of readouts applied to other traits."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from traitlens.columns import GROUP
from traitlens.report.charts import in_order
from traitlens.report.numbers import bounded
from traitlens.report.style import INK, MAP_COLOURS, WIDE, inches, shorten, styled

# In millimetres: smallest cell with a number, largest cell, space for names.
_READABLE, _LARGEST, _NAMES = 6.2, 11.0, 28.0
_LETTERS = 22


@styled
def plot_trait_space(
    correlations: pd.DataFrame,
    *,
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw the correlations of the traits' mean ratings over images, one matrix per group.

    Parameters
    ----------
    correlations : DataFrame
        `ratings/trait_correlations.csv`: group, trait_1, trait_2 (each pair once), r.
    groups, traits, width
        As for :func:`traitlens.report.charts.plot_performance`.

    Returns
    -------
    Figure
        Red: positive; blue: negative; one scale from -1 to 1.

    Examples
    --------
    >>> table = pd.DataFrame({"group": "a", "trait_1": ["warm"], "trait_2": ["strong"], "r": [0.4]})
    >>> len(plot_trait_space(table).axes)  # a matrix and its bar
    2
    """
    groups = in_order(correlations, GROUP, groups)
    both = pd.concat(
        [correlations, correlations.rename(columns={"trait_1": "trait_2", "trait_2": "trait_1"})]
    )
    traits = in_order(both, "trait_1", traits)
    matrices = []
    for group in groups:
        wide = both[both[GROUP] == group].pivot_table(index="trait_1", columns="trait_2", values="r")
        matrices.append(wide.reindex(index=traits, columns=traits).to_numpy(float))
    return _draw_matrices(matrices, groups, traits, "Correlation of mean ratings over images (r)", width)


@styled
def plot_transfer(
    transfer: pd.DataFrame,
    *,
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw how well the readout of each trait predicts the ratings of every other, one matrix per group.

    Parameters
    ----------
    transfer : DataFrame
        `comparisons/transfer_traits.csv`: group, fitted_on, predicting, r, and r_own (of the readout on its
        own trait).
    groups, traits, width
        As for :func:`traitlens.report.charts.plot_performance`.

    Returns
    -------
    Figure
        Rows: trait of the readout; columns: predicted trait; one scale from -1 to 1.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"group": "a", "fitted_on": ["warm"], "predicting": ["strong"], "r": [0.4], "r_own": [0.6]}
    ... )
    >>> len(plot_transfer(table).axes)
    2
    """
    groups = in_order(transfer, GROUP, groups)
    traits = in_order(transfer, "fitted_on", traits)
    matrices = []
    for group in groups:
        part = transfer[transfer[GROUP] == group]
        wide = part.pivot_table(index="fitted_on", columns="predicting", values="r")
        matrix = wide.reindex(index=traits, columns=traits).to_numpy(float, copy=True)
        own = part.groupby("fitted_on")["r_own"].first().reindex(traits).to_numpy(float)
        np.fill_diagonal(matrix, np.where(np.isnan(matrix.diagonal()), own, matrix.diagonal()))
        matrices.append(matrix)
    label = "Correlation of predicted and observed ratings (r, out of fold)"
    return _draw_matrices(matrices, groups, traits, label, width, "Readout of", "Ratings of")


def _draw_matrices(
    matrices: Sequence[np.ndarray],
    groups: Sequence[str],
    names: Sequence[str],
    label: str,
    width: float,
    down: str = "",
    across: str = "",
) -> Figure:
    """Draw a correlation matrix for each group, and a colour bar."""
    beside = min(len(groups), 2 if width > 120 else 1)
    lines = math.ceil(len(groups) / beside)
    cell = min((width / beside - _NAMES - 8) / len(names), _LARGEST)
    height = (cell * len(names) + _NAMES + 6 + 4 * bool(across)) * lines + 14
    figure = Figure(figsize=(inches(width), inches(height)), layout="constrained")
    panels = list(figure.subplots(lines, beside, squeeze=False).ravel())
    for axes in panels[len(groups) :]:
        axes.remove()
    for matrix, group, axes in zip(matrices, groups, panels, strict=False):
        axes.imshow(matrix, cmap=MAP_COLOURS, vmin=-1, vmax=1, aspect="equal")
        axes.set_xticks(range(len(names)), [shorten(name, _LETTERS) for name in names], rotation=90)
        axes.set_yticks(range(len(names)), [shorten(name, _LETTERS) for name in names])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(shorten(group, 30), loc="left", fontweight="bold")
        axes.set_ylabel(down)
        axes.set_xlabel(across)
        if cell >= _READABLE:
            _write_numbers(axes, matrix)
    bar = figure.colorbar(
        ScalarMappable(Normalize(-1, 1), MAP_COLOURS),
        ax=panels[: len(groups)],
        orientation="horizontal",
        aspect=40,
        shrink=min(1.0, 70 / width),
        ticks=[-1, 0, 1],
    )
    bar.ax.set_xticklabels(["−1", "0", "+1"])
    bar.outline.set_linewidth(0.5)
    bar.set_label(label if width > 120 else label.split(" (", maxsplit=1)[0])
    return figure


def _write_numbers(axes: Axes, matrix: np.ndarray) -> None:
    """Write each correlation into its cell, in white where the colour is dark."""
    for (row, column), value in np.ndenumerate(matrix):
        if math.isfinite(value):
            colour = "white" if abs(value) > 0.65 else INK
            axes.text(column, row, bounded(value), ha="center", va="center", color=colour, fontsize=7)
