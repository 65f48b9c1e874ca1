"""Figure of the pixel-wise tests of group differences, with significant areas outlined."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.ndimage import zoom

from traitlens.columns import TRAIT, Y
from traitlens.report.colouring import OPACITY, colour, lay_over, symmetric_limit
from traitlens.report.picture_rows import Picture, Row, draw_rows, per_percent
from traitlens.report.style import WIDE, shorten, styled

MOST_BESIDE = 5
"""Number of traits in a row at full width."""


@styled
def plot_pixel_differences(
    tests: xr.Dataset,
    *,
    comparison: str | None = None,
    traits: Sequence[str] | None = None,
    alpha: float = 0.05,
    opacity: float = OPACITY,
    percentile: float = 100.0,
    limit: float | None = None,
    width: float = WIDE,
) -> Figure:
    """Draw the difference of two groups' maps on the template, with significant areas outlined.

    Parameters
    ----------
    tests : Dataset
        `comparisons/pixels.zarr`: estimate and p_corrected (comparison, trait, y, x), NaN in pixels that
        were not tested, and optionally face (face_y, face_x, colour).
    comparison : str, optional
        Pair of groups, as "first - second"; the first pair by default.
    traits : sequence of str, optional
        Traits to draw, in this order; all by default.
    alpha : float, default 0.05
        Areas with a p of at most this, corrected over pixels and traits, are outlined.
    opacity : float, default 0.5
        Opacity of the average face, from 0 to 1.
    percentile : float, default 100
        Percentile of the absolute values at which the scale ends.
    limit : float or None
        End of the scale; None chooses it by `percentile`.
    width : float, default 183
        Width in millimetres.

    Returns
    -------
    Figure
        A picture for each trait, all on one symmetric scale.

    Examples
    --------
    >>> ones = (("comparison", "trait", "y", "x"), np.ones((1, 1, 4, 4)))
    >>> names = {"comparison": ["a - b"], "trait": ["warm"]}
    >>> tests = xr.Dataset({"estimate": ones, "p_corrected": ones}, names)
    >>> len(plot_pixel_differences(tests).axes)  # the map and its bar
    2
    """
    comparison = comparison or str(tests["comparison"].values[0])
    traits = list(map(str, tests[TRAIT].values)) if traits is None else list(traits)
    shown = tests.sel(comparison=comparison)
    estimates = per_percent(np.stack([shown["estimate"].sel({TRAIT: trait}).values for trait in traits]))
    end = limit or symmetric_limit(estimates, percentile=percentile)
    factor = tests.sizes["face_y"] // tests.sizes[Y] if "face" in tests else 4
    side = factor * tests.sizes[Y]
    face = tests["face"].values if "face" in tests else np.full((side, side, 3), 255, np.uint8)
    panels = []
    for trait, estimate in zip(traits, estimates, strict=True):
        fine = zoom(np.nan_to_num(estimate), factor, order=1, grid_mode=True, mode="nearest")
        # p is corrected over pixels only; the Bonferroni correction over traits is applied here.
        found = shown["p_corrected"].sel({TRAIT: trait}).values * tests.sizes[TRAIT] <= alpha
        outline = np.kron(found, np.ones((factor, factor), bool))
        panels.append(Picture(lay_over(face, colour(fine, end), opacity), trait, outline=outline))
    beside = MOST_BESIDE if width > 120 else 2
    lines = [panels[i : i + beside] for i in range(0, len(panels), beside)]
    pair = comparison.split(" - ", 1)
    title = " − ".join(shorten(group, 30) for group in pair)
    ends = (f"more in {pair[-1]}", f"more in {pair[0]}")
    rows = [
        Row(line, end if line is lines[-1] else None, "" if i else title, ends=ends)
        for i, line in enumerate(lines)
    ]
    return draw_rows(rows, width, clipped=limit is not None or percentile < 100)
