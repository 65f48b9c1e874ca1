import numpy as np
import pandas as pd
import pytest
import torch
from tests.oracles import readouts_by_hand as by_hand
from tests.readouts.conftest import SPACE, make_study

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.readouts.cao2023 import PlainTraining, fit_cao2023, train_plainly
from traitlens.readouts.folds import assign_folds
from traitlens.readouts.heads import Heads

END = FeatureSpace(Tap("block5_pool", 1))


@pytest.mark.parametrize(("images", "batch"), [(10, 4), (70, 4), (9, 2)])
def test_losses_and_weights_equal_a_literal_loop_over_one_network(images, batch):
    rng = np.random.default_rng(0)
    inputs, ratings = np.abs(rng.normal(size=(images, 6))), 4 + rng.normal(size=(images, 3))
    training = PlainTraining(hidden=8, batch=batch, epochs=5)
    heads = Heads.start([("a", "warm"), ("b", "warm"), ("a", "strong")], 6, 8, 0, 0)
    starts = [[part[head].numpy().copy() for part in heads.parameters()] for head in range(3)]
    x, y = torch.from_numpy(inputs).float(), torch.from_numpy(ratings).float()
    losses = train_plainly(heads, x, y, training, seed=7)
    orders = np.random.default_rng(7)
    orders = [orders.permutation(images) for _ in range(5)]
    for head, start in enumerate(starts):
        weights, wanted = by_hand.train_head_sgd(inputs, ratings[:, head], start, orders, 0.01, batch)
        np.testing.assert_allclose(losses[:, head], wanted, rtol=1e-4)
        for part, literal in zip(heads.parameters(), weights, strict=True):
            np.testing.assert_allclose(part[head].numpy(), literal, rtol=1e-3, atol=1e-5)


def test_readouts_predict_what_the_table_says_and_learn():
    features, targets, images = make_study(identities=30, each=1)
    folds = assign_folds(images, 3)
    features = {END: features[SPACE].reshape(30, -1, 1, 1)}
    training = PlainTraining(hidden=16, epochs=60)
    fitted = fit_cao2023(features, targets, folds, training=training)
    pd.testing.assert_frame_equal(
        fitted.predictions, fit_cao2023(features, targets, folds, training=training).predictions
    )
    assert fitted.predictions[["observed", "predicted"]].corr().iloc[0, 1] > 0.2
    assert (fitted.choices["loss"] < 1).all()
    last = fitted.losses[fitted.losses["epoch"] == 60]
    np.testing.assert_array_equal(last["loss"], fitted.choices["loss"])
    assert len(fitted.losses) == 60 * len(fitted.choices)
    row = fitted.predictions.iloc[5]
    place = folds.index[folds["image"] == row["image"]][0]
    readout = fitted.find(row["group"], row["trait"], row["fold"])
    assert readout.mean == 0
    assert readout.predict(features)[place] == pytest.approx(row["predicted"], rel=1e-5)


def test_images_that_a_group_did_not_rate_are_passed_over():
    features, targets, images = make_study(identities=30, each=1)
    folds = assign_folds(images, 3)
    features = {END: features[SPACE].reshape(30, -1, 1, 1)}
    gone = targets["group"].eq("autistic") & targets["image"].isin(["3.png", "4.png"])
    training = PlainTraining(hidden=8, epochs=3)
    whole = fit_cao2023(features, targets, folds, training=training)
    part = fit_cao2023(features, targets[~gone], folds, training=training)
    for one, other in zip(whole.readouts, part.readouts, strict=True):
        assert np.isfinite(other.fc1_weight).all()
        same = np.allclose(one.fc1_weight, other.fc1_weight, rtol=1e-5, atol=1e-8)
        assert same or one.group == "autistic"
