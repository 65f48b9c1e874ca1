"""
A simulated experiment
======================

Drawn faces get one part of another drawn face, and simulated raters of two groups rate them. The truth is known, so
that we can see how well an experiment finds it.
"""

from traitlens.experiment.agreement import measure_agreement, join_predictions
from traitlens.experiment.counterbalancing import counterbalanced_lists
from traitlens.experiment.effects import estimate_effects
from traitlens.experiment.trials import join_trials
from traitlens.experiment.simulated_experiments import (
    draw_experiment,
    expected_power,
    planted_effects,
    simulate_ratings,
)
from traitlens.report.picture_rows import Picture, Row, draw_rows
from traitlens.report.region_charts import plot_experiment
from traitlens.study.drawing.face import draw_face
from traitlens.study.drawing.parameters import PARTS
from traitlens.study.simulated_raters import GROUPS, RatingBehaviour

experiment = draw_experiment(bases=12, seed=1)
parts = tuple(PARTS)
rows = []
for region in ("eyes", "mouth", "jaw"):
    names = [f"face03__{region}__{end}.png" for end in ("low", "high")]
    panels = [Picture(draw_face(experiment.faces[name], 256).picture) for name in names]
    rows.append(Row(panels, None, f"{region}, low and high"))
draw_rows(rows, width=89, clipped=False)

# %%
# Two times 40 raters, each of whom sees every base face in one version:

pictures = experiment.repeat_for_traits(["warm"])
lists = counterbalanced_lists(pictures, versions=1, seed=1)
ratings = simulate_ratings(experiment, lists, difference=0.6, raters=40, seed=3)
trials = join_trials(ratings, pictures)
found = estimate_effects(trials, GROUPS, permutations=499)
found.differences.round(3)

# %%
# Observed effects against those that were planted:

planted = planted_effects(["warm"], parts, 0.6, RatingBehaviour())
joined = join_predictions(found.effects, planted)
plot_experiment(joined, groups=list(GROUPS))

# %%
# Their agreement:

measure_agreement(joined).round(2)

# %%
# The power for a difference of half a point per standard deviation, by its closed form:

round(expected_power(0.5, raters=40, faces=12, squares=2, noise=1.2, taste=0.3, tests=len(parts)), 2)
