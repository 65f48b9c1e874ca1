"""Simulated studies end to end."""

import pandas as pd
import pytest

from traitlens.comparison.known_faces import Design, KnownFaces
from traitlens.simulation.validation import run_power, run_validation


@pytest.mark.slow
@pytest.mark.weights
def test_validation_goes_on_where_it_was(tmp_path):
    options = {"raters": 4, "null_studies": 2, "permutations": 19, "identities": 12, "size": 64}
    rates = run_validation(tmp_path, studies=0, **options)
    assert rates["test"].tolist() == ["region", "performance", "reliability"]
    kept = sorted((tmp_path / "kept" / "simulated").iterdir())
    before = [path.stat().st_mtime_ns for path in kept]
    both = run_validation(tmp_path, studies=2, **options)
    assert both["difference"].tolist() == [0.0] * 3 + [0.6] * 3
    assert [path.stat().st_mtime_ns for path in kept] == before
    places = pd.read_csv(tmp_path / "validation_places.csv")
    planted = places[places["planted"]]
    assert set(planted["difference"]) == {0.6}
    assert set(planted["trait"]) == {"warm", "trustworthy"}
    assert {"mouth", "left eye"} <= set(planted["region"])
    for name in ("validation.csv", "validation.svg", "validation.png"):
        assert (tmp_path / name).exists(), name


def test_power_leaves_a_table_and_a_figure(tmp_path):
    faces = KnownFaces.of(Design(images=30, traits=1))
    table = run_power(tmp_path, [4, 8], [0.5], faces, studies=2)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "power.csv"), table)
    assert (tmp_path / "power.svg").stat().st_size > 1000
