"""Experiments: faces altered in one region, their ratings, and tests of the predictions.

Input: a study with regional readouts, and ratings of altered faces. Output: altered faces with their
predicted changes, a session for raters, and tables of observed and predicted changes.
"""
