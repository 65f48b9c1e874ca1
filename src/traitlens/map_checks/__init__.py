"""Checks of relevance maps that a reviewer asks for.

Do maps add up to the predictions, do they change with scrambled ratings and networks, do predictions follow
what the maps point at, and do methods agree?
"""
