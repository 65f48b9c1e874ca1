import numpy as np
import pandas as pd
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from tests.oracles import readouts_by_hand as by_hand
from tests.readouts.conftest import SPACE, make_study

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.problems import TraitlensError
from traitlens.readouts.folds import assign_folds, inner_folds
from traitlens.readouts.performance import performance
from traitlens.readouts.refit import refit_of
from traitlens.readouts.ridge import fit_ridge

OTHER = FeatureSpace(Tap("block3_pool", 1), transform="sqrt")


def split(images, number=3):
    return assign_folds(images, number)


def flat(values, rows):
    return values.reshape(len(values), -1)[rows].astype(float)


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 10.0])
def test_weights_agree_with_scikit_learn_and_the_normal_equations(study, penalty):
    features, targets, images = study
    folds = split(images)
    fitted = fit_ridge(features, targets, folds, penalties=[penalty])
    for readout, dual in zip(fitted.readouts, fitted.duals, strict=True):
        training = np.flatnonzero(folds["fold"] != readout.fold)
        assert (dual.rows == training).all()
        wanted = targets.query("group == @readout.group and trait == @readout.trait")["rating"].to_numpy()
        z, y = flat(features[SPACE], training), wanted[training]
        absolute = by_hand.relative_penalty(z, penalty)
        np.testing.assert_allclose(penalty / dual.factors[SPACE], absolute, rtol=1e-6)
        sklearn = Ridge(alpha=absolute).fit(z, y)
        literal, _, _ = by_hand.ridge_weights(z, y, absolute)
        scale = np.abs(sklearn.coef_).max()
        np.testing.assert_allclose(literal, sklearn.coef_, rtol=0, atol=1e-9 * scale)
        got = readout.parts[0].weight.ravel()
        np.testing.assert_allclose(got, sklearn.coef_, rtol=0, atol=1e-6 * scale)
        z_centred = z - z.mean(axis=0)
        kernel = KernelRidge(alpha=absolute).fit(z_centred, y - y.mean())
        np.testing.assert_allclose(
            dual.coefficients * dual.factors[SPACE], kernel.dual_coef_, rtol=0, atol=1e-6 * scale
        )
        inside = np.flatnonzero(folds["fold"] == readout.fold)
        np.testing.assert_allclose(
            readout.predict(features)[inside],
            sklearn.predict(flat(features[SPACE], inside)),
            rtol=0,
            atol=1e-5,
        )


def test_the_penalty_is_the_one_that_the_inner_folds_prefer(study):
    features, targets, images = study
    folds, penalties = split(images), [1e-3, 0.03, 1.0, 30.0]
    fitted = fit_ridge(features, targets, folds, penalties=penalties, sharing=0.0)
    for choice, dual in zip(fitted.choices.itertuples(), fitted.duals, strict=True):
        y = targets.query("group == @dual.group and trait == @dual.trait")["rating"].to_numpy()[dual.rows]
        z = flat(features[SPACE], dual.rows)
        splits = inner_folds(folds["identity"].to_numpy()[dual.rows])
        errors = [by_hand.inner_error(z, y, splits, penalty) for penalty in penalties]
        assert choice.penalty == penalties[int(np.argmin(errors))]
        np.testing.assert_allclose(choice.inner_error, min(errors), rtol=1e-6)


def test_sharing_everything_gives_one_penalty_per_fold(study):
    features, targets, images = study
    choices = fit_ridge(features, targets, split(images), sharing=1.0).choices
    assert (choices.groupby("fold")["penalty"].nunique() == 1).all()


def test_predictions_come_from_the_readout_that_did_not_see_the_identity(study):
    features, targets, images = study
    folds = split(images)
    fitted = fit_ridge(features, targets, folds)
    assert len(fitted.predictions) == len(targets)
    for row in fitted.predictions.sample(20, random_state=0).itertuples():
        readout = fitted.find(row.group, row.trait, row.fold)
        place = folds.index[folds["image"] == row.image][0]
        assert folds.loc[place, "fold"] == row.fold
        np.testing.assert_allclose(readout.predict(features)[place], row.predicted, rtol=1e-5)


