"""Agreement of observed with predicted effects."""

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import GROUP, PREDICTED, REGION, TRAIT
from traitlens.experiment.effects import EFFECT, HIGH, LOW, SE

OUTCOMES = ("as predicted", "not found", "opposite")
"""Outcomes of a prediction: the predicted sign, no significant effect, or the opposite sign."""


def join_predictions(effects: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """Join observed with predicted effects, and classify the outcome of each prediction.

    Parameters
    ----------
    effects : DataFrame
        Observed effects: trait, region, group, effect, se, ci_low, ci_high.
    predicted : DataFrame
        Predicted effects: trait, region, group, effect.

    Returns
    -------
    DataFrame
        The observed effects with the columns `predicted`, `outcome` (one of :data:`OUTCOMES`) and `size`
        ("inside interval" if the 95 % interval includes the prediction; otherwise whether the observed effect
        is larger or smaller than predicted).
    """
    keys = [TRAIT, REGION, GROUP]
    table = effects.merge(predicted[[*keys, EFFECT]].rename(columns={EFFECT: PREDICTED}), on=keys, how="left")
    sign = np.where(table[LOW] > 0, 1, np.where(table[HIGH] < 0, -1, 0))
    same = sign * np.sign(table[PREDICTED])
    table["outcome"] = np.select([sign == 0, same > 0], [OUTCOMES[1], OUTCOMES[0]], OUTCOMES[2])
    below, above = table[PREDICTED] < table[LOW], table[PREDICTED] > table[HIGH]
    table["size"] = np.select(
        [below, above], ["larger than predicted", "smaller than predicted"], "inside interval"
    )
    # Negative effects are larger than predicted if they are below the prediction.
    negative = (table[PREDICTED] < 0) & (table["size"] != "inside interval")
    swap = {
        "larger than predicted": "smaller than predicted",
        "smaller than predicted": "larger than predicted",
    }
    table.loc[negative, "size"] = table.loc[negative, "size"].map(swap)
    return table


def measure_agreement(joined: pd.DataFrame) -> pd.DataFrame:
    """Measure the agreement of observed with predicted effects by regression and correlation.

    The sample is the combinations of region and trait (cells); the groups' effects in one cell are not
    independent. Intervals of the slope use cluster-robust standard errors (Bell and McCaffrey 2002).

    Parameters
    ----------
    joined : DataFrame
        Table of :func:`join_predictions`.

    Returns
    -------
    DataFrame
        A row for the effects of all groups and one for the differences between the first two groups:
        quantity ("effects", "differences"), slope (of observed on predicted effects, through the origin),
        slope_low, slope_high, r, r_low, r_high, ceiling (the largest correlation that the error of the
        observed effects allows; missing if they vary no more than by chance), cells.

    Examples
    --------
    >>> rows = [("warm", region, "a", size, 0.1, 2 * size) for region, size in zip("uvwx", (1.0, 2, 3, 4))]
    >>> table = pd.DataFrame(rows, columns=["trait", "region", "group", "predicted", "se", "effect"])
    >>> measure_agreement(table)[["slope", "r"]].round(3).to_numpy().tolist()
    [[2.0, 1.0]]
    """
    rows = [
        ("effects", *_fit_agreement(joined[PREDICTED], joined[EFFECT], joined[SE], joined[[TRAIT, REGION]]))
    ]
    groups = list(dict.fromkeys(joined[GROUP]))[:2]
    if len(groups) == 2:
        wide = joined.pivot_table([PREDICTED, EFFECT, SE], [TRAIT, REGION], GROUP, sort=False).dropna()
        first, second = ({name: wide[name, group] for name in (PREDICTED, EFFECT, SE)} for group in groups)
        error = np.hypot(first[SE], second[SE])
        cells = wide.index.to_frame(index=False)
        change = (first[PREDICTED] - second[PREDICTED], first[EFFECT] - second[EFFECT])
        rows.append(("differences", *_fit_agreement(*change, error, cells)))
    columns = ["quantity", "slope", "slope_low", "slope_high", "r", "r_low", "r_high", "ceiling", "cells"]
    return pd.DataFrame(rows, columns=columns)


def _fit_agreement(
    predicted: pd.Series, observed: pd.Series, error: pd.Series, cells: pd.DataFrame
) -> tuple[float, ...]:
    """Return slope and correlation with their intervals, the ceiling, and the number of cells."""
    x, y = predicted.to_numpy(float), observed.to_numpy(float)
    cluster = pd.factorize(pd.MultiIndex.from_frame(cells))[0]
    number = int(cluster.max()) + 1
    square = float(x @ x)
    if number < 3 or square == 0:
        return (np.nan,) * 7 + (number,)
    slope = float(x @ y) / square
    scores = np.bincount(cluster, x * (y - slope * x), number)
    leverage = np.bincount(cluster, x * x, number) / square
    # Adjust residuals by the leverage of their cluster (Bell and McCaffrey 2002).
    spread = np.sqrt(np.sum((scores / np.clip(1 - leverage, 0.05, None)) ** 2)) / square
    half = stats.t.ppf(0.975, number - 1) * spread
    constant = min(x.std(), y.std()) < 1e-12
    r = np.nan if constant else float(np.corrcoef(x, y)[0, 1])
    reach = stats.norm.ppf(0.975) / np.sqrt(max(number - 3, 1))
    bounds = np.tanh(np.arctanh(np.clip(r, -0.999999, 0.999999)) + np.array([-reach, reach]))
    true = max(float(y.var() - np.mean(error**2)), 0.0)
    ceiling = np.sqrt(true / y.var()) if y.var() > 0 and true > 0 else np.nan
    return slope, slope - half, slope + half, r, *bounds.tolist(), float(ceiling), number
