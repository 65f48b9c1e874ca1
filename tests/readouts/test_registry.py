"""A readout that the package does not know, registered by its user: it goes every way that the others go."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.report.test_wording import results_with
from tests.toy_readout import COVARIANCE, Covariance, covariance_registered

from traitlens.features.backbone import build_backbone
from traitlens.features.extraction import extract
from traitlens.features.preprocessing import VGG_CAFFE
from traitlens.map_checks.randomisation import random_readouts
from traitlens.problems import TraitlensError
from traitlens.readouts.folds import assign_folds
from traitlens.readouts.registry import METHODS, FitContext, find_readout, register
from traitlens.readouts.trait_models import TraitModels
from traitlens.relevance.attribution import analyze, explain_with_conservation
from traitlens.report.wording import describe_methods
from traitlens.study.settings import ReadoutSettings


@pytest.fixture
def registered():
    with covariance_registered() as method:
        yield method


@pytest.fixture
def backbone():
    rng = np.random.default_rng(0)
    tensors = {
        "block1_conv1.weight": rng.normal(0, 0.1, (4, 3, 3, 3)).astype(np.float32),
        "block1_conv1.bias": np.zeros(4, np.float32),
    }
    return build_backbone("tiny", tensors, VGG_CAFFE, "ab" * 32)


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def fitted(registered, backbone, pixels):
    settings = ReadoutSettings(method="covariance", tap="block1_pool", grid=2)
    names = [str(place) for place in range(12)]
    folds = assign_folds(pd.DataFrame({"image": names, "identity": names}), 3)
    ratings = np.random.default_rng(2).normal(4, 1, 12)
    targets = pd.DataFrame({"image": names, "group": "all", "trait": "warm", "rating": ratings})
    features = extract(backbone, registered.spaces(settings), pixels)
    options = registered.options(settings, FitContext(0, backbone, "cpu", Path()))
    return registered.fit(features, targets, folds, **options)


def test_it_is_saved_and_loaded(fitted, backbone, pixels, tmp_path):
    models = TraitModels.of(fitted, backbone)
    models.save(tmp_path / "model")
    loaded = TraitModels.load(tmp_path / "model")
    assert {type(readout) for readout in loaded.readouts} == {Covariance}
    before, after = (model.predict(backbone, pixels[:2]) for model in (models, loaded))
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    assert "3 covariance readouts" in (tmp_path / "model" / "README.md").read_text()


def test_it_is_explained_and_checked(fitted, backbone, pixels):
    account = explain_with_conservation(
        backbone, fitted.readouts, pixels[:2], "lrp.alpha_1_beta_0_ignore_bias"
    )
    explained = account["prediction"] - account["reference"]
    np.testing.assert_allclose(account["pixels"], explained, rtol=0, atol=1e-3 * np.abs(explained).max())
    maps = analyze(backbone, fitted.readouts, pixels[:2])
    null = analyze(backbone, random_readouts(fitted.readouts, 0), pixels[:2])
    assert np.abs(maps - null).max() > 0.1 * np.abs(maps).max()


def test_it_is_told_in_the_report(registered):
    text = " ".join(describe_methods(results_with({"method": "covariance"})).paragraphs)
    assert "Weights were covariances at block4_pool." in text


def test_names_are_taken_once(registered):
    with pytest.raises(ValueError, match="already a readout method 'covariance'"):
        register(COVARIANCE)
    with pytest.raises(TraitlensError, match="unknown readout 'covarience'; did you mean 'covariance'"):
        find_readout("covarience")

    class Other(Covariance):
        kind = "linear"

    with pytest.raises(ValueError, match="LinearReadout already has the kind 'linear'"):
        register(replace(COVARIANCE, name="other", readout=Other))


def test_what_readouts_read_and_take():
    ridge = find_readout("ridge")
    views = ReadoutSettings(views={"image": 1.0, "eyes": 0.5}, taps=("block4_pool", "block5_pool"))
    spaces = ridge.spaces(views)
    assert [str(space.tap) for space in spaces] == [
        "block4_pool 7x7",
        "block5_pool 7x7",
        "block4_pool 7x14",
        "block5_pool 7x14",
    ]
    assert list(spaces.values()) == [1.0, 1.0, 0.5, 0.5]
    assert ridge.reads_one_space(ReadoutSettings())
    for other in (views, ReadoutSettings(whiten=0.1), ReadoutSettings(across_traits=True)):
        assert not ridge.reads_one_space(other)
    assert [name for name, method in METHODS.items() if method.is_kernel_ridge] == ["ridge"]
    assert ridge.cost(ReadoutSettings(), 20_000, 5, 25_088).disk == 8 * (20_000**2 + 16_000**2)
    assert find_readout("dense").cost(ReadoutSettings(), 1000, 5, 512).memory == 16 * 1000 * 512
    assert [name for name, method in METHODS.items() if method.is_linear] == ["ridge"]
