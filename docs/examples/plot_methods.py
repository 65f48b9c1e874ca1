"""
One prediction, several methods
===============================

Maps are made by a method, and methods differ. If a conclusion changes with the method, say so.
"""

from example_study import load_example

import traitlens as tl
from traitlens.report.colouring import colour, smooth, symmetric_limit
from traitlens.report.picture_rows import Picture, Row, draw_rows

study = load_example()
models = tl.fit(study)
readouts = [readout for readout in models.readouts if readout.fold == 0][:1]

# %%
# An image of the fold that this readout did not see, one that may be shown:

folds = models.predictions.drop_duplicates("image")
allowed = set(study.images.loc[study.images["may_publish"].astype(bool), "image"])
image = next(one for one in folds.loc[folds["fold"] == 0, "image"] if one in allowed)
position = list(models.prepared["image"].values).index(image)
pixels = models.prepared["pixels"][[position]].to_numpy()

methods = {
    "lrp.sequential_preset_a_flat": "preset A flat\n(default)",
    "lrp.sequential_preset_b_flat": "preset B flat",
    "lrp.epsilon": "epsilon",
    "input_t_gradient": "input × gradient",
}
maps = {method: tl.analyze(models.backbone, readouts, pixels, method).values[0, 0] for method in methods}

# %%
# Each map on a scale of its own: methods differ much in how spiky their maps are.

panels = [Picture(pixels[0], "face\n")]
for method, title in methods.items():
    smoothed = smooth(maps[method])
    panels.append(
        Picture(colour(smoothed, symmetric_limit(smoothed)), title if "\n" in title else title + "\n")
    )
figure = draw_rows([Row(panels, None)], width=183, clipped=True)

# %%
# The sums over pixels are what each method accounts for:

for method in methods:
    print(f"{method:<32}{maps[method].sum():+.3f} rating points")
