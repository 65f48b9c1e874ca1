"""Effects of altered regions against a regression with dummies, and properties of the estimates."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traitlens.experiment.effects import estimate_effects
from traitlens.study.simulated_raters import GROUPS

REGIONS = ("eyes", "mouth", "jaw")


def make_trials(seed, raters=6, bases=5, share=0.7, slopes=((0.5, 1.0, 0.0), (0.5, 0.2, 0.0))):
    """Make unbalanced trials of two groups."""
    rng = np.random.default_rng(seed)
    rows = [
        (
            f"{group}{rater}",
            group,
            "warm",
            base,
            region,
            step,
            4 + base / 2 + slope[place] * step + rng.normal(),
        )
        for group, slope in zip(GROUPS, slopes, strict=True)
        for rater in range(raters)
        for base in range(bases)
        for place, region in enumerate(REGIONS)
        for step in (-1.1, 0.9)
        if rng.random() < share
    ]
    return pd.DataFrame(rows, columns=["rater", "group", "trait", "base", "region", "step", "rating"])


@pytest.mark.parametrize("seed", [0, 1])
def test_effects_of_one_group_are_those_of_a_regression_with_dummies(seed):
    import statsmodels.formula.api as smf

    trials = make_trials(seed).query("group == @GROUPS[0]").assign()
    for region in REGIONS:
        trials[region] = np.where(trials["region"] == region, trials["step"], 0.0)
    fit = smf.ols("rating ~ C(rater) + C(base) + eyes + mouth + jaw", trials).fit()
    found = estimate_effects(trials, [GROUPS[0]], permutations=1)
    observed = found.effects.set_index("region")["effect"]
    np.testing.assert_allclose(observed[list(REGIONS)], fit.params[list(REGIONS)], rtol=1e-8, atol=1e-10)
    assert found.differences.empty


def test_standard_error_adds_the_variances_over_raters_and_faces():
    import statsmodels.formula.api as smf

    trials = make_trials(3, raters=12, bases=10, share=1.0).query("group == @GROUPS[0]").assign()
    for region in REGIONS:
        trials[region] = np.where(trials["region"] == region, trials["step"], 0.0)
    model = smf.ols("rating ~ C(rater) + C(base) + eyes + mouth + jaw", trials)

    def variance(clusters):
        kinds = {"groups": pd.factorize(clusters)[0], "use_correction": False}
        return model.fit(cov_type="cluster", cov_kwds=kinds).bse[list(REGIONS)].to_numpy() ** 2

    raters = variance(trials["rater"]) * 12 / 11
    faces = variance(trials["base"]) * 10 / 9
    cells = variance(trials["rater"] + trials["base"].astype(str))
    expected = np.sqrt(np.maximum(raters, raters + faces - cells))
    found = estimate_effects(trials, [GROUPS[0]], permutations=1).effects.set_index("region")["se"]
    np.testing.assert_allclose(found[list(REGIONS)], expected, rtol=1e-6)


@settings(max_examples=8)
@given(st.integers(0, 100), st.floats(-3, 3), st.floats(-3, 3))
def test_levels_of_raters_and_faces_do_not_matter(seed, level, height):
    trials = make_trials(seed, raters=4, bases=4)
    moved = trials.assign(
        rating=trials["rating"]
        + level * (trials["rater"] == trials["rater"].iloc[0])
        + height * (trials["base"] == 2)
    )
    before, after = (estimate_effects(one, GROUPS, permutations=9) for one in (trials, moved))
    pd.testing.assert_frame_equal(before.effects, after.effects, atol=1e-7)
    pd.testing.assert_frame_equal(before.differences, after.differences, atol=1e-7)


def test_a_planted_difference_is_found_and_no_other():
    trials = make_trials(5, raters=20, bases=8, share=1.0)
    table = estimate_effects(trials, GROUPS, permutations=199).differences.set_index("region")
    assert table["p"]["mouth"] < 0.05
    assert table["p"][["eyes", "jaw"]].min() > 0.05
    assert table["difference"]["mouth"] == pytest.approx(0.8, abs=0.3)


def test_the_order_of_rows_does_not_matter():
    trials = make_trials(6)
    shuffled = trials.sample(frac=1, random_state=1)
    before, after = (estimate_effects(one, GROUPS, permutations=49) for one in (trials, shuffled))
    merged = before.differences.merge(after.differences, on=["trait", "region"])
    np.testing.assert_allclose(merged["p_x"], merged["p_y"])
