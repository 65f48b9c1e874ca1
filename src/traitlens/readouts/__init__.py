"""Features to ratings: folds by identity, ridge and dense readouts, performance, saved models.

Comes in: features of images and targets of raters. Goes out: readouts and out-of-fold predictions.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from traitlens.features.spaces import FeatureSpace
    from traitlens.readouts.cao2023 import fit_cao2023
    from traitlens.readouts.dense import fit_dense
    from traitlens.readouts.estimator import RidgeReadout
    from traitlens.readouts.fitted import FittedReadouts
    from traitlens.readouts.folds import assign_folds
    from traitlens.readouts.readout import DenseReadout, LinearPart, LinearReadout, Readout, TunedReadout
    from traitlens.readouts.registry import METHODS, ReadoutMethod, find_readout, register
    from traitlens.readouts.ridge import fit_ridge
    from traitlens.readouts.saved import TraitModels
    from traitlens.readouts.tuning import fit_finetune

_HOMES = {
    "DenseReadout": "readout",
    "FeatureSpace": "readout",
    "FittedReadouts": "fitted",
    "LinearPart": "readout",
    "LinearReadout": "readout",
    "METHODS": "registry",
    "Readout": "readout",
    "ReadoutMethod": "registry",
    "RidgeReadout": "estimator",
    "TraitModels": "saved",
    "TunedReadout": "readout",
    "assign_folds": "folds",
    "find_readout": "registry",
    "fit_cao2023": "cao2023",
    "fit_dense": "dense",
    "fit_finetune": "tuning",
    "fit_ridge": "ridge",
    "register": "registry",
}

__all__ = [
    "METHODS",
    "DenseReadout",
    "FeatureSpace",
    "FittedReadouts",
    "LinearPart",
    "LinearReadout",
    "Readout",
    "ReadoutMethod",
    "RidgeReadout",
    "TraitModels",
    "TunedReadout",
    "assign_folds",
    "find_readout",
    "fit_cao2023",
    "fit_dense",
    "fit_finetune",
    "fit_ridge",
    "register",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
