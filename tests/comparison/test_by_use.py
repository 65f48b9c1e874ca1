import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats
from tests.comparison.test_utilisation import make_cues, make_ratings

from traitlens.comparison.bootstrap import (
    bootstrap_interval,
    bootstrap_p,
    crossed_variance,
    detectable_difference,
    draw_samples,
    squared_residuals,
)
from traitlens.comparison.by_use import compare_use
from traitlens.comparison.effect_sizes import welch
from traitlens.comparison.lens_design import make_design
from traitlens.comparison.profiles import Profiles
from traitlens.comparison.use_test import UseTest
from traitlens.comparison.utilisation import group_utilisation, rater_utilisation


def identities_of(cues, images_each=2):
    images = cues["image"].values
    return pd.Series(np.arange(len(images)) // images_each, index=images)


def loop_over_draws(design, strata, draws, seed, draw_raters=True):
    """The question of use, written as a plain loop over copies of raters and images."""
    found = []
    for drawn in draw_samples(design.labels, strata, design.identities, draws, seed):
        for raters, images in zip(drawn.raters, drawn.images, strict=True):
            raters = raters if draw_raters else np.ones(len(raters))
            groups = []
            for group in (0, 1):
                by_trait = []
                for trait, cues in zip(design.ratings, design.cues, strict=True):
                    copies = np.repeat(np.arange(len(images)), images.astype(int))
                    members = np.repeat(np.arange(len(raters)), raters.astype(int))
                    members = members[design.labels[members] == group]
                    x = cues[copies] - cues[copies].mean(axis=0)
                    fits = [
                        np.linalg.lstsq(x, trait.ratings[one, copies] - trait.ratings[one, copies].mean())[0]
                        for one in members
                    ]
                    by_trait.append(np.mean(fits, axis=0))
                groups.append(by_trait)
            unit = [np.array(g) / np.linalg.norm(g, axis=1, keepdims=True) for g in groups]
            middle = (unit[0] + unit[1]) / 2
            u = middle / (middle**2).sum(axis=1, keepdims=True)
            first, second = (np.array(g) / (np.array(g) * u).sum(axis=1, keepdims=True) for g in groups)
            found.append(first - second)
    return np.array(found)


def test_the_test_of_use_is_that_of_a_plain_loop():
    rng = np.random.default_rng(1)
    cues = make_cues(rng, images=24)
    design = make_design(make_ratings(rng, cues, difference=0.4), cues, identities_of(cues))
    strata = np.zeros(13, int)
    drawn = loop_over_draws(design, strata, 40, seed=3)
    faces = loop_over_draws(design, strata, 40, seed=3, draw_raters=False)
    test = UseTest(design, strata, 40, 3)
    differences, corrected = test.profile_differences()
    deviation = drawn.std(axis=0, ddof=1)
    largest = (np.abs(drawn - differences) / deviation).max(axis=(1, 2))
    errors, freedom = (values.reshape(2, 3) for values in test._errors("use"))
    one_way = errors**2, faces.var(axis=0, ddof=1)
    spread = np.sqrt(np.maximum(2 * sum(one_way) - deviation**2, np.maximum(*one_way)))
    total = np.maximum(freedom, freedom * (spread / errors) ** 4)
    statistic = stats.norm.isf(stats.t.sf(np.abs(differences) / spread, total))
    by_loop = (1 + (largest[:, None, None] >= statistic).sum(axis=0)) / 41
    assert_allclose(corrected, by_loop)
    table = test.table()
    use = table[table["question"] == "use"]
    assert_allclose(use["p_corrected"], by_loop.ravel())
    scale = np.repeat(test.observed.ranges[:, 0].mean(axis=0), 3)
    wider = stats.t.ppf(0.975, total) / stats.norm.ppf(0.975)
    width = wider * np.quantile(np.abs(drawn - differences), 0.95, axis=0) * spread / deviation
    assert_allclose(use["high"] - use["difference"], width.ravel() * scale)


@pytest.mark.parametrize("seen", [1.0, 0.6])
def test_swapping_the_names_of_groups_changes_signs_only(seen):
    rng = np.random.default_rng(2)
    cues = make_cues(rng)
    ratings = make_ratings(rng, cues, raters=(6, 9), seen=seen, difference=0.3)
    swapped = ratings.assign(group=ratings["group"].map({"a": "b", "b": "a"}))
    one = compare_use(ratings, cues, draws=60, seed=4)
    other = compare_use(swapped, cues, draws=60, seed=4)
    for column in ("p", "p_corrected"):
        assert_allclose(one[column], other[column])
    for column, mirrored in (
        ("difference", "difference"),
        ("low", "high"),
        ("raters_low", "raters_high"),
        ("faces_low", "faces_high"),
        ("hedges_g", "hedges_g"),
        ("hedges_g_low", "hedges_g_high"),
    ):
        assert_allclose(one[column], -other[mirrored], rtol=1e-9, atol=1e-12)
    assert_allclose(one["value_1"], other["value_2"])


def test_the_order_of_a_pair_changes_signs_only():
    rng = np.random.default_rng(3)
    cues = make_cues(rng)
    ratings = make_ratings(rng, cues)
    one = compare_use(ratings, cues, groups=("a", "b"), draws=30)
    other = compare_use(ratings, cues, groups=("b", "a"), draws=30)
    assert_allclose(one["difference"], -other["difference"])
    assert_allclose(one["p"], other["p"])


@settings(max_examples=15)
@given(seed=st.integers(0, 100), order=st.permutations(range(3)), factor=st.floats(0.3, 4))
def test_relabelled_regions_and_another_scale_change_nothing(seed, order, factor):
    rng = np.random.default_rng(seed)
    cues = make_cues(rng, images=30)
    ratings = make_ratings(rng, cues, raters=(4, 5), difference=0.5)
    keys = ["question", "trait", "region"]
    one = compare_use(ratings, cues, draws=20, seed=seed).set_index(keys)
    changed = ratings.assign(rating=factor * ratings["rating"] + 1)
    other = compare_use(changed, cues.isel(region=list(order)), draws=20, seed=seed).set_index(keys)
    other = other.loc[one.index]
    assert_allclose(other["difference"], factor * one["difference"], rtol=1e-6, atol=1e-9)
    assert_allclose(other["p_corrected"], one["p_corrected"])


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), ranges=st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)))
def test_profiles_are_free_of_the_range(seed, ranges):
    rng = np.random.default_rng(seed)
    utilisation = 1 + 0.5 * rng.normal(size=(2, 1, 2, 4))
    plain = Profiles.of(utilisation)
    scaled = Profiles.of(utilisation * np.array(ranges)[:, None, None, None])
    assert_allclose(scaled.profiles, plain.profiles, rtol=1e-9)
    assert_allclose(scaled.log_ratios - plain.log_ratios, np.log(ranges[0] / ranges[1]), rtol=1e-7, atol=1e-9)
    assert_allclose((plain.profiles * plain.directions).sum(axis=-1), 1)


