"""What a run is estimated to need before it starts."""

from dataclasses import replace

import pandas as pd
import pytest
from tests.tiny import add_backbone, edit_settings, make_study

from traitlens.api import Run
from traitlens.artifacts import FEATURES
from traitlens.pipeline import Context, costs
from traitlens.pipeline.estimate import Estimate, check_resources
from traitlens.pipeline.flow import FLOW
from traitlens.problems import TraitlensError
from traitlens.study.reading import Study
from traitlens.study.settings import ReadoutSettings
from traitlens.study.simulated_study import simulate_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("estimate") / "study"
    simulate_study(folder, identities=10, images=1, traits=1, raters=2, size=64, seen_size=224)
    return Study.load(folder)


def of_size(study, images, method="ridge"):
    """The same study with another number of images."""
    readout = ReadoutSettings(method=method)
    table = pd.concat([study.images] * -(-images // len(study.images)), ignore_index=True)[:images]
    settings = study.settings.model_copy(update={"readout": readout})
    return Context(replace(study, images=table, settings=settings))


def test_readouts_of_twenty_thousand_images_fit_into_three_gigabytes(study):
    assert costs.fit(of_size(study, 20_000)).memory < 3e9
    assert costs.fit(of_size(study, 20_000, "dense")).memory < 0.2e9


def test_twice_the_images_take_four_times_the_kernel_and_eight_times_its_factorising(study):
    once, twice = (costs.fit(of_size(study, images)) for images in (2_000, 4_000))
    assert 2.5 < twice.memory / once.memory < 4
    assert twice.seconds / once.seconds == pytest.approx(8)


def test_what_cannot_fit_is_refused_with_what_to_change(study, tmp_path):
    context = of_size(study, 2_000_000)
    needed = {stage: stage.cost(context) for stage in FLOW}
    most = max(cost.memory for cost in needed.values())
    with pytest.raises(TraitlensError, match="most of it for: ") as refused:
        check_resources(Estimate(needed, 0.0, most, sum(cost.disk for cost in needed.values())), tmp_path)
    memory, disk = refused.value.problems
    assert "set readout.grid lower" in memory.advice
    assert "choose another --out" in disk.advice


READOUTS = {
    "block1_pool": ("block2_pool", "block1_pool"),
    "a fine grid": ("grid = 2", "grid = 7"),
    "three views": ("grid = 2", "grid = 2\nviews = { image = 1, face = 0.5, eyes = 0.25 }"),
    "two taps": ("grid = 2", 'grid = 2\ntaps = ["block1_pool", "block2_pool"]'),
    "fine-tuning": ('method = "ridge"', 'method = "finetune"'),
    "mirror images": ("grid = 2", "grid = 2\nmirror = true"),
}


LARGEST = ("a fine grid", "three views")
OTHERS = [pytest.param(change, marks=pytest.mark.slow) for change in READOUTS if change not in LARGEST]


@pytest.mark.parametrize("change", [*LARGEST, *OTHERS])
def test_disk_of_features_is_what_a_run_writes(tmp_path, monkeypatch, change):
    monkeypatch.setenv("TRAITLENS_CACHE", str(tmp_path / "cache"))
    add_backbone(tmp_path)
    folder = make_study(tmp_path / "study", identities=6)
    before, after = READOUTS[change]
    edit_settings(folder, (before, after))
    if change == "fine-tuning":
        edit_settings(folder, ("block2_pool", "block1_pool"))
    done = Run(Study.load(folder))
    done.make("features")
    header = 128  # of the file, whatever it holds
    estimated, written = costs.features(done.context).disk, FEATURES.of(done.results).stat().st_size - header
    done.close()
    assert estimated == pytest.approx(written, rel=0.1)


@pytest.mark.parametrize("stage", [costs.features, costs.maps, costs.altered_faces, costs.pixels])
def test_mirror_images_double_what_the_network_does(study, stage):
    once, both = (
        replace(study, settings=study.settings.model_copy(update={"readout": ReadoutSettings(mirror=mirror)}))
        for mirror in (False, True)
    )
    assert stage(Context(both)).passes == pytest.approx(2 * stage(Context(once)).passes)
