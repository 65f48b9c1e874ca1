import json
import struct

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from traitlens.digests import digest_file
from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.features.backbone import build_backbone
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.preprocessing import VGG_CAFFE
from traitlens.features.region_features import RegionalFaces
from traitlens.features.taps import Tap
from traitlens.features.views import View
from traitlens.problems import ModelError
from traitlens.readouts.readout import DenseReadout, LinearPart, LinearReadout
from traitlens.readouts.trait_models import TraitModels

IMAGE = FeatureSpace(Tap("block1_pool", 2), transform="sqrt", mirror=True)
EYES = FeatureSpace(Tap("block2_pool", (2, 4)), view="eyes")
END = FeatureSpace(Tap("block2_pool", 1))


@pytest.fixture
def backbone():
    rng = np.random.default_rng(0)
    tensors = {}
    for name, inputs, outputs in (("block1_conv1", 3, 4), ("block2_conv1", 4, 6)):
        tensors[f"{name}.weight"] = rng.normal(size=(outputs, inputs, 3, 3)).astype(np.float32)
        tensors[f"{name}.bias"] = rng.normal(size=outputs).astype(np.float32)
    return build_backbone("tiny", tensors, VGG_CAFFE, "ab" * 32)


@pytest.fixture
def models(backbone):
    rng = np.random.default_rng(1)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    parts = (LinearPart(IMAGE, draw(4, 2, 2), draw(4, 2, 2)), LinearPart(EYES, draw(6, 2, 4), draw(6, 2, 4)))
    readouts = [
        LinearReadout("autistic", "warm", 0, parts, 4.25),
        LinearReadout("autistic", "warm", 1, parts[:1], 0.1 + 0.2),
        DenseReadout("other | raters", "warm", 0, draw(5, 6), draw(5), draw(1, 5), draw(1), 3.5, END),
    ]
    table = pd.DataFrame(
        {"group": ["autistic"], "trait": ["warm"], "r": [0.5], "p": [np.nan], "n_images": [9]}
    )
    views = {"eyes": View("eyes", (0.2, 0.3, 0.8, 0.6), (32, 16))}
    return TraitModels.of(readouts, backbone, views, {"crop": "face", "size": 32}, table)


@pytest.fixture
def images():
    return list(np.random.default_rng(2).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8))


@pytest.fixture
def folder(models, tmp_path):
    models.save(tmp_path / "model")
    return tmp_path / "model"


def alter(folder, change, sign=False):
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    change(manifest)
    if sign:
        manifest["tensors"] = digest_file(folder / "readouts.safetensors")
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def test_a_reloaded_model_predicts_the_same_to_the_bit(models, folder, backbone, images):
    loaded = TraitModels.load(folder)
    before, after = (model.predict(backbone, images, ["a", "b", "c"]) for model in (models, loaded))
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    assert list(before.columns) == ["image", "group", "trait", "predicted"]
    assert len(before) == 6
    assert (loaded.spaces, loaded.views, loaded.prepared) == (models.spaces, models.views, models.prepared)
    assert loaded.performance.loc[0, "r"] == 0.5
    assert "2 readouts" not in str(loaded)


def test_predictions_are_the_mean_over_folds(models, backbone, images):
    features = models.features(backbone, images)
    by_hand = (models.readouts[0].predict(features) + models.readouts[1].predict(features)) / 2
    got = models.predict(backbone, images).query("group == 'autistic'")["predicted"]
    np.testing.assert_allclose(got, by_hand, rtol=1e-6)
    assert (features[IMAGE] >= 0).all()
    mirrored = models.features(backbone, [image[:, ::-1] for image in images])
    np.testing.assert_allclose(mirrored[IMAGE], features[IMAGE], rtol=1e-5, atol=1e-5)


def test_the_card_says_what_it_must(folder):
    card = (folder / "README.md").read_text("utf-8")
    assert card.startswith("---\nlibrary_name: traitlens")
    for words in (
        "Not for",
        "impression",
        "| autistic | warm | 9 | 0.500 |",
        "stereotypes",
        "other / raters",
    ):
        assert words in card
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "readouts.safetensors", "README.md"}


