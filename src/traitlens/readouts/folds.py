"""Folds by identity: readouts are never tested on identities of their training images."""

import numpy as np
import pandas as pd

from traitlens.columns import FOLD, IDENTITY, IMAGE
from traitlens.problems import Problem, StudyError, unknown_choice


def assign_folds(
    images: pd.DataFrame, number: int = 5, seed: int = 0, column: str | None = None
) -> pd.DataFrame:
    """Assign every image to a fold, all images of one identity to the same one.

    Identities are shuffled, then assigned in order of their number of images, each to the fold with the
    fewest images so far; folds differ by at most the images of one identity.

    Parameters
    ----------
    images : DataFrame
        image, identity, and the column of given folds, if any. The order of rows does not matter.
    number : int, default 5
        Number of folds; ignored if folds are given.
    seed : int, default 0
        Seed of the shuffle.
    column : str or None
        Column with given folds (any values), which are numbered in sorted order.

    Returns
    -------
    DataFrame
        image, identity, fold (0 to number - 1), in the order of `images`.

    Raises
    ------
    TraitlensError
        If there are fewer identities than folds, if the column is not there or has gaps, or if an
        identity lies in several of the given folds.

    Examples
    --------
    >>> images = pd.DataFrame({"image": list("abcd"), "identity": ["ann", "ann", "bo", "cy"]})
    >>> assign_folds(images, number=2)["fold"].tolist()
    [0, 0, 1, 1]
    """
    if column is not None:
        return _given_folds(images, column)
    counts = images.groupby(IDENTITY, observed=True).size().sort_index()
    if len(counts) < number or number < 2:
        raise StudyError(
            Problem(
                f"{len(counts)} identities cannot be split into {number} folds",
                "use fewer folds (at least two) or more identities",
            )
        )
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts.to_numpy()[order], kind="stable")]
    sizes = np.zeros((number, 2), int)
    fold_of = {}
    for place in order:
        smallest = min(range(number), key=lambda fold: (*sizes[fold], fold))
        fold_of[counts.index[place]] = smallest
        sizes[smallest] += (counts.iloc[place], 1)
    return _table(images, images[IDENTITY].map(fold_of))


def _given_folds(images: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the given folds."""
    if column not in images:
        raise unknown_choice("column of folds", column, images.columns)
    values = images[column]
    problems = [
        Problem(f"image {image!r} has no fold", "give every image a fold", "images.csv", column=column)
        for image in images.loc[values.isna(), IMAGE]
    ]
    number = values.groupby(images[IDENTITY], observed=True).nunique()
    problems += [
        Problem(f"identity {name!r} lies in {count} folds", "give it one", "images.csv", column=column)
        for name, count in number[number > 1].items()
    ]
    if values.nunique() < 2:
        problems.append(Problem("there is only one fold", "give at least two", "images.csv", column=column))
    if problems:
        raise StudyError(problems)
    numbers = {value: place for place, value in enumerate(sorted(values.unique()))}
    return _table(images, values.map(numbers))


def _table(images: pd.DataFrame, fold: pd.Series) -> pd.DataFrame:
    """Return the table of folds."""
    return pd.DataFrame(
        {
            IMAGE: images[IMAGE].to_numpy(),
            IDENTITY: images[IDENTITY].to_numpy(),
            FOLD: fold.to_numpy().astype(int),
        }
    )


def inner_folds(identities: np.ndarray, number: int = 5, seed: int = 0) -> np.ndarray:
    """Split training images into inner folds by identity.

    Parameters
    ----------
    identities : ndarray
        (image,), the person shown in each training image.
    number : int, default 5
        Number of folds; fewer if there are fewer identities.
    seed : int, default 0
        Seed of the shuffle.

    Returns
    -------
    ndarray
        (image,) int, the fold of each image.

    Raises
    ------
    TraitlensError
        If there is only one identity.
    """
    images = pd.DataFrame({IMAGE: np.arange(len(identities)), IDENTITY: identities})
    number = min(number, max(2, images[IDENTITY].nunique()))
    return np.asarray(assign_folds(images, number, seed)[FOLD])
