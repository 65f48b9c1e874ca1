"""What the reader gets: figures and one self-contained page.

Comes in: the results folder. Goes out: SVG, PNG and HTML.
"""