def test_another_backbone_is_refused(models, images, backbone):
    other = build_backbone("tiny", {}, VGG_CAFFE, "cd" * 32)
    with pytest.raises(ModelError, match="were fitted on tiny \\(abababababab\\), not on tiny"):
        models.predict(other, images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format="pickle"), "format"),
        (lambda m: m.update(run="import os"), "run: Extra inputs are not permitted"),
        (lambda m: m["spaces"][0].update(layer="../../etc/passwd"), "spaces.0.layer"),
        (lambda m: m["spaces"][0].update(grid=10**9), "grid 1000000000 is not between"),
        (lambda m: m["spaces"][1].update(view="nose"), "view 'nose' is used but not described"),
        (lambda m: m["views"][0].update(box=[-1, 0, 1, 1]), "the box exceeds the image"),
        (lambda m: m["views"][0].update(size=[10**6, 16]), "is not between 16 and 1024"),
        (lambda m: m["readouts"][0].update(spaces=[0, 7]), "a feature space that the model does not list"),
        (lambda m: m["readouts"][0].update(spaces=[0, 0]), "uses a feature space twice"),
        (lambda m: m["readouts"][0].update(mean="4"), "readouts.0.mean"),
        (lambda m: m["readouts"][0].update(mean=float("nan")), "readouts.0.mean"),
        (lambda m: m["readouts"].pop(), "00002.fc1_bias belongs to no readout"),
        (lambda m: m["readouts"][0].update(kind="quantum"), "unknown kind of readout 'quantum'"),
        (lambda m: m["spaces"][0].update(grid=3), "has shape \\(4, 2, 2\\), not \\(any, 3, 3\\)"),
        (lambda m: m.update(tensors="0" * 64), "its digest differs from the manifest"),
        (lambda m: m.pop("backbone"), "backbone: Field required"),
        (lambda m: m["prepared"].update(background=[1]), "prepared.background"),
        (lambda m: m["prepared"].update(crop=["full"]), "prepared.crop"),
        (lambda m: m["prepared"].update(larger="nan"), "prepared.larger"),
        (lambda m: m["prepared"].update(larger=-1), "prepared.larger"),
        (lambda m: m["prepared"].update(up=1e5), "prepared.up"),
        (lambda m: m["prepared"].update(size=10**6), "prepared.size"),
        (lambda m: m["preprocessing"].update(divide_by=[0.0] * 3), "preprocessing.divide_by"),
        (lambda m: m["preprocessing"].update(mean=[1e308] * 3), "preprocessing.mean"),
        (lambda m: m["readouts"][0].update(mean=1e308), "readouts.0.mean"),
        (lambda m: m["readouts"][0].update(trait="warm\x1b[2J"), "readouts.0.trait"),
        (lambda m: m["views"][0].update(size=[4096, 4096]), "is not between 16 and 1024"),
    ],
)
def test_an_altered_manifest_is_refused(folder, change, message):
    alter(folder, change)
    with pytest.raises(ModelError, match=message):
        TraitModels.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({"00000.0.weight": t["00000.0.weight"][:, :1]}), "has shape \\(4, 1, 2\\)"),
        (lambda t: t.update({"00000.0.weight": t["00000.0.weight"].astype(np.float64)}), "is not float32"),
        (
            lambda t: t.update({"00000.0.weight": t["00000.0.weight"] * np.nan}),
            "contains NaN or infinite values",
        ),
        (lambda t: t.update({"00009.0.weight": t.pop("00000.0.weight")}), "00000.0.weight is missing"),
        (lambda t: t.pop("00002.fc2_bias"), "00002.fc2_bias is missing"),
        (lambda t: t.update(more=t["00000.0.weight"]), "more belongs to no readout"),
        (lambda t: t.update({"00002.fc1_bias": t["00002.fc1_bias"][:2]}), "fc1_bias has shape \\(2,\\)"),
    ],
)
def test_altered_tensors_are_refused_even_if_the_digest_was_altered_too(folder, change, message):
    tensors = load_file(folder / "readouts.safetensors")
    change(tensors)
    save_file(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()},
        folder / "readouts.safetensors",
    )
    with pytest.raises(ModelError, match="its digest differs"):
        TraitModels.load(folder)
    alter(folder, lambda manifest: None, sign=True)
    with pytest.raises(ModelError, match=message):
        TraitModels.load(folder)


def test_a_huge_header_a_cut_file_and_a_flipped_bit_are_refused(folder):
    path = folder / "readouts.safetensors"
    content = path.read_bytes()
    path.write_bytes(struct.pack("<Q", 2**62) + content[8:])
    with pytest.raises(ModelError, match="header is longer than the file"):
        TraitModels.load(folder)
    for damaged in (content[:-10], content[:100] + bytes([content[100] ^ 1]) + content[101:], b""):
        path.write_bytes(damaged)
        with pytest.raises(ModelError):
            TraitModels.load(folder)


def test_links_that_leave_the_folder_and_missing_files_are_refused(folder, tmp_path):
    outside = tmp_path / "outside.safetensors"
    (folder / "readouts.safetensors").rename(outside)
    with pytest.raises(ModelError, match=r"no regular file readouts\.safetensors"):
        TraitModels.load(folder)
    (folder / "readouts.safetensors").symlink_to(outside)
    with pytest.raises(ModelError, match="no regular file"):
        TraitModels.load(folder)
    with pytest.raises(ModelError, match=r"no regular file manifest\.json"):
        TraitModels.load(tmp_path / "nowhere")
    (folder / "manifest.json").write_text("{" * 100_000)
    with pytest.raises(ModelError, match="Invalid JSON"):
        TraitModels.load(folder)


