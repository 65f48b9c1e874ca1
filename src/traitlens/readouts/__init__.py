"""Features to ratings: folds by identity, ridge and dense readouts, performance, saved models.

Comes in: features of images and targets of raters. Goes out: readouts and out-of-fold predictions.
"""

from traitlens.readouts.registry import READOUTS, find_readout

__all__ = ["READOUTS", "find_readout"]
