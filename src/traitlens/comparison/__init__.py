"""Comparison of groups: ratings, performance, regions and pixels.

Input: predictions, relevance and ratings. Output: tidy tables with estimates, intervals and tests.
"""
