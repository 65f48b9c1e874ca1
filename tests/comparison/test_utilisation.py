import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from traitlens.comparison.lens_design import cue_array, make_design
from traitlens.comparison.lens_model import lens_model_equation, summarise_achievement
from traitlens.comparison.utilisation import (
    group_utilisation,
    mean_intervals,
    rater_fits,
    rater_utilisation,
    rater_values,
    summarise_utilisation,
)
from traitlens.problems import TraitlensError

REGIONS = ("eyes", "mouth", "jaw")


def make_cues(rng, images=40, traits=("strong", "warm"), regions=REGIONS):
    values = rng.normal(size=(len(traits), images, len(regions))) * np.linspace(0.5, 2, len(regions))
    names = [f"i{number:03d}" for number in range(images)]
    return xr.DataArray(
        values,
        dims=("trait", "image", "region"),
        coords={"trait": list(traits), "image": names, "region": list(regions)},
    )


def make_ratings(rng, cues, raters=(5, 8), seen=1.0, noise=1.0, difference=0.0):
    """Raters weigh the cues; the second group weighs the first region more."""
    rows = []
    for group, number, extra in zip("ab", raters, (0.0, difference), strict=True):
        for rater in range(number):
            for trait in cues["trait"].values:
                values = cues.sel(trait=trait).to_numpy()
                weights = 0.6 + 0.2 * rng.normal(size=values.shape[1])
                weights[0] += extra
                judged = 5 + rng.normal() + values @ weights + noise * rng.normal(size=len(values))
                there = rng.random(len(values)) < seen
                rows += [
                    (f"{group}{rater:02d}", group, image, trait, value)
                    for image, value, is_there in zip(cues["image"].values, judged, there, strict=True)
                    if is_there
                ]
    return pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating"])


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.mark.parametrize("seen", [1.0, 0.6, 0.15])
def test_each_rater_s_utilisation_is_that_of_statsmodels(rng, seen):
    cues = make_cues(rng, images=120)
    ratings = make_ratings(rng, cues, seen=seen)
    repeated = ratings.iloc[::7].assign(rating=lambda table: table["rating"] + 1)
    ratings = pd.concat([ratings, repeated])
    table = rater_utilisation(make_design(ratings, cues)).set_index(["rater", "trait", "region"])
    fits = rater_fits(make_design(ratings, cues)).set_index(["rater", "trait"])
    averaged = ratings.groupby(["rater", "trait", "image"])["rating"].mean()
    compared = 0
    for (rater, trait), own in averaged.groupby(["rater", "trait"]):
        wide = cues.sel(trait=trait).to_pandas()
        wide = wide.loc[sorted(set(ratings.loc[ratings["trait"] == trait, "image"]))]
        standard = (wide - wide.mean()) / wide.std(ddof=0)
        own = own.droplevel([0, 1])
        if len(own) < 8:
            assert table.loc[rater, trait]["utilisation"].isna().all()
            assert not fits.loc[(rater, trait), "enough"]
            continue
        fit = sm.OLS(own.to_numpy(), sm.add_constant(standard.loc[own.index].to_numpy())).fit()
        assert_allclose(table.loc[rater, trait].loc[list(REGIONS), "utilisation"], fit.params[1:], rtol=1e-10)
        assert_allclose(fits.loc[(rater, trait), "consistency"], np.sqrt(fit.rsquared), rtol=1e-9)
        assert_allclose(fits.loc[(rater, trait), "noise"], np.sqrt(fit.scale), rtol=1e-9)
        compared += 1
    assert compared > 15


def test_a_group_s_utilisation_is_the_mean_of_its_raters_where_the_design_is_complete(rng):
    design = make_design(make_ratings(rng, cues := make_cues(rng)), cues)
    weights = (design.labels == np.array([[[0]], [[1]]])).astype(float)
    groups = group_utilisation(design, weights, np.ones((1, 40)))[:, 0]
    table = rater_utilisation(design)
    for number, group in enumerate(design.groups):
        means = table[table["group"] == group].pivot_table(
            index="trait", columns="region", values="utilisation"
        )
        assert_allclose(groups[number], means[list(REGIONS)], rtol=1e-9)


def test_a_group_s_utilisation_is_least_squares_with_a_level_for_each_rater(rng):
    """Weights of raters and images, gaps: against statsmodels' weighted least squares with dummies."""
    cues = make_cues(rng, traits=("warm",))
    ratings = make_ratings(rng, cues, seen=0.4)
    design = make_design(ratings, cues)
    raters, images = rng.integers(0, 3, len(design.raters)), rng.integers(0, 3, len(design.images))
    found = group_utilisation(design, raters[None, None].astype(float), images[None].astype(float))[0, 0, 0]
    standard = pd.DataFrame(design.cues[0], index=design.images)
    weight = (
        raters[design.raters.get_indexer(ratings["rater"])]
        * images[design.images.get_indexer(ratings["image"])]
    )
    dummies = pd.get_dummies(ratings["rater"]).to_numpy(float)
    there = weight > 0
    predictors = np.column_stack([standard.loc[ratings["image"]].to_numpy(), dummies])[there]
    fit = sm.WLS(ratings["rating"].to_numpy()[there], predictors, weight[there]).fit()
    assert_allclose(found, fit.params[:3], rtol=1e-8)


