"""What a run is said to need before it starts."""

from dataclasses import replace

import pandas as pd
import pytest

from traitlens.pipeline.estimate import Estimate, list_needs, refuse_what_cannot_fit
from traitlens.problems import TraitlensError
from traitlens.study.reading import Study
from traitlens.study.settings import ReadoutSettings
from traitlens.study.simulation import simulate_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("estimate") / "study"
    simulate_study(folder, identities=10, images=1, traits=1, raters=2, size=64, seen_size=224)
    return Study.load(folder)


def of_size(study, images, method="ridge"):
    """The same study with another number of images."""
    readout = ReadoutSettings(method=method)
    table = pd.concat([study.images] * -(-images // len(study.images)))[:images]
    return replace(study, images=table, settings=study.settings.model_copy(update={"readout": readout}))


def test_readouts_of_twenty_thousand_images_fit_into_three_gigabytes(study):
    assert list_needs(of_size(study, 20_000))["fit"].memory < 3e9
    assert list_needs(of_size(study, 20_000, "dense"))["fit"].memory < 0.2e9


def test_twice_the_images_take_four_times_the_kernel_and_eight_times_its_factorising(study):
    once, twice = (list_needs(of_size(study, images))["fit"] for images in (2_000, 4_000))
    assert 2.5 < twice.memory / once.memory < 4
    assert twice.seconds / once.seconds == pytest.approx(8)


def test_what_cannot_fit_is_refused_with_what_to_change(study, tmp_path):
    needs = tuple(list_needs(of_size(study, 2_000_000)).values())
    most = max(need.memory for need in needs)
    with pytest.raises(TraitlensError, match="most of it for the") as refused:
        refuse_what_cannot_fit(Estimate(needs, 0.0, most, sum(need.disk for need in needs)), tmp_path)
    memory, disk = refused.value.problems
    assert "set comparison.regions = false" in memory.advice
    assert "choose another --out" in disk.advice
