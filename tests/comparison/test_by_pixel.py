import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy import ndimage, stats

from traitlens.comparison.by_pixel import CAUTION, _enhance, compare_pixels
from traitlens.problems import TraitlensError


def load_oracle(name):
    path = Path(__file__).parents[1] / "oracles" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def make_maps(rng, raters=24, side=16, planted=0.0):
    values = ndimage.gaussian_filter(rng.normal(size=(raters, side, side)), (0, 1.5, 1.5)) * 5
    values[raters // 2 :, 4:8, 4:8] += planted
    return xr.DataArray(values, dims=("rater", "y", "x"))


def two_groups(raters=24):
    return pd.Series(["a"] * (raters // 2) + ["b"] * (raters - raters // 2))


def test_statistics_agree_with_scipy(rng):
    maps = make_maps(rng)
    flat = maps.to_numpy().reshape(24, -1)
    t = compare_pixels(maps, two_groups(), permutations=9).maps
    expected = stats.ttest_ind(flat[:12], flat[12:], equal_var=False).statistic
    assert_allclose(t["statistic"].to_numpy().ravel(), expected, rtol=1e-9)
    three = pd.Series(["a", "b", "c"] * 8)
    f = compare_pixels(maps, three, permutations=9)
    expected = stats.f_oneway(*[flat[k::3] for k in range(3)]).statistic
    assert_allclose(f.maps["statistic"].to_numpy().ravel(), expected, rtol=1e-9)
    age = pd.Series(rng.normal(size=24))
    slope = compare_pixels(maps, age, permutations=9)
    fit = [stats.linregress(age, column) for column in flat.T]
    assert_allclose(slope.maps["estimate"].to_numpy().ravel(), [one.slope for one in fit], rtol=1e-9)
    assert_allclose(
        slope.maps["statistic"].to_numpy().ravel(), [one.slope / one.stderr for one in fit], rtol=1e-9
    )
    assert (t.attrs["test"], f.test, slope.test) == ("t", "F", "slope")


def test_tfce_agrees_with_its_definition_and_with_mne(rng):
    from mne.stats.cluster_level import _find_clusters

    frame = ndimage.gaussian_filter(rng.normal(size=(14, 14)), 1.2) * 8
    inside = np.ones(frame.shape, bool)
    inside[:3, :3] = False
    frame[~inside] = 0
    enhanced = np.zeros(frame.shape)
    enhanced[inside] = _enhance(frame[inside][None], inside, "tfce", 0)[0]
    stepped = load_oracle("tfce_by_steps").tfce_by_steps(frame)
    assert_allclose(enhanced, stepped, rtol=2e-3, atol=2e-3 * np.abs(stepped).max())
    _, of_mne = _find_clusters(frame, {"start": 0, "step": 0.005}, tail=0)
    assert_allclose(np.abs(enhanced).ravel(), np.abs(of_mne), rtol=0.02, atol=0.01 * np.abs(of_mne).max())


@pytest.mark.parametrize("method", ["tfce", "cluster_mass", "pixel"])
def test_a_planted_difference_is_found(rng, method):
    result = compare_pixels(make_maps(rng, planted=3.0), two_groups(), method=method, permutations=199)
    top = result.clusters.iloc[0]
    assert 4 <= top["y"] < 8
    assert 4 <= top["x"] < 8
    assert top["sign"] == -1
    assert top["p_corrected"] <= 0.01
    assert top["effect_size"] < -0.8
    assert result.caution == CAUTION


def test_cluster_mass_is_the_sum_over_an_area():
    frame = np.array([[3.0, 4.0, 0, -5.0], [0, 0, 0, -3.0], [9.0, 0, 1.0, 0]])
    inside = np.ones(frame.shape, bool)
    mass = _enhance(frame.reshape(1, -1), inside, "cluster_mass", 2.0).reshape(frame.shape)
    assert_allclose(mass, [[7, 7, 0, -8], [0, 0, 0, -8], [9, 0, 0, 0]], rtol=0, atol=0)


def test_false_positives_are_held(rng):
    hits = [
        float(compare_pixels(make_maps(rng), two_groups(), permutations=39).maps["p_corrected"].min()) <= 0.05
        for _ in range(120)
    ]
    low, high = stats.binom.ppf([0.001, 0.999], 120, 0.05)
    assert low <= sum(hits) <= high


def test_the_mask_leaves_pixels_out(rng):
    mask = np.zeros((16, 16), bool)
    mask[3:12, 3:12] = True
    result = compare_pixels(make_maps(rng), two_groups(), mask=mask, permutations=9)
    assert np.isnan(result.maps["p_corrected"].to_numpy()[~mask]).all()
    assert np.isfinite(result.maps["p_corrected"].to_numpy()[mask]).all()


def test_faults_are_told(rng):
    maps = make_maps(rng)
    with pytest.raises(TraitlensError, match="24 maps and 20 scores"):
        compare_pixels(maps, two_groups(20))
    with pytest.raises(TraitlensError, match="unknown method 'tfc'"):
        compare_pixels(maps, two_groups(), method="tfc")
    with pytest.raises(TraitlensError, match="one group"):
        compare_pixels(maps, pd.Series(["a"] * 24))
