"""Images of faces: pixels, landmarks, crops, regions and the template.

Input: image files. Output: pixels, points and region labels of prepared images.
"""
