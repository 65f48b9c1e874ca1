"""Missing ratings: whether groups differ in them is found, and random gaps are no difference."""

import numpy as np
import pandas as pd

from traitlens.comparison.by_missing import compare_missing
from traitlens.comparison.simulated_ratings import Faces, StudyDesign, draw_ratings


def leave_out(ratings: pd.DataFrame, rng, group: str | None) -> pd.DataFrame:
    """Leave out 40 % of the lower ratings of one group's raters, or 20 % of all at random."""
    if group is None:
        return ratings[rng.random(len(ratings)) > 0.2]
    median = ratings.groupby(["rater", "trait"])["rating"].transform("median")
    low = (ratings["rating"] < median) & (ratings["group"] == group)
    return ratings[~(low & (rng.random(len(ratings)) < 0.4))]


def test_low_ratings_that_one_group_leaves_out_are_found_and_random_gaps_are_not():
    rng = np.random.default_rng(0)
    found = {"a": 0, None: 0}
    for _ in range(40):
        ratings = draw_ratings(StudyDesign("20 and 20"), Faces.draw(rng), rng)
        for group in found:
            table = compare_missing(leave_out(ratings, rng, group), permutations=199)
            found[group] += table["p_corrected"].min() <= 0.05
    assert found["a"] == 40
    assert found[None] <= 6  # 5 % of 40 within Monte Carlo error
    both = table.set_index(["measure", "trait"])
    assert both.loc["share missing", "mean_1"].between(0.1, 0.3).all()


def test_complete_ratings_have_nothing_missing():
    rng = np.random.default_rng(1)
    table = compare_missing(
        draw_ratings(StudyDesign("6 and 6", (6, 6)), Faces.draw(rng), rng), permutations=99
    )
    assert (table["p_corrected"] == 1).all()
    assert np.allclose(table["estimate"], 0)
