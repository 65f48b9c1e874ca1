"""Split-half reliability over every possible pair of halves of few raters, one after the other."""

from itertools import combinations

import numpy as np


def split_half_of_all_halves(ratings):
    """Complete design, an even number of raters (rows)."""
    raters = len(ratings)
    correlations = []
    for first in combinations(range(raters), raters // 2):
        second = [rater for rater in range(raters) if rater not in first]
        correlations.append(np.corrcoef(ratings[list(first)].mean(0), ratings[second].mean(0))[0, 1])
    r = np.mean(correlations)
    return r, 2 * r / (1 + r)
