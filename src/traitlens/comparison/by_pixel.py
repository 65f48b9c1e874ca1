"""Permutation tests of the relevance maps of raters at every pixel, between groups or with a score.

The input is a map per rater on a coarse grid of the template. With a complete design and a common penalty,
the map of a group is the mean of the maps of its raters.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy import ndimage, stats

from traitlens.columns import RATER, X, Y
from traitlens.comparison.permutation import draw_labels
from traitlens.comparison.statistics import STATISTICS, as_labels, describe_effect
from traitlens.problems import Problem, TraitlensError, unknown_choice

CAUTION = (
    "The test shows that the maps differ; it does not locate the border or the peak of a difference "
    "(Sassenhagen & Draschkow, 2019)."
)
Progress = Callable[[int], None] | None
_METHODS = ("tfce", "cluster_mass", "pixel")


@dataclass(frozen=True)
class PixelComparison:
    """Result of a pixel-by-pixel test: maps of the statistics, and significant areas.

    Parameters
    ----------
    maps : Dataset
        Variables by y and x: estimate (difference of the groups in rating units; for "slope" the change per
        unit of the score; for "F" the largest difference between groups), statistic (t or F), enhanced
        (statistic whose maximum is tested), p, p_corrected (family-wise over pixels), effect_size (Hedges'
        g; r for "slope"; eta squared for "F").
    clusters : DataFrame
        One row per connected area with p_corrected <= 0.05: sign, n_pixels, y, x (of the largest statistic),
        estimate (mean), statistic (largest), p_corrected (smallest), effect_size (mean), n (raters), test.
    test, method : str
        Statistic ("t", "F" or "slope") and method, see :func:`compare_pixels`.
    caution : str
        A sentence to print under every figure of the result.
    """

    maps: xr.Dataset
    clusters: pd.DataFrame
    test: str
    method: str
    caution: str = CAUTION

    def __str__(self) -> str:
        smallest = float(self.maps["p_corrected"].min())
        return f"{self.test} by {self.method}: smallest corrected p = {smallest:.3g}\n{self.clusters}"


def compare_pixels(
    maps: xr.DataArray,
    scores: pd.Series,
    *,
    mask: np.ndarray | None = None,
    strata: np.ndarray | None = None,
    method: str = "tfce",
    threshold: float | None = None,
    permutations: int = 5000,
    seed: int = 0,
    progress: Progress = None,
) -> PixelComparison:
    """Test the maps of raters pixel by pixel, with family-wise control by the maximum statistic.

    Parameters
    ----------
    maps : DataArray
        Maps in rating units with the dimensions rater, y and x.
    scores : Series
        One value per rater: group names (Welch's t of the alphabetically first group minus the second; F for
        more than two groups), or numbers such as age or a questionnaire score (t of the slope).
    mask : ndarray of bool, shape (y, x), optional
        Pixels of the face; all if None.
    strata : ndarray of int, shape (rater,), optional
        Strata of raters within which labels are permuted.
    method : {"tfce", "cluster_mass", "pixel"}, default "tfce"
        Threshold-free cluster enhancement with E = 0.5, H = 2 and four neighbours (Smith and Nichols 2009;
        exact integral); the sum of the statistic over areas above `threshold` (Bullmore et al. 1999); or
        single pixels.
    threshold : float, optional
        Cluster-forming threshold for "cluster_mass", to be chosen before looking at the results; if None, the
        statistic at two-sided p = .01.
    permutations : int, default 5000
        Number of permutations of raters.
    seed : int, default 0
        Seed of the random number generator.
    progress : callable, optional
        Called with the number of permutations since the last call.

    Returns
    -------
    PixelComparison
        Maps of the statistics, significant areas, and a sentence to print under figures.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> maps = xr.DataArray(rng.normal(size=(20, 8, 8)), dims=("rater", "y", "x"))
    >>> scores = pd.Series(["a", "b"] * 10)
    >>> bool(compare_pixels(maps, scores, permutations=19).maps["p_corrected"].min() >= 0.05)
    True
    """
    if method not in _METHODS:
        raise unknown_choice("method", method, _METHODS)
    maps = maps.transpose(RATER, Y, X)
    shape = maps.shape[1:]
    inside = np.ones(shape, bool) if mask is None else np.asarray(mask, bool)
    values = maps.to_numpy().astype(float)[:, inside]
    _check_input(values, scores, inside, shape)
    labels, test, names = as_labels(scores)
    statistic = STATISTICS[test]
    if threshold is None:
        threshold = _default_threshold(test, len(values), len(names))

    def enhance(rows: np.ndarray) -> np.ndarray:
        """Enhance statistics by the chosen method."""
        return _enhance(rows, inside, method, threshold)

    observed = statistic(labels[None], values)
    enhanced = enhance(observed)[0]
    largest, larger = [np.zeros(0)], np.zeros(enhanced.shape)
    strata = np.zeros(len(labels), int) if strata is None else strata
    for block in draw_labels(labels, strata, permutations, seed, block=200):
        rows = np.abs(enhance(statistic(block, values)))
        largest.append(rows.max(axis=1))
        larger += (rows >= np.abs(enhanced) * (1 - 1e-6)).sum(axis=0)
        if progress:
            progress(len(block))
    maximum = np.sort(np.concatenate(largest))
    permutations = len(maximum)  # Fewer than requested if there are no more distinct labellings.
    reached = len(maximum) - np.searchsorted(maximum, np.abs(enhanced) * (1 - 1e-6))
    estimate, effect = describe_effect(values, labels, test, observed[0])
    columns = {
        "estimate": estimate,
        "statistic": observed[0],
        "enhanced": enhanced,
        "p": (larger + 1) / (permutations + 1),
        "p_corrected": (reached + 1) / (permutations + 1),
        "effect_size": effect,
    }
    coordinates = {name: maps.coords[name] for name in (Y, X) if name in maps.coords}
    dataset = xr.Dataset(
        {name: ((Y, X), _unmask(column, inside)) for name, column in columns.items()},
        coords=coordinates,
        attrs={"test": test, "method": method, "permutations": permutations, "caution": CAUTION}
        | ({"first_less_second": f"{names[0]} - {names[1]}"} if test == "t" else {}),
    )
    return PixelComparison(dataset, _list_clusters(dataset, len(values)), test, method)


def _check_input(values: np.ndarray, scores: pd.Series, inside: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise an error if mask, scores and maps do not match or have missing values."""
    problems = []
    if inside.shape != shape:
        problems.append(Problem(f"the mask has shape {inside.shape}, the maps {shape}"))
    if len(scores) != len(values):
        problems.append(
            Problem(f"there are {len(values)} maps and {len(scores)} scores", "pass one score per map")
        )
    if not np.isfinite(values).all():
        problems.append(Problem("maps hold values that are not finite"))
    if scores.isna().any():
        problems.append(
            Problem("scores are missing", f"leave out raters {list(scores[scores.isna()].index)}")
        )
    if problems:
        raise TraitlensError(problems)


