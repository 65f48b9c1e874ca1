"""Agreement of observed with predicted effects."""

import numpy as np
import pandas as pd
import pytest

from traitlens.experiment.agreement import join_predictions, measure_agreement


def make_effects(rng, slope, cells=12, error=0.1):
    predicted = np.repeat(rng.normal(size=cells), 2) + np.tile([0.1, -0.1], cells)
    observed = slope * predicted + rng.normal(0, error, 2 * cells)
    table = pd.DataFrame(
        {
            "trait": "warm",
            "region": np.repeat([f"region{cell}" for cell in range(cells)], 2),
            "group": np.tile(["a", "b"], cells),
            "effect": observed,
            "se": error,
        }
    )
    table["ci_low"], table["ci_high"] = observed - 2 * error, observed + 2 * error
    return table, table.assign(effect=predicted)


def test_slope_and_correlation_are_those_of_numpy():
    observed, predicted = make_effects(np.random.default_rng(0), 0.8)
    row = measure_agreement(join_predictions(observed, predicted)).iloc[0]
    x, y = predicted["effect"], observed["effect"]
    assert row["slope"] == pytest.approx(np.linalg.lstsq(x.to_numpy()[:, None], y, rcond=None)[0][0])
    assert row["r"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert row["slope_low"] < 0.8 < row["slope_high"]


def test_predictions_that_know_nothing_have_intervals_that_cover_zero():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(60):
        observed, predicted = make_effects(rng, 0.0, cells=6)
        # Effects of both groups go together, as those of a permuted readout do.
        observed["effect"] += np.repeat(rng.normal(size=6), 2)
        row = measure_agreement(join_predictions(observed, predicted)).iloc[0]
        covered.append(row["slope_low"] <= 0 <= row["slope_high"])
    assert 0.85 < np.mean(covered) <= 1.0


def test_failed_predictions_are_named():
    observed = pd.DataFrame(
        {
            "trait": "warm", "region": ["eyes", "mouth", "jaw", "nose"], "group": "a", "se": 0.1,
            "effect": [0.5, 0.0, -0.5, -0.6], "ci_low": [0.3, -0.2, -0.7, -0.8],
            "ci_high": [0.7, 0.2, -0.3, -0.4],
        }
    )  # fmt: skip
    predicted = observed.assign(effect=[0.9, 0.5, 0.5, -0.3])
    table = join_predictions(observed, predicted)
    assert table["outcome"].tolist() == ["as predicted", "not found", "opposite", "as predicted"]
    assert table["size"].tolist()[0] == "smaller than predicted"
    assert table["size"].tolist()[3] == "larger than predicted"
