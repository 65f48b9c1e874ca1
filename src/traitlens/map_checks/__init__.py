"""Sanity checks of relevance maps.

Do maps sum to the predictions? Do they change if ratings or networks are randomised? Do predictions change if
relevant pixels are replaced? Do relevance methods agree?
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
