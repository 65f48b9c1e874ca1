"""
Figures for a paper
===================

Every figure of the report can be drawn again with other options, and is an ordinary figure of matplotlib.
"""

from example_study import load_example

import traitlens as tl
from traitlens.report.colouring import symmetric_limit
from traitlens.report.figures import FIGURES
from traitlens.report.map_figures import plot_average_maps

for name, kind in FIGURES.items():
    print(f"{name:<20}{kind.about}")

# %%
# From a results folder by name (on the command line: ``traitlens figure scatter RESULTS --width 89``):
#
# .. code-block:: python
#
#    figure = tl.draw_figure("mystudy/results", "scatter", width=89)
#    figure.savefig("scatter.svg")
#
# Here, from data: the average maps of one trait at 89 mm, one journal column, with the face weakly beneath.

study = load_example()
models = tl.fit(study)
tl.explain(models, study)

import xarray as xr

averages = xr.open_zarr(models.results / "average_maps.zarr")
first, second = map(str, averages["trait"].values)
narrow = plot_average_maps(averages, traits=[first], width=89, opacity=0.3)

# %%
# Each figure chooses its own scale. Where two figures are to be compared, give both the same:

limit = symmetric_limit(averages["aligned"].values)
one = plot_average_maps(averages, traits=[first], limit=limit)
other = plot_average_maps(averages, traits=[second], limit=limit)

# %%
# Without smoothing and without the face: the bare numbers.

bare = plot_average_maps(averages, traits=[first], smoothing=0, percentile=100, opacity=0)