def test_several_feature_spaces_count_by_their_weights(study):
    features, targets, images = study
    features = {**features, OTHER: np.sqrt(features[SPACE].mean(axis=(2, 3), keepdims=True)) * 50}
    folds = split(images)
    one = fit_ridge(features, targets, folds, weights={OTHER: 0.0})
    without = fit_ridge({SPACE: features[SPACE]}, targets, folds)
    both = fit_ridge(features, targets, folds)
    np.testing.assert_allclose(one.predictions["predicted"], without.predictions["predicted"], rtol=1e-9)
    assert not np.allclose(both.predictions["predicted"], without.predictions["predicted"], rtol=1e-3)
    # Units of a space do not matter: its kernel is brought to a mean diagonal of one.
    scaled = fit_ridge({**features, OTHER: features[OTHER] / 1000}, targets, folds)
    np.testing.assert_allclose(scaled.predictions["predicted"], both.predictions["predicted"], rtol=1e-4)
    readout = both.readouts[0]
    inside = both.predictions.query("group == @readout.group and trait == @readout.trait and fold == 0")
    np.testing.assert_allclose(
        readout.predict(features)[inside["image"].map(dict(zip(folds["image"], folds.index, strict=True)))],
        inside["predicted"],
        rtol=1e-5,
    )


def test_a_group_need_not_rate_every_image(study):
    features, targets, images = study
    folds = split(images)
    gone = targets["group"].eq("autistic") & targets["image"].isin(["3.png", "4.png", "20.png"])
    fitted = fit_ridge(features, targets[~gone], folds)
    assert len(fitted.predictions) == (~gone).sum()
    whole = fit_ridge(features, targets, folds, sharing=0.0)
    part = fit_ridge(features, targets[~gone], folds, sharing=0.0)
    for one, other in zip(whole.readouts, part.readouts, strict=True):
        same = np.allclose(one.parts[0].weight, other.parts[0].weight, rtol=1e-5, atol=1e-8)
        assert same == (one.group == "non-autistic")


def test_a_readout_is_the_same_alone_and_among_others(study):
    features, targets, images = study
    folds = split(images)
    alone = fit_ridge(features, targets.query("trait == 'warm'"), folds, sharing=0.0).find(
        "autistic", "warm", 1
    )
    among = fit_ridge(features, targets, folds, sharing=0.0).find("autistic", "warm", 1)
    np.testing.assert_allclose(alone.parts[0].weight, among.parts[0].weight, rtol=1e-5, atol=1e-8)


def test_labels_that_belong_to_the_identity_alone_are_predicted_at_chance():
    rng = np.random.default_rng(3)
    features, _, images = make_study(seed=3, identities=30, each=6)
    of_person = dict(zip(images["identity"].unique(), rng.normal(size=30), strict=True))
    targets = images[["image"]].assign(group="all", trait="none", rating=images["identity"].map(of_person))
    by_identity = fit_ridge(features, targets, assign_folds(images))
    refits = refit_of(by_identity, features, images["image"])
    assert performance(by_identity.predictions, refits=refits).loc[0, "p"] > 0.05
    # The same labels are easy where images of one person lie on both sides and nothing is held back.
    leaking = images.assign(fold=np.arange(len(images)) % 5)
    leaked = fit_ridge(features, targets, leaking, penalties=[1e-3])
    assert performance(leaked.predictions).loc[0, "r"] > 0.5


def test_shuffled_ratings_give_r_within_the_null():
    rng = np.random.default_rng(4)
    features, _, images = make_study(seed=4, identities=60, each=1)
    table = [
        images[["image"]].assign(group="all", trait=f"t{number}", rating=rng.normal(size=60))
        for number in range(40)
    ]
    fitted = fit_ridge(features, pd.concat(table), assign_folds(images))
    refits = refit_of(fitted, features, images["image"])
    measured = performance(fitted.predictions, samples=400, refits=refits)
    assert (measured["p"] < 0.05).mean() < 0.15
    assert measured["p"].notna().all()


def test_faults_are_told_all_at_once(study):
    features, targets, images = study
    folds = split(images)
    with pytest.raises(TraitlensError, match="features of 47 images, but 48 images have folds"):
        fit_ridge({SPACE: features[SPACE][1:]}, targets, folds)
    flat_targets = targets.assign(rating=np.where(targets["trait"] == "warm", 4.0, targets["rating"]))
    with pytest.raises(TraitlensError) as caught:
        fit_ridge(features, flat_targets, folds)
    assert len(caught.value.problems) == 2
    assert "group 'autistic', trait 'warm'" in str(caught.value)


def test_inputs_stay_as_they_were_and_progress_is_told(study):
    features, targets, images = study
    folds = split(images)
    before = features[SPACE].copy(), targets.copy(), folds.copy()
    told = []
    first = fit_ridge(features, targets, folds, progress=told.append)
    second = fit_ridge(features, targets, folds)
    assert sum(told) == len(first) == 12
    np.testing.assert_array_equal(features[SPACE], before[0])
    pd.testing.assert_frame_equal(targets, before[1])
    pd.testing.assert_frame_equal(folds, before[2])
    pd.testing.assert_frame_equal(first.predictions, second.predictions)
    assert "12 ridge readouts" in str(first)
