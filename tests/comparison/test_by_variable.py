import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy import stats

from traitlens.comparison.by_variable import compare_by_variable
from traitlens.comparison.lens_design import make_design
from traitlens.comparison.penalty import choose_common_penalties
from traitlens.comparison.refitting import FeatureKernel
from traitlens.comparison.utilisation import rater_utilisation
from traitlens.problems import TraitlensError

IMAGES = tuple(f"i{number:02d}" for number in range(40))


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def parts(rng):
    """What each region adds to the true ratings: (region, image)."""
    return np.einsum("gif,gf->gi", rng.normal(size=(3, len(IMAGES), 4)), rng.normal(size=(3, 4)))


def use_of(ratings, by_region):
    """Utilisation of each rater, whose cues are the true parts of the ratings."""
    coordinates = {"trait": ["warm"], "image": list(IMAGES), "region": ["eyes", "nose", "mouth"]}
    cues = xr.DataArray(by_region.T[None], coordinates, ("trait", "image", "region"))
    return rater_utilisation(make_design(ratings, cues))


def make_ratings(rng, by_region, raters=30, slope=0.0):
    """Older raters weigh the mouth more by `slope`."""
    age = rng.uniform(20, 70, raters).round()
    rows = []
    for rater in range(raters):
        more = slope * (age[rater] - 45) / 15 * by_region[2]
        values = by_region.sum(axis=0) + more + rng.normal() + 2 * rng.normal(size=len(IMAGES))
        group = "abc"[rater % 3]
        rows += [
            (f"r{rater:02d}", group, image, "warm", value, age[rater])
            for image, value in zip(IMAGES, values, strict=True)
        ]
    return pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating", "age"])


def test_slopes_and_f_of_mean_ratings_agree_with_scipy(rng):
    ratings = make_ratings(rng, parts(rng))
    levels = ratings.groupby("rater").agg({"rating": "mean", "age": "first", "group": "first"})
    row = compare_by_variable(ratings, "age", permutations=99).iloc[0]
    fit = stats.linregress(levels["age"], levels["rating"])
    assert_allclose([row["estimate"], row["effect_size"]], [fit.slope, fit.rvalue], rtol=1e-9)
    assert_allclose(row["statistic"], fit.slope / fit.stderr, rtol=1e-9)
    width = stats.t.ppf(0.975, 28) * fit.stderr
    assert_allclose([row["ci_low"], row["ci_high"]], [fit.slope - width, fit.slope + width], rtol=1e-9)
    row = compare_by_variable(ratings, "group", permutations=99).iloc[0]
    expected = stats.f_oneway(*[part["rating"] for _, part in levels.groupby("group")])
    assert_allclose(row["statistic"], expected.statistic, rtol=1e-9)
    assert abs(row["p"] - expected.pvalue) < 0.15


def test_slopes_of_utilisation_agree_with_scipy(rng):
    by_region = parts(rng)
    ratings = make_ratings(rng, by_region)
    use = use_of(ratings, by_region)
    table = compare_by_variable(ratings, "age", use, permutations=9)
    age = ratings.groupby("rater")["age"].first()
    wide = use.pivot_table(index="rater", columns="region", values="utilisation")
    for row in table[table["measure"] == "utilisation"].to_dict("records"):
        fit = stats.linregress(age[wide.index], wide[row["region"]])
        assert_allclose([row["estimate"], row["effect_size"]], [fit.slope, fit.rvalue], rtol=1e-8)
    few = use[use["rater"] != "r00"]
    assert (compare_by_variable(ratings, "age", few, permutations=9)["n"][1:] == 29).all()


def test_a_slope_is_found_where_it_was_planted(rng):
    by_region = parts(rng)
    ratings = make_ratings(rng, by_region, slope=0.8)
    table = compare_by_variable(ratings, "age", use_of(ratings, by_region), permutations=299).set_index(
        "region"
    )
    assert table.loc["mouth", "p_corrected"] < 0.02
    assert table.loc["mouth", "effect_size"] > 0.5
    assert table["statistic"].abs().idxmax() == "mouth"


def test_faults_are_told(rng):
    ratings = make_ratings(rng, parts(rng), raters=6)
    with pytest.raises(TraitlensError, match="unknown variable of the raters 'agee'; did you mean 'age'"):
        compare_by_variable(ratings, "agee")
    ratings.loc[0, "age"] = -1.0
    with pytest.raises(TraitlensError, match="'r00' has several values"):
        compare_by_variable(ratings, "age")


def test_the_common_penalty_does_not_depend_on_groups(rng):
    features = rng.normal(size=(len(IMAGES), 12))
    kernel = FeatureKernel(IMAGES, np.arange(len(IMAGES)) % 4, features @ features.T)
    ratings = make_ratings(rng, parts(rng))
    identities = np.arange(len(IMAGES))
    penalties = choose_common_penalties(ratings, kernel, identities)
    shuffled = ratings.assign(group=rng.permutation(ratings["group"].to_numpy()))
    assert choose_common_penalties(shuffled, kernel, identities) == penalties
    assert penalties["warm"] > 0


def test_a_trait_that_one_of_three_groups_did_not_rate(rng):
    """The groups that rated it are compared, and labels are permuted among their raters only."""
    ratings = make_ratings(rng, parts(rng))
    ratings["site"] = ratings["rater"].map(dict(zip(ratings["rater"].unique(), "abc" * 10, strict=True)))
    other = ratings.assign(trait="kind", rating=ratings["rating"] + (ratings["site"] == "a"))
    other = other[other["site"] != "c"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        table = compare_by_variable(pd.concat([ratings, other]), "site", permutations=200).set_index("trait")
        alone = compare_by_variable(other, "site", permutations=200)
        lone = compare_by_variable(pd.concat([ratings, other[other["site"] == "a"]]), "site", permutations=9)
    means = other.groupby(["site", "rater"])["rating"].mean()
    assert_allclose(table.loc["kind", "statistic"], stats.f_oneway(means["a"], means["b"]).statistic)
    assert_allclose(table.loc["kind", "p"], alone["p"], atol=0.03)
    assert table["n"].to_dict() == {"warm": 30, "kind": 20}
    assert table.loc["kind", "p_corrected"] <= 2 * table.loc["kind", "p"]
    assert lone["trait"].tolist() == ["warm"]


def test_a_trait_without_variance_does_not_choose_the_penalty_of_the_others(rng):
    features = rng.normal(size=(len(IMAGES), 12))
    kernel = FeatureKernel(IMAGES, np.arange(len(IMAGES)) % 4, features @ features.T)
    ratings = make_ratings(rng, parts(rng))
    constant = ratings.assign(trait="flat", rating=3.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        both = choose_common_penalties(pd.concat([ratings, constant]), kernel, np.arange(len(IMAGES)))
    assert both["warm"] == choose_common_penalties(ratings, kernel, np.arange(len(IMAGES)))["warm"]
