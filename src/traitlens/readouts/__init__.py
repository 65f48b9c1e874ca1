"""Features to ratings: folds by identity, ridge and dense readouts, performance, saved models.

Comes in: features of images and targets of raters. Goes out: readouts and out-of-fold predictions.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
