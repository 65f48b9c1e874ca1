import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from traitlens.comparison.calibration import behaviour_of_pilot, calibrate, estimate_power, pool_rates
from traitlens.comparison.face_sets import drawn_faces, faces_of_cues, synthetic_faces
from traitlens.comparison.planted_faces import REGIONS, Condition, pooled_means
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.problems import TraitlensError
from traitlens.ratings.reliability import reliability_table
from traitlens.study.simulated_raters import (
    GROUPS,
    RatingBehaviour,
    make_part_weights,
    true_differences,
)


@pytest.fixture(scope="module")
def faces():
    return synthetic_faces(images=60, traits=2, regions=("eyes", "mouth", "jaw", "background"), seed=1)


def kernels_of(rng, images=40, regions=("eyes", "mouth", "jaw", "brows")):
    spaces = [FeatureSpace(Tap("block4_pool", 1), region=region) for region in regions]
    features = {space: rng.normal(size=(images, 5)) for space in spaces}
    return features, {space: values @ values.T for space, values in features.items()}


def test_groups_weigh_alike_in_pooled_means():
    ratings = np.array([[[1.0, 2.0, np.nan]], [[3.0, np.nan, np.nan]], [[8.0, 6.0, np.nan]]])
    assert_allclose(pooled_means(ratings, np.array([0, 0, 1])), [[5.0, 4.0, 4.5]])


def test_planted_differences_leave_range_and_other_regions_alone(faces):
    first, second = faces.group_weights(0.6)
    assert_allclose(np.linalg.norm([first, second], axis=2), 1)
    assert_allclose((first - second)[~faces.planted], 0, atol=1e-12)
    assert faces.planted.sum() == 4
    assert_allclose(np.abs(faces.true_differences(0.6)[faces.planted]), 0.6 / np.sqrt(2) / np.sqrt(1.09))


def test_drawn_faces_have_the_weights_of_the_simulator():
    rng = np.random.default_rng(3)
    regions = ("eyes", "brows", "nose", "mouth", "forehead", "cheeks", "jaw", "background")
    _, kernels = kernels_of(rng, regions=regions)
    names = ["eyes", "brows", "nose", "mouth", "cheeks", "jaw"]
    parts = pd.DataFrame(rng.normal(size=(40, 6)), columns=names)
    traits = ["warm", "strong", "practical"]
    faces = drawn_faces(kernels, np.arange(40) % 4, np.arange(40), parts, traits)
    weights = faces.group_weights(0.6)
    whole = make_part_weights(traits, names, 0.6)
    for number, group in enumerate(GROUPS):
        table = whole[whole["group"] == group]
        wide = table.pivot_table(index="trait", columns="part", values="weight", sort=False)[names]
        assert_allclose(weights[number][:, [regions.index(name) for name in names]], wide, atol=0.015)
    different = true_differences(make_part_weights(traits, names, 0.6), {name: (name,) for name in names})
    there = different[different["difference"].abs() > 1e-9]
    planted = {(faces.traits[t], regions[r]) for t, r in zip(*np.nonzero(faces.planted), strict=True)}
    assert planted == set(zip(there["trait"], there["region"], strict=True))


def test_real_faces_take_their_own_cues_as_truth():
    rng = np.random.default_rng(4)
    features, kernels = kernels_of(rng, images=80)
    eyes, mouth = (features[space] for space in list(features)[:2])
    targets = pd.DataFrame({"warm": eyes[:, 0] + 2 * mouth[:, 0], "strong": 3 * eyes[:, 1] + eyes[:, 0]})
    faces = faces_of_cues(kernels, np.arange(80) % 4, np.arange(80), targets)
    assert faces.weights[0].argmax() == 1
    assert faces.weights[1].argmax() == 0
    assert faces.planted.tolist() == [[True, True, False, False], [False, False, True, True]]
    impressions = np.einsum("tir,tr->ti", faces.scores, faces.weights)
    assert_allclose(impressions.std(axis=1), 1)


