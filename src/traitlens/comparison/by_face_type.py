"""Test on which faces groups differ: slopes on measures of faces, and prediction of the difference."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import TRAIT
from traitlens.comparison.group_pairs import GroupPair, compare_each_pair
from traitlens.comparison.linear_models import LinearModel
from traitlens.comparison.rater_tests import Cells, compare_cells
from traitlens.comparison.refitting import FeatureKernel, prediction_matrix
from traitlens.ratings.rating_matrix import RatingMatrix, fit_additive
from traitlens.readouts.performance import jackknife_intervals
from traitlens.readouts.refit import Refit

FEWEST_IMAGES = 6
"""Minimum number of images for a slope."""
SLOPE_COLUMNS = [
    "group_1", "group_2", TRAIT, "moderator", "value_1", "value_2", "estimate", "ci_low", "ci_high",
    "statistic", "df", "p", "p_corrected", "crossed_low", "crossed_high", "crossed_p", "n_1", "n_2",
    "n_images", "n_permutations", "smallest_p",
]  # fmt: skip


def compare_face_types(
    ratings: pd.DataFrame,
    measures: pd.DataFrame,
    identities: pd.Series,
    *,
    groups: tuple[str, str] | None = None,
    within: Sequence[str] = (),
    permutations: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether the difference between two groups' ratings depends on measures of faces.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    measures : DataFrame
        Measures of faces (columns) by image (index). Images without a value are left out of that measure.
    identities : Series
        The person shown, by image.
    groups : (str, str), optional
        The first minus the second; all pairs if None.
    within : sequence of str, default ()
        Columns of raters within which labels are permuted, see `compare_means`.
    permutations : int, default 5000
        Number of permutations.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, moderator, value_1, value_2 (mean slope of a group's raters: rating points
        per standard deviation of the measure), estimate (their difference, which is the slope of the
        difference of the groups' mean ratings), ci_low, ci_high, statistic, df, p (permutation of raters),
        p_corrected (family-wise over traits and measures), crossed_low, crossed_high, crossed_p (raters and
        persons shown as random factors), n_1, n_2, n_images, n_permutations, smallest_p.

    Notes
    -----
    The slope of each rater on each measure is computed over the faces that the rater rated, and raters are
    permuted. The crossed standard error combines the standard error over raters with that of a regression of
    the difference on the measure, with persons as clusters (CR2, Bell and McCaffrey 2002). Both include the
    noise of single ratings, so the crossed intervals are somewhat too wide. Each measure has its own
    regression; correlated measures therefore have similar slopes.
    """

    def compare(pair: GroupPair) -> pd.DataFrame | None:
        """Compare the slopes of two groups; None if no measure has enough images."""
        families, names, faces = [], [], []
        for trait, matrix in pair.matrices.items():
            known = measures.reindex(matrix.images).to_numpy(float)
            slopes, used = _rater_slopes(matrix.ratings, known)
            members, labels = pair.members[trait], pair.labels(trait)
            sound = np.isfinite(slopes[:, used])
            for pattern in np.unique(sound, axis=1).T:
                own = [place for place, there in zip(used, sound.T, strict=True) if (there == pattern).all()]
                if np.bincount(labels[pattern], minlength=2).min() < 2:
                    continue
                families.append(Cells(members[pattern], slopes[np.ix_(pattern, own)]))
                names += [(trait, str(measures.columns[place])) for place in own]
                faces += [_error_over_faces(matrix, labels, known[:, place], identities) for place in own]
        if not families:
            return None
        table = compare_cells(families, pair.sample).rename(
            columns={"mean_1": "value_1", "mean_2": "value_2"}
        )
        table[[TRAIT, "moderator"]] = names
        return _add_crossed_intervals(table, faces)

    return compare_each_pair(compare, ratings, groups, within, permutations, seed, columns=SLOPE_COLUMNS)


