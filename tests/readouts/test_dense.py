import numpy as np
import pandas as pd
import pytest
import torch
from tests.oracles import readouts_by_hand as by_hand
from tests.readouts.conftest import SPACE, make_study

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.problems import TraitlensError
from traitlens.readouts.dense import fit_dense
from traitlens.readouts.folds import assign_folds
from traitlens.readouts.heads import Heads, Training
from traitlens.readouts.performance import performance

END = FeatureSpace(Tap("block5_pool", 1))
QUICK = Training(hidden=16, rate=0.01, batch=8, most_epochs=15)


@pytest.fixture(scope="module")
def study():
    features, targets, images = make_study(identities=30, each=1)
    return {END: features[SPACE].reshape(30, -1, 1, 1)}, targets, assign_folds(images, 3)


def test_gradients_agree_with_automatic_differentiation_and_a_step_by_hand():
    rng = np.random.default_rng(0)
    inputs, wanted = rng.normal(size=(6, 5)), rng.normal(size=(6, 2))
    wanted[1, 0] = np.nan
    heads = Heads.start([("a", "warm"), ("b", "strong")], 5, 7, 0, 0)
    parts = [part.double() for part in heads.parameters()]
    heads = Heads(*parts)
    x, y = torch.from_numpy(inputs), torch.from_numpy(wanted)
    got = heads.gradients(x, y)
    leaves = [part.clone().requires_grad_() for part in parts]
    hidden = torch.relu(torch.einsum("ic,huc->ihu", x, leaves[0]) + leaves[1])
    error = (hidden * leaves[2]).sum(-1) + leaves[3] - y.nan_to_num()
    rated = ~torch.isnan(y)
    (torch.where(rated, error, 0.0) ** 2).sum(0).div(rated.sum(0)).sum().backward()
    for one, leaf in zip(got, leaves, strict=True):
        np.testing.assert_allclose(one.numpy(), leaf.grad.numpy(), rtol=1e-9, atol=1e-12)
    start = [part[1].numpy() for part in parts]
    stepped, _ = by_hand.train_head_sgd(inputs, wanted[:, 1], start, [range(6)], 0.1, 6)
    for one, before, after in zip(got, start, stepped, strict=True):
        np.testing.assert_allclose(before - 0.1 * one[1].numpy(), after, rtol=1e-9, atol=1e-12)


def test_the_same_seed_gives_the_same_readouts_and_one_epoch_number_per_fold(study):
    first, second = fit_dense(*study, training=QUICK), fit_dense(*study, training=QUICK)
    pd.testing.assert_frame_equal(first.predictions, second.predictions, check_exact=True)
    assert (first.choices.groupby("fold")["epochs"].nunique() == 1).all()
    assert len(first) == 12
    other = fit_dense(*study, seed=1, training=QUICK)
    assert not np.allclose(other.predictions["predicted"], first.predictions["predicted"], rtol=1e-6)


def test_readouts_predict_what_the_table_says_and_learn(study):
    features, targets, folds = study
    fitted = fit_dense(features, targets, folds, training=QUICK)
    row = fitted.predictions.iloc[5]
    place = folds.index[folds["image"] == row["image"]][0]
    readout = fitted.find(row["group"], row["trait"], row["fold"])
    np.testing.assert_allclose(readout.predict(features)[place], row["predicted"], rtol=1e-5)
    more, targets, images = make_study(identities=120, each=1)
    learned = fit_dense(
        {END: more[SPACE].reshape(120, -1, 1, 1)}, targets, assign_folds(images, 3), training=QUICK
    )
    assert performance(learned.predictions, samples=50)["r"].mean() > 0.5


def test_groups_with_the_same_ratings_get_the_same_readouts(study):
    features, targets, folds = study
    same = targets.query("group == 'autistic'")
    both = pd.concat([same, same.assign(group="non-autistic")])
    fitted = fit_dense(features, both, folds, training=QUICK)
    table = fitted.predictions.pivot_table(index=["image", "trait"], columns="group", values="predicted")
    np.testing.assert_allclose(table["autistic"], table["non-autistic"], rtol=1e-4)


def test_images_that_a_group_did_not_rate(study):
    features, targets, folds = study
    gone = targets["group"].eq("autistic") & targets["image"].isin(["3.png", "9.png"])
    fitted = fit_dense(features, targets[~gone], folds, training=QUICK)
    assert len(fitted.predictions) == (~gone).sum()
    assert np.isfinite(fitted.predictions["predicted"]).all()


def test_a_grid_is_refused(study):
    with pytest.raises(TraitlensError, match="one tap averaged to 1x1"):
        fit_dense({SPACE: np.zeros((30, 4, 3, 3))}, *study[1:])
