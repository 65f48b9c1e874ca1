"""Ratings and images in other people's layouts, turned into studies.

Comes in: files as experiment software or a public data set left them. Goes out: a folder with `study.toml`,
images and tables, written whole or not at all.
"""
