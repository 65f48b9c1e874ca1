"""Stages of regional features and cues: what they write agrees with what a user would compute."""

import numpy as np
import pandas as pd
import pytest
from tests.tiny import add_backbone, make_study

from traitlens.api import Run
from traitlens.arrays import open_arrays
from traitlens.artifacts import (
    GROUP_CUES,
    IMAGE_CUES,
    PREPARED,
    REGIONAL_MODEL,
    REGIONAL_PREDICTIONS,
)
from traitlens.features.backbone import load_backbone
from traitlens.prediction import new_faces
from traitlens.problems import ModelError
from traitlens.readouts.trait_models import TraitModels
from traitlens.study.reading import Study

REGIONS = ["eyes", "brows", "nose", "mouth", "forehead", "cheeks", "jaw", "background"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results of a small study up to its cues."""
    folder = tmp_path_factory.mktemp("cues")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAITLENS_CACHE", str(folder / "cache"))
        add_backbone(folder)
        run = Run(Study.load(make_study(folder / "study")))
        run.make("cues")
        run.close()
        yield folder / "study" / "results"


def test_cues_are_tabulated_by_image_trait_and_region(results):
    cues = IMAGE_CUES.read(results)
    assert list(cues) == ["image", "trait", "region", "cue"]
    assert cues["region"].unique().tolist() == REGIONS
    assert len(cues) == 8 * 2 * len(REGIONS)
    assert np.isfinite(cues["cue"]).all()


def test_cues_of_groups_sum_to_their_predictions(results):
    cues, predictions = GROUP_CUES.read(results), REGIONAL_PREDICTIONS.read(results)
    keys = ["group", "trait", "image"]
    sums = cues.groupby(keys)["cue"].sum()
    predicted = predictions.set_index(keys)["predicted"]
    folds = predictions.set_index(keys)["fold"]
    model = TraitModels.load(REGIONAL_MODEL.of(results))
    means = {(one.group, one.trait, one.fold): one.mean for one in model.readouts}
    intercepts = pd.Series({key: means[key[0], key[1], fold] for key, fold in folds.items()})
    np.testing.assert_allclose(sums[predicted.index] + intercepts[predicted.index], predicted, atol=1e-6)


def test_the_model_finds_the_cues_of_an_image_that_it_is_given(results):
    model = TraitModels.load(REGIONAL_MODEL.of(results))
    prepared = open_arrays(PREPARED.of(results))
    image = prepared["image"].to_numpy()[3]
    fold = REGIONAL_PREDICTIONS.read(results).set_index("image").loc[image, "fold"].iloc[0]
    unseen = [one for one in model.readouts if one.fold == fold]
    pixels, points = (prepared[name][3].to_numpy() for name in ("pixels", "points"))
    backbone = load_backbone(model.backbone_name)
    found = TraitModels.of(unseen, backbone, faces=model.faces).cues(backbone, [pixels], [points], [image])
    written = GROUP_CUES.read(results)
    keys = ["image", "group", "trait", "region"]
    both = found.merge(written, on=keys, suffixes=("_found", "_written"))
    assert len(both) == len(found) == 2 * 2 * len(REGIONS)
    largest = both["cue_written"].abs().max()
    np.testing.assert_allclose(both["cue_found"], both["cue_written"], atol=1e-4 * largest)


@pytest.fixture
def one_face(results, monkeypatch):
    """The regional model, its network, and a file whose landmarks are those of an image of the study."""
    model = TraitModels.load(REGIONAL_MODEL.of(results))
    prepared = open_arrays(PREPARED.of(results))
    pixels, points = (prepared[name][3].to_numpy() for name in ("pixels", "points"))
    monkeypatch.setattr(new_faces, "prepare_with_landmarks", lambda path, models: (pixels, points))
    return model, load_backbone(model.backbone_name), pixels, points


def test_new_faces_are_predicted_region_by_region(one_face):
    model, backbone, pixels, points = one_face
    table = new_faces.predict_new_faces(model, backbone, {"new": "new.png"})
    assert list(table) == ["image", "group", "trait", "predicted", *REGIONS]
    expected = model.predict(backbone, [pixels], ["new"], points=[points])
    both = table.merge(expected, on=["image", "group", "trait"])
    np.testing.assert_allclose(both["predicted_x"], both["predicted_y"], rtol=1e-6)


def test_maps_of_new_faces_sum_to_their_cues(one_face):
    model, backbone, pixels, points = one_face
    trait = model.traits[0]
    readouts = [one for one in model.readouts if one.trait == trait]
    maps = new_faces.explain_face(backbone, readouts, model, pixels, "lrp.z", points)
    table = new_faces.predict_new_faces(model, backbone, {"new": "new.png"}).set_index(["trait", "group"])
    for group in model.groups:
        cue = table.loc[(trait, group), REGIONS].astype(float).sum()
        assert float(maps.sel(group=group).astype(float).sum()) == pytest.approx(cue, rel=1e-4, abs=1e-6)
    with pytest.raises(ModelError, match="landmarks"):
        new_faces.explain_face(backbone, readouts, model, pixels, "lrp.z")
