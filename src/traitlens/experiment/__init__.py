"""Experiments that test predictions with photographs altered in one region of the face.

Input: a study with regional readouts, and ratings of altered faces. Output: altered faces with predicted
changes of ratings, a session for raters, and tables of observed and predicted changes.
"""
