import errno

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from tests.oracles import readouts_by_hand as by_hand
from tests.readouts.conftest import SPACE, make_study

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.readouts import curds_and_whey, kernels
from traitlens.readouts.folds import assign_folds
from traitlens.readouts.inner_cv import Factorised, random_mixes
from traitlens.readouts.kernels import centred_kernel, whitened_kernel, whitening
from traitlens.readouts.performance import performance
from traitlens.readouts.ridge import fit_ridge

OTHER = FeatureSpace(Tap("block3_pool", 3), transform="sqrt")


def correlated_traits(seed=0, noise=2.0, traits=6):
    """Traits with one common cause, each rated with much noise."""
    rng = np.random.default_rng(seed)
    features, _, images = make_study(seed, identities=60, each=1)
    cause = features[SPACE].reshape(60, -1) @ rng.normal(size=36)
    cause = cause / cause.std()
    targets = pd.concat(
        images[["image"]].assign(group="all", trait=f"t{number}", rating=cause + noise * rng.normal(size=60))
        for number in range(traits)
    )
    return features, targets, images


def test_whitening_agrees_with_a_literal_one_and_reads_training_images_alone(study):
    features = study[0][SPACE]
    training = np.arange(0, len(features), 2)
    whitened = whitening(features, training, 0.1)
    literal = by_hand.whitened(features, training, 0.1).reshape(len(features), -1)
    got, wanted = (
        centred_kernel({SPACE: kernel}, {SPACE: 1.0}, training)[0]
        for kernel in (whitened_kernel(features, training, whitened), literal @ literal.T)
    )
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    changed = features.copy()
    changed[1::2] += 100
    np.testing.assert_array_equal(whitening(changed, training, 0.1), whitened)
    # Without shrinkage, whitened training features are uncorrelated and of equal spread.
    full = whitening(features, training, 0.0)
    deviations = np.moveaxis(features[training] - features[training].mean(axis=0), 1, -1).reshape(-1, 4)
    np.testing.assert_allclose(full.T @ deviations.T @ deviations @ full, np.eye(4), rtol=0, atol=1e-4)


def test_readouts_of_whitened_features_agree_with_scikit_learn_and_read_features_as_they_are(study):
    features, targets, images = study
    folds = assign_folds(images, 3)
    fitted = fit_ridge(features, targets, folds, penalties=[0.1], whiten=0.1)
    for readout in fitted.readouts:
        training = np.flatnonzero(folds["fold"] != readout.fold)
        inside = np.flatnonzero(folds["fold"] == readout.fold)
        literal = by_hand.whitened(features[SPACE], training, 0.1).reshape(len(images), -1)
        wanted = targets.query("group == @readout.group and trait == @readout.trait")["rating"].to_numpy()
        penalty = by_hand.relative_penalty(literal[training], 0.1)
        oracle = Ridge(alpha=penalty).fit(literal[training], wanted[training]).predict(literal[inside])
        np.testing.assert_allclose(readout.predict(features)[inside], oracle, rtol=1e-5)
        table = fitted.predictions.query(
            "group == @readout.group and trait == @readout.trait and fold == @readout.fold"
        )
        np.testing.assert_allclose(table["predicted"], oracle, rtol=1e-5)


def test_a_fold_does_not_see_its_own_images(study):
    features, targets, images = study
    folds = assign_folds(images, 3)
    inside = (folds["fold"] == 0).to_numpy()
    options = {"whiten": 0.1, "across_traits": True, "weights": [{SPACE: 1.0}, {SPACE: 2.0}]}
    before = fit_ridge(features, targets, folds, **options)
    changed = {SPACE: np.where(inside[:, None, None, None], features[SPACE] * 3 + 1, features[SPACE])}
    of_fold = targets["image"].isin(folds.loc[inside, "image"])
    other = targets.assign(rating=np.where(of_fold, -targets["rating"], targets["rating"]))
    after = fit_ridge(changed, other, folds, **options)
    for one, two in zip(before.readouts, after.readouts, strict=True):
        same = np.array_equal(one.parts[0].weight, two.parts[0].weight) and one.mean == two.mean
        assert same == (one.fold == 0)


def test_mixtures_of_traits_agree_with_the_normal_equations():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(80, 1)) + 0.5 * rng.normal(size=(80, 3))
    ratings = 50 + 10 * truth + rng.normal(size=(80, 3))
    predicted = 50 + 5 * (truth + rng.normal(size=(80, 3)))
    mixed = curds_and_whey.fit_mixture(predicted, ratings, np.arange(80), ["all"] * 3, sharing=1.0)
    spreads = ratings.std(axis=0)
    distances = []
    for strength in curds_and_whey.STRENGTHS:
        wanted = [by_hand.mixture_of_traits(predicted, ratings, target, strength) for target in range(3)]
        distances.append(np.abs(np.array(wanted) * spreads[:, None] / spreads - mixed).max())
    assert min(distances) < 1e-9
    apart = curds_and_whey.fit_mixture(predicted, ratings, np.arange(80), ["a", "b", "b"])
    assert apart[0, 0] == 1
    assert (apart[0, 1:] == 0).all()
    assert (apart[1:, 0] == 0).all()