def test_each_question_answers_its_own_difference():
    """Half the range, twice the noise, another region: each is called by its own question only."""
    rng = np.random.default_rng(3)
    cues = make_cues(rng, images=200, traits=("warm",))

    def called(ratings):
        table = compare_use(ratings, cues, draws=200, seed=1)
        return set(table.loc[table["called"], "question"])

    plain = make_ratings(rng, cues, raters=(12, 12))
    first = plain["group"] == "a"
    assert called(plain) == set()
    half = plain.copy()
    middle = half.groupby("rater")["rating"].transform("mean")
    noise = rng.normal(size=len(half)) * np.sqrt(0.75)
    half.loc[first, "rating"] = middle + 0.5 * (half["rating"] - middle) + noise
    assert called(half) == {"range"}
    noisy = plain.copy()
    noisy.loc[first, "rating"] += 2 * rng.normal(size=first.sum())
    assert called(noisy) == {"noise"}
    other = make_ratings(rng, cues, raters=(12, 12), difference=1.0)
    table = compare_use(other, cues, draws=200, seed=1)
    use = table[table["question"] == "use"].set_index("region")
    assert use.loc["eyes", "called"]
    assert use.loc["eyes", "difference"] < 0


def test_noise_does_not_depend_on_the_number_of_raters_nor_on_what_cues_miss():
    rng = np.random.default_rng(8)
    cues = make_cues(rng, images=150, traits=("warm",))
    missed = 1.5 * rng.normal(size=150)
    means = []
    for number in (3, 30):
        found = []
        for _ in range(30):
            ratings = make_ratings(rng, cues, raters=(number, 2), noise=0.8)
            shared = pd.Series(missed, index=cues["image"].values)
            ratings["rating"] += ratings["image"].map(shared)
            design = make_design(ratings, cues)
            squares, counted = squared_residuals(design.ratings[0], design.cues[0], design.labels)
            found.append(squares[design.labels == 0].sum() / counted[design.labels == 0].sum())
        means.append(np.mean(found))
    assert_allclose(means, 0.64, rtol=0.05)


