"""Figures and the report, one self-contained page.

Comes in: the results folder. Goes out: SVG, PNG and HTML.
"""
