import numpy as np
import pandas as pd
import pingouin
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from traitlens.comparison.by_agreement import compare_agreement, rater_agreement
from traitlens.comparison.by_image import compare_images
from traitlens.comparison.by_rating import compare_means
from traitlens.comparison.by_trait_space import compare_trait_space
from traitlens.ratings.targets import make_targets
from traitlens.ratings.trait_space import correlate_traits, find_components

IMAGES = [f"i{number:02d}" for number in range(25)]


@pytest.fixture
def rng():
    return np.random.default_rng(9)


def simulate(
    rng, raters=16, traits=("t0", "t1", "t2", "t3"), level=0.0, noise_b=1.0, mix_b=0.0, by_image=0.0
):
    base = rng.normal(size=(len(traits), len(IMAGES)))
    tables = []
    for group, noise in (("a", 1.0), ("b", noise_b)):
        truth = base.copy()
        if group == "b" and mix_b:
            truth[1] = (1 - mix_b) * truth[1] + mix_b * truth[0]
        if group == "b":
            truth = truth + level + by_image * rng.normal(size=len(IMAGES))
        for rater in range(raters):
            values = truth + noise * rng.normal(size=truth.shape) + 0.5 * rng.normal()
            wide = pd.DataFrame(values.T, index=IMAGES, columns=list(traits)).rename_axis("image")
            long = wide.reset_index().melt("image", var_name="trait", value_name="rating")
            tables.append(long.assign(rater=f"{group}{rater:02d}", group=group))
    return pd.concat(tables, ignore_index=True)


def test_means_agree_with_scipy(rng):
    ratings = simulate(rng, level=1.0)
    table = compare_means(ratings, permutations=199)
    for row in table.to_dict("records"):
        levels = ratings[ratings["trait"] == row["trait"]].groupby(["group", "rater"])["rating"].mean()
        expected = stats.ttest_ind(levels["a"], levels["b"], equal_var=False)
        assert_allclose(row["statistic"], expected.statistic, rtol=1e-9)
        interval = expected.confidence_interval()
        assert_allclose([row["ci_low"], row["ci_high"]], [interval.low, interval.high], rtol=1e-9)
        assert_allclose(row["estimate"], levels["a"].mean() - levels["b"].mean(), rtol=1e-9)
    assert (table["p_corrected"] <= 0.01).all()
    assert (table["crossed_se"] > 0).all()


@pytest.mark.parametrize("margin", [0.2, 0.9])
def test_equivalence_is_that_of_two_one_sided_tests(rng, margin):
    ratings = simulate(rng, level=0.1)
    table = compare_means(ratings, margin=margin, permutations=19)
    for row in table.to_dict("records"):
        levels = ratings[ratings["trait"] == row["trait"]].groupby(["group", "rater"])["rating"].mean()
        expected = pingouin.tost(levels["a"], levels["b"], bound=margin, correction=True)
        assert_allclose(row["equivalence_p"], expected["pval"].iloc[0], rtol=1e-6)
    assert "equivalence_p" not in compare_means(ratings, permutations=19)


def test_crossed_errors_are_those_of_the_mixed_model(rng):
    ratings = simulate(rng, raters=8, traits=("t0",), level=0.6, by_image=0.8)
    ratings = ratings[ratings["image"].isin(IMAGES[:15])].assign(one=1)
    variances = {"image": "0 + C(image)", "both": "0 + C(image):C(group)", "rater": "0 + C(rater)"}
    model = MixedLM.from_formula(
        "rating ~ C(group, Treatment('b'))", ratings, groups="one", vc_formula=variances
    )
    fit = model.fit(reml=True)
    row = compare_means(ratings, permutations=1).iloc[0]
    assert_allclose(row["estimate"], fit.fe_params.iloc[1], rtol=1e-6)
    assert_allclose(row["crossed_se"], fit.bse_fe.iloc[1], rtol=1e-3)


@pytest.mark.slow
def test_images_that_differ_by_chance_widen_the_crossed_interval_only(rng):
    # The same two groups; every image has its own random difference: to other images it says little.
    estimates, errors, rater_widths = [], [], []
    for _ in range(80):
        row = compare_means(simulate(rng, traits=("t0",), by_image=1.0), permutations=1).iloc[0]
        estimates.append(row["estimate"])
        errors.append(row["crossed_se"])
        rater_widths.append(row["ci_high"] - row["ci_low"])
    spread = np.std(estimates)
    assert 0.75 < np.sqrt(np.mean(np.square(errors))) / spread < 1.3
    assert np.mean(rater_widths) / 4 < 0.9 * spread