def _default_threshold(test: str, raters: int, groups: int) -> float:
    """Return the value of the statistic at p = .01."""
    if test == "F":
        return float(stats.f.ppf(0.99, groups - 1, raters - groups))
    return float(stats.t.ppf(0.995, raters - 2))


def _unmask(row: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the values of the pixels in a mask as a map, with NaN outside the mask."""
    frame = np.full(inside.shape, np.nan)
    frame[inside] = row
    return frame


def _enhance(rows: np.ndarray, inside: np.ndarray, method: str, threshold: float) -> np.ndarray:
    """Return enhanced statistics, an array of shape (labelling, pixel)."""
    if method == "pixel":
        return rows
    frames = np.zeros((*inside.shape, len(rows)))
    frames[inside] = rows.T
    if method == "tfce":
        from tfce import tfce

        # In a volume of one slice, six-connectivity is the four-connectivity of a plane.
        volumes = np.ascontiguousarray(frames[:, :, None, :], dtype=np.float32)
        enhanced: np.ndarray = tfce(volumes, connectivity=6, E=0.5, H=2.0, two_sided=True)[:, :, 0]
        return np.asarray(enhanced[inside].T, float)
    masses = np.zeros_like(frames)
    for number_of_row in range(len(rows)):
        frame = frames[..., number_of_row]
        for sign in (1, -1):
            areas, count = ndimage.label(sign * frame > threshold)
            if count:
                mass = ndimage.sum_labels(frame, areas, np.arange(count + 1))
                mass[0] = 0
                masses[..., number_of_row] += mass[areas]
    return np.asarray(masses[inside].T)


def _list_clusters(maps: xr.Dataset, raters: int) -> pd.DataFrame:
    """Tabulate the significant connected areas, sorted by their largest statistic."""
    statistic = maps["statistic"].to_numpy()
    significant = maps["p_corrected"].to_numpy() <= 0.05
    rows = []
    for sign in (1, -1):
        areas, count = ndimage.label(significant & (sign * statistic > 0))
        for area in range(1, count + 1):
            place = areas == area
            peak = np.unravel_index(np.argmax(np.where(place, np.abs(statistic), -1)), place.shape)
            rows.append(
                {
                    "sign": sign,
                    "n_pixels": int(place.sum()),
                    Y: int(peak[0]),
                    X: int(peak[1]),
                    "estimate": float(maps["estimate"].to_numpy()[place].mean()),
                    "statistic": float(statistic[peak]),
                    "p_corrected": float(maps["p_corrected"].to_numpy()[place].min()),
                    "effect_size": float(np.nanmean(maps["effect_size"].to_numpy()[place])),
                    "n": raters,
                    "test": maps.attrs["test"],
                }
            )
    columns = ["sign", "n_pixels", Y, X, "estimate", "statistic", "p_corrected", "effect_size", "n", "test"]
    table = pd.DataFrame(rows, columns=columns)
    order = table["statistic"].abs().sort_values(ascending=False).index
    return table.loc[order].reset_index(drop=True)
