import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from statsmodels.regression.mixed_linear_model import MixedLM

from traitlens.ratings.rating_matrix import RatingMatrix, find_blocks, make_matrix
from traitlens.ratings.reliability import _draw_halves, reliability_table, split_half
from traitlens.ratings.targets import make_targets
from traitlens.ratings.variance_components import _fit_reml, estimate_components, icc_intervals

# Shrout and Fleiss (1979), table 2: six targets, four judges; table 4 gives ICC(2,1) = .29,
# ICC(3,1) = .71, ICC(2,4) = .62, ICC(3,4) = .91; psych::ICC prints the same with bounds to two places.
SHROUT = np.array([[9, 6, 8, 7, 10, 6], [2, 1, 4, 1, 5, 2], [5, 3, 6, 2, 6, 4], [8, 2, 8, 6, 9, 7]], float)


def load_oracle(name):
    path = Path(__file__).parents[1] / "oracles" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def as_matrix(values):
    return RatingMatrix(values, pd.RangeIndex(values.shape[0]), pd.RangeIndex(values.shape[1]))


def as_long(values):
    wide = pd.DataFrame(values).rename_axis("rater").reset_index()
    long = wide.melt("rater", var_name="image", value_name="rating").dropna()
    return long.assign(group="g", trait="warm", repeat=1)


def simulate(rng, raters, images, image=1.0, rater=0.7, residual=1.5, missing=0.0):
    values = (
        image * rng.normal(size=images)
        + rater * rng.normal(size=(raters, 1))
        + residual * rng.normal(size=(raters, images))
    )
    values[rng.random(values.shape) < missing] = np.nan
    return values


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_icc_of_shrout_and_fleiss():
    found = icc_intervals(as_matrix(SHROUT), estimate_components(as_matrix(SHROUT)))
    rounded = {name: round(float(one.estimate), 2) for name, one in found.items()}
    assert rounded == {"icc_2_1": 0.29, "icc_2_k": 0.62, "icc_3_1": 0.71, "icc_3_k": 0.91}
    bounds = {name: (round(float(one.low), 2), round(float(one.high), 2)) for name, one in found.items()}
    assert bounds["icc_2_1"] == (0.02, 0.76)
    assert bounds["icc_3_1"] == (0.34, 0.95)


@pytest.mark.parametrize("shape", [(4, 9), (12, 40), (30, 25)])
def test_icc_and_alpha_agree_with_pingouin(rng, shape):
    values = simulate(rng, *shape)
    table = pingouin.intraclass_corr(as_long(values), "image", "rater", "rating").set_index("Type")
    found = icc_intervals(as_matrix(values), estimate_components(as_matrix(values)))
    names = {"icc_2_1": "ICC(A,1)", "icc_2_k": "ICC(A,k)", "icc_3_1": "ICC(C,1)", "icc_3_k": "ICC(C,k)"}
    for ours, theirs in names.items():
        assert_allclose(found[ours].estimate, table.loc[theirs, "ICC"], rtol=0, atol=1e-6)
        # pingouin rounds intervals to two places
        assert_allclose([found[ours].low, found[ours].high], table.loc[theirs, "CI95"], rtol=0, atol=0.0051)
    alpha, _ = pingouin.cronbach_alpha(pd.DataFrame(values.T))
    assert_allclose(found["icc_3_k"].estimate, alpha, rtol=0, atol=1e-6)


def test_reml_equals_mean_squares_where_complete(rng):
    values = simulate(rng, 12, 40)
    by_squares, fitted = estimate_components(as_matrix(values)), _fit_reml(values)
    for name in ("image", "rater", "residual"):
        assert_allclose(getattr(fitted, name), getattr(by_squares, name), rtol=1e-4)


@pytest.mark.parametrize("shape", [(8, 15), (15, 8)])
def test_reml_agrees_with_statsmodels_where_ratings_are_missing(rng, shape):
    values = simulate(rng, *shape, missing=0.3)
    long = as_long(values).assign(one=1)
    formula = {"image": "0 + C(image)", "rater": "0 + C(rater)"}
    fit = MixedLM.from_formula("rating ~ 1", long, groups="one", vc_formula=formula).fit(reml=True)
    found = estimate_components(as_matrix(values))
    expected = dict(zip(fit.model.exog_vc.names, fit.vcomp, strict=True)) | {"residual": fit.scale}
    for name, value in expected.items():
        assert_allclose(getattr(found, name), value, rtol=2e-2, atol=2e-3)


def test_variances_are_found_again_on_average(rng):
    found = [estimate_components(as_matrix(simulate(rng, 15, 30, missing=0.4))) for _ in range(60)]
    for name, truth in (("image", 1.0), ("rater", 0.49), ("residual", 2.25)):
        values = np.array([getattr(one, name) for one in found])
        assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values))


def test_split_half_equals_all_halves(rng):
    values = simulate(rng, 8, 30)
    half, reliability = load_oracle("split_half_by_hand").split_half_of_all_halves(values)
    found = split_half(as_matrix(values), splits=5000)
    assert_allclose(found.half_correlation, half, rtol=0, atol=0.005)
    assert_allclose(found.reliability, reliability, rtol=0, atol=0.005)


