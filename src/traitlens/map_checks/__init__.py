"""Checks of relevance maps that a reviewer asks for.

Do maps add up to the predictions, do they change with scrambled ratings and networks, do predictions follow
what the maps point at, and do methods agree?
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
