"""`traitlens fetch`: a model of public impressions, and requests that cannot be met."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.tiny import add_backbone
from typer.testing import CliRunner

from traitlens.cli import app
from traitlens.readouts.trait_models import TraitModels
from traitlens.study import fetching, impressions_study

TINY = """
name = "Impressions"

[faces]
crop = "full"
size = 64

[folds]
number = 2

[readout]
backbone = "tiny"
tap = "block2_pool"
taps = ["block1_pool", "block2_pool"]
whiten = 0.1
across_traits = true
sharing = 0.0

[comparison]
use = false
"""


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """A folder like that of the set, with twelve images and two attributes."""
    monkeypatch.setenv("TRAITLENS_CACHE", str(tmp_path / "cache"))
    add_backbone(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "omi" / "images").mkdir(parents=True)
    for stimulus in range(1, 13):
        pixels = rng.integers(0, 256, (70, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "omi" / "images" / f"{stimulus}.jpg")
    means = pd.DataFrame(
        {"stimulus": range(1, 13)} | {name: rng.random(12) * 100 for name in ("happy", "smart")}
    )
    means.to_csv(tmp_path / "omi" / "attribute_means.csv", index=False)
    monkeypatch.setattr(impressions_study, "SETTINGS", TINY)
    monkeypatch.setattr(fetching, "fetch", lambda name, out, *others: out)
    return tmp_path / "omi"


def test_a_model_of_the_impressions_is_fitted(fetched):
    done = CliRunner().invoke(app, ["--json", "fetch", "omi", str(fetched), "--yes", "--fit"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert {row["trait"]: row["ceiling_r2"] for row in told["performance"]} == {
        "happy": 0.981,
        "smart": 0.865,
    }
    assert sorted(pd.read_csv(fetched / "impressions.csv")["trait"]) == ["happy", "smart"]
    assert {one.trait for one in TraitModels.load(fetched / "results" / "models").readouts} == {
        "happy",
        "smart",
    }


@pytest.mark.parametrize(
    ("arguments", "part"), [(["omi"], "needs a folder"), (["3dsk", "somewhere", "--fit"], "--fit is for omi")]
)
def test_requests_that_cannot_be_met(arguments, part):
    done = CliRunner().invoke(app, ["fetch", *arguments])
    assert done.exit_code != 0
    assert part in done.output + str(done.exception)
