"""Readouts: regression of mean ratings on features, with folds, performance and saved models.

The input is features of images and mean ratings, the output readouts and out-of-fold predictions.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
