"""Readouts: regression of ratings on features, folds, performance and saved models.

Input: features of images and mean ratings. Output: readouts and out-of-fold predictions.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