def test_raters_are_drawn_within_groups_and_strata_and_images_with_their_identity():
    labels, strata = np.array([0, 0, 1, 1, 1, 0]), np.array([5, 5, 5, 5, 2, 2])
    identities = np.array([0, 0, 1, 2, 2])
    for drawn in draw_samples(labels, strata, identities, 300, 1):
        assert (drawn.raters[:, [0, 1]].sum(axis=1) == 1).all()
        assert (drawn.raters[:, [2, 3]].sum(axis=1) == 1).all()
        assert (drawn.raters[:, [4, 5]] == 1).all()
        assert (drawn.images[:, 0] == drawn.images[:, 1]).all()
        assert (drawn.images[:, [0, 2, 3]].sum(axis=1) == 3).all()


def test_p_values_of_normal_draws_are_those_of_the_normal_distribution():
    rng = np.random.default_rng(9)
    estimate, known = np.array([1.96, 0.0, 0.05]), (np.zeros(3), np.full(3, 10.0))
    drawn = rng.normal(size=(20_000, 3)) * [1.0, 5.0, 0.1] + estimate
    p, corrected = bootstrap_p(estimate, drawn, *known)
    assert_allclose(p, [0.05, 1.0, 0.617], atol=0.02)
    assert_allclose(corrected[0], 1 - 0.95**3, atol=0.02)
    low, high = bootstrap_interval(estimate, drawn, *known)
    assert_allclose(high - low, 2 * 1.96 * np.array([1.0, 5.0, 0.1]), rtol=0.03)
    assert bootstrap_p(np.zeros(1), np.zeros((5, 1)), np.zeros(1), np.ones(1))[1] == 1


@pytest.mark.parametrize("raters", [3, 5, 12])
def test_p_values_of_few_raters_hold_their_level(raters):
    """Means of two groups of raters whose values are normal, no difference: p is uniform."""
    rng = np.random.default_rng(10)
    found = []
    for _ in range(400):
        values = rng.normal(size=(2, raters, 4))
        counts = rng.multinomial(raters - 1, np.full(raters, 1 / raters), (300, 2))
        drawn = np.einsum("dgr,grc->dgc", counts, values) / (raters - 1)
        errors, freedom = np.array([welch(*pair) for pair in zip(*np.moveaxis(values, 2, 1), strict=True)]).T
        estimate = values[0].mean(axis=0) - values[1].mean(axis=0)
        found.append(bootstrap_p(estimate, drawn[:, 0] - drawn[:, 1], errors, freedom)[1].min())
    assert np.mean(np.array(found) <= 0.05) < 0.08


