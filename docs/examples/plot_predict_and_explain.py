"""
Predict ratings, and trace predictions back to pixels
=====================================================

One readout for each group, trait and fold of identities; every image is predicted and explained by the readout that
did not see the person shown.
"""

from example_study import load_example

import traitlens as tl
from traitlens.report.map_figures import plot_overview

study = load_example()
models = tl.fit(study)
models.performance[["group", "trait", "n_images", "r", "ci_low", "ci_high", "ceiling_r"]].round(2)

# %%
# Read r beside its ceiling: the nearer, the more of what raters share is predicted. These images are small, so that
# the example is quick; a study uses 224 pixels.

from traitlens.report.charts import plot_performance

figure = plot_performance(models.performance)

# %%
# Maps are in rating points per pixel: over a face they sum to the deviation of its prediction from the mean
# rating, except for what the network's biases absorb.

maps = tl.explain(models, study)
account = maps[["prediction", "reference", "pixel_sum"]].isel(group=0, trait=0).to_dataframe()
account["deviation"] = account["prediction"] - account["reference"]
account[["deviation", "pixel_sum"]].describe().round(3)

# %%
# Maps of single faces are positive for some and negative for others, so that their plain mean is nearly zero. Average
# maps therefore run along the prediction. All maps below share one scale.

import xarray as xr

averages = xr.open_zarr(models.results / "average_maps.zarr")
figure = plot_overview(averages)

# %%
# Two fitted models always differ. Whether the groups do is a question for a permutation test of raters:
# ``tl.compare(models, maps, study)``, which takes longer.
