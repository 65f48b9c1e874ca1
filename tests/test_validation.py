"""Simulated studies end to end."""

import pandas as pd
import pytest

from traitlens.comparison.face_sets import synthetic_faces
from traitlens.simulation.validation import run_power, run_validation


@pytest.mark.slow
@pytest.mark.weights
def test_validation_goes_on_where_it_was(tmp_path):
    options = {"identities": 12, "images": 1, "sizes": (64,), "null_studies": 2}
    rates = run_validation(tmp_path, studies=0, **options)
    assert set(rates["difference"]) == {0.0}
    assert set(rates["studies"]) == {4}  # two for each three of the six traits
    counted = sorted((tmp_path / "simulated").iterdir())
    before = [path.stat().st_mtime_ns for path in counted]
    both = run_validation(tmp_path, studies=2, **options)
    assert set(both["difference"]) == {0.0, 0.4, 0.6}
    assert [path.stat().st_mtime_ns for path in counted] == before
    places = pd.read_csv(tmp_path / "validation_places.csv")
    planted = places[(places["planted"] != 0) & (places["difference"] == 0.6)]
    assert set(planted["trait"]) == {"warm", "trustworthy", "critical", "practical"}
    for name in ("validation.csv", "validation.svg", "validation.png"):
        assert (tmp_path / name).exists(), name


def test_power_leaves_a_table_and_a_figure(tmp_path):
    table = run_power(tmp_path, [4, 8], [0.5], synthetic_faces(30, 1), studies=2)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "power.csv"), table)
    assert (tmp_path / "power.svg").stat().st_size > 1000
