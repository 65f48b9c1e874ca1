"""Drawn faces whose every part is known: where it is, and how far it departs from the average.

Comes in: parameters of a face (:mod:`.parameters`). Goes out: a picture, its region labels and its landmarks
(:mod:`.face`). Lengths are in distances between the pupils (IPD), with the origin between the pupils, x to
the right and y down; "left" is the left of the picture.
"""
