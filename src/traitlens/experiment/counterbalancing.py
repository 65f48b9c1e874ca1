"""Counterbalanced lists of pictures, which the raters of an experiment take in turn."""

import math

import numpy as np
import pandas as pd

from traitlens.columns import IMAGE, TRAIT
from traitlens.experiment.effects import BASE

LIST = "list"
"""Column with the number of a list, from 0."""


def counterbalanced_lists(pictures: pd.DataFrame, versions: int | None = 1, seed: int = 0) -> pd.DataFrame:
    """Distribute the altered versions of base faces evenly over lists.

    Parameters
    ----------
    pictures : DataFrame
        The versions of each base face and the trait on which they are rated: image, trait, base.
    versions : int or None, default 1
        Number of versions of a base face that a rater sees; all if None. With one version, a list contains
        only one trait, so that each rater sees each base face once.
    seed : int, default 0
        Seed of the order of the versions.

    Returns
    -------
    DataFrame
        The pictures of each list: list, image, trait.

    Examples
    --------
    >>> pictures = pd.DataFrame({"image": list("abcd"), "trait": "warm", "base": [1, 1, 2, 2]})
    >>> counterbalanced_lists(pictures).groupby("list")["image"].size().tolist()
    [2, 2]
    """
    rng = np.random.default_rng([seed, 5])
    lists: list[pd.DataFrame] = []
    for _, rows in pictures.groupby(TRAIT, sort=False, observed=True):
        shuffled = [own.iloc[rng.permutation(len(own))] for _, own in rows.groupby(BASE, sort=False)]
        most = max(map(len, shuffled))
        each = most if versions is None else min(versions, most)
        for number in range(most // math.gcd(most, each)):
            places = number * each + np.arange(each)
            seen = [
                own.iloc[np.unique((places + turn) % most % len(own))] for turn, own in enumerate(shuffled)
            ]
            lists.append(pd.concat(seen)[[IMAGE, TRAIT]])
    if versions != 1:  # raters who see several versions rate all traits
        traits = pictures[TRAIT].nunique()
        number = len(lists) // traits if len(lists) % traits == 0 else 1
        lists = [pd.concat(lists[start::number]) for start in range(number)]
    return pd.concat([one.assign(**{LIST: number}) for number, one in enumerate(lists)], ignore_index=True)[
        [LIST, IMAGE, TRAIT]
    ]
