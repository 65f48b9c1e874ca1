"""Layer-wise relevance propagation: relevance maps of images, in rating points.

Input: a backbone, readouts and images. Output: for each image and readout, the relevance of every pixel.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
