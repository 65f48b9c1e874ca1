"""Sanity checks of relevance maps.

Do maps sum to the predictions, do they change with randomised ratings and networks, do predictions change if
relevant pixels are replaced, and do methods agree?
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
