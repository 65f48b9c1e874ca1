"""Relevance of pixels: rules, methods, and propagation.

Input: a backbone, readouts and images. Output: relevance maps in rating units.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
