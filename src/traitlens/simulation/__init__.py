"""Analyses of simulated studies, which estimate error rates and power of the tests."""