@pytest.mark.parametrize("seen", [1.0, 0.5])
def test_values_of_raters_average_to_their_group(rng, seen):
    design = make_design(make_ratings(rng, cues := make_cues(rng), seen=seen), cues)
    members = np.flatnonzero(design.labels == 1)
    values = rater_values(design.ratings[0], design.cues[0], members)
    group = group_utilisation(design, (design.labels == 1)[None, None].astype(float), np.ones((1, 40)))[
        0, 0, 0
    ]
    assert_allclose(values.mean(axis=0), group, rtol=1e-9)
    summary = summarise_utilisation(design).set_index(["group", "trait", "region"])
    assert_allclose(summary.loc[("b", "strong")].loc[list(REGIONS), "utilisation"], group, rtol=1e-9)


def test_intervals_are_those_of_the_mean(rng):
    values = rng.normal(size=(9, 2))
    mean, low, high = mean_intervals(values)
    expected = sm.stats.DescrStatsW(values).tconfint_mean()
    assert_allclose([mean, low, high], [values.mean(axis=0), *expected])
    assert np.isnan(mean_intervals(values[:1])[1]).all()


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    factor=st.floats(0.2, 5),
    shift=st.floats(-3, 3),
    order=st.permutations(range(3)),
)
def test_utilisation_follows_scale_and_ignores_level_and_order(seed, factor, shift, order):
    rng = np.random.default_rng(seed)
    cues = make_cues(rng)
    ratings = make_ratings(rng, cues, raters=(2, 2), seen=0.8)
    keys = ["rater", "trait", "region"]
    plain = rater_utilisation(make_design(ratings, cues)).set_index(keys)["utilisation"]
    changed = ratings.assign(rating=shift + factor * ratings["rating"]).sample(frac=1, random_state=seed)
    turned = cues.isel(region=list(order)) * 3 - 1
    again = rater_utilisation(make_design(changed, turned)).set_index(keys)["utilisation"]
    assert_allclose(again[plain.index], factor * plain, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("seen", [1.0, 0.7])
def test_the_lens_model_equation_holds(rng, seen):
    cues = make_cues(rng)
    ratings = make_ratings(rng, cues, seen=seen)
    criterion = ratings[ratings["group"] == "b"].groupby(["image", "trait"])["rating"].mean().reset_index()
    table = lens_model_equation(make_design(ratings, cues), criterion, "group b")
    r_e, r_s = table["predictability"], table["consistency"]
    assert_allclose(
        table["achievement"],
        table["matching"] * r_e * r_s + table["unmodelled"] * np.sqrt((1 - r_e**2) * (1 - r_s**2)),
        rtol=1e-9,
    )
    one = ratings[(ratings["rater"] == "a01") & (ratings["trait"] == "warm")].set_index("image")["rating"]
    other = criterion[criterion["trait"] == "warm"].set_index("image")["rating"].reindex(one.index).dropna()
    row = table[(table["rater"] == "a01") & (table["trait"] == "warm")].iloc[0]
    assert_allclose(row["achievement"], np.corrcoef(one[other.index], other)[0, 1], rtol=1e-9)


def test_achievement_is_the_mean_over_raters_of_the_other_group(rng):
    cues = make_cues(rng)
    ratings = make_ratings(rng, cues)
    design = make_design(ratings, cues)
    table = summarise_achievement(design, ratings).set_index(["group", "criterion", "trait"])
    assert len(table) == 4
    wide = ratings[ratings["trait"] == "warm"].pivot_table(
        index="image", columns=["group", "rater"], values="rating"
    )
    own = wide["a"].corrwith(wide["b"].mean(axis=1)).mean()
    assert_allclose(table.loc[("a", "b", "warm"), "achievement"], own)
    one = ratings[ratings["group"] == "a"]
    assert summarise_achievement(make_design(one, cues), one).empty


def test_a_cue_that_does_not_vary_is_not_used(rng):
    cues = make_cues(rng)
    cues.loc[{"region": "jaw"}] = 1e-12 * rng.normal(size=(2, 40))
    table = rater_utilisation(make_design(make_ratings(rng, cues), cues))
    assert (table[table["region"] == "jaw"]["utilisation"] == 0).all()


def test_tables_of_cues_keep_the_order_of_regions(rng):
    cues = make_cues(rng)
    table = cues.rename("cue").to_dataframe().reset_index()
    xr.testing.assert_identical(cue_array(table).drop_attrs().rename(None), cues)


def test_all_images_without_cues_are_named(rng):
    cues = make_cues(rng)
    ratings = make_ratings(rng, cues)
    with pytest.raises(TraitlensError, match="'i003' was rated on 'warm' but has no cue") as error:
        make_design(ratings, cues.drop_sel(image=["i003", "i004"]))
    assert len(error.value.problems) == 4
    with pytest.raises(TraitlensError, match="averages"):
        make_design(ratings.drop(columns="rater"), cues)
