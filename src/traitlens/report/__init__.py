"""Figures and the report, one self-contained page.

Input: the results folder. Output: SVG, PNG and HTML files.
"""
