import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from traitlens.comparison.by_region import make_designs
from traitlens.comparison.by_variable import compare_by_variable
from traitlens.comparison.operator import RegionOperator, summarise
from traitlens.comparison.penalty import choose_common_penalties
from traitlens.problems import TraitlensError

IMAGES = tuple(f"i{number:02d}" for number in range(40))


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def make_operator(rng):
    blocks = rng.normal(size=(3, len(IMAGES), 4))
    kernels = blocks @ blocks.transpose(0, 2, 1)
    folds = np.arange(len(IMAGES)) % 4
    return RegionOperator(IMAGES, ("eyes", "nose", "mouth"), folds, kernels.sum(axis=0), kernels), blocks


def make_ratings(rng, blocks, raters=30, slope=0.0):
    """Older raters weigh the mouth more by `slope`."""
    weights = rng.normal(size=(3, 4))
    by_region = np.einsum("gif,gf->gi", blocks, weights)
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
    _, blocks = make_operator(rng)
    ratings = make_ratings(rng, blocks)
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


def test_linear_summaries_equal_a_refit_for_each_rater(rng):
    operator, blocks = make_operator(rng)
    ratings = make_ratings(rng, blocks)
    table = compare_by_variable(ratings, "age", operator, 5.0, summary="mean", permutations=9)
    by_rater = ratings.groupby("rater")["age"].first()
    design = make_designs(ratings, by_rater.index, operator, 5.0)["warm"]
    alone = summarise(design.ratings, design.maps, "mean")
    fits = [stats.linregress(by_rater, column) for column in alone.T]
    assert_allclose(table["estimate"][1:], [fit.slope for fit in fits], rtol=1e-8)
    assert_allclose(table["statistic"][1:], [fit.slope / fit.stderr for fit in fits], rtol=1e-8)


def test_a_slope_is_found_where_it_was_planted(rng):
    operator, blocks = make_operator(rng)
    table = compare_by_variable(
        make_ratings(rng, blocks, slope=0.8), "age", operator, 5.0, permutations=299
    ).set_index("region")
    assert table.loc["mouth", "p_corrected"] < 0.02
    assert table.loc["mouth", "effect_size"] > 0.5
    assert table["statistic"].abs().idxmax() == "mouth"


def test_faults_are_told(rng):
    _, blocks = make_operator(rng)
    ratings = make_ratings(rng, blocks, raters=6)
    with pytest.raises(TraitlensError, match="unknown variable of the raters 'agee'; did you mean 'age'"):
        compare_by_variable(ratings, "agee")
    ratings.loc[0, "age"] = -1.0
    with pytest.raises(TraitlensError, match="'r00' has several values"):
        compare_by_variable(ratings, "age")


def test_the_common_penalty_does_not_depend_on_groups(rng):
    operator, blocks = make_operator(rng)
    ratings = make_ratings(rng, blocks)
    identities = np.arange(len(IMAGES))
    penalties = choose_common_penalties(ratings, operator, identities)
    shuffled = ratings.assign(group=rng.permutation(ratings["group"].to_numpy()))
    assert choose_common_penalties(shuffled, operator, identities) == penalties
    assert penalties["warm"] > 0
