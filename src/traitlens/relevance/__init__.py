"""Predictions back to pixels: rules, methods, propagation and its checks.

Comes in: a backbone, readouts and images. Goes out: relevance maps in rating units.
"""
