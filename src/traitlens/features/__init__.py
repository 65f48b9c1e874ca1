"""What the network computes of an image: weights, preprocessing, backbone, taps and features.

Comes in: RGB pixels. Goes out: features of the taps.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
