"""Tests of raters' values against least squares, complete enumeration, and simulated studies."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import stats

from traitlens.comparison.by_agreement import Agreement, compare_agreement, correlate_raters
from traitlens.comparison.by_rating import compare_means
from traitlens.comparison.by_reliability import compare_reliability
from traitlens.comparison.compared_groups import ratings_of_pair
from traitlens.comparison.permutation import draw_labels, find_strata, smallest_p
from traitlens.comparison.rater_tests import Cells, Sample, compare_cells, contrast
from traitlens.problems import TraitlensError
from traitlens.ratings.rating_matrix import RatingMatrix, fit_additive


@pytest.fixture
def rng():
    return np.random.default_rng(12)


def as_matrix(values):
    return RatingMatrix(values, pd.RangeIndex(len(values)), pd.RangeIndex(values.shape[1]))


def make_ratings(rng, raters=(12, 12), images=20, level=0.0, traits=2):
    truth = rng.normal(size=(traits, images))
    rows = []
    for rater in range(sum(raters)):
        first = rater < raters[0]
        own = truth + level * first + rng.normal(size=(traits, images)) + 0.5 * rng.normal()
        rows += [
            (f"r{rater:02d}", "ab"[not first], f"{image:02d}", f"t{trait}", own[trait, image])
            for trait in range(traits)
            for image in range(images)
        ]
    return pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating"])


def test_levels_are_least_squares(rng):
    values = rng.normal(size=(9, 14)) + rng.normal(size=(9, 1)) + rng.normal(size=14)
    values[rng.random(values.shape) < 0.4] = np.nan
    raters, images = fit_additive(values)
    row, column = np.nonzero(~np.isnan(values))
    design = np.hstack([np.eye(9)[row], np.eye(14)[column][:, 1:]])
    fit = sm.OLS(values[row, column], design).fit()
    assert_allclose(raters - raters[0], fit.params[:9] - fit.params[0], rtol=0, atol=1e-10)
    assert_allclose(images - images[0], [0, *fit.params[9:]], rtol=0, atol=1e-10)
    assert_allclose(raters.mean(), 0, atol=1e-12)


def test_differences_are_least_squares_with_robust_errors(rng):
    labels, strata = rng.integers(0, 2, 30), rng.integers(0, 3, 30)
    age = rng.normal(size=(30, 1))
    values = rng.normal(size=(30, 2)) * (1 + labels[:, None]) + age
    sample = Sample(labels, strata, age)
    first = (labels == 0).astype(float)
    estimate, error, _ = contrast(first[None], values, sample.nuisance(np.arange(30)))
    for cell in range(2):
        design = np.column_stack([first, strata[:, None] == np.arange(3), age])
        fit = sm.OLS(values[:, cell], design.astype(float)).fit(cov_type="HC2")
        assert_allclose(estimate[0, cell], fit.params[0], rtol=1e-10)
        assert_allclose(error[0, cell], fit.bse[0], rtol=1e-10)


def test_without_strata_it_is_welch(rng):
    labels = np.repeat([0, 1], [7, 15])
    values = rng.normal(size=(22, 1)) * (1 + 2 * labels[:, None])
    table = compare_cells([Cells(np.arange(22), values)], Sample(labels, np.zeros(22, int), None, 99))
    expected = stats.ttest_ind(values[:7, 0], values[7:, 0], equal_var=False)
    assert_allclose(table.loc[0, "statistic"], expected.statistic, rtol=1e-10)
    interval = expected.confidence_interval()
    assert_allclose(table.loc[0, ["ci_low", "ci_high"]].astype(float), interval, rtol=1e-10)


def test_p_is_that_of_complete_enumeration_with_few_raters(rng):
    labels = np.repeat([0, 1], 4)
    values = rng.normal(size=(8, 1)) + labels[:, None]
    table = compare_cells([Cells(np.arange(8), values)], Sample(labels, np.zeros(8, int), None, 5000))
    assert table.loc[0, "n_permutations"] == 69
    t = []
    for chosen in combinations(range(8), 4):
        own = np.isin(np.arange(8), chosen)
        t.append(stats.ttest_ind(values[own, 0], values[~own, 0], equal_var=False).statistic)
    observed = abs(stats.ttest_ind(values[:4, 0], values[4:, 0], equal_var=False).statistic)
    assert_allclose(table.loc[0, "p"], np.mean(np.abs(t) >= observed - 1e-9), rtol=1e-12)


def test_all_labellings_are_different_and_within_strata():
    labels, strata = np.array([0, 0, 1, 1, 0, 1, 1]), np.array([0, 0, 0, 0, 1, 1, 1])
    rows = np.vstack(list(draw_labels(labels, strata, 100, 0, block=4)))
    assert len(rows) == 6 * 3 - 1 == len(np.unique(rows, axis=0))
    assert not (rows == labels).all(axis=1).any()
    assert (rows[:, :4].sum(axis=1) == 2).all()
    assert (rows[:, 4:].sum(axis=1) == 2).all()


@pytest.mark.parametrize(("raters", "smallest"), [((3, 3), 0.1), ((4, 4), 2 / 70), ((3, 4), 1 / 35)])
def test_the_smallest_p_is_reached_and_none_is_smaller(raters, smallest):
    labels = np.repeat([0, 1], raters)
    strata = np.zeros(len(labels), int)
    assert_allclose(smallest_p(labels, strata, 5000), smallest)
    values = np.where(labels == 0, 100.0, 0)[:, None] + np.arange(len(labels))[:, None] * 0.1
    table = compare_cells([Cells(np.arange(len(labels)), values)], Sample(labels, strata, None, 5000))
    assert_allclose(table.loc[0, ["p", "smallest_p"]].astype(float), smallest)


def test_image_sets_that_groups_rated_unevenly_leave_the_difference(rng):
    ratings = make_ratings(rng, (12, 12), images=40, level=1.0, traits=1)
    number = ratings["rater"].str[1:].astype(int)
    first_set = ((number < 10) | (number >= 22)).to_numpy()
    low = (ratings["image"].astype(int) < 20).to_numpy()
    ratings.loc[low, "rating"] += 2
    row = compare_means(ratings[first_set == low], permutations=99).iloc[0]
    assert abs(row["estimate"] - 1) < 3.5 * row["standard_error"]
    noiseless = ratings.assign(rating=ratings["image"].astype(int) + (ratings["group"] == "a"))
    row = compare_means(noiseless[first_set == low], permutations=99).iloc[0]
    assert_allclose(row["estimate"], 1.0, rtol=1e-9)


@pytest.mark.parametrize("by", [{"within": ["gender"]}, {"covariates": ["gender"]}])
def test_what_goes_with_gender_is_no_difference_of_groups(rng, by):
    found = {"adjusted": 0, "not": 0}
    for _ in range(60):
        ratings = make_ratings(rng, (20, 20), images=10, traits=1)
        number = ratings["rater"].str[1:].astype(int)
        women = np.where(ratings["group"] == "a", number < 16, number >= 34)
        ratings = ratings.assign(gender=women.astype(float), rating=ratings["rating"] + 0.8 * women)
        found["adjusted"] += compare_means(ratings, permutations=99, **by)["p"].min() <= 0.05
        found["not"] += compare_means(ratings, permutations=99)["p"].min() <= 0.05
    assert found["adjusted"] <= 8  # 5 % of 60 within Monte Carlo error
    assert found["not"] > 15


def test_columns_of_raters_are_checked(rng):
    ratings = make_ratings(rng, (4, 4), images=5)
    raters = pd.Index(sorted(ratings["rater"].unique()))
    labels = np.repeat([0, 1], 4)
    with pytest.raises(TraitlensError, match="gender"):
        find_strata(ratings, raters, labels, ["gender"])
    with pytest.raises(TraitlensError, match="several values of 'site'"):
        find_strata(ratings.assign(site=np.arange(len(ratings)) % 2), raters, labels, ["site"])
    with pytest.raises(TraitlensError, match="no raters of two groups have the same group"):
        find_strata(ratings, raters, labels, ["group"])
    with pytest.raises(TraitlensError, match="is not numeric"):
        compare_means(ratings.assign(age="old"), covariates=["age"], permutations=9)


def test_agreement_is_the_mean_correlation_of_pairs(rng):
    values = rng.normal(size=12) + rng.normal(size=(9, 12))
    labels = np.repeat([0, 1], [4, 5])
    agreement = Agreement(as_matrix(values))
    expected = [
        np.mean(
            [np.corrcoef(values[i], values[j])[0, 1] for i, j in combinations(np.flatnonzero(labels == g), 2)]
        )
        for g in (0, 1)
    ]
    assert_allclose(np.ravel(agreement.means(labels[None])), expected, rtol=1e-10)
    gaps = np.where(rng.random(values.shape) < 0.3, np.nan, values)
    frame = pd.DataFrame(gaps.T)
    assert_allclose(correlate_raters(gaps, gaps), frame.corr(min_periods=4), rtol=1e-8, atol=1e-12)


def test_agreement_of_two_raters_is_left_out(rng):
    table = compare_agreement(make_ratings(rng, (2, 12), images=8), permutations=49)
    assert set(table["measure"]) == {"spread"}


@pytest.mark.parametrize(("raters", "noisy"), [((12, 60), "a"), ((12, 60), "b")])
def test_unreliable_groups_are_found_in_both_directions(rng, raters, noisy):
    ratings = make_ratings(rng, raters, images=40, traits=1)
    extra = np.where(ratings["group"] == noisy, 1.2 * rng.normal(size=len(ratings)), 0)
    table = compare_reliability(ratings.assign(rating=ratings["rating"] + extra), permutations=199, splits=20)
    assert table.loc[0, "p_corrected"] <= 0.05
    assert (table.loc[0, "estimate"] > 0) == (noisy == "b")


def test_repeats_of_one_group_are_left_out_and_those_of_both_are_averaged(rng):
    ratings = make_ratings(rng, (4, 4), images=6).assign(repeat=1)
    again = ratings.assign(repeat=2, rating=0.0)
    one = pd.concat([ratings, again[again["group"] == "a"]])
    columns = ["rater", "trait", "image"]
    kept = ratings_of_pair(one, ("a", "b")).sort_values(columns).reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, ratings.sort_values(columns).reset_index(drop=True))
    assert len(ratings_of_pair(pd.concat([ratings, again]), ("a", "b"))) == 2 * len(ratings)


@pytest.mark.slow
def test_the_smallest_difference_detectable_is_found_in_80_percent(rng):
    detectable = np.median(
        [compare_means(make_ratings(rng, (20, 20)), permutations=199)["detectable"].mean() for _ in range(20)]
    )
    found = [
        compare_means(make_ratings(rng, (20, 20), level=detectable), permutations=199)["p_corrected"] <= 0.05
        for _ in range(150)
    ]
    assert 0.7 < np.mean(found) < 0.88
