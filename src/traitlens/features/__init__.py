"""The pretrained network (backbone) and the features computed with it.

Input: RGB pixels. Output: activations of layers, averaged on grids.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
