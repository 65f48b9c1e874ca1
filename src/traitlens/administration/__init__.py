"""Checks of the installation, state of results folders, and batch scripts."""
