"""Measures of single raters, the dependent variables of rater models: level, agreement, spread and others."""

import numpy as np
import pandas as pd

from traitlens.columns import CUE, IMAGE, RATER, REGION, TRAIT
from traitlens.ratings.rating_matrix import RatingMatrix, fit_additive, make_matrix

MEASURES = {
    "level": "mean rating",
    "agreement": "agreement with all other raters",
    "spread": "spread of ratings over faces",
    "specificity": "specificity",
    "predictability": "predictability from the face",
    "utilisation": "use of a region",
}
"""Measures of raters, and their names in reports."""


def rater_outcomes(
    ratings: pd.DataFrame, utilisation: pd.DataFrame | None = None, cues: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Compute each measure of each rater on each trait, the dependent variables of rater models.

    Parameters
    ----------
    ratings : DataFrame
        rater, image, trait, rating.
    utilisation : DataFrame, optional
        rater, trait, region, utilisation; table of `traitlens.comparison.utilisation.rater_utilisation`.
    cues : DataFrame, optional
        image, trait, region, cue. The sum of an image's cues is the rating predicted from the face.

    Returns
    -------
    DataFrame
        rater, measure, trait, region, value. Measures: "level" (mean rating in rating points, adjusted for
        the images rated), "spread" (standard deviation over images, in rating points), "agreement" (Fisher's
        z of the correlation with the mean rating of all other raters of all groups), "specificity" (Fisher's
        z of the semi-partial correlation with the others' mean ratings of the trait, from which their mean
        ratings of the other traits are regressed out), "predictability" (Fisher's z of the correlation with
        the predicted ratings) and "utilisation" (one value per region, in rating points per standard
        deviation of the cue). Values that cannot be computed are left out.

    Examples
    --------
    >>> cells = pd.MultiIndex.from_product([["ann", "ben"], range(5)], names=["rater", "image"])
    >>> ratings = cells.to_frame(index=False).assign(trait="warm", rating=[1, 2, 3, 4, 5, 2, 2, 3, 4, 4])
    >>> rater_outcomes(ratings).query("measure == 'level'")["value"].tolist()
    [3.0, 3.0]
    """
    matrices = {str(trait): make_matrix(own) for trait, own in ratings.groupby(TRAIT, observed=True)}
    consensus = {trait: _Consensus(matrix) for trait, matrix in matrices.items()}
    tables = []
    for trait, matrix in matrices.items():
        several = (~np.isnan(matrix.ratings)).sum(axis=1) > 1
        spread = np.full(len(matrix.raters), np.nan)
        spread[several] = np.nanstd(matrix.ratings[several], axis=1, ddof=1)
        measured = {
            "level": rater_levels(matrix),
            "spread": spread,
            "agreement": _correlate(matrix, consensus[trait].of_others(matrix)),
        }
        if len(matrices) > 1:
            rest = [other for name, other in consensus.items() if name != trait]
            measured["specificity"] = _specificity(matrix, consensus[trait], rest)
        if cues is not None:
            own = cues[cues[TRAIT] == trait].groupby(IMAGE, observed=True)[CUE].sum()
            predicted = own.reindex(matrix.images).to_numpy(float)
            measured["predictability"] = _correlate(matrix, np.broadcast_to(predicted, matrix.ratings.shape))
        tables += [
            pd.DataFrame({RATER: matrix.raters, "measure": name, TRAIT: trait, REGION: "", "value": values})
            for name, values in measured.items()
        ]
    if utilisation is not None:
        of_regions = utilisation.rename(columns={"utilisation": "value"})
        tables.append(of_regions[[RATER, TRAIT, REGION, "value"]].assign(measure="utilisation"))
    found = pd.concat(tables, ignore_index=True)
    return found[np.isfinite(found["value"])].reset_index(drop=True)


def rater_levels(matrix: RatingMatrix) -> np.ndarray:
    """Compute the mean rating of each rater, adjusted for the images that the rater rated.

    Returns
    -------
    ndarray of shape (rater,)
        Least-squares level of each rater plus the mean level of the images.
    """
    raters, images = fit_additive(matrix.ratings)
    return np.asarray(raters + images.mean())


class _Consensus:
    """Mean ratings of images by all raters except one."""

    def __init__(self, matrix: RatingMatrix):
        self.matrix = matrix
        self.sums = np.nansum(matrix.ratings, axis=0)
        self.counts = (~np.isnan(matrix.ratings)).sum(axis=0)

    def of_others(self, raters: RatingMatrix) -> np.ndarray:
        """Return mean ratings by all other raters, an array in the shape of the rating matrix `raters`."""
        place = self.matrix.images.get_indexer(raters.images)
        sums = np.where(place >= 0, self.sums[place], 0)
        counts = np.where(place >= 0, self.counts[place], 0)
        own = self.matrix.raters.get_indexer(raters.raters)
        values = np.where(((own >= 0)[:, None]) & (place >= 0), self.matrix.ratings[own][:, place], np.nan)
        left = counts - ~np.isnan(values)
        means: np.ndarray = np.where(left > 0, (sums - np.nan_to_num(values)) / np.maximum(left, 1), np.nan)
        return means


def _correlate(matrix: RatingMatrix, others: np.ndarray) -> np.ndarray:
    """Return Fisher's z of the correlation of each rater's ratings with the same row of `others`."""
    z = np.full(len(matrix.raters), np.nan)
    for number, (own, theirs) in enumerate(zip(matrix.ratings, others, strict=True)):
        both = ~np.isnan(own) & ~np.isnan(theirs)
        z[number] = _fisher_z(own[both], theirs[both])
    return z


def _fisher_z(x: np.ndarray, y: np.ndarray) -> float:
    """Return Fisher's z of a correlation; NaN with fewer than four pairs or without variance."""
    if len(x) < 4 or np.ptp(x) <= 1e-9 * np.abs(x).max() or np.ptp(y) <= 1e-9 * np.abs(y).max():
        return np.nan
    return float(np.arctanh(np.clip(np.corrcoef(x, y)[0, 1], -0.999999, 0.999999)))


def _specificity(matrix: RatingMatrix, own: _Consensus, rest: list[_Consensus]) -> np.ndarray:
    """Return Fisher's z of the semi-partial correlation of each rater with the consensus on the trait."""
    target, others = own.of_others(matrix), np.stack([one.of_others(matrix) for one in rest], axis=2)
    z = np.full(len(matrix.raters), np.nan)
    for number, (values, aim, columns) in enumerate(zip(matrix.ratings, target, others, strict=True)):
        known = ~np.isnan(values) & ~np.isnan(aim) & ~np.isnan(columns).any(axis=1)
        if known.sum() < len(rest) + 5:
            continue
        design = np.column_stack([np.ones(known.sum()), columns[known]])
        distinct = aim[known] - design @ np.linalg.lstsq(design, aim[known], rcond=None)[0]
        if distinct.std() > 1e-6 * max(float(aim[known].std()), 1e-300):
            z[number] = _fisher_z(values[known], distinct)
    return z
