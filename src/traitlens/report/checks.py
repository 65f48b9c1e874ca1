"""Checks of folds and of conservation, computed from the results folder."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from traitlens.columns import FOLD, GROUP, IDENTITY, TRAIT
from traitlens.report.numbers import bounded, count, decimal
from traitlens.report.text_tables import Table


@dataclass(frozen=True)
class Balance:
    """Conservation of the maps of one group and trait.

    Parameters
    ----------
    trait, group : str
        Trait and group.
    n : int
        Number of maps.
    r : float
        Correlation of pixel sums with predictions.
    slope : float
        Slope of the pixel sum on the prediction's deviation from its reference (1: complete).
    leak : float
        Median absolute value of deviation minus pixel sum, in rating points.
    """

    trait: str
    group: str
    n: int
    r: float
    slope: float
    leak: float


def check_folds(predictions: pd.DataFrame) -> str:
    """Check that no identity is in two folds of one group and trait.

    Examples
    --------
    >>> table = pd.DataFrame({"identity": ["a", "a"], "group": "g", "trait": "t", "fold": ["0", "1"]})
    >>> check_folds(table)
    'Folds: 1 identity lies in more than one fold, so performance may be too high.'
    """
    folds = predictions.groupby([GROUP, TRAIT, IDENTITY])[FOLD].nunique()
    split = folds[folds > 1].index.get_level_values(IDENTITY).nunique()
    if split:
        verb = "identity lies" if split == 1 else "identities lie"
        return f"Folds: {count(split)} {verb} in more than one fold, so performance may be too high."
    return (
        f"Folds: each of the {count(predictions[IDENTITY].nunique())} identities lies in one fold only; no "
        "model was tested on an identity that it was trained on."
    )


def check_conservation(maps: xr.Dataset | None, traits: list[str], groups: list[str]) -> list[Balance] | None:
    """Compare the pixel sum of each map with the prediction that it explains.

    Parameters
    ----------
    maps : Dataset or None
        `maps.zarr`: prediction, reference and pixel_sum (group, trait, image).
    traits, groups : list of str
        Traits and groups, in order.

    Returns
    -------
    list of Balance or None
        Conservation by trait and group; None if the maps lack predictions, references or pixel sums.
    """
    if maps is None or not {"prediction", "reference", "pixel_sum"} <= set(maps.data_vars):
        return None
    balances = []
    for trait in traits:
        for group in groups:
            if trait not in maps[TRAIT].to_numpy() or group not in maps[GROUP].to_numpy():
                continue
            part = maps[["prediction", "reference", "pixel_sum"]].sel({TRAIT: trait, GROUP: group})
            prediction, reference, pixels = (
                part[name].to_numpy().astype(np.float64) for name in ("prediction", "reference", "pixel_sum")
            )
            deviation = prediction - reference
            known = np.isfinite(deviation) & np.isfinite(pixels)
            deviation, pixels, prediction = deviation[known], pixels[known], prediction[known]
            if len(pixels) < 3 or not deviation.any() or not np.ptp(pixels):
                continue
            balances.append(
                Balance(
                    trait,
                    group,
                    len(pixels),
                    float(np.corrcoef(pixels, prediction)[0, 1]),
                    float(deviation @ pixels / (deviation @ deviation)),
                    float(np.median(np.abs(deviation - pixels))),
                )
            )
    return balances


def tabulate_conservation(conservation: list[Balance]) -> Table:
    """Write the conservation of maps as a table.

    Returns
    -------
    Table
        A row for each trait and group.
    """
    columns = ["Trait", "Group", "Maps", "r of pixel sums with predictions", "Pixels’ share", "Median leak"]
    rows = [
        [row.trait, row.group, count(row.n), bounded(row.r, 3), decimal(row.slope, 3), decimal(row.leak, 3)]
        for row in conservation
    ]
    caption = (
        "Median leak: median absolute value of deviation − pixel sum, in rating points. Pixels’ share: "
        "slope of the pixel sum on the deviation."
    )
    return Table(caption, columns, rows)
