"""
A whole study and its report
============================

A simulated study from drawn faces to the report. The notebook below this page needs no other file; in a hosted
notebook such as Colab, install traitlens in a first cell (see :doc:`../installation`).
"""

from pathlib import Path

import pandas as pd

import traitlens as tl
from traitlens.study.simulated_study import SimulatedTruth, simulate_study

folder = Path("simulated_study")
if not folder.exists():
    simulate_study(folder, identities=30, images=2, traits=2, raters=16, seen_size=128, seed=1)
    with (folder / "study.toml").open("a", encoding="utf-8") as settings:
        settings.write("\n[comparison]\npermutations = 500\npixels = 0\ncues = false\n")

# %%
# Two groups of simulated raters give different weights to some parts of the face:

print(SimulatedTruth.load(folder).differences.query("difference != 0"))

# %%
# One call runs all stages; the same call after a change of a setting repeats only what depends on it.

run = tl.run(folder)
print(run.performance[["group", "trait", "r", "ci_low", "ci_high", "ceiling_r"]].round(2))

# %%
# Tests of whether the groups use the regions of the face differently, in rating points per standard deviation of a cue:

tests = pd.read_csv(run.results / "cues" / "tests.csv")
use = tests[tests["question"] == "use"].sort_values("p_corrected")
print(use[["trait", "region", "value_1", "value_2", "p_corrected"]].head(6).round(3).to_string(index=False))

# %%
# `The report of this study <../simulated_study_report.html>`__ is one file that can be read without a network. One of
# its figures, as a figure of matplotlib:

figure = tl.draw_figure(run.results, "region_differences")
