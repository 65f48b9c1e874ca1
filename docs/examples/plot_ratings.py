"""
Do the groups' ratings differ?
==============================

Before any network: how far do the raters of a group agree, and do the groups rate differently on the whole?
"""

from example_study import load_example

from traitlens.comparison.by_rating import compare_means
from traitlens.ratings.reliability import reliability_table
from traitlens.report.charts import plot_reliability
from traitlens.report.paper_sentences import TESTS

study = load_example()
print(study)

# %%
# Reliability is estimated from random halves of the raters. **The ceiling of R² is the reliability; the ceiling of
# r is its square root.** Intervals are over raters.

reliability = reliability_table(study.ratings, seed=0)
reliability[
    ["group", "trait", "n_raters", "ceiling_r2", "ceiling_r", "ceiling_r_low", "ceiling_r_high"]
].round(2)

# %%

figure = plot_reliability(reliability)

# %%
# Mean ratings are compared by a permutation test: raters, not images, are the sample.

means = compare_means(study.ratings, permutations=500, seed=0)
print("\n".join(means.apply(TESTS["means"], axis=1)))

# %%
# A difference in means says nothing about which faces are rated high. That is what readouts are about:
# :ref:`sphx_glr_auto_examples_plot_predict_and_explain.py`.
