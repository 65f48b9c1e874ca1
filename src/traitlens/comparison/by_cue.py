"""Test whether readouts rely on superficial cues: hair and background, colour, or left and right.

Networks that were trained to recognise objects may predict ratings from hair or colour (Keles, Lin and
Adolphs 2021, doi:10.1007/s42761-021-00075-5).
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from traitlens.columns import FOLD, GROUP, IDENTITY, IMAGE, OBSERVED, PREDICTED, TRAIT
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.readouts.fit_results import FittedReadouts
from traitlens.readouts.ridge import fit_ridge

Alter = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _mask(pixels: np.ndarray, outside: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    """Replace hair and background by the colour whose network input is zero."""
    return np.where(outside[..., None], neutral.round().astype(np.uint8), pixels)


def _grey(pixels: np.ndarray, _outside: np.ndarray, _neutral: np.ndarray) -> np.ndarray:
    """Convert an image to grey (luma of ITU-R BT.601)."""
    luma = pixels.astype(float) @ np.array([0.299, 0.587, 0.114])
    return np.repeat(luma.round().astype(np.uint8)[..., None], 3, axis=-1)


def _mirror(pixels: np.ndarray, _outside: np.ndarray, _neutral: np.ndarray) -> np.ndarray:
    """Mirror an image left to right."""
    return np.ascontiguousarray(pixels[:, ::-1])


CUES: Mapping[str, Alter] = {"no hair or background": _mask, "grey": _grey, "mirrored": _mirror}
"""Functions that alter a prepared image, given its pixels (y, x, colour), the mask of hair and background,
and the neutral colour."""


def compare_cues(
    fitted: FittedReadouts,
    altered: Mapping[str, Mapping[FeatureSpace, np.ndarray]],
    targets: pd.DataFrame,
    folds: pd.DataFrame,
    *,
    sharing: float = 1.0,
    bootstraps: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the performance of readouts on original faces and on faces with an altered cue.

    Parameters
    ----------
    fitted : FittedReadouts
        Ridge readouts of the original faces.
    altered : mapping of str to mapping of FeatureSpace to ndarray
        Features of the altered faces by name of the cue: arrays of shape (image, channel, row, column), with
        images in the order of `folds`.
    targets : DataFrame
        group, trait, image, rating.
    folds : DataFrame
        image, identity, fold.
    sharing : float, default 1
        See `fit_ridge`.
    bootstraps : int, default 2000
        Number of bootstrap samples of identities for the intervals.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        altered (name of the cue), readout ("same": fitted to the original faces; "refitted": fitted to the
        altered faces), group, trait, r_original, r, estimate (r - r_original), ci_low, ci_high (percentiles
        over identities), agreement (correlation between predictions of original and altered faces), n_images.
    """
    original = fitted.predictions.set_index([GROUP, TRAIT, IMAGE]).sort_index()
    rows = []
    for cue, changed in altered.items():
        refitted = fit_ridge(changed, targets, folds, sharing=sharing, seed=seed).predictions
        for name, predictions in (("same", predict_again(fitted, changed, folds)), ("refitted", refitted)):
            both = original.join(
                predictions.set_index([GROUP, TRAIT, IMAGE])[PREDICTED].rename("now"), how="inner"
            )
            for (group, trait), part in both.groupby([GROUP, TRAIT], sort=False, observed=True):
                rows.append(
                    {"altered": cue, "readout": name, GROUP: group, TRAIT: trait}
                    | _change_of_r(part.reset_index(), bootstraps, seed)
                )
    return pd.DataFrame(rows)


def predict_again(
    fitted: FittedReadouts, features: Mapping[FeatureSpace, np.ndarray], folds: pd.DataFrame
) -> pd.DataFrame:
    """Predict ratings out of fold from other features of the same images.

    Parameters
    ----------
    fitted : FittedReadouts
        Readouts of every group, trait and fold.
    features : mapping of FeatureSpace to ndarray
        Arrays of shape (image, channel, row, column), images in the order of `folds`.
    folds : DataFrame
        image, identity, fold.

    Returns
    -------
    DataFrame
        image, predicted, group, trait.
    """
    tables = []
    for readout in fitted.readouts:
        held = (folds[FOLD] == readout.fold).to_numpy()
        predicted = readout.predict({space: values[held] for space, values in features.items()})
        tables.append(
            pd.DataFrame({IMAGE: folds.loc[held, IMAGE].to_numpy(), PREDICTED: predicted}).assign(
                **{GROUP: readout.group, TRAIT: readout.trait}
            )
        )
    return pd.concat(tables, ignore_index=True)


def _change_of_r(part: pd.DataFrame, bootstraps: int, seed: int) -> dict[str, float]:
    """Return r for original and altered faces, and their difference with an interval over identities."""
    member, names = pd.factorize(part[IDENTITY])
    counts = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=bootstraps
    )
    weights = np.vstack([np.ones(len(part)), counts[:, member]])
    observed, before, now = (part[name].to_numpy(float) for name in (OBSERVED, PREDICTED, "now"))
    r_before, r_now = (_weighted_r(observed, predicted, weights) for predicted in (before, now))
    low, high = np.nanquantile((r_now - r_before)[1:], [0.025, 0.975])
    return {
        "r_original": float(r_before[0]),
        "r": float(r_now[0]),
        "estimate": float(r_now[0] - r_before[0]),
        "ci_low": float(low),
        "ci_high": float(high),
        "agreement": float(_weighted_r(before, now, weights[:1])[0]),
        "n_images": len(part),
    }


def _weighted_r(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the correlation of two vectors for each row of weights of images."""
    total = weights.sum(axis=1)
    x, y = first - first.mean(), second - second.mean()
    mean_x, mean_y = weights @ x / total, weights @ y / total
    covariance = weights @ (x * y) / total - mean_x * mean_y
    variances = (weights @ x**2 / total - mean_x**2) * (weights @ y**2 / total - mean_y**2)
    r: np.ndarray = covariance / np.sqrt(np.where(variances > 0, variances, np.nan))
    return r
