"""From a finished study to pictures, a frozen session, answers and the report; and messages on the way."""

import json

import numpy as np
import pandas as pd
import pytest
from tests.tiny import add_backbone, edit_settings, edit_table, make_study

import traitlens as tl
from traitlens.collecting.design import read_design
from traitlens.collecting.session_steps import make_steps
from traitlens.experiment.picture_files import read_provenance
from traitlens.faces.images import load_image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study of small faces, without its maps."""
    folder = tmp_path_factory.mktemp("experiment")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAITLENS_CACHE", str(folder / "cache"))
        (folder / "cache").mkdir()
        add_backbone(folder)
        made = make_study(folder / "study", identities=60, traits=1, raters=4)
        edit_settings(made, ("number = 2", "number = 5"))
        tl.run(made)
        yield made


@pytest.fixture(scope="module")
def experiment(study):
    from traitlens.experiment.cue_reader import CueReader
    from traitlens.experiment.experiment_folder import write_experiment_folder
    from traitlens.experiment.stimuli import StimulusRequest, make_stimuli
    from traitlens.prediction.new_faces import load_models
    from traitlens.study.reading import Study

    reader = CueReader(*load_models(str(study / "results" / "cues" / "model")))
    request = StimulusRequest(regions=("eyes", "mouth", "cheeks"), number=8)
    tables = make_stimuli(Study.load(study), study / "results", reader, study / "experiment", request)
    return write_experiment_folder(Study.load(study), tables, study / "experiment")


def test_pixels_outside_the_mask_are_the_photographs(study, experiment):
    for row in experiment.pictures.itertuples():
        altered = load_image(experiment.folder / "images" / row.image)
        original = load_image(study / "images" / row.base)
        changed = (altered != original).any(axis=2)
        assert 0 < changed.mean() < 0.4
        assert "ALTERED" in row.image


def test_every_picture_passes_the_check(experiment):
    pictures = experiment.pictures
    assert (np.abs(pictures["step"] / pictures["asked"] - 1) <= 0.2).all()
    assert (pictures["other_change"].abs() <= 0.2).all()
    assert (pictures["distance"] <= 1).all()


def test_provenance_is_in_the_file(study, experiment):
    row = experiment.pictures.iloc[0]
    provenance = read_provenance(experiment.folder / "images" / row["image"])
    assert provenance["altered"] is True
    assert provenance["base"] == row["base"]
    assert len(provenance["base_sha256"]) == 64


def test_neither_readouts_nor_averages_saw_the_person(study, tmp_path, monkeypatch):
    from traitlens.experiment.cue_reader import CueReader
    from traitlens.experiment.region_change import AlignedFaces
    from traitlens.experiment.stimuli import StimulusRequest, make_stimuli
    from traitlens.prediction.new_faces import load_models
    from traitlens.study.reading import Study

    folds = pd.read_csv(study / "results" / "cues" / "predictions.csv", dtype={"image": str})
    fold_of = folds.drop_duplicates("image").set_index("image")["fold"]
    image = fold_of.index[0]
    read, averaged = [], []
    cues, change = CueReader.cues, AlignedFaces.change

    def record_fold(self, features, fold, trait):
        read.append(fold)
        return cues(self, features, fold, trait)

    def record_faces(self, cue):
        averaged.extend(cue)
        return change(self, cue)

    monkeypatch.setattr(CueReader, "cues", record_fold)
    monkeypatch.setattr(AlignedFaces, "change", record_faces)
    reader = CueReader(*load_models(str(study / "results" / "cues" / "model")))
    request = StimulusRequest(regions=("eyes", "cheeks"), faces=(image,))
    make_stimuli(Study.load(study), study / "results", reader, tmp_path, request)
    assert set(read) == {fold_of[image]}
    assert averaged
    assert not set(fold_of[averaged]) & {fold_of[image]}


def test_the_session_shows_each_face_once(experiment):
    design, _ = read_design(experiment.folder)
    base_of = experiment.pictures.set_index("image")["base"]
    for place in range(3):
        shown = [step.image for step in make_steps(design, place=place) if step.kind == "trial"]
        assert len(shown) == experiment.pictures["base"].nunique()
        assert base_of[shown].is_unique


def test_a_rehearsal_ends_in_the_report(study, experiment, traitlens):
    code, out, err = traitlens("experiment", study, "--simulated", 12, "--permutations", 99, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert {row["group"] for row in told["effects"]} == {"autistic", "non-autistic"}
    report = (study / "results" / "report.html").read_text(encoding="utf-8")
    assert "Does altering a region change ratings as predicted?" in report
    assert "a rehearsal" in report
    assert (study / "results" / "figures" / "experiment.svg").is_file()


def test_plans_are_frozen_and_checked(study, experiment, traitlens, tmp_path):
    folder = experiment.folder
    answers = pd.read_csv(folder / "simulated_ratings.csv")
    answers.assign(time="2020-01-01T10:00:00+00:00").to_csv(tmp_path / "early.csv", index=False)
    code, _, err = traitlens("experiment", study, tmp_path / "early.csv")
    assert (code, "no plan was frozen" in err) == (2, True)
    try:
        code, out, err = traitlens("plan", folder)
        assert code == 0, err
        text = (folder / "preregistration.md").read_text(encoding="utf-8")
        digest = json.loads((folder / "plan.json").read_text())["digest"]
        assert digest in text
        assert "changes ratings of warm" in text
        code, _, err = traitlens("experiment", study, tmp_path / "early.csv")
        assert (code, "were given before the plan was frozen" in err) == (2, True)
        answers.assign(time="2999-01-01T10:00:00+00:00").to_csv(tmp_path / "late.csv", index=False)
        code, out, err = traitlens("experiment", study, tmp_path / "late.csv", "--permutations", 99)
        assert code == 0, err
        assert "not changed since" in out
        before = (folder / "predicted.csv").read_text()
        (folder / "predicted.csv").write_text(before.replace("0.", "1.", 1))
        code, _, err = traitlens("experiment", study, tmp_path / "late.csv")
        (folder / "predicted.csv").write_text(before)
        assert (code, "was changed after the plan was frozen" in err) == (2, True)
        code, _, err = traitlens("stimuli", study)
        assert (code, "the plan of this experiment is frozen" in err) == (2, True)
    finally:
        (folder / "plan.json").unlink(missing_ok=True)


def test_ratings_of_unknown_pictures_are_named(study, experiment, traitlens, tmp_path):
    answers = pd.read_csv(experiment.folder / "simulated_ratings.csv")
    answers.loc[3, "image"] = "stranger.png"
    answers.to_csv(tmp_path / "answers.csv", index=False)
    code, _, err = traitlens("experiment", study, tmp_path / "answers.csv", "--exploratory")
    assert code == 2
    assert "stranger.png" in err


def test_requests_that_cannot_be_met_are_answered_together(study, traitlens):
    edit_table(
        study / "images.csv", lambda table: table.assign(may_publish=["false", *["true"] * (len(table) - 1)])
    )
    image = pd.read_csv(study / "images.csv", dtype=str)["image"][0]
    code, _, err = traitlens(
        "stimuli", study, "--faces", f"{image},nobody.png", "--regions", "background,ears",
        "--traits", "tall", "--out", study / "other",
    )  # fmt: skip
    assert code == 2
    for text in (
        "may not be altered or shown: its may_publish is not true",
        "is not an image of the study",
        "'background' has no landmarks",
        "no region 'ears'",
        "no trait 'tall'",
    ):
        assert text in err
    assert not (study / "other").exists()


def test_a_study_without_permissions_or_results_is_refused(study, traitlens, tmp_path):
    edit_table(study / "images.csv", lambda table: table.assign(may_publish="false"))
    code, _, err = traitlens("stimuli", study, "--out", tmp_path / "none")
    assert (code, "no face may be shown" in err) == (2, True)
    fresh = make_study(tmp_path / "fresh")
    code, _, err = traitlens("stimuli", fresh)
    assert (code, "run first: traitlens run" in err) == (2, True)


def test_one_group_is_estimated_without_a_comparison(experiment, tmp_path):
    import shutil

    from traitlens.experiment.experiment_analysis import analyse_experiment

    folder = tmp_path / "experiment"
    shutil.copytree(experiment.folder, folder)
    edit_settings(folder, ('groups = ["autistic", "non-autistic"]', 'groups = ["autistic"]'))
    found = analyse_experiment(folder, folder / "simulated_ratings.csv", exploratory=True, permutations=9)
    assert set(found.effects["group"]) == {"autistic"}
    assert found.differences.empty
    assert found.agreement["quantity"].tolist() == ["effects"]
