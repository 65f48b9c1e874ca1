"""Analyses of ratings: mean ratings, reliability, noise ceilings, sources of variance and trait space.

Input: the ratings table of a study. Output: tidy tables.
"""