def test_traits_with_a_common_cause_gain_and_readouts_stay_linear():
    features, targets, images = correlated_traits()
    folds = assign_folds(images)
    alone = fit_ridge(features, targets, folds)
    together = fit_ridge(features, targets, folds, across_traits=True)
    gained = performance(together.predictions)["r"].mean() - performance(alone.predictions)["r"].mean()
    assert gained > 0.05
    assert together.duals == ()
    places = dict(zip(folds["image"], folds.index, strict=True))
    for (trait, fold), table in together.predictions.groupby(["trait", "fold"]):
        predicted = together.find("all", trait, fold).predict(features)
        np.testing.assert_allclose(predicted[table["image"].map(places)], table["predicted"], rtol=1e-4)


def test_traits_of_noise_do_not_turn_into_signal():
    rng = np.random.default_rng(5)
    features, _, images = make_study(seed=5, identities=60, each=1)
    targets = pd.concat(
        images[["image"]].assign(group="all", trait=f"t{number}", rating=rng.normal(size=60))
        for number in range(20)
    )
    fitted = fit_ridge(features, targets, assign_folds(images), whiten=0.1, across_traits=True)
    # Out-of-fold r of noise varies more than r of independent numbers, whose 95th percentile is .21.
    assert (performance(fitted.predictions, samples=200)["r"] > 0.28).mean() < 0.2


def test_inner_folds_find_the_feature_space_that_matters(study):
    features, targets, images = study
    noise = np.abs(np.random.default_rng(0).normal(size=(len(images), 40, 3, 3)))
    both = {**features, OTHER: noise}
    folds = assign_folds(images, 3)
    mixes = random_mixes(list(both), 12)
    chosen = fit_ridge(both, targets, folds, weights=mixes)
    equal = fit_ridge(both, targets, folds)
    weights = np.array([mixes[mix][SPACE] for mix in chosen.choices["mix"]])
    assert weights.mean() > 0.9
    better = performance(chosen.predictions)["r"].mean() - performance(equal.predictions)["r"].mean()
    assert better > 0.05
    for readout in chosen.readouts[:3]:
        table = chosen.predictions.query(
            "group == @readout.group and trait == @readout.trait and fold == @readout.fold"
        )
        places = table["image"].map(dict(zip(folds["image"], folds.index, strict=True)))
        np.testing.assert_allclose(readout.predict(both)[places], table["predicted"], rtol=1e-4)


@pytest.mark.parametrize("number", [1, 5])
def test_mixes_sum_to_one_and_start_equal(number):
    mixes = random_mixes([SPACE, OTHER], number)
    assert len(mixes) == number
    assert mixes[0] == {SPACE: 0.5, OTHER: 0.5}
    np.testing.assert_allclose([sum(mix.values()) for mix in mixes], 1.0, rtol=1e-12)


@pytest.mark.parametrize("whiten", [None, 0.1])
def test_kernels_in_files_piece_by_piece_give_the_same_readouts(study, tmp_path, monkeypatch, whiten):
    features, targets, images = study
    both = {**features, OTHER: np.abs(features[SPACE][:, ::-1])}
    folds = assign_folds(images, 3)
    whole = fit_ridge(both, targets, folds, whiten=whiten)
    for name, value in (("IN_MEMORY", 1), ("IN_ONE_PIECE", 1), ("ROWS_AT_ONCE", 7), ("COLUMNS_AT_ONCE", 5)):
        monkeypatch.setattr(kernels, name, value)
    pieces = fit_ridge(both, targets, folds, whiten=whiten, scratch=tmp_path)
    np.testing.assert_allclose(pieces.predictions["predicted"], whole.predictions["predicted"], rtol=1e-6)
    assert list(tmp_path.iterdir()) == []


def test_a_kernel_that_the_disk_cannot_hold_is_refused_before_it_is_used(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kernels, "IN_MEMORY", 1)
    monkeypatch.setattr(kernels.os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        kernels.linear_kernel(np.ones((3, 4, 1, 1)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_factorised_kernel_solves_for_many_penalties_as_one_at_a_time():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 60))
    kernel = features @ features.T
    targets, penalties = rng.normal(size=(40, 4)), np.array([1e-3, 2.0, 1e-3, 50.0])
    wanted = [
        np.linalg.solve(kernel + penalty * np.eye(40), target)
        for target, penalty in zip(targets.T, penalties, strict=True)
    ]
    solved = Factorised.of(kernel.copy()).solve(targets, penalties)
    np.testing.assert_allclose(solved.T, wanted, rtol=1e-6)