def test_regions_that_add_nothing_are_not_asked_about():
    rng = np.random.default_rng(16)
    cues = make_cues(rng, images=120)
    ratings = make_ratings(rng, cues, raters=(8, 8))
    noise = cues.isel(region=[0]).assign_coords(region=["nose"]) * 0 + rng.normal(size=(2, 120, 1))
    table = compare_use(ratings, xr.concat([cues, noise], "region"), draws=50)
    use = table[table["question"] == "use"].set_index("region")
    assert use.loc["nose", ["p", "p_corrected"]].isna().all(axis=None)
    assert use.loc["nose", "difference"].notna().all()
    assert not use.loc["nose", "called"].any()
    assert use.loc[["eyes", "mouth", "jaw"], "p_corrected"].notna().all()
    # Groups play no part in what is asked.
    swapped = ratings.assign(group=ratings["group"].map({"a": "b", "b": "a"}))
    again = compare_use(swapped, xr.concat([cues, noise], "region"), draws=50)
    assert (again["p"].isna() == table["p"].isna()).all()


def test_the_variance_of_crossed_samples_is_not_counted_twice():
    """Means over raters and faces with an interaction: the variance is that over studies."""
    rng = np.random.default_rng(14)
    raters, faces, studies = 12, 15, 300
    estimates, variances, of_both = [], [], []
    for _ in range(studies):
        rater, face = 0.5 * rng.normal(size=(raters, 1)), 0.4 * rng.normal(size=faces)
        values = rater + face + 2 * rng.normal(size=(raters, faces))
        for_raters = rng.multinomial(raters - 1, np.full(raters, 1 / raters), 200) / (raters - 1)
        for_faces = rng.multinomial(faces, np.full(faces, 1 / faces), 200) / faces
        both = np.einsum("dr,rf,df->d", for_raters, values, for_faces)[:, None]
        alone = (for_faces @ values.mean(axis=0))[:, None]
        error = values.mean(axis=1).std(ddof=1, keepdims=True) / np.sqrt(raters)
        estimates.append(values.mean())
        variances.append(crossed_variance(both, alone, error))
        of_both.append(both.var())
    true = 0.25 / raters + 0.16 / faces + 4 / raters / faces
    assert_allclose(np.var(estimates), true, rtol=0.25)
    assert_allclose(np.mean(variances), true, rtol=0.1)
    assert np.mean(of_both) > 1.5 * true


def test_the_detectable_difference_of_one_known_error_is_that_of_the_normal_distribution():
    drawn = np.random.default_rng(15).normal(0.3, 0.5, (40_000, 1))
    cell = np.array([0.3]), drawn, np.array([0.1]), np.array([1e6]), np.array([0.5])
    assert_allclose(detectable_difference(*cell), (1.96 + 0.8416) * 0.5, rtol=0.02)
    few = np.array([0.3]), drawn, np.array([0.5]), np.array([6.0]), np.array([0.5])
    assert_allclose(detectable_difference(*few), (stats.t.ppf(0.975, 6) + 0.8416) * 0.5, rtol=0.02)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_detectable_difference_is_that_found_in_80_of_100_studies():
    rows = []
    for difference in (0.3, 0.45, 0.6):
        for study in range(80):
            rng = np.random.default_rng([5, study])
            cues = make_cues(rng, images=100)
            ratings = make_ratings(rng, cues, raters=(20, 20), difference=difference)
            table = compare_use(ratings, cues, draws=200, seed=study)
            rows.append(table[table["region"] == "eyes"].assign(planted=difference))
    means = pd.concat(rows).groupby("planted")[["difference", "called", "detectable"]].mean()
    found, told = (
        np.interp(0.8, means["called"], means[name].abs()) for name in ("difference", "detectable")
    )
    assert_allclose(told, found, rtol=0.1)


def test_cues_are_learnt_again_without_each_set_of_identities():
    """Cues that change with the faces make the test of use stricter; cues of another scale do not."""
    rng = np.random.default_rng(10)
    cues = make_cues(rng, images=60)
    ratings = make_ratings(rng, cues, raters=(8, 8), difference=0.8)
    identities = identities_of(cues)
    seen = []

    def relearn(kept, change=0.0):
        seen.append(kept)
        again = [2 * cues + change * rng.normal(size=cues.shape) for _ in kept]
        return xr.concat(again, "set")

    def test(**options):
        return compare_use(ratings, cues, identities, draws=200, seed=2, **options)

    plain, same = test(), test(relearn=relearn)
    changed = test(relearn=lambda kept: relearn(kept, 1.0))
    assert_allclose(seen[0].sum(axis=0), 19)
    assert all(pd.Series(one).groupby(identities.to_numpy()).nunique().eq(1).all() for one in seen[0])
    use = plain["question"] == "use"
    for column in ("p", "high"):
        assert_allclose(same.loc[~use, column], plain.loc[~use, column])
        assert (changed.loc[use, column] > plain.loc[use, column]).all()
    assert same.loc[use & (same["region"] == "eyes"), "called"].all()
    assert not changed.loc[use, "called"].any()


