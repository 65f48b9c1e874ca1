"""Drawn faces whose parts have a known position and a known deviation from the average face.

Input: parameters of a face (:mod:`.parameters`). Output: an image, region labels and landmarks
(:mod:`.face`). The unit of length is the distance between the pupils (IPD), with the origin midway between
them, x to the right and y down; "left" is the left side of the image.
"""
