"""Prediction and explanation of images that a study did not hold."""
