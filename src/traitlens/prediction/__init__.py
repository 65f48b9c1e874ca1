"""Prediction and explanation of new faces."""
