"""Images of faces: reading, landmarks, crops, regions, and warping to a template.

Input: image files. Output: pixels, landmarks and region labels of prepared images.
"""
