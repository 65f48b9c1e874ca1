"""Tests between groups with a readout of several layers, whitened, that borrows across traits."""

import numpy as np
import pytest
from tests.tiny import add_backbone, edit_settings, make_study

from traitlens.api import Run
from traitlens.artifacts import PERFORMANCE_TESTS, PIXEL_TESTS
from traitlens.study.reading import Study


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("combined")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAITLENS_CACHE", str(folder / "cache"))
        add_backbone(folder)
        study = make_study(folder / "study", identities=8, traits=2)
        more = 'taps = ["block1_pool", "block2_pool"]\nwhiten = 0.1\nacross_traits = true\n'
        views = "views = { image = 1.0, eyes = 0.5 }"
        edit_settings(study, ('tap = "block2_pool"', f'tap = "block2_pool"\n{more}{views}'))
        run = Run(Study.load(study))
        run.make("compare_performance")
        run.make("compare_pixels")
        run.close()
        yield study / "results"


def test_performance_and_pixels_are_tested(done):
    assert np.isfinite(PERFORMANCE_TESTS.read(done)["p"]).all()
    assert "p_family" in PIXEL_TESTS.read(done)
