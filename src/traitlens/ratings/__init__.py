"""What people said: targets for the readouts, reliability, noise ceilings, differences between groups.

Comes in: the ratings table of a study. Goes out: tidy tables.
"""
