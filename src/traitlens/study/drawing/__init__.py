"""Drawn faces with known parts: their position, and their deviation from the average.

Input: parameters of a face (:mod:`.parameters`). Output: a picture, region labels and landmarks
(:mod:`.face`). Lengths are in distances between the pupils (IPD), with the origin between the pupils, x to
the right and y down; "left" is the left of the picture.
"""
