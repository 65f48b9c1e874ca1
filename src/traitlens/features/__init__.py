"""The network: weights, preprocessing, backbone, taps and features.

Input: RGB pixels. Output: features of the taps.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
