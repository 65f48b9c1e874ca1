"""Results of fitting readouts: the readouts, their out-of-fold predictions and dual coefficients."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from traitlens.columns import FOLD, GROUP, IDENTITY, IMAGE, OBSERVED, PREDICTED, RATING, TRAIT
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.problems import unknown_choice
from traitlens.readouts.readout import Readout

PREDICTION_COLUMNS = [IMAGE, IDENTITY, GROUP, TRAIT, FOLD, OBSERVED, PREDICTED]


@dataclass(frozen=True, eq=False)
class Dual:
    r"""A ridge readout in dual form: :math:`f(x) = m + \sum_i a_i \tilde k(x, x_i)`.

    Parameters
    ----------
    fold : int
        The held-out fold.
    rows : ndarray of int, shape (training image,)
        Rows of the features.
    coefficients : ndarray of shape (training image,)
        Rating units per unit of the kernel; they sum to zero.
    penalty : float
        Penalty, relative to the mean diagonal of the centred training kernel.
    factors : mapping of FeatureSpace to float
        Factor of the linear kernel of each feature space in the sum. With one space, `penalty /
        factors[space]` is the penalty in scikit-learn's units.
    mean : float
        Mean rating of the training images.
    """

    group: str
    trait: str
    fold: int
    rows: np.ndarray
    coefficients: np.ndarray
    penalty: float
    factors: Mapping[FeatureSpace, float]
    mean: float


@dataclass(frozen=True, eq=False)
class FittedReadouts:
    """Readouts of every group, trait and fold, with their out-of-fold predictions.

    Parameters
    ----------
    readouts : tuple of Readout
        One per group, trait and fold, fitted to the identities of the other folds.
    predictions : DataFrame
        image, identity, group, trait, fold, observed, predicted (out of fold).
    choices : DataFrame
        group, trait, fold, and hyperparameters chosen in the inner folds (penalty, epochs, inner error).
    duals : tuple of Dual
        Dual coefficients of ridge readouts, in the order of `readouts`; empty for other readouts.
    method : str
        Name of the method.
    cues : DataFrame
        image, group, trait, region, cue (contribution of the region to the out-of-fold prediction, in rating
        points); empty except for regional readouts.
    losses : DataFrame
        group, trait, fold, epoch, loss (training error); empty except for the method "cao2023".
    """

    readouts: tuple[Readout, ...]
    predictions: pd.DataFrame
    choices: pd.DataFrame
    duals: tuple[Dual, ...] = ()
    method: str = "ridge"
    cues: pd.DataFrame = field(default_factory=pd.DataFrame)
    losses: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __iter__(self) -> Iterator[Readout]:
        return iter(self.readouts)

    def __len__(self) -> int:
        return len(self.readouts)

    def find(self, group: str, trait: str, fold: int) -> Readout:
        """Return the readout of a group, trait and fold.

        Parameters
        ----------
        group, trait : str
            Group and trait.
        fold : int
            The held-out fold.

        Returns
        -------
        Readout
            The readout.

        Raises
        ------
        TraitlensError
            If there is no such readout.
        """
        for readout in self.readouts:
            if (readout.group, readout.trait, readout.fold) == (group, trait, fold):
                return readout
        names = [f"{readout.group}, {readout.trait}, {readout.fold}" for readout in self.readouts]
        raise unknown_choice("readout", f"{group}, {trait}, {fold}", names)

    def __str__(self) -> str:
        table = self.predictions.groupby([GROUP, TRAIT], observed=True, sort=False)
        rows = pd.DataFrame(
            {
                "images": table.size(),
                "r": table[[OBSERVED, PREDICTED]].apply(lambda part: part.corr().iloc[0, 1]),
            }
        )
        return f"{len(self)} {self.method} readouts\n{rows.round(3).to_string()}"


@dataclass(frozen=True, eq=False)
class TargetMatrix:
    """Targets as a matrix of images by groups and traits.

    Parameters
    ----------
    names : list of (str, str)
        Group and trait of each column.
    ratings : ndarray of shape (image, group and trait)
        Missing where a group did not rate an image.
    """

    names: list[tuple[str, str]]
    ratings: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


def arrange_targets(targets: pd.DataFrame, images: pd.Series) -> TargetMatrix:
    """Arrange a table of targets as a matrix of images by groups and traits.

    Parameters
    ----------
    targets : DataFrame
        group, trait, image, rating. Ratings of images that are not in `images` are left out.
    images : Series
        Images in the order of the features.

    Returns
    -------
    TargetMatrix
        The matrix, with columns in order of first appearance of their group and trait.
    """
    wide = targets.assign(column=list(zip(targets[GROUP], targets[TRAIT], strict=True)))
    names = list(dict.fromkeys(wide["column"]))
    place = {image: row for row, image in enumerate(images)}
    values = np.full((len(place), len(names)), np.nan)
    known = wide[wide[IMAGE].isin(place)]
    columns = {name: number for number, name in enumerate(names)}
    ratings = known[RATING].to_numpy(float, na_value=np.nan)
    values[known[IMAGE].map(place), known["column"].map(columns)] = ratings
    return TargetMatrix(names, values)


def tabulate_predictions(targets: TargetMatrix, predicted: np.ndarray, folds: pd.DataFrame) -> pd.DataFrame:
    """Convert a matrix of predictions to a table with one row per rated image, group and trait.

    Parameters
    ----------
    predicted : ndarray of shape (image, group and trait)
        Missing where not predicted.

    Returns
    -------
    DataFrame
        image, identity, group, trait, fold, observed, predicted; sorted by group and trait as in the
        targets, then by image.
    """
    tables = []
    for column, (group, trait) in enumerate(targets.names):
        rows = np.flatnonzero(np.isfinite(targets.ratings[:, column]) & np.isfinite(predicted[:, column]))
        table = folds.iloc[rows][[IMAGE, IDENTITY, FOLD]].assign(**{GROUP: group, TRAIT: trait})
        table[OBSERVED] = targets.ratings[rows, column]
        table[PREDICTED] = predicted[rows, column]
        tables.append(table[PREDICTION_COLUMNS])
    return pd.concat(tables, ignore_index=True)


def predict_out_of_fold(
    readouts: Sequence[Readout],
    features: Mapping[FeatureSpace, np.ndarray],
    blocks: Sequence[tuple[int, np.ndarray]],
    groups: list[str],
    traits: list[str],
) -> np.ndarray:
    """Predict every image by the readouts of its fold, including images that a group did not rate.

    Parameters
    ----------
    readouts : sequence of Readout
        Readouts of every group, trait and fold.
    features : mapping of FeatureSpace to ndarray
        Transformed features of shape (image, channel, row, column).
    blocks : sequence of (int, ndarray)
        Fold, and indices of the images of that fold, for each block of images.
    groups, traits : list of str
        Groups and traits, in the order of the result.

    Returns
    -------
    ndarray of shape (group, trait, image)
        Predictions in rating units; NaN where a group has no readout of a trait.
    """
    count = sum(len(positions) for _, positions in blocks)
    predicted = np.full((len(groups), len(traits), count), np.nan)
    for fold, positions in blocks:
        seen = {space: np.asarray(values[positions]) for space, values in features.items()}
        for readout in readouts:
            if readout.fold == fold:
                place = groups.index(readout.group), traits.index(readout.trait)
                predicted[(*place, positions)] = readout.predict(seen)
    return predicted
