"""A study read out by a network of one's own: fitted, explained, saved, and used on a new face."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.tiny import add_backbone, skip_figures
from tests.toy_readout import Covariance, covariance_registered

from traitlens.api import Run, run
from traitlens.arrays import open_arrays
from traitlens.features.preprocessing import PREPROCESSINGS
from traitlens.prediction.new_faces import explain_face, load_models, predict_new_faces
from traitlens.problems import TraitlensError
from traitlens.readouts.trait_models import TraitModels
from traitlens.study.simulated_study import simulate_study


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAITLENS_CACHE", str(folder / "cache"))
        skip_figures(patch)
        add_backbone(folder)
        simulate_study(
            folder / "study", identities=12, images=1, traits=1, raters=4, seed=3, size=96, seen_size=64
        )
        settings = (folder / "study" / "study.toml").read_text().replace("block4_pool", "block2_pool")
        settings = settings.replace("[readout]", '[readout]\nbackbone = "tiny"')
        settings += "\n[comparison]\npermutations = 0\ncues = false\n"
        (folder / "study" / "study.toml").write_text(settings)
        yield run(folder / "study")


def test_maps_of_another_network_account_for_its_predictions(done):
    assert done.backbone.name == "tiny"
    assert done.backbone.preprocessing == PREPROCESSINGS["torchvision"]
    maps = open_arrays(done.results / "maps.zarr").load()
    means = done.targets.groupby("group").rating.mean().to_numpy()
    predicted = pd.read_csv(done.results / "predictions.csv")
    predicted = predicted.pivot_table(index="group", columns="image", values="predicted", sort=False)
    deviation = predicted[maps.image.to_numpy()].to_numpy() - means[:, None]
    # The biases are zero, so that next to nothing leaks; the mean of a fold differs from that of all images.
    assert np.corrcoef(maps.pixel_sum[:, 0].to_numpy().ravel(), deviation.ravel())[0, 1] > 0.95


def test_the_saved_model_records_the_network_and_works_on_a_new_face(done):
    manifest = json.loads((done.results / "models" / "manifest.json").read_text())
    assert manifest["backbone"] == {
        "name": "tiny", "digest": done.backbone.digest, "source": "drawn by lot"
    }  # fmt: skip
    assert manifest["preprocessing"]["channels"] == "RGB"
    assert "drawn by lot" in (done.results / "models" / "README.md").read_text()
    assert "tiny (drawn by lot)" in (done.results / "report.html").read_text()
    models, backbone = load_models(done.results / "models")
    image = done.study.images["image"].iloc[0]
    table = predict_new_faces(models, backbone, {"new": done.study.path(image)})
    assert table["predicted"].between(1, 7).all()


def test_layers_that_were_trained_on_are_explained_and_saved_by_a_run(done, tmp_path):
    settings = done.study.settings
    readout = settings.readout.model_copy(update={"method": "finetune", "tap": "block1_pool"})
    study = replace(done.study, settings=settings.model_copy(update={"readout": readout}))
    tuned = Run(study, tmp_path / "results", done.machine)
    tuned.fit()
    models = TraitModels.load(tuned.results / "models")
    assert {readout.tail.layers for readout in models.readouts} == {("block2_conv1", "block2_pool")}
    assert len(list((tuned.results / ".cache" / "finetune").iterdir())) == 10
    pixels = tuned.prepared["pixels"][0].to_numpy()
    first = models.readouts[0]
    maps = explain_face(tuned.backbone, [first], models, pixels, "lrp.alpha_1_beta_0_ignore_bias")
    (features,) = tuned.features.values()
    predicted = first.predict({first.space: features[:1]})[0]
    assert float(maps.sum()) == pytest.approx(predicted - first.mean, rel=0.01)
    tuned.close()


def test_a_readout_that_its_user_registers_goes_from_a_study_to_the_report(done, tmp_path):
    settings = done.study.settings
    readout = settings.readout.model_copy(update={"method": "covariance", "grid": 2})
    study = replace(done.study, settings=settings.model_copy(update={"readout": readout}))
    with covariance_registered():
        mine = Run(study, tmp_path / "results", done.machine)
        mine.report()
        html = mine.check_maps(images=2).read_text("utf-8")
        models = TraitModels.load(mine.results / "models")
        mine.close()
    assert {type(readout) for readout in models.readouts} == {Covariance}
    assert "Weights were covariances at block2_pool." in html
    assert np.isfinite(open_arrays(mine.results / "maps.zarr").relevance.to_numpy()).all()
    null = pd.read_csv(mine.results / "checks" / "null_maps.csv")
    assert set(null["null"]) >= {"shuffled readout", "shuffled network"}


def test_a_model_whose_network_is_not_there_says_how_to_add_it(done, monkeypatch, tmp_path):
    monkeypatch.setenv("TRAITLENS_CACHE", str(tmp_path))
    assert TraitModels.load(done.results / "models").backbone_name == "tiny"
    with pytest.raises(TraitlensError, match=r"unknown backbone 'tiny'.*\n.*traitlens add-backbone"):
        load_models(done.results / "models")
