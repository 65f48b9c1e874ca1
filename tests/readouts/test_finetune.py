"""Layers that are trained on: what they learn, and that they stay in saved models and maps."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.readouts.conftest import SPACE as POOLED

from traitlens.features.backbone import build_backbone
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.preprocessing import VGG_CAFFE
from traitlens.features.taps import Tap
from traitlens.problems import ModelError, TraitlensError
from traitlens.readouts.finetune import Tuning, fit_finetune
from traitlens.readouts.folds import assign_folds
from traitlens.readouts.readout import LinearPart, LinearReadout
from traitlens.readouts.trait_models import TraitModels
from traitlens.relevance.attribution import analyze, explain_with_conservation

SPACE = FeatureSpace(Tap("block1_pool"))
QUICK = Tuning(rate=3e-3, head_rate=0.02, batch=8, most_epochs=12)


@pytest.fixture(scope="module")
def backbone():
    rng = np.random.default_rng(0)
    tensors = {}
    for name, inputs, outputs in (("block1_conv1", 3, 6), ("block2_conv1", 6, 8), ("block2_conv2", 8, 5)):
        weight = rng.normal(size=(outputs, inputs, 3, 3)) / np.sqrt(9 * inputs)
        tensors[f"{name}.weight"] = weight.astype(np.float32)
        tensors[f"{name}.bias"] = np.zeros(outputs, np.float32)
    return build_backbone("tiny", tensors, VGG_CAFFE, "ab" * 32)


@pytest.fixture(scope="module")
def images():
    """Forty pictures with a bright spot, larger in some than in others."""
    rng = np.random.default_rng(1)
    pictures = rng.integers(90, 110, (40, 16, 16, 3), dtype=np.uint8)
    sizes = rng.integers(1, 9, 40)
    for picture, size in zip(pictures, sizes, strict=True):
        picture[4 : 4 + size, 4 : 4 + size, 0] = 250
    return pictures, sizes


@pytest.fixture(scope="module")
def study(backbone, images):
    pictures, sizes = images
    features = {SPACE: backbone.activations(pictures, ["block1_pool"])["block1_pool"].numpy()}
    names = [str(place) for place in range(40)]
    tables = [
        pd.DataFrame({"group": group, "trait": trait, "image": names, "rating": 4 + sign * scored})
        for group, scored in (("a", sizes / 4), ("b", np.sqrt(sizes)))
        for trait, sign in (("warm", 1), ("cold", -1))
    ]
    folds = assign_folds(pd.DataFrame({"image": names, "identity": names}), 2)
    return features, pd.concat(tables, ignore_index=True), folds


@pytest.fixture(scope="module")
def fitted(study, backbone):
    return fit_finetune(*study, layers=backbone.layers[2:], tuning=QUICK)


def test_layers_learn_what_was_rated_out_of_fold(fitted):
    table = fitted.predictions
    assert table.groupby(["group", "trait"])[["observed", "predicted"]].corr().iloc[::2, 1].min() > 0.8
    assert len(fitted) == 8
    assert fitted.choices["epochs"].between(1, 12).all()
    one, other = (fitted.find("a", trait, 0) for trait in ("warm", "cold"))
    assert one.tail is other.tail
    assert one.tail is not fitted.find("b", "warm", 0).tail


def test_images_that_were_not_rated_on_a_trait_are_left_out(study, backbone):
    features, targets, folds = study
    rated = targets.drop(targets.index[(targets["trait"] == "cold") & (targets.index % 5 == 0)])
    table = fit_finetune(features, rated, folds, backbone.layers[2:], tuning=QUICK).predictions
    assert table["predicted"].notna().all()
    assert table.groupby(["group", "trait"])[["observed", "predicted"]].corr().iloc[::2, 1].min() > 0.8


def test_predictions_are_those_of_the_readout_that_did_not_see_the_image(fitted, study):
    features, _, folds = study
    for readout in fitted.readouts:
        mine = fitted.predictions.query(
            "group == @readout.group and trait == @readout.trait and fold == @readout.fold"
        )
        inside = (folds["fold"] == readout.fold).to_numpy()
        np.testing.assert_allclose(readout.predict(features)[inside], mine["predicted"], atol=1e-5)
        assert readout.predict(features)[~inside].mean() == pytest.approx(readout.mean, abs=1e-4)


def test_what_was_trained_is_kept_and_read_again(study, backbone, tmp_path, monkeypatch):
    first = fit_finetune(*study, layers=backbone.layers[2:], tuning=QUICK, folder=tmp_path)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    files[0].write_bytes(b"damaged")
    trained = []
    import traitlens.readouts.finetune as module

    choose = module._choose_and_train
    monkeypatch.setattr(module, "_choose_and_train", lambda *work: trained.append(1) or choose(*work))
    again = fit_finetune(*study, layers=backbone.layers[2:], tuning=QUICK, folder=tmp_path)
    assert len(trained) == 1
    pd.testing.assert_frame_equal(first.predictions, again.predictions)
    pd.testing.assert_frame_equal(first.choices, again.choices)


def test_networks_of_another_fit_are_not_used_and_removed(study, backbone, tmp_path):
    """Whatever training depends on: its digest changes, and what was kept goes."""
    features, targets, folds = study
    layers, once = backbone.layers[2:], Tuning(batch=20, most_epochs=1)

    def fit(folds=folds, layers=layers, seed=0, tuning=once):
        fit_finetune(features, targets, folds, layers, seed, tuning, folder=tmp_path)
        return {file.name for file in tmp_path.iterdir()}

    biased = [layer if layer.bias is None else replace(layer, bias=layer.bias + 1) for layer in layers]
    renamed = [replace(layer, name=f"{layer.name}0") for layer in layers]
    # The same outer folds; other identities, and with them another inner split.
    identities = folds.assign(identity=folds["fold"].astype(str) + [str(place // 4) for place in range(40)])
    first = fit()
    for change in (
        {"folds": identities},
        {"layers": biased},
        {"layers": renamed},
        {"seed": 1},
        {"tuning": Tuning(batch=10, most_epochs=1)},
    ):
        files = fit(**change)
        assert len(files) == 4
        assert not files & first
    assert fit() == first


@pytest.mark.parametrize("method", ["gradient", "lrp.z", "lrp.sequential_preset_a_flat"])
def test_maps_are_those_of_the_network_with_the_trained_layers(method, fitted, study, backbone, images):
    """The same readout as a linear one on a network whose last layers were exchanged."""
    readout = fitted.find("a", "warm", 0)
    exchanged = replace(backbone, layers=(*backbone.layers[:2], *readout.tail.network.layers))
    part = LinearPart(
        FeatureSpace(Tap("block2_pool", 1)), readout.weight[:, None, None], readout.reference[:, None, None]
    )
    linear = LinearReadout("a", "warm", 0, (part,), readout.mean)
    pictures = images[0][:3]
    got = analyze(backbone, [readout], pictures, method)
    wanted = analyze(exchanged, [linear], pictures, method)
    scale = float(np.abs(wanted).max())
    assert scale > 0
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-5 * scale)


def test_relevance_is_conserved_where_the_rule_ignores_biases(fitted, backbone, images):
    account = explain_with_conservation(
        backbone, fitted.readouts[:2], images[0][:4], "lrp.alpha_1_beta_0_ignore_bias"
    )
    explained = (account["prediction"] - account["reference"]).to_numpy()
    np.testing.assert_allclose(account["pixels"], explained, atol=1e-3 * np.abs(explained).max())


def test_a_saved_model_predicts_the_same_to_the_bit(fitted, backbone, images, tmp_path):
    models = TraitModels.of(fitted, backbone)
    models.save(tmp_path / "model")
    loaded = TraitModels.load(tmp_path / "model")
    before, after = (model.predict(backbone, list(images[0][:3])) for model in (models, loaded))
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    assert len({id(readout.tail) for readout in loaded.readouts}) == 4
    assert "8 fine-tuned readouts" in (tmp_path / "model" / "README.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["readouts"][0].update(tail=9), "its layers are missing"),
        (lambda m: m["readouts"][0].update(tail=None), "its layers are missing"),
        (lambda m: m["tails"][0].update(layers=["../x"]), "tails.0.layers.0"),
        (lambda m: m["tails"][0].update(layers=["block2_pool"]), "contain no convolution"),
        (lambda m: m["tails"][0]["layers"].reverse(), "has shape"),
    ],
)
def test_an_altered_manifest_is_refused(change, message, fitted, backbone, tmp_path):
    TraitModels.of(fitted, backbone).save(tmp_path / "model")
    file = tmp_path / "model" / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=message):
        TraitModels.load(tmp_path / "model")


def test_several_spaces_and_nothing_to_train_are_refused(study, backbone):
    features, targets, folds = study
    with pytest.raises(TraitlensError, match="choose a lower tap"):
        fit_finetune({**features, POOLED: features[SPACE]}, targets, folds, layers=backbone.layers[2:])
    with pytest.raises(TraitlensError, match="choose a lower tap"):
        fit_finetune(features, targets, folds, layers=backbone.layers[4:])
