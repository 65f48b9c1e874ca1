"""A study with a residual network: features, readouts, maps, cues, saved models and report."""

import numpy as np
import pytest
import torch
from tests.oracles.residual import ResNet
from tests.tiny import edit_settings, make_study, skip_figures

from traitlens.api import Run
from traitlens.artifacts import (
    IMAGE_CUES,
    PERFORMANCE,
    REGIONAL_MODEL,
)
from traitlens.features import custom_backbones
from traitlens.features.backbone import load_backbone
from traitlens.problems import TraitlensError
from traitlens.readouts.trait_models import TraitModels
from traitlens.study.reading import Study


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("residual")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAITLENS_CACHE", str(folder / "cache"))
        skip_figures(patch)
        torch.save(ResNet((1, 1), False, 4).state_dict(), folder / "net.pth")
        custom_backbones.add_backbone(folder / "net.pth", "tiny", "torchvision", "drawn by lot")
        study = make_study(folder / "study", identities=6, traits=1)
        edit_settings(study, ("block2_pool", "layer2_1"))
        run = Run(Study.load(study))
        run.report()
        run.close()
        yield study


def test_the_report_says_what_network_it_was(done):
    text = (done / "results" / "report.html").read_text()
    assert "a residual network" in text
    assert np.isfinite(PERFORMANCE.read(done / "results")["r"]).all()


def test_cues_sum_to_the_saved_models_predictions(done):
    results = done / "results"
    cues = IMAGE_CUES.read(results)
    assert np.isfinite(cues["cue"]).all()
    model = TraitModels.load(REGIONAL_MODEL.of(results))
    assert model.backbone_digest == load_backbone("tiny").digest


def test_fine_tuning_is_refused(done):
    edit_settings(done, ('method = "ridge"', 'method = "finetune"'), ("layer2_1", "layer1_1"))
    run = Run(Study.load(done))
    with pytest.raises(TraitlensError, match="residual"):
        run.make("fit")
    run.close()
