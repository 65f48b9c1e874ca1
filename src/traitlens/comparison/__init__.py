"""Groups against each other: by rating, performance, region and pixel.

Comes in: predictions, relevance and ratings. Goes out: tidy tables with estimates, intervals and tests.
"""
