import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from traitlens.comparison import common_cues
from traitlens.comparison.by_use import compare_use
from traitlens.comparison.common_cues import CommonCues, permute_blocks, pool_targets
from traitlens.comparison.confusion import confuse_regions, opposed_shifts, shift_utilisation
from traitlens.comparison.lens_design import make_design
from traitlens.comparison.utilisation import group_utilisation
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.readouts.region_readouts import RidgeCues


def make_study(rng, images=60, raters=8, difference=0.0, regions=("eyes", "mouth", "jaw"), noise=1.0):
    """Raters weigh the first feature of each region; the second group weighs the eyes more."""
    features = {
        FeatureSpace(Tap("block4_pool", 1), region=region): rng.normal(size=(images, 4)) for region in regions
    }
    names = [f"i{number:03d}" for number in range(images)]
    shown = np.stack([values[:, 0] for values in features.values()], axis=1)
    rows = []
    for trait in ("strong", "warm"):
        weights = 1 + 0.3 * rng.normal(size=len(regions))
        for group, extra in (("a", 0.0), ("b", difference)):
            for rater in range(raters):
                own = weights + 0.2 * rng.normal(size=len(regions))
                own[0] += extra
                values = 5 + shown @ own + noise * rng.normal(size=images)
                rows += [
                    (f"{group}{rater}", group, image, trait, value)
                    for image, value in zip(names, values, strict=True)
                ]
    ratings = pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating"])
    kernels = {space: values @ values.T for space, values in features.items()}
    folds = pd.DataFrame(
        {"image": names, "identity": np.arange(images) // 2, "fold": np.arange(images) // 2 % 5}
    )
    return ratings, CommonCues(kernels, pool_targets(ratings), folds)


@pytest.fixture(scope="module")
def study():
    return make_study(np.random.default_rng(1), images=120, raters=12, difference=1.5)


def test_cues_do_not_depend_on_the_groups(study):
    ratings, cues = study
    swapped = ratings.assign(group=ratings["group"].map({"a": "b", "b": "a"}))
    again = CommonCues(cues.kernels, pool_targets(swapped), cues.folds)
    assert_allclose(again.array, cues.array, rtol=1e-9)
    assert_allclose(cues.array.sum("region") + cues.fitted.intercepts, cues.fitted.predictions, rtol=1e-9)


def test_cues_learnt_again_from_all_images_are_the_same(study):
    _, cues = study
    kept = np.stack([np.ones(120, bool), np.repeat(np.arange(60) % 20 != 3, 2)])
    same, other = cues.relearn(kept)
    assert_allclose(same, cues.array, atol=0.01)
    assert np.corrcoef(other.values.ravel(), cues.array.values.ravel())[0, 1] > 0.9


def test_a_planted_difference_is_called_with_cues_that_are_learnt(study):
    ratings, cues = study
    identities = cues.folds.set_index("image")["identity"]
    table = compare_use(ratings, cues.array, identities, draws=200, relearn=cues.relearn)
    eyes = table[(table["question"] == "use") & (table["region"] == "eyes")]
    assert eyes["called"].all()
    assert (eyes["difference"] < 0).all()


def test_traits_are_fitted_by_themselves_where_images_are_many(study, monkeypatch):
    _, cues = study
    monkeypatch.setattr(common_cues, "MOST_IMAGES", 100)
    many = CommonCues(cues.kernels, cues.targets, cues.folds)
    assert isinstance(many.fitted, RidgeCues)
    with pytest.raises(ValueError, match="cannot be refitted"):
        many.relearn(np.ones((1, 120), bool))
    assert_allclose(many.refit(cues.targets).array, many.array, rtol=1e-7, atol=1e-9)


def test_traits_that_mean_nothing_are_not_predicted():
    rng = np.random.default_rng(3)
    _, cues = make_study(rng)
    nothing = cues.targets.assign(strong=rng.normal(size=60))
    table = CommonCues(cues.kernels, nothing, cues.folds).predictability(99).set_index("trait")
    assert table.loc["warm", "p"] == 0.01
    assert table.loc["strong", "p"] > 0.05


@pytest.mark.slow
def test_the_test_of_prediction_holds_its_level():
    """Ratings that mean nothing: p is at or below .05 in about 5 % of 300 studies."""
    rng = np.random.default_rng(4)
    _, cues = make_study(rng, images=40)
    names = [f"t{number:03d}" for number in range(300)]
    noise = pd.DataFrame(rng.normal(size=(40, 300)), index=cues.folds["image"], columns=names)
    p = CommonCues(cues.kernels, noise, cues.folds).predictability(99)["p"]
    assert 0.02 <= (p <= 0.05).mean() <= 0.085


def test_persons_change_places_with_persons_of_as_many_images():
    identities = np.array(["a", "a", "b", "c", "c", "d"])
    for seed in range(5):
        order = permute_blocks(identities, np.random.default_rng(seed))
        assert sorted(order) == list(range(6))
        for name in "ac":
            assert len(set(identities[order[identities == name]])) == 1
        assert set(order[[2, 5]]) == {2, 5}


def test_a_planted_difference_shows_in_its_region_and_nowhere_else(study):
    ratings, cues = study
    design = make_design(ratings, cues.array)
    weights = (design.labels == np.array([[[0]], [[1]]])).astype(float)
    before = group_utilisation(design, weights, np.ones((1, 120)))
    shifts = np.array([[0.0, 0.6, 0.0]] * 2)
    after = group_utilisation(shift_utilisation(design, design.labels, shifts), weights, np.ones((1, 120)))
    moved = after - before
    assert_allclose(moved[0, 0], -moved[1, 0], atol=1e-9)
    assert_allclose(moved[0, 0, :, 1], 0.3, rtol=1e-9)
    assert_allclose(moved[0, 0][:, [0, 2]], 0, atol=1e-9)


def test_regions_that_are_one_are_confused():
    """Two regions with the same features cannot be told apart; an independent third one can."""
    rng = np.random.default_rng(5)
    regions = ("eyes", "mouth", "jaw", "nose", "brows", "cheeks")
    ratings, cues = make_study(rng, images=150, raters=16, noise=0.5, regions=regions)
    spaces = list(cues.kernels)
    kernels = dict(cues.kernels)
    kernels[spaces[2]] = kernels[spaces[1]]
    same = CommonCues(kernels, cues.targets, cues.folds)
    options = {"studies": 4, "draws": 60}
    apart = confuse_regions(ratings, cues, ("a", "b"), 0.8, **options)
    assert apart.query("planted == region")["called"].mean() > 0.8
    assert apart.query("planted != region")["called"].mean() < 0.1
    table = confuse_regions(ratings, same, ("a", "b"), 0.8, **options)
    called = table.set_index(["planted", "region"])["called"]
    assert called["eyes", "eyes"] > 0.7
    assert max(called["jaw", "mouth"], called["mouth", "jaw"]) > 0.7
    few = ratings.sample(frac=0.15, random_state=1)
    assert len(confuse_regions(few, cues, ("a", "b"), 1.2, studies=1, draws=20)) == 36


@given(st.integers(0, 1000), st.integers(2, 8))
def test_planted_shifts_leave_the_range_as_it_is(seed, regions):
    directions = np.random.default_rng(seed).normal(size=(3, regions))
    shifts = opposed_shifts(directions, 0.4)
    assert_allclose((shifts * directions).sum(axis=2), 0, atol=1e-9)
    assert ((shifts != 0).sum(axis=2) == 2).all()
    assert (shifts[range(regions), :, range(regions)] == 0.4).all()
