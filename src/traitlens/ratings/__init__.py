"""Ratings: targets of the readouts, reliability, noise ceilings and trait space.

Input: the ratings table of a study. Output: tidy tables.
"""
