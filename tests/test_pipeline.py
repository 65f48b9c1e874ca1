"""The whole flow on a small study, and what a killed run leaves."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import traitlens as tl
from traitlens.api import Run, run
from traitlens.arrays import open_arrays
from traitlens.prediction.new_faces import explain_face, predict_new_faces, prepare_new_face
from traitlens.problems import TraitlensError
from traitlens.readouts.trait_models import TraitModels
from traitlens.storage import PARTIAL
from traitlens.study.reading import Study
from traitlens.study.setting_overrides import follow_protocol, override_kept_maps
from traitlens.study.simulated_study import simulate_study

pytestmark = pytest.mark.weights


def make_study(folder):
    simulate_study(folder, identities=12, images=1, traits=2, raters=6, seed=3, size=96, seen_size=64)
    settings = (folder / "study.toml").read_text()
    comparison = '\n[comparison]\npermutations = 99\nvariables = ["age"]\n'
    (folder / "study.toml").write_text(settings + comparison)
    ratings = pd.read_csv(folder / "ratings.csv")
    ratings["age"] = 20 + 3 * pd.factorize(ratings["rater"])[0]
    ratings.to_csv(folder / "ratings.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run(make_study(tmp_path_factory.mktemp("whole") / "study"))


def test_the_results_folder_holds_what_was_promised(done):
    for name in (
        "ratings/targets.csv",
        "ratings/reliability.csv",
        "landmarks.csv",
        "prepared.zarr",
        "predictions.csv",
        "performance.csv",
        "models/manifest.json",
        "maps.zarr",
        "average_maps.zarr",
        "regions.csv",
        "ratings/images.csv",
        "ratings/trait_components.csv",
        "checks/cues.csv",
        "comparisons/means.csv",
        "comparisons/reliability.csv",
        "comparisons/transfer_groups.csv",
        "comparisons/performance.csv",
        "comparisons/missing.csv",
        "comparisons/pixels.csv",
        "comparisons/pixels.zarr",
        "comparisons/variables.csv",
        "study.json",
        "provenance.json",
        "report.html",
    ):
        assert (done.results / name).exists(), name
    assert not list(done.results.rglob(f"*{PARTIAL}*"))


def test_every_prediction_is_out_of_fold_and_every_map_sums_with_its_ledger(done):
    predictions = pd.read_csv(done.results / "predictions.csv")
    assert len(predictions) == 12 * 2 * 2
    assert (predictions.groupby("identity").fold.nunique() == 1).all()
    maps = open_arrays(done.results / "maps.zarr").load()
    assert maps.relevance.dims == ("group", "trait", "image", "y", "x")
    np.testing.assert_allclose(maps.relevance.sum(["y", "x"]), maps.pixel_sum, rtol=1e-3, atol=1e-4)
    table = predictions.set_index(["group", "trait", "image"]).predicted
    for (group, trait, image), predicted in table.items():
        stored = float(maps.prediction.sel(group=group, trait=trait, image=image))
        assert stored == pytest.approx(predicted, abs=1e-3)


def test_a_study_s_own_face_is_predicted_as_its_readouts_say(done):
    image = done.study.images["image"][0]
    models = TraitModels.load(done.results / "models")
    predicted = models.predict(done.backbone, [done.prepared["pixels"][0].to_numpy()])
    from_file = predict_new_faces(models, done.backbone, {"copy": done.study.path(image)})
    features = done.features
    for row in predicted.itertuples():
        own = [r for r in done.readouts if (r.group, r.trait) == (row.group, row.trait)]
        expected = np.mean([readout.predict(features)[0] for readout in own])
        assert len(own) == 5
        assert row.predicted == pytest.approx(expected, abs=1e-4)
    assert list(from_file["image"].unique()) == ["copy"]
    # The study's landmarks are the drawing's own; those of a new face are detected, and lie a little aside.
    np.testing.assert_allclose(from_file["predicted"], predicted["predicted"], atol=0.05)


def test_the_map_of_a_new_face_sums_with_its_prediction(done):
    models = TraitModels.load(done.results / "models")
    pixels = prepare_new_face(done.study.path(done.study.images["image"][0]), models)
    trait = models.traits[0]
    readouts = [readout for readout in models.readouts if readout.trait == trait]
    maps = explain_face(done.backbone, readouts, models, pixels, "lrp.z_plus")
    predicted = models.predict(done.backbone, [pixels]).set_index(["group", "trait"])["predicted"]
    for group in models.groups:
        means = [readout.mean for readout in readouts if readout.group == group]
        assert float(maps.sel(group=group).sum()) == pytest.approx(
            predicted[group, trait] - np.mean(means), abs=1e-2
        )


def test_a_new_face_without_a_face_is_refused_where_the_crop_needs_one(done, tmp_path):
    models = replace(TraitModels.load(done.results / "models"), prepared={"crop": "face", "size": 64})
    Image.new("RGB", (80, 80), (90, 120, 90)).save(tmp_path / "green.png")
    with pytest.raises(TraitlensError, match=r"green.png"):
        prepare_new_face(tmp_path / "green.png", models)


def test_the_aligned_average_is_what_its_equation_says(done):
    maps = open_arrays(done.results / "maps.zarr").load()
    averages = open_arrays(done.results / "average_maps.zarr").load()
    f = maps.prediction.to_numpy()
    z = (f - f.mean(-1, keepdims=True)) / f.std(-1, keepdims=True)
    expected = np.einsum("gtiyx,gti->gtyx", maps.relevance.to_numpy().astype(float), z) / f.shape[-1]
    # The average is of the maps as they were computed, before they are kept within 0.05 %.
    sizes = np.einsum("gtiyx,gti->gtyx", np.abs(maps.relevance.to_numpy()).astype(float), np.abs(z))
    assert (np.abs(averages.aligned - expected) <= sizes / f.shape[-1] * 2**-11 + 1e-10).all()


def test_a_second_run_makes_nothing_again(done):
    before = {path: path.stat().st_mtime_ns for path in done.results.rglob("*") if path.is_file()}
    run(done.study.folder)
    after = {path: path.stat().st_mtime_ns for path in done.results.rglob("*") if path.is_file()}
    assert after == before


def test_a_changed_setting_makes_only_what_depends_on_it_again(done, tmp_path):
    import shutil

    folder = tmp_path / "study"
    shutil.copytree(done.study.folder, folder)
    kept = (folder / "results" / "prepared.zarr" / "pixels" / ".zarray").stat().st_mtime_ns
    text = (folder / "study.toml").read_text()
    (folder / "study.toml").write_text(text.replace("grid = 2", "grid = 1"))
    again = Run(Study.load(folder))
    again.fit()
    assert (folder / "results" / "prepared.zarr" / "pixels" / ".zarray").stat().st_mtime_ns == kept
    assert not again.performance.equals(done.performance)


def test_the_verbs_give_what_a_run_wrote(done, tmp_path):
    study = Study.load(done.study.folder)
    models = tl.fit(study)
    pd.testing.assert_frame_equal(models.performance, done.performance)
    maps = tl.explain(models, study)
    assert maps.relevance.dims == ("group", "trait", "image", "y", "x")
    difference = tl.compare(models, maps, study)
    assert {"means", "performance", "use"} <= set(difference)
    page = tl.write_report(study, models, maps, difference, tmp_path / "page.html")
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_the_verbs_refuse_what_does_not_belong_together(done, tmp_path):
    models = tl.fit(Study.load(done.study.folder))
    other = Study.load(make_study(tmp_path / "other"))
    with pytest.raises(TraitlensError, match="were fitted on"):
        tl.explain(models, other)
    with pytest.raises(TraitlensError, match="these maps have other images"):
        tl.compare(models, tl.explain(models, models.study).isel(image=slice(3)), models.study)


def _kill_and_finish(folder, out, delays):
    """Start the run, kill it after each delay, and let it finish at last."""
    command = [sys.executable, "-m", "traitlens.cli", "run", str(folder), "--out", str(out)]
    for delay in delays:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
    finished = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kills with SIGKILL")
def test_ten_kills_change_nothing(done, tmp_path):
    moments = random.Random(5)
    _kill_and_finish(done.study.folder, tmp_path / "killed", [moments.uniform(1.5, 14) for _ in range(10)])
    for name in ("performance.csv", "predictions.csv", "regions.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (done.results / name).read_bytes(), name
    for name in ("maps.zarr", "average_maps.zarr"):
        first, second = (open_arrays(folder / name).load() for folder in (done.results, tmp_path / "killed"))
        assert first.identical(second), name
    assert not list((tmp_path / "killed").rglob(f"*{PARTIAL}*"))


@pytest.mark.slow
def test_a_run_reads_several_taps_and_views_of_whitened_roots(tmp_path):
    folder = make_study(tmp_path / "study")
    settings = (folder / "study.toml").read_text().replace("permutations = 99", "permutations = 0")
    before, _, after = settings.partition("[readout]")
    readout = (
        '[readout]\ntaps = ["block3_pool", "block4_pool"]\nviews = { image = 1, eyes = 0.25 }\n'
        'grid = 2\ntransform = "sqrt"\nwhiten = 0.1\nacross_traits = true\nmixes = 3\n\n'
    )
    (folder / "study.toml").write_text(before + readout + after[after.find("[") :])
    several = Run(Study.load(folder))
    several.fit()
    assert [space.tap.grid for space in several.features] == [2, 2, (2, 4), (2, 4)]
    models = TraitModels.load(several.results / "models")
    assert set(models.views) == {"eyes"}
    readout = models.readouts[0]
    pixels = several.prepared["pixels"][0].to_numpy()
    maps = explain_face(several.backbone, [readout], models, pixels, "lrp.z_plus")
    predicted = readout.predict({space: values[:1] for space, values in several.features.items()})
    assert float(maps.sum()) == pytest.approx(predicted[0] - readout.mean, abs=0.02 * abs(readout.mean))


def test_a_protocol_changes_the_readout_and_the_input_alone(done, tmp_path):
    study = follow_protocol(done.study, "cao2023")
    assert study.settings.readout.method == "cao2023"
    assert study.settings.folds == done.study.settings.folds
    followed = Run(study, tmp_path / "results")
    assert followed.backbone.preprocessing.divide_by == (255.0, 255.0, 255.0)
    assert done.backbone.preprocessing.divide_by == (1.0, 1.0, 1.0)
    assert follow_protocol(done.study, "default") is done.study
    with pytest.raises(TraitlensError, match="did you mean 'cao2023'"):
        follow_protocol(done.study, "cao2032")


def test_another_choice_of_maps_changes_nothing_else(done):
    study = override_kept_maps(done.study, "sample")
    assert study.settings.run.keep_maps == "sample"
    assert study.settings.model_copy(update={"run": done.study.settings.run}) == done.study.settings
    with pytest.raises(TraitlensError, match="Choices: all, none, sample"):
        override_kept_maps(done.study, "some")
