"""A network with two blocks and a study of few small faces: the whole flow in seconds, without weights."""

import pandas as pd
import torch

from traitlens.features import custom_backbones
from traitlens.report import page
from traitlens.study.simulated_study import simulate_study

SETTINGS = """
[comparison]
permutations = 9
pixels = 16
"""


def add_backbone(folder, name="tiny", channels=(8, 12)):
    """Add a network with one convolution in each block; TRAITLENS_CACHE says where."""
    torch.manual_seed(0)
    state, inputs = {}, 3
    for block, outputs in enumerate(channels, 1):
        state[f"conv{block}_1.weight"] = torch.randn(outputs, inputs, 3, 3) / inputs
        state[f"conv{block}_1.bias"] = torch.zeros(outputs)
        inputs = outputs
    torch.save(state, folder / f"{name}.pth")
    custom_backbones.add_backbone(folder / f"{name}.pth", name, "torchvision", "drawn by lot")


def make_study(folder, settings=SETTINGS, identities=8, traits=2, raters=4):
    """Simulate a study whose readouts read the tiny network."""
    simulate_study(
        folder, identities=identities, images=1, traits=traits, raters=raters, seed=3, size=64, seen_size=64
    )
    text = (folder / "study.toml").read_text().replace("block4_pool", "block2_pool")
    text = text.replace("[readout]", '[readout]\nbackbone = "tiny"').replace("number = 5", "number = 2")
    (folder / "study.toml").write_text(text + settings)
    return folder


def skip_figures(patch):
    """Write reports without figures: these are compared in tests of the report."""

    def draw(_results, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "none.svg").write_text("<svg/>")
        return {}

    patch.setattr(page, "draw_figures", draw)


def edit_table(file, change):
    """Change a table of a study."""
    table = pd.read_csv(file, dtype=dict.fromkeys(("image", "identity", "rater", "group", "trait"), str))
    table = change(table)
    table.to_csv(file, index=False)


def edit_settings(folder, *changes):
    """Replace texts of study.toml; each must be there."""
    text = (folder / "study.toml").read_text()
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    (folder / "study.toml").write_text(text)
