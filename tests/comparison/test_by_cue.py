import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from traitlens.comparison.by_cue import CUES, compare_cues
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.readouts.ridge import fit_ridge

SPACE = FeatureSpace(Tap("block4_pool", 1))


@pytest.fixture
def rng():
    return np.random.default_rng(2)


def test_faces_are_altered_as_their_names_say(rng):
    pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    outside = np.zeros((6, 6), bool)
    outside[:2] = True
    neutral = np.array([123.68, 116.779, 103.939])
    masked = CUES["no hair or background"](pixels, outside, neutral)
    assert_array_equal(masked[outside], np.tile([124, 117, 104], (12, 1)))
    assert_array_equal(masked[~outside], pixels[~outside])
    grey = CUES["grey"](pixels, outside, neutral)
    assert (np.ptp(grey, axis=-1) == 0).all()
    assert abs(int(grey[0, 0, 0]) - pixels[0, 0] @ [0.299, 0.587, 0.114]) <= 0.5
    assert_array_equal(CUES["mirrored"](CUES["mirrored"](pixels, outside, neutral), outside, neutral), pixels)


def test_a_cue_that_is_taken_away_costs_the_same_readout_and_a_new_one(rng):
    values = rng.normal(size=(60, 6))
    folds = pd.DataFrame({"image": range(60), "identity": range(60), "fold": np.arange(60) % 5})
    targets = folds[["image"]].assign(
        group="all", trait="warm", rating=2 * values[:, 0] + values[:, 1] + 0.5 * rng.normal(size=60)
    )
    features = {SPACE: values[:, :, None, None].astype(np.float32)}
    without = values.copy()
    without[:, 0] = 0
    altered = {
        "gone": {SPACE: without[:, :, None, None].astype(np.float32)},
        "nothing": features,
    }
    fitted = fit_ridge(features, targets, folds, sharing=1.0)
    table = compare_cues(fitted, altered, targets, folds, bootstraps=200).set_index(["altered", "readout"])
    assert_allclose(table.loc["nothing", ["estimate", "ci_low", "ci_high"]].to_numpy(float), 0, atol=1e-6)
    assert_allclose(table.loc["nothing", "agreement"].to_numpy(float), 1, atol=1e-6)
    assert (table.loc["gone", "ci_high"] < 0).all()
    before = fitted.predictions["observed"].corr(fitted.predictions["predicted"])
    assert_allclose(table["r_original"].to_numpy(float), before, rtol=1e-9)
