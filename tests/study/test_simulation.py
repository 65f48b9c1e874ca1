"""A simulated study is what its truth says, to the pixel and to the number."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from traitlens.problems import TraitlensError
from traitlens.study.drawing import contours
from traitlens.study.drawing.face import LABELS, draw_face
from traitlens.study.drawing.parameters import FEATURES, PARTS, draw_parameters, score_parts
from traitlens.study.reading import Study
from traitlens.study.simulated_raters import (
    GROUPS,
    RatingBehaviour,
    make_part_weights,
    score_images,
    simulate_group_ratings,
)
from traitlens.study.simulated_study import REGIONS_OF, SimulatedTruth, simulate_study


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "study"
    return simulate_study(folder, identities=10, images=2, traits=6, raters=4, size=64, seed=3)


def test_study_loads_without_notice(simulated):
    study = Study.load(simulated.folder)
    assert study.notices == ()
    assert study.groups == list(GROUPS)
    assert len(study.traits) == 6
    assert len(study.images) == 20
    assert study.images["identity"].nunique() == 10
    assert study.images["may_publish"].all()
    assert len(study.ratings) == 20 * 6 * 8
    assert study.ratings["rating"].between(1, 9).all()
    assert (study.ratings["rating"] % 1 == 0).all()


def test_truth_on_disk_is_the_truth_returned(simulated):
    read = SimulatedTruth.load(simulated.folder)
    for name in ("weights", "scores", "differences"):
        pd.testing.assert_frame_equal(
            getattr(read, name), getattr(simulated, name), check_dtype=False, rtol=1e-9, atol=1e-12
        )
    with pytest.raises(TraitlensError, match="only simulated studies have a ground truth"):
        SimulatedTruth.load(simulated.folder / "images")


def test_scores_are_the_weighted_sum_of_the_parts(simulated):
    parts = pd.read_csv(simulated.folder / "truth" / "parts.csv").set_index("image")
    weights = simulated.weights.set_index(["group", "trait", "part"])["weight"]
    for row in simulated.scores.sample(40, random_state=0).itertuples():
        score = 0.0
        for part in PARTS:
            score += weights[row.group, row.trait, part] * parts.loc[row.image, part]
        assert row.score == pytest.approx(score, abs=1e-9)


def test_the_same_seed_makes_the_same_study(tmp_path, simulated):
    again = simulate_study(tmp_path / "again", identities=10, images=2, traits=6, raters=4, size=64, seed=3)
    files = sorted(path for path in simulated.folder.rglob("*") if path.is_file())
    assert len(files) == 2 * 20 + 9
    for path in files:
        other = again.folder / path.relative_to(simulated.folder)
        assert path.read_bytes() == other.read_bytes(), path


def test_an_identity_keeps_its_looks_when_the_study_grows():
    small, large = draw_parameters(1, 4, 0), draw_parameters(1, 4, 7)
    assert small.skin == large.skin
    assert small.features["nose_length"] == large.features["nose_length"]
    assert small.features["smile"] != large.features["smile"]


def test_without_effect_the_groups_are_identical_in_truth():
    weights = make_part_weights(["warm", "critical"], list(PARTS), effect=0.0)
    first, second = (weights[weights["group"] == group]["weight"].to_numpy() for group in GROUPS)
    np.testing.assert_array_equal(first, second)


def test_groups_differ_where_the_truth_says_and_nowhere_else(simulated):
    different = simulated.differences[simulated.differences["difference"] != 0]
    found = different.groupby("trait")["region"].agg(set).to_dict()
    assert found == {
        "warm": {"left eye", "right eye", "mouth"},
        "trustworthy": {"left eye", "right eye", "mouth"},
        "critical": {"left brow", "right brow", "mouth"},
        "practical": {"nose", "jaw"},
    }
    total = simulated.differences.groupby("trait")["difference"].apply(lambda part: np.abs(part).sum())
    stronger = make_part_weights(["warm"], list(PARTS), effect=1.2).set_index(["group", "part"])["weight"]
    assert (stronger[GROUPS[0]] - stronger[GROUPS[1]]).abs().sum() > 1.5 * total["warm"]


@pytest.mark.parametrize("effect", [0.0, 0.6, 2.0])
def test_weights_have_length_one(effect):
    weights = make_part_weights(["warm", "strong", "critical"], list(PARTS), effect)
    lengths = weights.groupby(["group", "trait"])["weight"].apply(lambda part: (part**2).sum())
    np.testing.assert_allclose(lengths, 1, rtol=1e-12, atol=0)


def test_scores_of_parts_are_standardised_and_independent():
    table = pd.DataFrame([score_parts(draw_parameters(5, identity, 0)) for identity in range(1000)])
    np.testing.assert_allclose(table.mean(), 0, rtol=0, atol=0.1)
    np.testing.assert_allclose(table.std(), 1, rtol=0, atol=0.06)
    apart = table.corr().to_numpy() - np.eye(len(PARTS))
    np.testing.assert_allclose(apart, 0, rtol=0, atol=0.1)


def test_averages_of_many_raters_approach_the_scores():
    rng = np.random.default_rng(0)
    parts = pd.DataFrame(rng.normal(size=(60, 6)), columns=list(PARTS)).rename_axis("image")
    weights = make_part_weights(["warm"], list(PARTS), 0.6)
    scores = score_images(parts, weights).set_index(["group", "image"])["score"]
    ratings = simulate_group_ratings(parts, weights, 60, RatingBehaviour(), seed=0)
    means = ratings.groupby(["group", "image"])["rating"].mean()
    for group in GROUPS:
        assert np.corrcoef(scores[group], means[group])[0, 1] > 0.97
    quiet = simulate_group_ratings(
        parts, weights, 3, RatingBehaviour(noise=0, bias=0, scale_use=0, taste=0), seed=0
    )
    first = quiet[quiet["rater"] == "A001"].set_index("image")["rating"]
    expected = np.clip(np.rint(5 + 1.6 * scores[GROUPS[0]].to_numpy()), 1, 9)
    np.testing.assert_array_equal(first.to_numpy(), expected)


@pytest.mark.parametrize(
    ("feature", "part"),
    [
        (name, part)
        for part, mixture in PARTS.items()
        for name in mixture
        if part != "jaw"  # it moves the outline of the face
    ],
)
def test_a_part_changes_the_picture_inside_its_regions_only(feature, part):
    face = draw_parameters(2, 3, 0)
    labels = [LABELS[region] for region in REGIONS_OF[part]]
    pictures = []
    for value in (-1.5, 1.5):
        changed = dataclasses.replace(face, features={**face.features, feature: value})
        pictures.append(draw_face(changed, size=96))
    first, second = pictures
    differs = (first.picture != second.picture).any(axis=2)
    allowed = np.isin(first.labels, labels) | np.isin(second.labels, labels)
    assert differs.sum() > 20
    assert not (differs & ~allowed).any()


@pytest.mark.parametrize("identity", range(6))
def test_landmarks_lie_on_the_parts_that_they_mark(identity):
    face = draw_face(draw_parameters(4, identity, 0), size=192)

    def labels_at(numbers) -> set[int]:
        places = np.array([face.landmarks[number] for number in numbers])
        columns, rows = np.floor(places).astype(int).T
        return set(face.labels[rows, columns].tolist())

    assert labels_at((*contours.LEFT_EYE, 468)) == {LABELS["left eye"]}
    assert labels_at((*contours.RIGHT_EYE, 473)) == {LABELS["right eye"]}
    assert labels_at(contours.MOUTH) == {LABELS["mouth"]}
    assert labels_at((1, 2, 129, 358)) == {LABELS["nose"]}
    assert labels_at(contours.LEFT_BROW[1:4]) <= {LABELS["left brow"], LABELS["hair and background"]}


def test_left_is_the_left_of_the_picture():
    face = draw_face(draw_parameters(4, 1, 0), size=96)
    for part in ("eye", "brow", "cheek"):
        left, right = (
            np.nonzero(face.labels == LABELS[f"{side} {part}"])[1].mean() for side in ("left", "right")
        )
        assert left < 48 < right


def test_region_pictures_hold_the_labels(simulated):
    name = simulated.scores["image"].iloc[0]
    labels = np.asarray(Image.open(simulated.folder / "truth" / "regions" / name))
    expected = draw_face(draw_parameters(3, 0, 0), size=64)
    np.testing.assert_array_equal(labels, expected.labels)
    names = pd.read_csv(simulated.folder / "truth" / "regions.csv")
    assert dict(zip(names["region"], names["label"], strict=True)) == LABELS


def test_features_are_drawn_once_each():
    assert len(set(FEATURES)) == len(FEATURES)
    assert {name for mixture in PARTS.values() for name in mixture} <= set(FEATURES)


def test_what_makes_no_study_is_refused(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(TraitlensError) as caught:
        simulate_study(tmp_path, identities=1, traits=7, raters=1)
    message = str(caught.value)
    for part in ("identities is 1", "traits is 7", "raters is 1", "already exists"):
        assert part in message
    assert (tmp_path / "note.txt").read_text() == "mine"