@pytest.fixture
def regional(backbone):
    """A model that reads two regions and the whole face, and landmarks of three images."""
    rng = np.random.default_rng(4)
    faces = RegionalFaces(
        rng.integers(0, 256, (32, 32, 3), dtype=np.uint8),
        {"scar": ((200.0, 200.0), (400.0, 200.0), (230.0, 500.0))},
    )
    spaces = [FeatureSpace(Tap("block1_pool", 2), region=name) for name in ("eyes", "scar", "")]
    readouts = [
        LinearReadout(
            "women",
            "warm",
            fold,
            tuple(
                LinearPart(space, *(rng.normal(size=(2, 4, 2, 2)) / 100).astype(np.float32))
                for space in spaces
            ),
            4.0 + fold,
        )
        for fold in (0, 1)
    ]
    points = [canonical_mesh().points / 16 + shift for shift in (0, 1, -1)]
    return TraitModels.of(readouts, backbone, faces=faces, prepared={"size": 32}), points


def test_regional_models_predict_new_faces_region_by_region(regional, backbone, images, tmp_path):
    models, points = regional
    models.save(tmp_path / "model")
    loaded = TraitModels.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.faces.average, models.faces.average)
    assert loaded.faces.regions == models.faces.regions
    cues, predicted = {}, {}
    for name, model in (("before", models), ("after", loaded)):
        predicted[name] = model.predict(backbone, images, points=points)
        cues[name] = model.cues(backbone, images, points)
    pd.testing.assert_frame_equal(predicted["before"], predicted["after"], check_exact=True)
    pd.testing.assert_frame_equal(cues["before"], cues["after"], check_exact=True)
    wide = cues["after"].pivot_table(index="image", columns="region", values="cue")
    assert set(wide) == {"eyes", "scar", ""}
    np.testing.assert_allclose(wide.sum(axis=1) + 4.5, predicted["after"]["predicted"], rtol=1e-6)
    # Only the region that is read matters.
    outside = loaded.faces.masks(points[0]).sel(region="eyes").values == 0
    other = np.where(outside[..., None], images[1], images[0])
    again = loaded.cues(backbone, [other], points[:1])
    assert again.set_index("region")["cue"]["eyes"] == wide.loc["0", "eyes"]


def test_regional_models_need_landmarks(regional, models, backbone, images):
    with pytest.raises(ModelError, match="landmarks"):
        regional[0].predict(backbone, images)
    with pytest.raises(ModelError, match="whole face"):
        models.cues(backbone, images, regional[1])


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(regions=None),
        lambda manifest: manifest["regions"].update(polygons={}),
        lambda manifest: manifest["regions"].update(polygons={"scar": "anywhere"}),
    ],
)
def test_regions_that_are_not_described_are_refused(regional, tmp_path, change):
    regional[0].save(tmp_path / "model")
    alter(tmp_path / "model", change)
    with pytest.raises(ModelError):
        TraitModels.load(tmp_path / "model")


def test_an_average_face_that_is_no_image_is_refused(regional, tmp_path):
    folder = tmp_path / "model"
    regional[0].save(folder)
    tensors = load_file(folder / "readouts.safetensors")
    tensors["average_face"][0, 0, 0] = 0.5
    save_file(tensors, folder / "readouts.safetensors")
    alter(folder, lambda manifest: None, sign=True)
    with pytest.raises(ModelError, match="average face"):
        TraitModels.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["spaces"][0].update(layer="block2_pool"), "does not match the features"),
        (lambda m: m["spaces"][2].update(layer="block1_pool"), "does not match the features"),
        (lambda m: m["spaces"][0].update(layer="block9_pool"), "layer block9_pool, which tiny does not have"),
    ],
)
def test_readouts_that_do_not_fit_the_network_are_refused(folder, backbone, images, change, message):
    alter(folder, change)
    with pytest.raises(ModelError, match=message):
        TraitModels.load(folder).predict(backbone, images)


def test_predictions_that_are_no_ratings_are_errors(folder, backbone, images):
    tensors = load_file(folder / "readouts.safetensors")
    tensors["00000.0.weight"] = np.full_like(tensors["00000.0.weight"], 3e38)
    save_file(tensors, folder / "readouts.safetensors")
    alter(folder, lambda manifest: None, sign=True)
    with pytest.raises(ModelError, match="predicts a value that cannot be a rating"):
        TraitModels.load(folder).predict(backbone, images)
