"""Dense readouts: the two dense layers of Cao et al. (2023), trained on features of the frozen network.

The head has 1,024 hidden units with ReLU and one linear output, and reads the global average of block 5. The
convolutions are frozen, so their output is computed only once. The heads of all groups and traits are trained
in parallel on the same batches of images.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd

from traitlens.columns import IDENTITY
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.readouts.fit_results import FittedReadouts
from traitlens.readouts.folds import inner_folds
from traitlens.readouts.heads import HeadData, Heads, Training
from traitlens.readouts.readout import DenseReadout


def fit_dense(
    features: Mapping[FeatureSpace, np.ndarray],
    targets: pd.DataFrame,
    folds: pd.DataFrame,
    seed: int = 0,
    training: Training | None = None,
    progress: Callable[[int], None] | None = None,
) -> FittedReadouts:
    """Fit one dense readout per group, trait and fold.

    Ratings are standardised by the training images, and predictions are converted back to rating units. In
    each fold, a fifth of the training identities is set aside to choose the number of epochs. The number with
    the smallest squared error on these identities, averaged over all groups and traits after division by the
    variance of the trait, is used for every group and trait.

    Parameters
    ----------
    features : mapping of FeatureSpace to ndarray
        One space averaged to one cell, an array of shape (image, channel, 1, 1); images in the order of
        `folds`.
    targets : DataFrame
        group, trait, image, rating. Ratings may be missing.
    folds : DataFrame
        image, identity, fold.
    seed : int, default 0
        Seed of initial weights, order of images and inner split.
    training : Training or None
        Settings of the training; the defaults of :class:`traitlens.readouts.heads.Training` if None.
    progress : callable or None
        Called with the number of readouts that were fitted since the last call.

    Returns
    -------
    FittedReadouts
        Readouts, out-of-fold predictions and chosen numbers of epochs. Results depend only on the seed.

    Raises
    ------
    TraitlensError
        If the features are not one space with one cell, or if a group rated too few images.
    """
    import torch

    training = training or Training()
    study = HeadData.of(features, targets, folds)
    identities = folds[IDENTITY].to_numpy()

    def fit(fold: int, rows: np.ndarray) -> Iterator[tuple[int, DenseReadout, dict[str, float], np.ndarray]]:
        # Features are scaled to a mean square of one in training; the readout's weights undo the scaling.
        scale = float(np.sqrt((study.values[rows].astype(np.float64) ** 2).mean())) or 1.0
        ratings = study.matrix.ratings[rows]
        means, spreads = np.nanmean(ratings, axis=0), np.nanstd(ratings, axis=0)
        seen = torch.from_numpy((study.values[rows] / scale).astype(np.float32))
        wanted = torch.from_numpy(((ratings - means) / spreads).astype(np.float32))
        held = torch.from_numpy(inner_folds(identities[rows], seed=seed) == 0)
        names = study.matrix.names
        heads = Heads.start(names, seen.shape[1], training.hidden, seed, fold)
        errors = heads.train(
            seen[~held], wanted[~held], training, training.most_epochs, seed, (seen[held], wanted[held])
        )
        epochs = int(np.argmin(errors)) + 1
        heads = Heads.start(names, seen.shape[1], training.hidden, seed, fold)
        heads.train(seen, wanted, training, epochs, seed)
        chosen = {"epochs": epochs, "inner_error": float(errors[epochs - 1])}
        for column, name in enumerate(names):
            readout = heads.readout(column, name, fold, study.space, scale, spreads[column], means[column])
            yield column, readout, chosen, np.array([])

    return study.fit("dense", fit, progress)
