r"""Weights of images in the fit of readouts, by the inverse variance of their mean ratings.

Mean ratings of few or disagreeing raters are less reliable. The mean of :math:`n` ratings has the error
variance :math:`s^2 / n`, and a readout the error variance :math:`\tau^2`. In weighted least squares the image
has the weight :math:`1 / (\tau^2 + s^2 / n)` (Aitken 1936).
"""

import numpy as np
import pandas as pd

from traitlens.columns import RATING, N
from traitlens.readouts.fit_results import TargetMatrix, arrange_targets

PRIOR = 20
"""Degrees of freedom of the prior variance, that of the trait, towards which variances are shrunk."""


def weigh_images(targets: pd.DataFrame, images: pd.Series, matrix: TargetMatrix) -> np.ndarray:
    """Compute weights of images from the number and spread of their ratings.

    The variance of each image is shrunk towards that of the trait. The error variance of a readout is assumed
    to be half of the variance of true mean ratings.

    Parameters
    ----------
    targets : DataFrame
        group, trait, image, rating, n (number of raters), sd (standard deviation of their ratings).
    images : Series
        Images in the order of `matrix`.
    matrix : TargetMatrix
        Mean ratings as a matrix.

    Returns
    -------
    ndarray of shape (image, target)
        Weights, with a mean of 1 over the rated images of each target; 1 for images that are not rated, and
        for all images if `targets` has no columns n and sd.

    Examples
    --------
    >>> targets = pd.DataFrame({"group": "all", "trait": "warm", "image": list("abc"),
    ...     "rating": [2.0, 4.0, 6.0], "n": [40, 10, 10], "sd": 1.5})
    >>> weigh_images(targets, targets["image"], arrange_targets(targets, targets["image"])).ravel().round(2)
    array([1.08, 0.96, 0.96])
    """
    weights = np.ones_like(matrix.ratings)
    if not {N, "sd"} <= set(targets):
        return weights
    numbers, spreads = (
        arrange_targets(targets.assign(**{RATING: targets[name].astype("Float64")}), images).ratings
        for name in (N, "sd")
    )
    for column, ratings in enumerate(matrix.ratings.T):
        rated = np.isfinite(ratings)
        n, variance = numbers[rated, column], spreads[rated, column] ** 2
        known = np.isfinite(variance) & (n > 1)
        if not known.any() or not np.isfinite(n).all():
            continue
        freedom = np.where(known, n - 1, 0.0)
        own = np.where(known, variance, 0.0)
        common = (freedom * own).sum() / freedom.sum()
        uncertain = (freedom * own + PRIOR * common) / (freedom + PRIOR) / n
        missed = max(ratings[rated].var() - uncertain.mean(), 0.0) / 2
        if (uncertain + missed > 0).all():
            weight = 1 / (uncertain + missed)
            weights[rated, column] = weight / weight.mean()
    return weights