def test_a_single_image_that_differs_is_found(rng):
    ratings = simulate(rng, traits=("t0",))
    ratings.loc[(ratings["image"] == "i03") & (ratings["group"] == "a"), "rating"] += 3
    table = compare_images(ratings, permutations=199).set_index("image")
    levels = ratings.groupby("rater")["rating"].transform("mean")
    part = ratings.assign(rating=ratings["rating"] - levels).query("image == 'i07'").set_index("group")
    difference = part.loc["a", "rating"].mean() - part.loc["b", "rating"].mean()
    assert_allclose(table.loc["i07", "estimate"], difference, rtol=1e-9)
    assert table["p_corrected"].idxmin() == "i03"
    assert table.loc["i03", "p_corrected"] < 0.01
    assert table["p_interaction"].iloc[0] < 0.01


def test_agreement_leaves_the_rater_out(rng):
    ratings = simulate(rng, raters=5, traits=("t0",))
    table = rater_agreement(ratings).set_index("rater")
    wide = ratings.pivot_table(index="image", columns="rater", values="rating")
    others = wide[["a01", "a02", "a03", "a04"]].mean(axis=1)
    assert_allclose(table.loc["a00", "agreement"], wide["a00"].corr(others), rtol=1e-9)
    assert_allclose(table.loc["a00", "spread"], wide["a00"].std(), rtol=1e-9)
    reference = rater_agreement(ratings, "a").set_index("rater")
    consensus = wide[[f"a0{k}" for k in range(5)]].mean(axis=1)
    assert_allclose(reference.loc["b02", "agreement"], wide["b02"].corr(consensus), rtol=1e-9)


def test_noisier_raters_agree_less_and_spread_more(rng):
    table = compare_agreement(simulate(rng, noise_b=3.0), "a", permutations=299).set_index(
        ["measure", "trait"]
    )
    assert (table.loc["agreement", "estimate"] > 0).all()
    assert (table.loc["spread", "estimate"] < 0).all()
    assert (table["p_corrected"] < 0.05).all()


def test_a_different_trait_space_is_found(rng):
    table = compare_trait_space(simulate(rng, raters=25, mix_b=0.7), permutations=299)
    worst = table.loc[table["p_corrected"].idxmin()]
    assert (worst["trait_1"], worst["trait_2"]) == ("t0", "t1")
    assert worst["p_corrected"] < 0.01
    assert worst["similarity_p"] < 0.01
    same = compare_trait_space(simulate(rng, raters=25), permutations=299)
    assert same["similarity_p"].iloc[0] > 0.02
    for group, r in (("a", "r_1"), ("b", "r_2")):
        ratings = simulate(np.random.default_rng(1))
        table = compare_trait_space(ratings, permutations=1)
        correlations = correlate_traits(make_targets(ratings))
        expected = correlations.loc[correlations["group"] == group, "r"]
        assert_allclose(table[r], expected, rtol=1e-6, atol=1e-9)


def test_components_of_alike_groups_are_congruent(rng):
    ratings = simulate(rng, raters=30, traits=tuple(f"t{i}" for i in range(9)))
    # Three traits for each of three dimensions.
    of_image = rng.normal(size=(3, len(IMAGES)))
    place = ratings["trait"].str[1:].astype(int) // 3
    ratings["rating"] += 3 * of_image[place, ratings["image"].str[1:].astype(int)]
    table = find_components(make_targets(ratings), permutations=200)
    assert_allclose(table.loc[table["group"] == "a", "congruence"], 1.0, rtol=1e-9)
    assert table["congruence"].min() > 0.9
    assert (table.loc[table["group"] == "b", "congruence_p"] < 0.05).all()
    explained = table.groupby(["group", "component"])["explained"].first()
    assert (explained["a"].diff().dropna() < 0).all()
    squares = (table["loading"] ** 2).groupby([table["group"], table["component"]]).sum()
    assert_allclose(squares["a"], explained["a"] * 9, rtol=1e-9)


@pytest.mark.parametrize("traits", [2, 3, 4, 6, 11])
def test_unrelated_trait_spaces_are_not_called_the_same(rng, traits):
    called = 0
    for _ in range(60):
        targets = pd.DataFrame(
            [(g, f"t{t}", i, v) for g in "ab" for t in range(traits)
             for i, v in enumerate(rng.normal(size=3) @ rng.normal(size=(3, 40)))],
            columns=["group", "trait", "image", "rating"],
        )  # fmt: skip
        table = find_components(targets, permutations=99).query("group == 'b'")
        called += bool(((table["congruence"] > 0.95) & (table["congruence_p"] <= 0.05)).any())
    assert called <= 7  # 5 % of 60 studies within Monte Carlo error
