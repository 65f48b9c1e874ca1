"""Folds by identity: readouts are never tested on persons who are shown in their training images."""

import numpy as np
import pandas as pd

from traitlens.columns import FOLD, IDENTITY, IMAGE
from traitlens.problems import Problem, StudyError, unknown_choice


def assign_folds(
    images: pd.DataFrame, number: int = 5, seed: int = 0, column: str | None = None
) -> pd.DataFrame:
    """Assign every image to a fold; all images of an identity are in the same fold.

    Identities are shuffled, sorted by their number of images, and assigned one by one to the fold with the
    fewest images so far. The sizes of folds differ by at most the number of images of one identity.

    Parameters
    ----------
    images : DataFrame
        image, identity, and `column`. The order of rows does not matter.
    number : int, default 5
        Number of folds; ignored if `column` is passed.
    seed : int, default 0
        Seed of the random number generator.
    column : str or None
        Column with folds to use (any values), which are numbered in sorted order.

    Returns
    -------
    DataFrame
        image, identity, fold (0 to number - 1), in the order of `images`.

    Raises
    ------
    TraitlensError
        If there are fewer identities than folds, or if the column is missing, has missing values, or has
        several folds for an identity.

    Examples
    --------
    >>> images = pd.DataFrame({"image": list("abcd"), "identity": ["ann", "ann", "bo", "cy"]})
    >>> assign_folds(images, number=2)["fold"].tolist()
    [0, 0, 1, 1]
    """
    if column is not None:
        return _read_folds(images, column)
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
    return _tabulate_folds(images, images[IDENTITY].map(fold_of))


def _read_folds(images: pd.DataFrame, column: str) -> pd.DataFrame:
    """Read and check the folds in a column of the images."""
    if column not in images:
        raise unknown_choice("column of folds", column, images.columns)
    values = images[column]
    problems = [
        Problem(f"image {image!r} has no fold", "enter a fold for every image", "images.csv", column=column)
        for image in images.loc[values.isna(), IMAGE]
    ]
    number = values.groupby(images[IDENTITY], observed=True).nunique()
    problems += [
        Problem(f"identity {name!r} is in {count} folds", "enter one fold", "images.csv", column=column)
        for name, count in number[number > 1].items()
    ]
    if values.nunique() < 2:
        problems.append(Problem("there is only one fold", "use at least two", "images.csv", column=column))
    if problems:
        raise StudyError(problems)
    numbers = {value: place for place, value in enumerate(sorted(values.unique()))}
    return _tabulate_folds(images, values.map(numbers))


def _tabulate_folds(images: pd.DataFrame, fold: pd.Series) -> pd.DataFrame:
    """Return a table of images, identities and folds."""
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
    identities : ndarray of shape (image,)
        The person shown in each training image.
    number : int, default 5
        Number of folds; reduced to the number of identities if that is smaller.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    ndarray of int, shape (image,)
        Fold of each image.

    Raises
    ------
    TraitlensError
        If there is only one identity.
    """
    images = pd.DataFrame({IMAGE: np.arange(len(identities)), IDENTITY: identities})
    number = min(number, max(2, images[IDENTITY].nunique()))
    return np.asarray(assign_folds(images, number, seed)[FOLD])