def test_the_jackknife_of_faces_is_that_of_a_plain_loop():
    rng = np.random.default_rng(15)
    cues = make_cues(rng, images=12)
    design = make_design(make_ratings(rng, cues, difference=0.4), cues)
    test = UseTest(design, np.zeros(13, int), 2)
    found = []
    for one in range(12):
        keep = np.arange(12) != one
        weights = np.stack([design.labels == group for group in (0, 1)])[:, None].astype(float)
        without = Profiles.of(group_utilisation(design, weights, keep[None].astype(float)))
        found.append(without.differences.ravel())
    variance = 11 / 12 * ((found - np.mean(found, axis=0)) ** 2).sum(axis=0)
    assert_allclose(test.jackknife(np.stack([design.cues] * 12)), variance)


def test_groups_of_unequal_size_find_what_groups_swapped_find():
    """12 and 60 raters, the same truth: swapping the sizes changes the mean estimate by less than 10 %."""
    means = []
    for raters in ((12, 60), (60, 12)):
        rng = np.random.default_rng(11)
        found = []
        for _ in range(15):
            cues = make_cues(rng, images=100, traits=("warm",))
            table = compare_use(make_ratings(rng, cues, raters=raters, difference=0.6), cues, draws=2)
            found.append(table.loc[table["region"] == "eyes", "difference"].iloc[0])
        means.append(np.mean(found))
    assert_allclose(means[0], means[1], rtol=0.1)


def test_rater_values_of_use_average_to_the_difference():
    rng = np.random.default_rng(12)
    cues = make_cues(rng)
    ratings = make_ratings(rng, cues, difference=0.5)
    design = make_design(ratings, cues)
    test = UseTest(design, np.zeros(13, int), 2)
    values = [test._rater_values("use", 0, group) for group in (0, 1)]
    difference = values[0].mean(axis=0) - values[1].mean(axis=0)
    assert_allclose(difference, test.observed.differences[0, 0], rtol=1e-9)
    own = rater_utilisation(design).query("trait == 'strong' and group == 'a'")
    own = own.pivot_table(index="rater", columns="region", values="utilisation")[
        list(design.regions)
    ].to_numpy()
    assert_allclose(own.mean(axis=0), test.observed.profiles[0, 0, 0] * test.observed.ranges[0, 0, 0])


def test_groups_of_another_composition_are_balanced():
    """Women use the eyes more; the groups differ in how many women they have, and in nothing else."""
    rng = np.random.default_rng(13)
    cues = make_cues(rng, images=80, traits=("warm",))
    ratings = make_ratings(rng, cues, raters=(20, 20))
    women = {f"a{number:02d}" for number in range(16)} | {f"b{number:02d}" for number in range(4)}
    ratings["gender"] = np.where(ratings["rater"].isin(women), "f", "m")
    eyes = cues.sel(trait="warm", region="eyes").to_series()
    extra = 0.8 * (ratings["gender"] == "f") * ratings["image"].map(eyes) / eyes.std()
    ratings["rating"] += extra
    options = {"draws": 200, "seed": 1}
    plain = compare_use(ratings, cues, **options).set_index("region")
    balanced = compare_use(ratings, cues, within=["gender"], **options).set_index("region")
    assert plain.loc["eyes", "called"]
    assert not balanced.loc["eyes", "called"]
    assert abs(balanced.loc["eyes", "difference"]) < abs(plain.loc["eyes", "difference"]) / 2
    low, high = balanced.loc["eyes", ["raters_low", "raters_high"]]
    assert low < balanced.loc["eyes", "difference"] < high
