"""Simulated studies taken through the analysis: error rates and power of the tests."""
