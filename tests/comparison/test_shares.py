import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from tests.comparison.test_utilisation import REGIONS, make_cues, make_ratings

from traitlens.comparison.lens_design import make_design
from traitlens.comparison.shares import cue_covariances, explained_shares, tabulate_shares


def group_means(ratings, group, trait):
    own = ratings[(ratings["group"] == group) & (ratings["trait"] == trait)]
    return own.groupby("image")["rating"].mean()


def test_shares_are_pratt_s_and_sum_to_r_squared():
    rng = np.random.default_rng(1)
    cues = make_cues(rng, images=60)
    ratings = make_ratings(rng, cues)
    table = tabulate_shares(make_design(ratings, cues), draws=20).set_index(["group", "trait", "region"])
    for group in "ab":
        for trait in ("strong", "warm"):
            means = group_means(ratings, group, trait)
            wide = cues.sel(trait=trait).to_pandas().loc[means.index, list(REGIONS)]
            z, y = (wide - wide.mean()) / wide.std(), (means - means.mean()) / means.std()
            fit = sm.OLS(y.to_numpy(), z.to_numpy()).fit()
            pratt = fit.params * [np.corrcoef(z[name], y)[0, 1] for name in REGIONS]
            assert_allclose(pratt.sum(), fit.rsquared, rtol=1e-9)
            assert_allclose(table.loc[(group, trait)]["share"], pratt / fit.rsquared, rtol=1e-8)
            for place, name in enumerate(REGIONS):
                without = sm.OLS(y.to_numpy(), np.delete(z.to_numpy(), place, axis=1)).fit().rsquared
                unique = (fit.rsquared - without) / fit.rsquared
                assert_allclose(table.loc[(group, trait, name), "unique"], unique, rtol=1e-7, atol=1e-10)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), regions=st.integers(1, 6))
def test_shares_add_up_to_one(seed, regions):
    rng = np.random.default_rng(seed)
    cues = rng.normal(size=(30, regions)) @ rng.normal(size=(regions, regions))
    weights = rng.integers(1, 4, (3, 30)).astype(float)
    covariances = cue_covariances(cues, weights)
    assert_allclose(covariances[0], np.cov(cues.T, aweights=weights[0], ddof=0).reshape(regions, regions))
    product, unique = explained_shares(rng.normal(size=(3, regions)), covariances)
    assert_allclose(product.sum(axis=1), 1)
    assert (unique >= 0).all()


def test_intervals_are_percentiles_over_identities():
    rng = np.random.default_rng(2)
    cues = make_cues(rng, images=30, traits=("warm",))
    ratings = make_ratings(rng, cues, raters=(4, 4))
    identities = pd.Series(np.arange(30) // 3, index=cues["image"].values)
    table = tabulate_shares(make_design(ratings, cues, identities), draws=200, seed=3)
    means = group_means(ratings, "a", "warm")
    z = make_design(ratings, cues).cues[0]
    draws = np.random.default_rng(3).multinomial(10, np.full(10, 0.1), 200)[:, identities]
    found = []
    for counts in draws:
        rows = np.repeat(np.arange(30), counts)
        x, y = z[rows] - z[rows].mean(axis=0), means.to_numpy()[rows] - means.to_numpy()[rows].mean()
        weights = np.linalg.lstsq(x, y)[0]
        found.append(weights * (x.T @ y) / (weights @ x.T @ y))
    low, high = np.quantile(found, [0.025, 0.975], axis=0)
    assert_allclose(table.loc[table["group"] == "a", "low"], low, rtol=1e-6)
    assert_allclose(table.loc[table["group"] == "a", "high"], high, rtol=1e-6)


def test_nothing_is_said_of_traits_that_are_not_predicted():
    rng = np.random.default_rng(4)
    design = make_design(make_ratings(rng, cues := make_cues(rng)), cues)
    areas = pd.Series({"eyes": 0.1, "mouth": 0.2, "jaw": 0.7})
    table = tabulate_shares(design, areas, {("a", "warm")}, draws=10)
    said = (table["group"] == "a") & (table["trait"] == "warm")
    assert table.loc[said, "share"].notna().all()
    assert table.loc[~said, ["share", "low", "high", "unique"]].isna().all(axis=None)
    assert_allclose(table["area"], table["region"].map(areas))


@pytest.mark.parametrize("share", [0.36, 0.9])
def test_planted_shares_are_found(share):
    rng = np.random.default_rng(5)
    cues = make_cues(rng, images=400, traits=("warm",), regions=("eyes", "mouth"))
    standard = (cues - cues.mean("image")) / cues.std("image")
    judged = standard.to_numpy()[0] @ np.sqrt([share, 1 - share])
    rows = [
        (f"a{rater}", "a", image, "warm", value)
        for rater in range(10)
        for image, value in zip(cues["image"].values, judged + rng.normal(size=400), strict=True)
    ]
    ratings = pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating"])
    table = tabulate_shares(make_design(ratings, cues), draws=50)
    assert_allclose(table["share"], [share, 1 - share], atol=0.06)
