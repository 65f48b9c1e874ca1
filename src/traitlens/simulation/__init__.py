"""Analyses of simulated studies: error rates and power of the tests."""