def test_gaps_and_no_gaps_take_one_road_to_one_answer(rng):
    values = simulate(rng, 9, 30)
    complete = split_half(as_matrix(values), splits=100, images="random")
    # One more image that one rater saw cannot enter any half pair, but makes the design incomplete.
    gappy = np.column_stack([values, np.full(9, np.nan)])
    gappy[0, -1] = 3.0
    other = split_half(as_matrix(gappy[:, :]), splits=100)
    assert abs(other.half_correlation - complete.half_correlation) < 0.05
    from traitlens.ratings.reliability import _complete_correlations, _incomplete_correlations

    halves = np.where(rng.random((5, 9)) > 0.5, 1, -1)
    for fast, slow in zip(
        _complete_correlations(values, halves), _incomplete_correlations(values, halves), strict=True
    ):
        assert_allclose(fast, slow, rtol=1e-9)


def test_reliability_rises_with_raters_as_spearman_and_brown_say(rng):
    values = simulate(rng, 60, 200)
    few = np.mean([split_half(as_matrix(values[k::6]), 100).reliability for k in range(6)])
    many = split_half(as_matrix(values), 200).reliability
    assert_allclose(many, 6 * few / (1 + 5 * few), rtol=0, atol=0.02)


def test_raters_nested_in_sets_of_images(rng):
    values = np.full((24, 40), np.nan)
    complete = simulate(rng, 24, 40, rater=0.0)
    values[:12, :20], values[12:, 20:] = complete[:12, :20], complete[12:, 20:]
    component, pattern = find_blocks(~np.isnan(values))
    assert len(np.unique(component)) == len(np.unique(pattern)) == 2
    halves = _draw_halves(component, pattern, 20, rng)
    assert (halves[:, :12].sum(axis=1) == 0).all()
    assert (halves[:, 12:].sum(axis=1) == 0).all()
    truth = 1 / (1 + 1.5**2 / 12)
    assert abs(split_half(as_matrix(values)).reliability - truth) < 0.1


@settings(max_examples=25)
@given(st.integers(3, 9), st.integers(0, 10_000), st.floats(0.5, 3), st.floats(-5, 5))
def test_scale_and_level_do_not_matter(raters, seed, scale, shift):
    values = simulate(np.random.default_rng(seed), raters, 12)
    here, there = (split_half(as_matrix(v), 50) for v in (values, values * scale + shift))
    assert_allclose(there.reliability, here.reliability, rtol=1e-6, atol=1e-6)
    assert here.ci_low <= here.reliability <= here.ci_high


def test_table(rng):
    ratings = pd.concat([as_long(simulate(rng, 12, 30)).assign(group=group) for group in "ab"])
    table = reliability_table(ratings, splits=200)
    assert_allclose(table["ceiling_r"] ** 2, table["ceiling_r2"], rtol=1e-12)
    assert_allclose(table["ceiling_r2"], table["alpha"], rtol=0, atol=0.02)
    assert (table["ceiling_r2_low"] < table["ceiling_r2"]).all()
    averaged = make_targets(ratings)[["group", "trait", "image", "rating"]]
    empty = reliability_table(averaged)
    assert empty["ceiling_r2"].isna().all()
    assert empty["note"].str.contains("averages").all()
    assert (empty["n_images"] == 30).all()


def test_retest_is_the_mean_correlation_of_first_and_second_ratings(rng):
    tables, z = [], []
    for rater in range(4):
        first = rng.normal(size=20)
        second = first + 0.5 * rng.normal(size=20)
        again = np.arange(20) < 12
        z.append(np.arctanh(np.corrcoef(first[again], second[again])[0, 1]))
        for repeat, values, rated in ((1, first, np.full(20, True)), (2, second, again)):
            tables.append(
                pd.DataFrame(
                    {
                        "image": np.flatnonzero(rated),
                        "rating": values[rated],
                        "rater": rater,
                        "repeat": repeat,
                    }
                )
            )
    ratings = pd.concat(tables).assign(group="g", trait="warm").sample(frac=1, random_state=0)
    row = reliability_table(ratings, splits=20).iloc[0]
    assert row["n_retest"] == 4
    assert_allclose(row["retest_r"], np.tanh(np.mean(z)), rtol=1e-9)
    assert reliability_table(ratings[ratings["repeat"] == 1], splits=20)["n_retest"].tolist() == [0]


def test_targets_count_each_rater_once():
    ratings = pd.DataFrame(
        [("a", 1.0, 1), ("a", 3.0, 2), ("b", 6.0, 1)], columns=["rater", "rating", "repeat"]
    ).assign(group="g", trait="warm", image="1")
    row = make_targets(ratings).iloc[0]
    assert (row["rating"], row["n"]) == (4.0, 2)
    assert_allclose(row["sd"], np.sqrt(8), rtol=1e-12)
    averaged = pd.DataFrame({"group": "g", "trait": "t", "image": "1", "rating": [1.0, 4.0], "n": [1, 2]})
    assert make_targets(averaged)["rating"].tolist() == [3.0]
    assert make_matrix(ratings).ratings.tolist() == [[2.0], [6.0]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "raters", "residual"), [("fixed", 20, 1.5), ("fixed", 40, 4.0), ("random", 20, 1.5)]
)
def test_ceiling_interval_covers_the_truth(images, raters, residual):
    rng = np.random.default_rng(2)
    fixed = rng.normal(size=100)
    hits = 0
    for data_set in range(1000):
        true = fixed if images == "fixed" else rng.normal(size=100)
        values = true + 0.5 * rng.normal(size=(raters, 1)) + residual * rng.normal(size=(raters, 100))
        variance = fixed.var(ddof=1) if images == "fixed" else 1.0
        truth = variance / (variance + residual**2 / raters)
        found = split_half(as_matrix(values), 300, data_set, images)
        hits += found.ci_low <= truth <= found.ci_high
    assert 930 <= hits <= 970
