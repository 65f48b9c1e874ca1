"""A readout method that the package does not know."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.readouts.fit_results import FittedReadouts, arrange_targets, tabulate_predictions
from traitlens.readouts.readout import LinearPart, Readout
from traitlens.readouts.registry import METHODS, ReadoutMethod, find_readout, register


@dataclass(frozen=True, eq=False)
class Covariance(Readout):
    """A readout whose weights are the covariances of features and ratings."""

    kind = "covariance"
    label = "covariance"
    is_linear = True
    group: str
    trait: str
    fold: int
    weight: np.ndarray
    reference: np.ndarray
    mean: float
    space: FeatureSpace

    @property
    def spaces(self):
        return (self.space,)

    def linear_parts(self):
        return (LinearPart(self.space, self.weight, self.reference),)

    def predict(self, features):
        deviation = features[self.space] - self.reference
        return self.mean + np.einsum("icyx,cyx->i", deviation, self.weight)

    def tensors(self):
        return {"weight": self.weight, "reference": self.reference}

    @classmethod
    def restore(cls, stored):
        weight = stored.take("weight", (None, None, None))
        reference = stored.take("reference", weight.shape)
        names = (stored.group, stored.trait, stored.fold)
        return cls(*names, weight, reference, stored.mean, stored.spaces[0])

    def shuffled(self, rng):
        return replace(self, weight=rng.permutation(self.weight.ravel()).reshape(self.weight.shape))


def fit_covariance(features, targets, folds, seed=0, progress=None, scale=1.0):
    ((space, values),) = features.items()
    matrix = arrange_targets(targets, folds["image"])
    predicted, readouts = np.full(matrix.ratings.shape, np.nan), []
    for column, (group, trait) in enumerate(matrix.names):
        for fold in sorted(folds["fold"].unique()):
            inside = (folds["fold"] == fold).to_numpy()
            ratings, reference = matrix.ratings[~inside, column], values[~inside].mean(0)
            weight = np.tensordot(ratings - ratings.mean(), values[~inside] - reference, 1) / len(ratings)
            readout = Covariance(
                group,
                trait,
                int(fold),
                (scale * weight).astype(np.float32),
                reference,
                float(ratings.mean()),
                space,
            )
            predicted[inside, column] = readout.predict({space: values[inside]})
            readouts.append(readout)
    choices = pd.DataFrame([{"group": one.group, "trait": one.trait, "fold": one.fold} for one in readouts])
    return FittedReadouts(
        tuple(readouts), tabulate_predictions(matrix, predicted, folds), choices, method="covariance"
    )


COVARIANCE = ReadoutMethod(
    "covariance",
    Covariance,
    fit_covariance,
    lambda settings: (f"Weights were covariances at {settings.tap}. ", ("cao",)),
    lambda settings: {FeatureSpace(Tap(settings.tap, settings.grid)): 1.0},
    lambda _settings, context: {"scale": 1e-4 * (1 + context.seed)},
)


@contextmanager
def covariance_registered() -> Iterator[ReadoutMethod]:
    """Register the method for as long as a test takes."""
    register(COVARIANCE)
    try:
        yield find_readout("covariance")
    finally:
        del METHODS["covariance"]
