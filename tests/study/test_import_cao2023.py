"""A tree in the layout of Cao et al. 2023, made here, becomes the study that it describes."""

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from traitlens.problems import StudyError
from traitlens.study.import_cao2023 import import_cao2023
from traitlens.study.reading import Study

TRAITS = ["warm", "critical", "competent", "practical", "feminine", "strong"]
TRAITS += ["youthful", "charismatic", "trustworthy", "dominant", "extroverted"]
IDENTITIES = [f"n{number:04d}" for number in range(10)]


@pytest.fixture
def ratings():
    """(group, trait, identity) -> ratings of its images, whose number differs."""
    rng = np.random.default_rng(0)
    return {
        (group, trait, identity): rng.uniform(1, 9, 2 + index % 3)
        for group in ("ASD", "NT")
        for trait in TRAITS
        for index, identity in enumerate(IDENTITIES)
    }


@pytest.fixture
def root(tmp_path, make_images, ratings):
    folder = tmp_path / "cao2023"
    names = [
        f"{identity}/{image:02d}.jpg" for i, identity in enumerate(IDENTITIES) for image in range(2 + i % 3)
    ]
    make_images(folder, names)
    (folder / "images").rename(folder / "faces_cropped_500")
    for group in ("ASD", "NT"):
        (folder / f"rate{group}").mkdir()
        for trait in TRAITS:
            variables = {identity: ratings[group, trait, identity][None] for identity in IDENTITIES}
            savemat(folder / f"rate{group}" / f"{trait}.mat", variables)
    (folder / "5-fold_list").mkdir()
    for fold in range(5):
        table = pd.DataFrame({"identity": IDENTITIES[fold::5]})
        table.to_csv(folder / "5-fold_list" / f"fold{fold + 1}.csv", index=False)
    return folder


def test_identities_folds_groups_and_traits_are_right(root, tmp_path, ratings):
    study = import_cao2023(root, tmp_path / "study")
    assert study.groups == ["autistic", "non-autistic"]
    assert sorted(study.traits) == sorted(TRAITS)
    assert sorted(study.images["identity"].unique()) == IDENTITIES
    assert not study.has_raters
    assert study.settings.folds.column == "fold"
    folds = study.images.groupby("fold")["identity"].agg(set)
    assert list(folds) == [set(IDENTITIES[fold::5]) for fold in range(5)]
    read = study.ratings.set_index(["group", "trait", "image"])["rating"]
    for (group, trait, identity), values in ratings.items():
        for image, value in enumerate(values):
            name = {"ASD": "autistic", "NT": "non-autistic"}[group]
            assert read[name, trait, f"{identity}/{image:02d}.jpg"] == pytest.approx(value, rel=1e-12)
    assert len(read) == sum(len(values) for values in ratings.values())


def test_a_matrix_holds_raters(root, tmp_path):
    rng = np.random.default_rng(1)
    for group in ("ASD", "NT"):
        for trait in TRAITS:
            variables = {name: rng.integers(1, 9, (2 + i % 3, 7)) for i, name in enumerate(IDENTITIES)}
            savemat(root / f"rate{group}" / f"{trait}.mat", variables)
    study = import_cao2023(root, tmp_path / "study")
    assert study.has_raters
    assert study.ratings.groupby("group")["rater"].nunique().tolist() == [7, 7]


def test_lists_of_training_identities_are_turned_round(root, tmp_path):
    for fold in range(5):
        rest = [identity for identity in IDENTITIES if identity not in IDENTITIES[fold::5]]
        pd.Series(rest).to_csv(root / "5-fold_list" / f"fold{fold + 1}.csv", index=False, header=False)
    study = import_cao2023(root, tmp_path / "study")
    assert list(study.images.groupby("fold")["identity"].agg(set)) == [
        set(IDENTITIES[fold::5]) for fold in range(5)
    ]


def test_without_lists_folds_are_left_to_the_defaults(root, tmp_path):
    for file in (root / "5-fold_list").iterdir():
        file.unlink()
    assert import_cao2023(root, tmp_path / "study").settings.folds.column is None


def test_faults_are_told_together_and_nothing_is_left(root, tmp_path):
    savemat(root / "rateASD" / "warm.mat", {"n0001": np.ones((1, 9)), "nobody": np.ones(3)})
    (root / "rateNT" / "warm.mat").write_bytes(b"no matlab file at all")
    (root / "5-fold_list" / "fold1.csv").write_text("identity\nn0001\n")
    with pytest.raises(StudyError) as caught:
        import_cao2023(root, tmp_path / "study")
    message = str(caught.value)
    assert "rateASD/warm.mat: identity 'n0001' has 3 images but ratings of shape" in message
    assert "rateASD/warm.mat: there is no identity 'nobody'" in message
    assert "rateNT/warm.mat: cannot be read" in message
    assert "5-fold_list/: identity 'n0001' is in 2 folds" in message
    assert not (tmp_path / "study").exists()
    with pytest.raises(StudyError, match="faces_cropped"):
        import_cao2023(tmp_path, tmp_path / "study")


def test_the_study_can_be_loaded_again(root, tmp_path):
    study = import_cao2023(root, tmp_path / "study")
    again = Study.load(tmp_path / "study")
    pd.testing.assert_frame_equal(study.ratings, again.ratings)