def _rater_slopes(ratings: np.ndarray, measures: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return the slope of each rater on each standardised measure, and the measures with enough faces."""
    seen = ~np.isnan(ratings)
    slopes = np.full((len(ratings), measures.shape[1]), np.nan)
    used = []
    for place, column in enumerate(measures.T):
        known = np.isfinite(column)
        if known.sum() < FEWEST_IMAGES or not column[known].std() > 1e-12:
            continue
        used.append(place)
        x = np.where(known, (column - column[known].mean()) / column[known].std(), 0)
        both = seen & known
        n = np.maximum(both.sum(axis=1), 1)
        y = np.where(both, ratings, 0)
        mean_x = both @ x / n
        square = both @ x**2 - n * mean_x**2
        products = y @ x - y.sum(axis=1) * mean_x
        sound = (both.sum(axis=1) >= FEWEST_IMAGES) & (square > 0.1 * n)
        slopes[sound, place] = products[sound] / square[sound]
    return slopes, used


def _error_over_faces(
    matrix: RatingMatrix, labels: np.ndarray, measure: np.ndarray, identities: pd.Series
) -> tuple[float, float, int]:
    """Return the standard error over faces of a slope of the difference, its df, and the number of faces."""
    difference = mean_difference(matrix, labels)
    known = np.isfinite(difference) & np.isfinite(measure)
    persons = pd.factorize(identities.reindex(matrix.images).to_numpy()[known])[0]
    if known.sum() < FEWEST_IMAGES or len(np.unique(persons)) < 4 or not measure[known].std() > 1e-12:
        return np.nan, 1.0, int(known.sum())
    x = (measure[known] - measure[known].mean()) / measure[known].std()
    model = LinearModel(np.column_stack([np.ones(len(x)), x]), persons)
    contrast = model.contrast(np.array([0.0, 1]))
    if contrast is None:
        return np.nan, 1.0, len(x)
    _, error = model.estimate(contrast, difference[known][:, None])
    return float(error[0]), contrast.freedom, len(x)


def _add_crossed_intervals(table: pd.DataFrame, faces: list[tuple[float, float, int]]) -> pd.DataFrame:
    """Add intervals and p values with raters and faces as random factors."""
    error, freedom, images = (np.array(column) for column in zip(*faces, strict=True))
    raters = table["standard_error"].to_numpy()
    total = np.hypot(raters, error)
    below = raters**4 / table["df"].to_numpy() + error**4 / freedom
    crossed = np.maximum(total**4 / np.maximum(below, 1e-300), 1)
    width = stats.t.ppf(0.975, crossed) * total
    estimate = table["estimate"].to_numpy()
    p = 2 * stats.t.sf(np.abs(estimate) / np.where(total > 0, total, np.nan), crossed)
    return table.assign(
        crossed_low=estimate - width, crossed_high=estimate + width, crossed_p=p, n_images=images
    )


def mean_difference(matrix: RatingMatrix, labels: np.ndarray) -> np.ndarray:
    """Compute the difference of two groups' mean ratings of each image, adjusted for raters' levels.

    Parameters
    ----------
    matrix : RatingMatrix
        Ratings of one trait.
    labels : ndarray of int, shape (rater,)
        Group of each rater, 0 or 1.

    Returns
    -------
    ndarray of shape (image,)
        First group minus second; NaN where a group did not rate an image.
    """
    levels = fit_additive(matrix.ratings)[0]
    values = matrix.ratings - levels[:, None]
    seen = ~np.isnan(values)
    means = []
    for side in (0, 1):
        own = labels == side
        count = seen[own].sum(axis=0)
        means.append(np.where(count > 0, np.nansum(values[own], axis=0) / np.maximum(count, 1), np.nan))
    difference: np.ndarray = means[0] - means[1]
    return difference


DIFFERENCE_COLUMNS = [
    "group_1", "group_2", TRAIT, "sd", "reliability", "reliability_p", "r", "ci_low", "ci_high", "p",
    "p_corrected", "n_images", "n_1", "n_2", "n_permutations", "smallest_p",
]  # fmt: skip


def predict_difference(
    ratings: pd.DataFrame,
    kernel: FeatureKernel,
    penalties: Mapping[str, float],
    identities: pd.Series,
    *,
    groups: tuple[str, str] | None = None,
    within: Sequence[str] = (),
    permutations: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Predict the difference between two groups' mean ratings of each face from features, out of fold.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating. Both groups must have rated every image of the kernel.
    kernel : FeatureKernel
        Features and folds.
    penalties : mapping of str to float
        Ridge penalty of each trait.
    identities : Series
        The person shown, by image.
    groups, within, permutations, seed
        As for :func:`compare_face_types`.

    Returns
    -------
    DataFrame
        group_1, group_2, trait, sd (standard deviation of the difference over faces, rating points),
        reliability (expected share of the variance of the difference that other raters of the same groups
        would reproduce; the ceiling of R²), reliability_p (permutation of raters), r (correlation of the
        difference with its out-of-fold prediction), ci_low, ci_high (95 % interval of r for new faces and
        the same raters), p (of r; one-sided, raters permuted and readouts refitted),
        p_corrected (family-wise over traits), n_images, n_1, n_2, n_permutations, smallest_p.

    Notes
    -----
    If two groups have the same taste, the difference between their mean ratings is noise, which no feature
    predicts. The reliability is one minus the share of the variance of the difference that is due to this
    noise, which is estimated from the residuals of raters about the mean of their group.
    """
    images = pd.Index(kernel.images)
    prediction = {trait: prediction_matrix(kernel, penalty) for trait, penalty in penalties.items()}

    def compare(pair: GroupPair) -> pd.DataFrame | None:
        """Predict the differences between two groups; None if they rated different images."""
        rows, parts = [], []
        for trait, matrix in pair.matrices.items():
            place = images.get_indexer(matrix.images)
            if trait not in prediction or (place < 0).any() or len(place) < len(images):
                continue
            values = matrix.ratings[:, np.argsort(place)]
            levels = fit_additive(values)[0]
            own = _MeanDifference(values - levels[:, None], pair.members[trait], prediction[trait])
            difference, reliability, r = (one[0] for one in own.measures(pair.sample.labels[None]))
            if not np.isfinite(difference).all():
                continue
            parts.append(own)
            low, high = _interval_of_r(difference, kernel, penalties[trait], identities)
            counts = np.bincount(pair.labels(trait), minlength=2)
            rows.append(
                {TRAIT: trait, "sd": difference.std(ddof=1), "reliability": reliability, "r": r,
                 "ci_low": low, "ci_high": high, "n_images": len(difference), "n_1": counts[0],
                 "n_2": counts[1]}
            )  # fmt: skip
        if not rows:
            return None
        table = pd.DataFrame(rows)
        null = [np.zeros((0, len(parts), 2))]
        for block in pair.sample.draw():
            found = [np.column_stack(own.measures(block)[1:]) for own in parts]
            null.append(np.stack(found, axis=1))
        permuted = np.nan_to_num(np.concatenate(null), nan=-1.0)
        observed = table[["reliability", "r"]].to_numpy()
        reached = (permuted >= observed - 1e-12).sum(axis=0)
        table["reliability_p"], table["p"] = ((reached + 1) / (len(permuted) + 1)).T
        table["p_corrected"] = _one_sided_familywise(observed[:, 1], permuted[:, :, 1])
        return table.assign(n_permutations=len(permuted), smallest_p=pair.sample.smallest_p)

    return compare_each_pair(compare, ratings, groups, within, permutations, seed, columns=DIFFERENCE_COLUMNS)


class _MeanDifference:
    """Difference between two groups' mean ratings of one trait, with its reliability and prediction."""

    def __init__(self, values: np.ndarray, members: np.ndarray, prediction: np.ndarray):
        self.values, self.seen = np.nan_to_num(values), (~np.isnan(values)).astype(float)
        self.members, self.prediction = members, prediction

    def measures(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the difference for each labelling and image, its reliability, and r of its prediction."""
        means, noise = [], np.zeros(len(labels))
        for side in (0, 1):
            group = (labels[:, self.members] == side).astype(float)
            count = group @ self.seen
            mean = group @ self.values / np.where(count > 0, count, np.nan)
            # Sums of squares about the mean of the group; the level of each rater has been subtracted.
            squares = group @ self.values**2 - count * mean**2
            freedom = (count - 1).sum(axis=1) - group.sum(axis=1) + 1
            variance = squares.sum(axis=1) / np.maximum(freedom, 1)
            noise += variance * np.mean(1 / np.maximum(count, 1), axis=1)
            means.append(mean)
        difference = means[0] - means[1]
        x = difference - difference.mean(axis=1, keepdims=True)
        predicted = difference @ self.prediction.T
        y = predicted - predicted.mean(axis=1, keepdims=True)
        scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
        r = np.where(scale > 0, (x * y).sum(axis=1) / np.where(scale > 0, scale, 1), 0)
        total = (x**2).sum(axis=1) / (x.shape[1] - 1)
        reliability = 1 - noise / np.where(total > 0, total, np.nan)
        return difference, reliability, r


def _interval_of_r(
    difference: np.ndarray, kernel: FeatureKernel, penalty: float, identities: pd.Series
) -> tuple[float, float]:
    """Compute the 95 % interval of r for new faces."""
    persons = pd.factorize(identities.reindex(list(kernel.images)).to_numpy())[0]
    relative = {}
    for fold in np.unique(kernel.folds):
        train = kernel.folds != fold
        own = kernel.values[np.ix_(train, train)]
        spread = (np.trace(own) - own.sum() / train.sum()) / train.sum()
        relative[int(fold)] = penalty / (max(float(spread), 0.0) or 1.0)
    refit = Refit.of(lambda _: kernel.values, difference, kernel.folds, persons, relative)
    low, high, *_ = jackknife_intervals(difference, refit)
    return low, high


def _one_sided_familywise(observed: np.ndarray, permuted: np.ndarray) -> np.ndarray:
    """Compute one-sided family-wise p values by the maximum statistic (Westfall and Young 1993)."""
    together = np.vstack([observed, permuted])
    mean, scale = together.mean(axis=0), together.std(axis=0)
    standard = (together - mean) / np.where(scale > 0, scale, np.inf)
    largest = standard[1:].max(axis=1)
    reached = (largest[:, None] >= standard[0] - 1e-12).sum(axis=0)
    p: np.ndarray = (reached + 1) / (len(permuted) + 1)
    return p
