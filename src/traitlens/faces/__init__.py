"""What they saw: images as upright RGB pixels, landmarks, the template and its regions.

Comes in: image files. Goes out: pixels, points and region labels in one frame.
"""