def test_what_is_counted_fits_together(faces):
    conditions = [
        Condition("same", (8, 8)),
        Condition("other", (8, 8), difference=1.2),
        Condition("gaps", (8, 8), seen=0.5),
    ]
    done = []
    found = calibrate(faces, conditions, 8, draws=60, seed=1, progress=done.append)
    assert len(done) == 24
    rates = found.rates.set_index(["condition", "measure"])["estimate"]
    assert rates["other", "power per planted place"] > 0.8
    assert rates["other", "correlation with the planted differences"] > 0.85
    assert rates["same", "any region called"] <= 0.25
    places = found.places.query("condition == 'other'")
    by_cell = places[places["planted"] != 0]
    assert_allclose(by_cell["called"].mean(), rates["other", "power per planted place"])
    assert (np.sign(by_cell["estimate"]) == np.sign(by_cell["planted"])).all()
    assert (
        (found.rates["low"] <= found.rates["estimate"]) & (found.rates["estimate"] <= found.rates["high"])
    ).all()
    again = calibrate(faces, conditions[:1], 8, draws=60, seed=1)
    pd.testing.assert_frame_equal(again.rates, found.rates[found.rates["condition"] == "same"])


def test_behaviours_of_simulated_raters_show_in_their_ratings(faces):
    condition = Condition(
        "all", (30, 30), first=RatingBehaviour(level=-2), second=RatingBehaviour(noise=3, spread=0.5)
    )
    ratings = faces.simulate_ratings(condition.raters, 0.0, condition.behaviours, seed=1)
    assert ratings[:30].mean() < ratings[30:].mean() - 1.2
    shared = ratings[:30].mean(axis=0), ratings[30:].mean(axis=0)
    assert shared[0].std() > 2 * shared[1].std()


def test_pooled_rates_are_those_of_all_studies(faces):
    conditions = [Condition("other", (6, 6), difference=0.8)]
    parts = [calibrate(faces, conditions, 5, draws=40, seed=seed).rates for seed in (1, 2)]
    pooled = pool_rates(pd.concat(parts)).set_index("measure")
    for measure in pooled.index:
        each = [part.set_index("measure").loc[measure] for part in parts]
        assert_allclose(pooled.loc[measure, "estimate"], np.mean([one["estimate"] for one in each]))
        width = pooled.loc[measure, "high"] - pooled.loc[measure, "low"]
        assert width <= max(one["high"] - one["low"] for one in each) + 1e-9
    assert (pooled["studies"] == 10).all()


def test_power_rises_with_raters(faces):
    table = estimate_power(faces, (0.5,), (4, 24), studies=6, draws=40)
    power = table[table["measure"] == "power per planted place"].set_index("n_1")["estimate"]
    assert power[24] > power[4]


def test_a_pilot_gives_noise_and_levels(faces):
    given = RatingBehaviour(noise=2.0, bias=1.0, scale_use=0.0, taste=0.3)
    ratings = faces.simulate_ratings((60, 1), 0.0, (given, given), seed=1)[:60]
    rows = [
        ("a", trait, f"r{rater}", image, value)
        for rater, by_trait in enumerate(ratings)
        for trait, values in enumerate(by_trait)
        for image, value in enumerate(values)
    ]
    table = pd.DataFrame(rows, columns=["group", "trait", "rater", "image", "rating"])
    found = behaviour_of_pilot(reliability_table(table, splits=10))
    assert_allclose(found.bias, 1.0, rtol=0.25)
    private = found.noise**2 + len(REGIONS) * (found.taste * found.spread) ** 2
    assert_allclose(private, 4 + 4 * (0.3 * 1.6) ** 2, rtol=0.25)
    with pytest.raises(TraitlensError, match="do not agree"):
        behaviour_of_pilot(pd.DataFrame({"var_image": [0.0], "var_rater": 1.0, "var_residual": 1.0}))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_level_is_held_and_planted_places_are_found():
    faces = synthetic_faces(images=120)
    conditions = [Condition("same"), Condition("other", difference=0.6)]
    rates = calibrate(faces, conditions, 100, draws=200).rates.set_index(["condition", "measure"])
    assert rates.loc[("same", "any region called"), "estimate"] <= 0.1
    assert rates.loc[("other", "power per planted place"), "estimate"] >= 0.85
    assert rates.loc[("other", "wrong place called"), "estimate"] <= 0.15
